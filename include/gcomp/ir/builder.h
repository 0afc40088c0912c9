#pragma once
// Building graphs, raw (node for node what a file says) or interned (equal pure nodes are one
// node). Every node is typed as it is made; a mistake throws UserError naming the node's location.

#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "gcomp/ir/graph.h"

namespace gcomp {

class GraphBuilder {
 public:
  enum class Mode { kRaw, kInterned };
  GraphBuilder(Context& context, Mode mode);

  Context& context() { return graph_->context(); }
  DimTable& dims() { return context().dims; }
  const Graph& graph() const { return *graph_; }
  const Type& type(ValueId v) const { return graph_->type(v); }
  const Constant* constant_of(ValueId v) const { return graph_->constant(v); }

  // Location given to nodes made from here on (until set again).
  void set_loc(LocId loc) { loc_ = loc; }
  void set_loc(std::string_view text) { loc_ = context().locs.intern(text); }
  LocId loc() const { return loc_; }

  ValueId input(std::string name, const Type& t, bool donate = false);
  ValueId constant(Constant c);
  ValueId constant(ConstantId id);
  void output(std::string name, ValueId v) { graph_->add_output(std::move(name), v); }
  void state(const State& s) { graph_->add_state(s); }
  std::unique_ptr<Graph> finish();

  // Room for that many, so that building a large graph does not grow step by step.
  void reserve(size_t nodes, size_t operands);

  // Any op. `attrs` in any order. Returns the node; `value` is for ops with one result.
  NodeId node(Op op, std::span<const ValueId> operands, std::vector<Attr> attrs = {});
  NodeId node(Op op, std::span<const ValueId> operands, AttrsId attrs);
  // With result types that are known already (a node rebuilt on operands of the same types): no
  // inference. `operands` must not point into this graph.
  NodeId typed_node(Op op, std::span<const ValueId> operands, AttrsId attrs,
                    std::span<const TypeId> types);
  ValueId value(Op op, std::initializer_list<ValueId> operands, std::vector<Attr> attrs = {});
  ValueId value(Op op, std::span<const ValueId> operands, std::vector<Attr> attrs = {});
  ValueId result(NodeId n, int i = 0) const { return graph_->result(n, i); }

  // How often interning found an equal node.
  size_t intern_hits() const { return intern_hits_; }

  // ---- Known elements of small integer tensors (int64/int32, rank 0 or 1, at most 64 elements)
  // ---- One expression an element, when the value is shape arithmetic; nullopt otherwise. Computed
  // once per value from its producer.
  const std::optional<std::vector<DimId>>& dim_values(ValueId v);

  // The elements of `v` (integer, rank 0 or 1, static length) as extents: their dim_values if
  // known, else fresh symbols bound at run time by a `bind_dims` node, whose result is then
  // appended to `carriers` (to be passed as extra operand by the node that uses the extents).
  std::vector<DimId> extents_from(ValueId v, std::string_view stem, std::vector<ValueId>* carriers);

  // True if some symbol of `wanted` is not an extent of a graph input: then the node that uses
  // these extents must have an operand that brings them (a value whose type mentions them, or a
  // carrier).
  bool needs_carrier(std::span<const DimId> wanted);

  // ---- Shorthands; each infers, and returns its operand where it would change nothing ----
  ValueId scalar(DType t, double value);            // rank 0
  ValueId scalar_int(DType t, int64_t value);       // rank 0, exact
  ValueId int64s(std::span<const int64_t> values);  // rank 1 constant
  ValueId full(const Type& t, double value, std::span<const ValueId> carriers = {});
  ValueId full_like(ValueId v, double value);  // same type as v, every element `value`
  ValueId cast(ValueId v, DType t);
  ValueId reshape(ValueId v, std::vector<DimId> shape, std::span<const ValueId> carriers = {});
  // NumPy broadcasting to `shape` (rank >= v's): axes are right-aligned, extents 1 are repeated.
  ValueId broadcast_to(ValueId v, std::vector<DimId> shape, std::span<const ValueId> carriers = {});
  // Places operand axis i at result axis axes[i]; the other result axes repeat.
  ValueId broadcast(ValueId v, std::vector<DimId> shape, std::vector<int64_t> axes,
                    std::span<const ValueId> carriers = {});
  ValueId transpose(ValueId v, std::vector<int64_t> perm);
  // Along each axis: elements starts[a] + i * strides[a], i < shape[a]; must be in bounds.
  ValueId slice(ValueId v, std::vector<DimId> starts, std::vector<DimId> shape,
                std::vector<int64_t> strides, std::span<const ValueId> carriers = {});
  ValueId pad(ValueId v, ValueId fill, std::vector<DimId> low, std::vector<DimId> high,
              std::span<const ValueId> carriers = {});
  ValueId concat(std::span<const ValueId> parts, int64_t axis);
  ValueId dims_value(std::span<const DimId> dims,
                     std::span<const ValueId> carriers = {});   // int64[n]
  ValueId shape_of(ValueId v);                                  // int64[rank], folded where static
  ValueId reduce(Op op, ValueId v, std::vector<int64_t> axes);  // axes are removed
  // Elementwise with NumPy broadcasting of the operands to a common shape (dtypes must be equal).
  ValueId elementwise(Op op, std::initializer_list<ValueId> operands);
  ValueId elementwise(Op op, std::span<const ValueId> operands);
  // The NumPy common shape. Two different symbolic extents give max of both, checked at run time
  // (an extent of 1 repeats).
  std::vector<DimId> common_shape(std::span<const ValueId> operands);

 private:
  std::optional<NodeId> find_equal(size_t hash, Op op, std::span<const ValueId> operands,
                                   AttrsId attrs) const;
  void infer_types(Op op, std::span<const ValueId> operands, AttrsId attrs);  // into types_
  std::optional<std::vector<DimId>> compute_dim_values(ValueId v);
  bool is_input_symbol(SymbolId s);

  std::unique_ptr<Graph> graph_;
  Mode mode_;
  LocId loc_ = LocTable::none();
  size_t intern_hits_ = 0;
  InternTable interned_;           // nodes
  std::vector<ValueId> operands_;  // scratch
  std::vector<TypeId> types_;      // scratch
  std::unordered_map<uint32_t, std::optional<std::vector<DimId>>> dim_values_;
  std::unordered_map<uint32_t, ValueId> bound_;  // value -> the bind_dims made for it
  size_t inputs_seen_ = 0;                       // how many inputs `input_symbols_` covers
  std::unordered_set<uint32_t> input_symbols_;
};

}  // namespace gcomp
