#include "gcomp/rewrite/match.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "gcomp/support/error.h"

namespace gcomp::rewrite {

bool Splat::equals(double v) const {
  if (is_float(dtype)) return std::bit_cast<uint64_t>(real) == std::bit_cast<uint64_t>(v);
  // Integers and bools: 2^63 and beyond are not representable and never equal.
  if (v < -9223372036854775808.0 || v >= 9223372036854775808.0) return false;
  return static_cast<double>(static_cast<int64_t>(v)) == v && integer == static_cast<int64_t>(v) &&
         !std::signbit(v == 0 ? v : 1.0);
}

const Constant* Facts::constant_source(ValueId v) const {
  const Node& n = graph_->producer_node(v);
  if (n.op == Op::constant) return graph_->constant(v);
  if (n.op == Op::broadcast) return graph_->constant(graph_->operands(n)[0]);
  return nullptr;
}

bool Facts::is_constant(ValueId v) const {
  const Node& n = graph_->producer_node(v);
  if (n.op == Op::constant) return true;
  return n.op == Op::broadcast && graph_->producer_node(graph_->operands(n)[0]).op == Op::constant;
}

std::optional<Splat> Facts::splat(ValueId v) {
  const Node* n = &graph_->producer_node(v);
  if (n->op == Op::broadcast) n = &graph_->producer_node(graph_->operands(*n)[0]);
  if (n->op != Op::constant) return std::nullopt;
  const auto [it, inserted] = splats_.try_emplace(n->attrs.index);
  if (inserted) {
    const Constant& c = *graph_->constant(n->first_result);
    if (is_splat(c)) it->second = Splat{c.dtype, c.as_double(0), c.as_int(0)};
  }
  return it->second;
}

void Facts::add_uses(ValueId v, uint32_t count) {
  if (v.index >= uses_.size()) uses_.resize(std::max<size_t>(v.index + 1, uses_.size() * 2));
  uses_[v.index] += count;
}

std::optional<ValueId> Facts::carrier(SymbolId s) const {
  const auto found = carriers_.find(s.index);
  if (found == carriers_.end()) return std::nullopt;
  return found->second;
}

int Match::slot(std::string_view name) const {
  for (size_t i = 0; i < names_.size(); ++i) {
    if (names_[i] == name) return static_cast<int>(i);
  }
  return -1;
}

ValueId Match::operator[](std::string_view name) const {
  const int i = slot(name);
  GCOMP_CHECK(i >= 0 && values_[i].valid(), "rule uses the unbound name " + std::string(name));
  return values_[i];
}

double Match::scalar(std::string_view name) const {
  const auto splat = facts_.splat((*this)[name]);
  GCOMP_CHECK(splat.has_value(), "not a splat: " + std::string(name));
  return splat->real;
}

ValueId Emitter::like(NodeId n, std::span<const ValueId> operands) {
  const Node node = builder_.graph().node(n);
  const auto old = builder_.graph().operands(n);
  std::vector<ValueId> all(operands.begin(), operands.end());
  if (old.size() > all.size()) all.insert(all.end(), old.begin() + all.size(), old.end());
  return builder_.result(builder_.node(node.op, all, node.attrs));
}

std::vector<ValueId> Emitter::carriers(std::span<const DimId> extents,
                                       std::span<const ValueId> operands) {
  std::vector<ValueId> found;
  if (!facts_.has_carriers()) return found;
  std::vector<SymbolId> wanted, given;
  for (DimId d : extents) dims().collect_symbols(d, &wanted);
  for (ValueId v : operands) {
    for (DimId d : type(v).dims) dims().collect_symbols(d, &given);
  }
  for (SymbolId s : wanted) {
    if (std::find(given.begin(), given.end(), s) != given.end()) continue;
    const auto carrier = facts_.carrier(s);
    if (carrier && std::find(found.begin(), found.end(), *carrier) == found.end()) {
      found.push_back(*carrier);
    }
  }
  return found;
}

ValueId Emitter::full(const Type& t, double v) {
  const Type copy = t;
  return builder_.full(copy, v, carriers(copy.dims, {}));
}

ValueId Emitter::reshape(ValueId v, std::vector<DimId> shape) {
  const auto extra = carriers(shape, {&v, 1});
  return builder_.reshape(v, std::move(shape), extra);
}

ValueId Emitter::broadcast(ValueId v, std::vector<DimId> shape, std::vector<int64_t> axes) {
  const auto extra = carriers(shape, {&v, 1});
  return builder_.broadcast(v, std::move(shape), std::move(axes), extra);
}

ValueId Emitter::slice(ValueId v, std::vector<DimId> starts, std::vector<DimId> shape,
                       std::vector<int64_t> strides) {
  std::vector<DimId> mentioned = starts;
  mentioned.insert(mentioned.end(), shape.begin(), shape.end());
  const auto extra = carriers(mentioned, {&v, 1});
  return builder_.slice(v, std::move(starts), std::move(shape), std::move(strides), extra);
}

ValueId Emitter::pad(ValueId v, ValueId fill, std::vector<DimId> low, std::vector<DimId> high) {
  std::vector<DimId> mentioned = low;
  mentioned.insert(mentioned.end(), high.begin(), high.end());
  const auto extra = carriers(mentioned, {&v, 1});
  return builder_.pad(v, fill, std::move(low), std::move(high), extra);
}

ValueId Emitter::dims_value(std::span<const DimId> values) {
  return builder_.dims_value(values, carriers(values, {}));
}

}  // namespace gcomp::rewrite
