#include "command.h"
#include "gcomp/driver/crash.h"
#include "gcomp/driver/load.h"
#include "gcomp/formats/formats.h"

namespace gcomp::cli {

void convert_command(const Arguments& arguments, driver::DiagnosticPrinter& printer) {
  const auto parser =
      make_parser("gcomp convert", "Writes a graph in another format: .json, or .gcb (binary).",
                  "gcomp convert GRAPH -o OUT [--weights FILE.safetensors]");
  std::string input, output, weights;
  std::map<std::string, int64_t> dims;
  parser->add_option("GRAPH", input, "JSON, binary or ONNX")->required();
  parser->add_option("-o,--output", output, "Its ending says the format")
      ->required()
      ->type_name("OUT");
  parser->add_option("--weights", weights, "Large constants go here, beside a .json")
      ->type_name("FILE");
  add_dims_option(*parser, dims);
  add_limit_options(*parser);
  if (!parse(*parser, arguments)) return;
  driver::set_crash_graph(input, output);
  Context context;
  formats::write_graph(*driver::load_graph(context, input, dims), output, weights);
}

}  // namespace gcomp::cli
