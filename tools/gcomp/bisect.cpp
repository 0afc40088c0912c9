#include "gcomp/driver/bisect.h"

#include <iostream>

#include "command.h"
#include "gcomp/driver/crash.h"
#include "gcomp/support/error.h"

namespace gcomp::cli {

void bisect_command(const Arguments& arguments, driver::DiagnosticPrinter& printer) {
  const auto parser = make_parser(
      "gcomp bisect",
      "Finds what changes a graph's results. The results of the graph as written, by the "
      "reference\n"
      "evaluator, are compared with those after each rewrite, by bisection, then with those of "
      "the\n"
      "compiled graph. Prints the first rewrite that makes a difference (or the stages and "
      "kernels) and\n"
      "writes a small graph that still shows it, with its inputs. A rule whose contract is not "
      "\"exact\"\n"
      "may be named for a difference that is meant: a number instead of an overflow.\n"
      "Exit code: 0 no difference, 7 a difference was found, else as ever.",
      "gcomp bisect GRAPH --inputs IN.npz [-o REDUCED.json] [--tolerance T] [OPTION...]");
  driver::BisectCommand o;
  o.compile.output = "reduced.json";
  bool rewrites_only = false;
  parser->add_option("GRAPH", o.compile.input, "JSON, binary or ONNX")->required();
  parser->add_option("--inputs", o.inputs, "Arrays by name, or input_0, input_1, ...")
      ->type_name("NPZ");
  parser
      ->add_option("-o,--output", o.compile.output,
                   "The reduced graph (reduced.json); its inputs go beside it, as .npz")
      ->type_name("OUT");
  parser
      ->add_option("--tolerance", o.tolerance,
                   "Largest difference, relative to the larger of an element and its output's mean "
                   "(1.5e-8 for float64, 2.4e-4 for float32)")
      ->type_name("T")
      ->check(CLI::NonNegativeNumber);
  parser->add_flag("--rewrites-only", rewrites_only, "Do not look at the generated code");
  add_compile_options(*parser, o.compile);
  if (!parse(*parser, arguments)) return;
  o.look_at_code = !rewrites_only;
  driver::set_crash_graph(o.compile.input, o.compile.output);
  bool found = false;
  std::cout << driver::bisect(o, &found) << std::flush;
  if (found)
    throw UserError(ExitCode::kDiffers,
                    {.message = "the results differ", .file = o.compile.input.string()});
}

}  // namespace gcomp::cli
