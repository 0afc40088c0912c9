#include "gcomp/driver/run.h"

#include <iostream>

#include "command.h"
#include "gcomp/driver/crash.h"

namespace gcomp::cli {

void run_command(const Arguments& arguments, driver::DiagnosticPrinter& printer) {
  const auto parser = make_parser(
      "gcomp run", "Runs an artifact, or compiles a graph and runs it, on arrays in .npz files.",
      "gcomp run FILE --inputs IN.npz --outputs OUT.npz [OPTION...]");
  driver::RunOptions o;
  parser->add_option("FILE", o.compile.input, "A graph or an artifact")->required();
  parser->add_option("--inputs", o.inputs, "Arrays by name, or input_0, input_1, ...")
      ->type_name("NPZ");
  parser->add_option("--outputs", o.outputs, "Where the results go, by name")->type_name("NPZ");
  parser->add_option("--states", o.states, "States to begin with; others have their initial values")
      ->type_name("NPZ");
  parser->add_option("--states-out", o.states_out, "Where the states go after the last run")
      ->type_name("NPZ");
  parser->add_option("--repeat", o.repeat, "Run N times more and print the time")
      ->type_name("N")
      ->check(CLI::Range(0, 1000000000));
  parser->add_flag("--kernel-times", o.kernel_times,
                   "Print the best time of each kernel in --repeat runs, the slowest first");
  parser->add_option("--threads", o.threads, "Threads of the run (0: as the runtime likes)")
      ->type_name("N")
      ->check(CLI::Range(0, 1024));
  parser
      ->add_option(
          "--device", o.device,
          "cpu, cuda or cuda:N; without it GCOMP_DEVICE decides, else a GPU is taken if the file "
          "has code for it")
      ->type_name("DEVICE");
  parser->add_flag("--interpret", o.interpret, "Use the reference evaluator; nothing is compiled");
  add_compile_options(*parser, o.compile);
  add_cache_options(*parser, o.compile, printer);
  if (!parse(*parser, arguments)) return;
  driver::set_crash_graph(o.compile.input, o.outputs);
  std::cout << driver::run(o);
}

}  // namespace gcomp::cli
