// The gcomp command: finds the subcommand, turns errors into messages and exit codes.

#include <cstdlib>
#include <iostream>
#include <new>
#include <system_error>

#include "command.h"
#include "gcomp/driver/batch.h"
#include "gcomp/driver/crash.h"
#include "gcomp/driver/diagnose.h"
#include "gcomp/driver/limits.h"
#include "gcomp/support/error.h"

namespace {

using namespace gcomp;

struct Command {
  const char* name;
  const char* summary;
  void (*run)(const cli::Arguments&, driver::DiagnosticPrinter&);
};

constexpr Command kCommands[] = {
    {"compile", "Compile a graph (what happens without a command)", cli::compile_command},
    {"run", "Run an artifact, or compile a graph and run it, on arrays in .npz files",
     cli::run_command},
    {"opt", "Optimise a graph and write it as a graph", cli::opt_command},
    {"list", "List levels, passes, rules, ops or tags", cli::list_command},
    {"inspect", "Describe a graph or an artifact without running it", cli::inspect_command},
    {"convert", "Write a graph in another format", cli::convert_command},
    {"bisect", "Find the first rewrite, or the code, that changes a graph's results",
     cli::bisect_command},
    {"batch", "Compile many graphs, each in a process of its own", cli::batch_command},
    {"cache", "Show, check or empty a cache of artifacts", cli::cache_command},
};

void print_help() {
  std::cout << "gcomp " GCOMP_VERSION
               ": compiles tensor graphs (JSON, binary, ONNX) to one loadable file\n\n"
               "Usage: gcomp GRAPH -o OUT [OPTION...]\n       gcomp COMMAND ...\n\nCommands:\n";
  for (const Command& c : kCommands) {
    std::cout << "  " << c.name << std::string(10 - std::string_view(c.name).size(), ' ')
              << c.summary << "\n";
  }
  std::cout << "\ngcomp COMMAND --help tells more; --version prints the version.\n\n"
               "Exit codes: 0 done, 1 the graph is wrong or unsupported, 2 usage, 3 files,\n"
               "4 internal error (with a reproducer), 5 a time or memory limit, 6 the run failed,\n"
               "7 bisect found a difference, 9 graphs of a batch failed.\n";
}

void dispatch(const cli::Arguments& all, driver::DiagnosticPrinter& printer) {
  if (all.empty() || all[0] == "--help" || all[0] == "-h" || all[0] == "help") return print_help();
  if (all[0] == "--version") {
    std::cout << "gcomp " GCOMP_VERSION "\n";
    return;
  }
  for (const Command& c : kCommands) {
    if (all[0] == c.name) return c.run({all.begin() + 1, all.end()}, printer);
  }
  cli::compile_command(all, printer);
}

// A worker of `gcomp batch` is told so by its first argument, --parent=PID.
void become_worker(cli::Arguments& arguments) {
  constexpr std::string_view kOption = "--parent=";
  if (arguments.empty() || !arguments[0].starts_with(kOption)) return;
  driver::end_with_parent(std::atoi(arguments[0].c_str() + kOption.size()));
  arguments.erase(arguments.begin());
}

int exit_code(ExitCode code) { return static_cast<int>(code); }

ExitCode report_internal(const std::string& what, driver::DiagnosticPrinter& printer) {
  Diagnostic d{.message = "internal error: " + what, .code = Code::kInternal};
  const std::string folder = driver::write_reproducer(what);
  if (!folder.empty()) d.hint = "a reproducer is in " + folder + "; please report it";
  printer.print(driver::Severity::kError, d, driver::crash_stage());
  return ExitCode::kInternal;
}

ExitCode run(const cli::Arguments& arguments, driver::DiagnosticPrinter& printer) {
  try {
    dispatch(arguments, printer);
    std::cout.flush();
    if (!std::cout) file_error(Code::kCannotWrite, "standard output cannot be written", "");
    return ExitCode::kDone;
  } catch (const UserError& error) {
    printer.print(error, driver::crash_stage());
    return error.code();
  } catch (const std::bad_alloc&) {
    driver::end_out_of_memory();
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::resource_unavailable_try_again) driver::end_out_of_memory();
    return report_internal(error.what(), printer);
  } catch (const std::exception& error) {
    return report_internal(error.what(), printer);
  }
}

}  // namespace

int main(int argc, char** argv) {
  cli::Arguments arguments(argv + 1, argv + argc);
  become_worker(arguments);
  auto format = driver::DiagnosticFormat::kText;
  driver::prepare_reproducer(driver::shell_command(arguments));
  driver::end_cleanly_on_signals();
  driver::set_limits({});
  try {
    format = cli::take_diagnostic_format(arguments);
  } catch (const UserError& error) {
    std::cerr << "gcomp: " << error.what() << "\n";
    return exit_code(error.code());
  }
  driver::DiagnosticPrinter printer(format, std::cerr);
  printer.prepare_last_words();
  const ExitCode code = run(arguments, printer);
  printer.finish(code);
  return exit_code(code);
}
