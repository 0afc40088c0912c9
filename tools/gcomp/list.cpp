#include <iostream>

#include "command.h"
#include "gcomp/driver/pipeline.h"

namespace gcomp::cli {

void list_command(const Arguments& arguments) {
  const auto parser =
      make_parser("gcomp list", "Lists what gcomp has: passes and rules as -O selects them.",
                  "gcomp list passes|rules|ops|tags [-O LEVEL] [OPTION...]");
  std::string what;
  pass::Options options;
  parser->add_option("WHAT", what, "passes, rules, ops or tags")->required();
  add_pipeline_options(*parser, options);
  if (!parse(*parser, arguments)) return;
  std::cout << driver::list(what, options);
}

}  // namespace gcomp::cli
