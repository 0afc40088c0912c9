#include "command.h"
#include "gcomp/driver/compile.h"
#include "gcomp/driver/crash.h"

namespace gcomp::cli {

void opt_command(const Arguments& arguments, driver::DiagnosticPrinter& printer) {
  const auto parser = make_parser("gcomp opt", "Optimises a graph and writes it as a graph.",
                                  "gcomp opt GRAPH [--passes=a,b] -o OUT [OPTION...]");
  driver::CompileOptions o;
  parser->add_option("GRAPH", o.input, "JSON, binary or ONNX")->required();
  parser->add_option("-o,--output", o.output, ".json or .gcb; - prints the text form")
      ->required()
      ->type_name("OUT");
  parser->add_option("--passes", o.pipeline.passes, "Run exactly these passes, in this order")
      ->type_name("NAMES")
      ->delimiter(',');
  add_compile_options(*parser, o);
  if (!parse(*parser, arguments)) return;
  driver::set_crash_graph(o.input, o.output);
  driver::optimize_to_file(o);
}

}  // namespace gcomp::cli
