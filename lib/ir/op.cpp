#include "gcomp/ir/op.h"

#include <unordered_map>

#include "gcomp/support/error.h"
#include "ops/rows.h"

namespace gcomp {
namespace {

constexpr std::string_view kOpNames[] = {
#define GCOMP_OP_NAME(name) #name,
    GCOMP_OPS(GCOMP_OP_NAME)
#undef GCOMP_OP_NAME
};
static_assert(std::size(kOpNames) == kNumOps);

std::vector<OpInfo> join_rows() {
  std::vector<OpInfo> table;
  table.reserve(kNumOps);
  for (auto rows : {ops::source_rows, ops::elementwise_rows, ops::layout_rows, ops::index_rows,
                    ops::reduce_rows, ops::contract_rows, ops::order_rows, ops::control_rows}) {
    for (OpInfo& row : rows()) table.push_back(std::move(row));
  }
  GCOMP_CHECK(table.size() == kNumOps, "the op table lacks rows or has too many");
  for (size_t i = 0; i < table.size(); ++i) {
    GCOMP_CHECK(static_cast<size_t>(table[i].op) == i,
                "op table out of enumeration order at " + std::string(kOpNames[i]));
    table[i].name = kOpNames[i];
  }
  return table;
}

const std::vector<OpInfo>& table() {
  static const std::vector<OpInfo> kTable = join_rows();
  return kTable;
}

}  // namespace

const OpInfo& info(Op op) { return table()[static_cast<size_t>(op)]; }

std::string_view name(Op op) { return kOpNames[static_cast<size_t>(op)]; }

std::span<const OpInfo> all_ops() { return table(); }

bool parse_op(std::string_view name, Op* op) {
  static const std::unordered_map<std::string_view, Op> kByName = [] {
    std::unordered_map<std::string_view, Op> map;
    for (int i = 0; i < kNumOps; ++i) map.emplace(kOpNames[i], static_cast<Op>(i));
    return map;
  }();
  const auto found = kByName.find(name);
  if (found == kByName.end()) return false;
  *op = found->second;
  return true;
}

}  // namespace gcomp
