#include "gcomp/driver/inspect.h"

#include <iostream>

#include "command.h"

namespace gcomp::cli {

void inspect_command(const Arguments& arguments, driver::DiagnosticPrinter& printer) {
  const auto parser =
      make_parser("gcomp inspect", "Describes a graph or an artifact without running it.",
                  "gcomp inspect FILE [--json] [--dim N=32]");
  std::string file;
  bool json = false;
  std::map<std::string, int64_t> dims;
  parser->add_option("FILE", file, "A graph or an artifact")->required();
  parser->add_flag("--json", json, "One JSON object instead of lines");
  add_dims_option(*parser, dims);
  add_limit_options(*parser);
  if (!parse(*parser, arguments)) return;
  std::cout << driver::inspect(file, json, dims);
}

}  // namespace gcomp::cli
