#include "gcomp/driver/compile.h"

#include "command.h"
#include "gcomp/driver/crash.h"

namespace gcomp::cli {

void compile_command(const Arguments& arguments, driver::DiagnosticPrinter& printer) {
  const auto parser = make_parser("gcomp", "Compiles a graph to one loadable file.",
                                  "gcomp GRAPH -o OUT [OPTION...]");
  driver::CompileOptions o;
  parser->add_option("GRAPH", o.input, "JSON, binary or ONNX")->required();
  parser->add_option("-o,--output", o.output, "The file to write")->required()->type_name("OUT");
  parser->add_option("--depfile", o.depfile, "Also write a Makefile rule naming all files read")
      ->type_name("FILE");
  add_compile_options(*parser, o);
  if (!parse(*parser, arguments)) return;
  driver::set_crash_graph(o.input, o.output);
  driver::compile(o);
}

}  // namespace gcomp::cli
