#pragma once
// What a Schedule is made of, as plain tables: nodes (ops or fused groups) that read and make values,
// which values share memory, and which result may overwrite which operand. Also what is decided about
// it: an order of the nodes and the overwrites.

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "gcomp/ir/graph.h"
#include "gcomp/schedule/fusion.h"

namespace gcomp::schedule {

inline constexpr uint32_t kNoNode = 0xffffffffu;

// Why the memory of a value may not be overwritten.
enum class Protection : uint8_t { kNone, kConstant, kInput, kOutput };

// `result` may be written over `operand`, which the node of `result` reads or which no node makes (the
// old value of a state). Both have the same number of bytes. Of a pair given twice, both must hold.
struct Candidate {
  ValueId result;
  ValueId operand;
  // The node reads every operand at an index only before it writes the result there, so it may read the
  // memory it overwrites through other operands too (`x + reshape(x)` over x). Otherwise it must not.
  bool same_index = false;
};

struct ScheduleTables {
  uint32_t num_nodes() const {
    return first_operand.empty() ? 0 : static_cast<uint32_t>(first_operand.size() - 1);
  }
  size_t num_values() const { return producer.size(); }
  std::span<const ValueId> operands_of(uint32_t n) const {
    return {operands.data() + first_operand[n], first_operand[n + 1] - first_operand[n]};
  }
  std::string name(uint32_t n) const { return name_of ? name_of(n) : "#" + std::to_string(n); }

  // Per node, and one more: where its operands begin. A value read twice occurs twice or once.
  std::vector<uint32_t> first_operand;
  std::vector<ValueId> operands;
  // Per value: the node that makes it (kNoNode: an input or a constant, or nobody makes it here).
  std::vector<uint32_t> producer;
  // Per value: the value whose memory it shares, all of it (invalid: none). That is an operand of its
  // producer, or has the same producer.
  std::vector<ValueId> view_of;
  std::vector<Protection> protection;  // per value
  std::vector<uint64_t> bytes;         // per value; an estimate is good enough
  std::vector<Candidate> candidates;   // of one result the best first
  std::vector<std::pair<uint32_t, uint32_t>>
      before;                                    // first comes before second, for other reasons
  std::function<std::string(uint32_t)> name_of;  // of a node, for messages; may be empty
};

// An order of the nodes, and per value the one it overwrites (invalid: it has memory of its own).
struct InplacePlan {
  std::vector<uint32_t> order;
  std::vector<ValueId> overwrites;
};

struct TableOptions {
  // Inputs of states may be overwritten like donated ones, and are (op_tables) by their new values. A run
  // that fails then leaves a state that is neither.
  bool states = false;
};

// Both keep the graph's value ids, and refer to the graph in `name_of`.
// Nodes are the graph's nodes; views and candidates are those of the op table (Trait kView, kUpdates
// and kElementwise).
ScheduleTables op_tables(const Graph& graph, const TableOptions& options = {});
// Nodes are groups; `candidates` is empty, for what a group may overwrite only the one who writes its
// kernels knows. For tests: the compiler makes its tables from the steps that groups become
// (lib/lower/arrange.cpp), which know of workspaces, copies and control flow as well.
ScheduleTables group_tables(const Graph& graph, const Groups& groups,
                            const TableOptions& options = {});

}  // namespace gcomp::schedule
