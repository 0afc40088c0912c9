#pragma once
// The integers of a plan under construction, and the runs of kernel scalars made of them.

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "gcomp/artifact/plan_builder.h"

namespace gcomp::artifact {

inline constexpr uint32_t kUnbound =
    rt::kNone;                      // segment of what depends on a symbol not (yet) bound
inline constexpr int kStatic = -1;  // segment of a run without symbols

// Interned values: constants, symbols, operations; operands come before their operations.
class ValueTable {
 public:
  PlanValue constant(int64_t v);
  PlanValue symbol(std::string name);
  PlanValue op(rt::DimOp op, PlanValue a, PlanValue b);

  bool is_constant(PlanValue v) const { return nodes_[v.index].kind == Kind::kConstant; }
  bool is_symbol(PlanValue v) const { return nodes_[v.index].kind == Kind::kSymbol; }
  int64_t constant_of(PlanValue v) const { return nodes_[v.index].value; }

  // Symbols become known: by an input (segment 0) or a bind step.
  uint32_t symbol_segment(PlanValue symbol) const;
  void bind(PlanValue symbol, uint32_t segment);

  // Final numbers, and the tables of the plan that follow from them.
  void number(uint32_t num_segments);
  uint32_t segment(PlanValue v) const { return nodes_[v.index].segment; }  // constants: 0
  uint32_t number_of(PlanValue v) const;  // InternalError for values whose symbols nobody binds
  const std::vector<int64_t>& constants() const { return constants_; }
  const std::vector<rt::DimInstruction>& instructions() const { return instructions_; }
  const std::vector<uint32_t>& segment_ends() const { return segment_ends_; }  // in instructions
  const std::vector<PlanValue>& symbols() const { return bound_; }             // by number
  const std::string& name(PlanValue symbol) const { return names_[nodes_[symbol.index].value]; }

 private:
  enum class Kind : uint8_t { kConstant, kSymbol, kOp };
  struct Node {
    Kind kind;
    rt::DimOp op;
    int64_t value;  // constant, or symbol index
    uint32_t a, b;  // operands
    uint32_t segment;
    uint32_t number;
  };
  struct Key {
    uint64_t kind_and_op, x, y;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& k) const;
  };

  PlanValue intern(const Key& key, const Node& node);
  void number_instructions(uint32_t num_segments);

  std::vector<Node> nodes_;
  std::unordered_map<Key, uint32_t, KeyHash> interned_;
  std::vector<std::string> names_;
  std::vector<PlanValue> bound_;  // symbols in the order they were bound
  std::vector<int64_t> constants_;
  std::vector<rt::DimInstruction> instructions_;
  std::vector<uint32_t> segment_ends_;
};

// Runs of consecutive scalars; equal runs are the same.
class ScalarTable {
 public:
  uint32_t add(std::span<const PlanScalar> scalars, ValueTable& values);

  // Final places: static runs first, then by segment.
  void place(const ValueTable& values, uint32_t num_segments);
  uint32_t offset(uint32_t run) const { return offsets_[run]; }
  const std::vector<int64_t>& static_scalars() const { return static_; }
  const std::vector<uint32_t>& sources() const { return sources_; }
  const std::vector<uint32_t>& segment_ends() const { return segment_ends_; }  // in sources

 private:
  struct Run {
    uint32_t begin, length;
  };
  uint64_t hash(uint32_t begin, uint32_t length) const;
  bool equal(Run a, uint32_t begin, uint32_t length) const;
  int segment_of(Run run, const ValueTable& values) const;

  std::vector<PlanScalar> scalars_;
  std::vector<Run> runs_;
  std::unordered_multimap<uint64_t, uint32_t> interned_;
  std::vector<uint32_t> offsets_;
  std::vector<int64_t> static_;
  std::vector<uint32_t> sources_;
  std::vector<uint32_t> segment_ends_;
};

}  // namespace gcomp::artifact
