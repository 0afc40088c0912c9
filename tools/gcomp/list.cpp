#include <iostream>

#include "command.h"
#include "gcomp/driver/pipeline.h"
#include "gcomp/ir/op_document.h"
#include "gcomp/support/error.h"

namespace gcomp::cli {

void list_command(const Arguments& arguments, driver::DiagnosticPrinter& printer) {
  const auto parser =
      make_parser("gcomp list", "Lists what gcomp has: passes and rules as -O selects them.",
                  "gcomp list levels|passes|rules|ops|tags|codes [-O LEVEL] [OPTION...]");
  std::string what;
  bool markdown = false;
  pass::Options options;
  parser->add_option("WHAT", what, "levels, passes, rules, ops, tags or codes (of diagnostics)")
      ->required();
  parser->add_flag("--markdown", markdown, "With ops: the document of every op (lib/ir/OPS.md)");
  add_pipeline_options(*parser, options);
  if (!parse(*parser, arguments)) return;
  if (markdown && what != "ops") {
    usage_error(Code::kUsage, "--markdown is for ops only", "gcomp list " + what);
  }
  std::cout << (markdown ? op_document() : driver::list(what, options));
}

}  // namespace gcomp::cli
