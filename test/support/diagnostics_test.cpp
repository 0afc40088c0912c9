#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "gcomp/support/error.h"

using namespace gcomp;

TEST_CASE("DIAGNOSTICS.md is the document of the codes") {
  const std::string path = GCOMP_SOURCE_DIR "/lib/support/DIAGNOSTICS.md";
  if (std::getenv("GCOMP_WRITE_DIAGNOSTICS_MD") != nullptr) std::ofstream(path) << code_document();
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  CHECK_MESSAGE(text.str() == code_document(),
                "run GCOMP_WRITE_DIAGNOSTICS_MD=1 build/test_support");
}

TEST_CASE("every exit code of an error has a general code, and every code belongs to one") {
  std::set<int> numbers;
  for (const CodeInfo& row : all_codes()) {
    numbers.insert(static_cast<int>(row.code));
    CHECK(!row.means.empty());
    CHECK(!row.cure.empty());
    CHECK(&info(row.code) == &row);
  }
  CHECK(numbers.size() == all_codes().size());
  for (int exit_code = 1; exit_code <= 9; ++exit_code) CHECK(numbers.contains(1000 * exit_code));
  CHECK(*numbers.begin() == 1000);
  CHECK(*numbers.rbegin() < 10000);
  CHECK_THROWS_AS(info(Code::kNone), InternalError);
}

TEST_CASE("an error without a code has the general one of its exit code") {
  const UserError error(ExitCode::kFiles,
                        {{.message = "a"}, {.message = "b", .code = Code::kCannotRead}});
  CHECK(error.diagnostics()[0].code == Code::kFile);
  CHECK(error.diagnostics()[1].code == Code::kCannotRead);
  CHECK(to_string(error.diagnostics()[1].code) == "GC3001");
}

TEST_CASE("a diagnostic as text") {
  CHECK(format({.message = "m"}) == "m");
  CHECK(format({.message = "m", .place = "p", .hint = "h", .file = "f"}) == "f: p: m (h)");
  CHECK(format({.message = "m", .file = "f"}) == "f: m");
}
