#include "gcomp/ir/op_document.h"

#include "gcomp/ir/op.h"

namespace gcomp {
namespace {

constexpr std::string_view kPreface = R"(# The ops

Made from the op table (lib/ir/ops/*.cpp); a test keeps it true (`GCOMP_WRITE_OPS_MD=1 test_ir` writes it).

**Tensors** are dense, row-major, of one dtype: bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64,
float16, bfloat16, float32, float64. "Number" means any but bool. The rank is static; an extent is a number or an
expression over symbols (`N`, `2*N + 1`, `(N + 1) // 2`, `N % 4`, `min(N, 4)`, `max(N, M)`). A rank-0 tensor is a
scalar.

**No op broadcasts or converts** its operands: `broadcast` and `cast` are ops. Two extents are the same if their
expressions are; `specify_shape` states an equality that is checked at run time. Axes count from 0; none is
negative.

**Arithmetic.** Integers wrap modulo 2^width. Floats follow IEEE 754 with rounding to nearest even; fused
multiply-add may be used; which NaN an operation gives (sign, payload) is unspecified. float16 and bfloat16 are
computed in float32 and rounded once. Functions such as `exp` are accurate to the bounds stated with the code
generator.

**Carriers.** An extent that depends on data is a symbol defined by a node (`bind_dims`, `nonzero`, `cond`, `loop`).
A node whose attributes mention such a symbol must depend on what defines it: if the type of none of its operands
mentions the symbol, it takes a value that does, or the `bind_dims` result, as an extra trailing operand. A carrier
is not read as data.

**Failures.** A "run-time error" ends the run with a message and the place of the node. Nodes that no output
needs are not run.

**States** are values that live between runs: an input that is the value before a run, an output that is the one
after it, an initial value (lib/formats/README.md). To the ops they are inputs and outputs as any; a run reads all
old values, and only one that succeeds replaces them.

Attributes: int (booleans are 0 or 1), ints, dims (list of extents), string, dtype, graphs, constant.
)";

std::string traits_text(uint32_t traits) {
  struct Row {
    uint32_t bit;
    std::string_view text;
  };
  constexpr Row kRows[] = {{kElementwise, "elementwise"}, {kCommutative, "commutative"},
                           {kAssociative, "associative"}, {kLayout, "layout"},
                           {kReduction, "reduction"},     {kPredicate, "gives bool"},
                           {kEffect, "effect"},           {kDefinesDims, "defines extents"},
                           {kSource, "source"},           {kHasBody, "has bodies"},
                           {kView, "view of operand 0"},  {kUpdates, "may overwrite operand 0"}};
  std::string text;
  for (const Row& row : kRows) {
    if (traits & row.bit) text += (text.empty() ? "" : ", ") + std::string(row.text);
  }
  return text;
}

// The heading that begins at an op: one for each file of rows.
std::string_view family_from(Op op) {
  switch (op) {
    case Op::input: return "Sources";
    case Op::cast: return "Elementwise, one operand";
    case Op::add: return "Elementwise, two and three operands";
    case Op::reshape: return "Layout";
    case Op::gather: return "Indexed";
    case Op::reduce_sum: return "Reductions and scans";
    case Op::matmul: return "Contractions and windows";
    case Op::sort: return "Order";
    case Op::check: return "Checks and control flow";
    default: return "";
  }
}

}  // namespace

std::string op_document() {
  std::string text(kPreface);
  for (const OpInfo& row : all_ops()) {
    const std::string_view family = family_from(row.op);
    if (!family.empty()) text += "\n## " + std::string(family) + "\n";
    text += "\n### " + std::string(row.name) + "\n\n`" + std::string(row.signature) + "`";
    const std::string traits = traits_text(row.traits);
    if (!traits.empty()) text += " (" + traits + ")";
    text += "\n\n" + std::string(row.doc) + "\n";
    if (row.attrs.empty()) continue;
    text += "\n| attribute | kind | | meaning |\n|---|---|---|---|\n";
    for (const AttrSpec& spec : row.attrs) {
      text += "| `" + std::string(name(spec.key)) + "` | " + std::string(name(spec.kind)) + " | " +
              (spec.required ? "required" : "optional") + " | " + std::string(spec.doc) + " |\n";
    }
  }
  return text;
}

}  // namespace gcomp
