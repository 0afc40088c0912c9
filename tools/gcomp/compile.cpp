#include "gcomp/driver/compile.h"

#include "command.h"
#include "gcomp/driver/crash.h"
#include "gcomp/support/error.h"

namespace gcomp::cli {
namespace {

using driver::Emit;

// "-" is standard output, for what a person may read there.
driver::Path output_file(const driver::CompileOptions& o) {
  if (o.output != "-") return o.output;
  if (o.emit == Emit::kSharedObject || o.emit == Emit::kObject || o.emit == Emit::kGraph) {
    usage_error(Code::kOutputName, "only texts go to standard output", "--output",
                "with --emit=asm, llvm, cuda or kernels; `gcomp opt GRAPH -o -` prints a graph");
  }
  return "/dev/stdout";
}

}  // namespace

void compile_command(const Arguments& arguments, driver::DiagnosticPrinter& printer) {
  const auto parser = make_parser("gcomp", "Compiles a graph to one loadable file.",
                                  "gcomp GRAPH -o OUT [OPTION...]");
  driver::CompileOptions o;
  parser->add_option("GRAPH", o.input, "JSON, binary or ONNX")->required();
  parser->add_option("-o,--output", o.output, "The file to write; - prints texts")
      ->required()
      ->type_name("OUT");
  parser->add_option("--depfile", o.depfile, "Also write a Makefile rule naming all files read")
      ->type_name("FILE");
  parser
      ->add_option("--depfile-target", o.depfile_target,
                   "What that rule says is made: a stamp, say; default: OUT and the header")
      ->type_name("FILE");
  parser
      ->add_option("--header", o.header,
                   "Also write a typed interface for C++ and C, to be included by the caller")
      ->type_name("FILE");
  parser->add_flag("--if-changed", o.if_changed,
                   "Leave an output alone, its time too, that would get the bytes it has");
  add_compile_options(*parser, o);
  add_cache_options(*parser, o, printer);
  if (!parse(*parser, arguments)) return;
  o.output = output_file(o);
  driver::set_crash_graph(o.input, o.output);
  driver::compile(o);
}

}  // namespace gcomp::cli
