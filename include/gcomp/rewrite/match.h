#pragma once
// What a rule's condition and result function see: the bound names (Match), facts about values of the
// graph being built (Facts), and a builder that passes carriers of data-dependent extents by itself
// (Emitter).

#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "gcomp/ir/builder.h"

namespace gcomp::rewrite {

// The one value all elements of a constant have.
struct Splat {
  DType dtype = DType::kFloat32;
  double real = 0;              // floats exactly; integers rounded
  int64_t integer = 0;          // integers exactly
  bool equals(double v) const;  // by bits: -0.0 is not 0.0; NaN equals NaN
};

// Facts about values of one graph under construction, remembered per constant and per value.
class Facts {
 public:
  explicit Facts(const Graph& graph) : graph_(&graph) {}

  const Graph& graph() const { return *graph_; }
  // The value is a constant or the broadcast of one (to a shape that may be symbolic).
  bool is_constant(ValueId v) const;
  // The constant that is, or is broadcast to, `v`.
  const Constant* constant_source(ValueId v) const;
  std::optional<Splat> splat(ValueId v);
  // Readers in the old graph of the values that became `v`; 0 for a value a rule just made.
  uint32_t uses(ValueId v) const {
    uses_asked_ = true;
    return v.index < uses_.size() ? uses_[v.index] : 0;
  }
  // Whether `uses` was called since this was last asked.
  bool take_uses_asked() { return std::exchange(uses_asked_, false); }
  void add_uses(ValueId v, uint32_t count);
  // The value from which a node can take data-dependent extents.
  void set_carrier(SymbolId s, ValueId v) { carriers_[s.index] = v; }
  std::optional<ValueId> carrier(SymbolId s) const;
  bool has_carriers() const { return !carriers_.empty(); }

 private:
  const Graph* graph_;
  std::vector<uint32_t> uses_;
  mutable bool uses_asked_ = false;
  std::unordered_map<uint32_t, std::optional<Splat>> splats_;  // by the constant's attributes
  std::unordered_map<uint32_t, ValueId> carriers_;             // by symbol
};

class Match {
 public:
  Match(Facts& facts, NodeId root, std::span<const std::string> names,
        std::span<const ValueId> values, bool fast_math)
      : facts_(facts), root_(root), names_(names), values_(values), fast_math_(fast_math) {}

  const Graph& graph() const { return facts_.graph(); }
  Context& context() const { return graph().context(); }
  DimTable& dims() const { return context().dims; }
  Facts& facts() const { return facts_; }

  NodeId root() const { return root_; }
  ValueId root_value(int i = 0) const { return graph().result(root_, i); }
  const Type& root_type() const { return graph().type(root_value()); }

  bool has(std::string_view name) const { return slot(name) >= 0; }
  ValueId operator[](std::string_view name) const;  // unknown name: InternalError
  NodeId node(std::string_view name) const { return graph().producer((*this)[name]); }
  Op op(std::string_view name) const { return graph().node(node(name)).op; }
  Attrs attrs(std::string_view name) const { return graph().attrs(node(name)); }
  std::vector<ValueId> operands(std::string_view name) const {  // a copy: emitting moves the arena
    const auto v = graph().operands(node(name));
    return {v.begin(), v.end()};
  }
  const Type& type(std::string_view name) const { return graph().type((*this)[name]); }
  double scalar(std::string_view name) const;  // the splat bound to `name`
  bool fast_math() const { return fast_math_; }

 private:
  int slot(std::string_view name) const;
  Facts& facts_;
  NodeId root_;
  std::span<const std::string> names_;
  std::span<const ValueId> values_;
  bool fast_math_;
};

// The builder as rules use it. Layout shorthands add carriers where extents depend on data.
class Emitter {
 public:
  Emitter(GraphBuilder& builder, Facts& facts) : builder_(builder), facts_(facts) {}

  GraphBuilder& builder() { return builder_; }
  DimTable& dims() { return builder_.dims(); }
  const Type& type(ValueId v) const { return builder_.type(v); }

  ValueId value(Op op, std::initializer_list<ValueId> operands, std::vector<Attr> attrs = {}) {
    return builder_.value(op, operands, std::move(attrs));
  }
  ValueId value(Op op, std::span<const ValueId> operands, std::vector<Attr> attrs = {}) {
    return builder_.value(op, operands, std::move(attrs));
  }
  // The same op and attributes as node `n`, its first operands replaced; the rest is kept.
  ValueId like(NodeId n, std::span<const ValueId> operands);
  ValueId like(NodeId n, std::initializer_list<ValueId> operands) {
    return like(n, std::span<const ValueId>(operands.begin(), operands.size()));
  }
  ValueId full(const Type& t, double v);
  ValueId cast(ValueId v, DType t) { return builder_.cast(v, t); }
  ValueId reshape(ValueId v, std::vector<DimId> shape);
  ValueId broadcast(ValueId v, std::vector<DimId> shape, std::vector<int64_t> axes);
  ValueId transpose(ValueId v, std::vector<int64_t> perm) {
    return builder_.transpose(v, std::move(perm));
  }
  ValueId slice(ValueId v, std::vector<DimId> starts, std::vector<DimId> shape,
                std::vector<int64_t> strides);
  ValueId pad(ValueId v, ValueId fill, std::vector<DimId> low, std::vector<DimId> high);
  ValueId concat(std::span<const ValueId> parts, int64_t axis) {
    return builder_.concat(parts, axis);
  }
  ValueId dims_value(std::span<const DimId> values);

  // Carriers for data-dependent symbols of `extents` that the types of `operands` do not mention.
  std::vector<ValueId> carriers(std::span<const DimId> extents, std::span<const ValueId> operands);

 private:
  GraphBuilder& builder_;
  Facts& facts_;
};

}  // namespace gcomp::rewrite
