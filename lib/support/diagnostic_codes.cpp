#include "gcomp/support/diagnostic_codes.h"

#include <algorithm>

#include "gcomp/support/error.h"

namespace gcomp {
namespace {

constexpr CodeInfo kCodes[] = {
#define GCOMP_ROW(number, enumerator, means, cure) {Code::enumerator, means, cure},
    GCOMP_DIAGNOSTIC_CODES(GCOMP_ROW)
#undef GCOMP_ROW
};
static_assert(std::ranges::is_sorted(kCodes, {}, &CodeInfo::code));

}  // namespace

std::span<const CodeInfo> all_codes() { return kCodes; }

const CodeInfo& info(Code code) {
  const auto* found = std::ranges::lower_bound(kCodes, code, {}, &CodeInfo::code);
  GCOMP_CHECK(found != std::end(kCodes) && found->code == code, "a diagnostic without a code");
  return *found;
}

std::string to_string(Code code) { return "GC" + std::to_string(static_cast<int>(code)); }

std::string code_document() {
  std::string text =
      "# Diagnostics\n\n"
      "What gcomp tells its user has a code that never changes its meaning; `--diagnostics=json` "
      "and `=sarif` show it.\n"
      "The thousands are the exit code; 8 does not end the command. A code that ends in 00 stands "
      "for all that has\n"
      "none of its own. Made from `include/gcomp/support/diagnostic_codes.h`; a test keeps it "
      "true\n"
      "(`GCOMP_WRITE_DIAGNOSTICS_MD=1 test_support` writes it).\n\n"
      "| code | means | what to do |\n|---|---|---|\n";
  for (const CodeInfo& row : kCodes) {
    std::string line = "| " + to_string(row.code) + " | " + std::string(row.means) + " | " +
                       std::string(row.cure) + " |\n";
    for (size_t at = 0; (at = line.find("s|", at)) != line.npos; at += 3) line.insert(at + 1, "\\");
    text += line;
  }
  return text;
}

}  // namespace gcomp
