#include <iostream>

#include "command.h"
#include "gcomp/driver/pipeline.h"
#include "gcomp/ir/op_document.h"
#include "gcomp/support/error.h"

namespace gcomp::cli {

void list_command(const Arguments& arguments) {
  const auto parser =
      make_parser("gcomp list", "Lists what gcomp has: passes and rules as -O selects them.",
                  "gcomp list levels|passes|rules|ops|tags [-O LEVEL] [OPTION...]");
  std::string what;
  bool markdown = false;
  pass::Options options;
  parser->add_option("WHAT", what, "levels, passes, rules, ops or tags")->required();
  parser->add_flag("--markdown", markdown, "With ops: the document of every op (lib/ir/OPS.md)");
  add_pipeline_options(*parser, options);
  if (!parse(*parser, arguments)) return;
  if (markdown && what != "ops") {
    throw UserError(ExitCode::kUsage, {"--markdown is for ops only", "gcomp list " + what, ""});
  }
  std::cout << (markdown ? op_document() : driver::list(what, options));
}

}  // namespace gcomp::cli
