// The op table and type inference, op by op: what is accepted, and what the errors say.

#include "gcomp/ir/infer.h"

#include <doctest/doctest.h>

#include "gcomp/ir/builder.h"
#include "gcomp/support/error.h"

using namespace gcomp;

TEST_CASE("the op table is complete and in enumeration order") {
  REQUIRE(all_ops().size() == kNumOps);
  for (int i = 0; i < kNumOps; ++i) {
    const OpInfo& row = all_ops()[i];
    CAPTURE(row.name);
    CHECK(static_cast<int>(row.op) == i);
    CHECK(row.name == name(row.op));
    CHECK((row.infer != nullptr));
    CHECK(row.doc.size() > 2);
    CHECK(row.doc.back() == '.');
    CHECK(row.signature.find("->") != std::string_view::npos);
    Op parsed;
    REQUIRE(parse_op(row.name, &parsed));
    CHECK(parsed == row.op);
    for (size_t a = 1; a < row.attrs.size(); ++a) {
      CHECK(row.attrs[a - 1].key != row.attrs[a].key);
    }
  }
  Op parsed;
  CHECK_FALSE(parse_op("no_such_op", &parsed));
}
