#include "product.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "contraction.h"

namespace gcomp::lower {
namespace {

// Values of one group; what it is made of besides the two factors.
class ProductFinder {
 public:
  ProductFinder(PlanWriter& w, uint32_t group)
      : graph_(w.graph()), groups_(w.groups()), group_(groups_.groups[group]), dims_(w.dims()) {}

  // False if it is anything but a product or convolution, times alpha, plus a bias, and max(it, 0), in this order.
  bool find() {
    const Node& node = graph_.node(group_.nodes[0]);
    if (!is_float(graph_.type(node.first_result).dtype)) return false;
    const bool is_convolution = node.op == Op::conv;
    if (is_convolution && !take_convolution(node)) return false;
    if (!is_convolution) take_factors(node);
    result_ = node.first_result;
    for (size_t i = 1; i < group_.nodes.size(); ++i) {
      if (!take(graph_.node(group_.nodes[i]))) return false;
    }
    if (is_convolution && product_.relu && !bias_.valid()) return false;  // cuDNN wants a bias then
    return group_.outputs.size() == 1 && group_.outputs[0] == result_;
  }

  LibraryProduct product_;
  ValueId a_, b_, bias_, result_;

 private:
  void take_factors(const Node& node) {
    const Attrs attrs = graph_.attrs(node);
    const auto operands = graph_.operands(node);
    a_ = operands[0];
    b_ = operands[1];
    product_.trans_a = attrs.integer_or(AttrKey::trans_a, 0) != 0;
    product_.trans_b = attrs.integer_or(AttrKey::trans_b, 0) != 0;
    const auto& out = graph_.type(node.first_result).dims;
    const auto& a = graph_.type(a_).dims;
    product_.dtype = graph_.type(node.first_result).dtype;
    product_.batch = dims_.product(std::span(out).first(out.size() - 2));
    product_.rows = out[out.size() - 2];
    product_.columns = out.back();
    product_.depth = product_.trans_a ? a[a.size() - 2] : a.back();
  }

  bool take_convolution(const Node& node) {
    const ConvShape s = conv_shape(graph_, node);
    // DimIds are interned: equal extents, as far as the compiler knows.
    if (s.spatial != 2 || s.low != s.high) return false;
    const auto operands = graph_.operands(node);
    a_ = operands[0];
    b_ = operands[1];
    if (operands.size() > 2) bias_ = operands[2];
    const auto& x = graph_.type(a_).dims;
    const size_t first = s.channels_last ? 1 : 2;
    const DimId groups = dims_.constant(s.groups);
    product_.dtype = graph_.type(node.first_result).dtype;
    product_.channels_last = s.channels_last;
    product_.batch = groups;
    product_.rows = dims_.mul(s.batch, dims_.product(s.out));
    product_.columns = dims_.floor_div(s.features, groups);
    product_.depth = dims_.mul(dims_.floor_div(s.channels, groups), dims_.product(s.window));
    const auto number = [&](int64_t n) { return dims_.constant(n); };
    product_.convolution = {s.batch,
                            s.channels,
                            x[first],
                            x[first + 1],
                            s.features,
                            s.window[0],
                            s.window[1],
                            s.out[0],
                            s.out[1],
                            s.low[0],
                            s.low[1],
                            number(s.strides[0]),
                            number(s.strides[1]),
                            number(s.dilations[0]),
                            number(s.dilations[1])};
    return true;
  }

  // One more node, of the result so far and something else.
  bool take(const Node& node) {
    const auto operands = graph_.operands(node);
    if (operands.size() != 2) return false;
    const bool first = same_elements(operands[0]) == result_;
    if (first == (same_elements(operands[1]) == result_)) return false;
    const ValueId other = operands[first ? 1 : 0];
    result_ = node.first_result;
    if (product_.relu) return false;
    switch (node.op) {
      case Op::mul: return take_factor(other);
      case Op::add: return take_bias(other);
      case Op::max: return product_.relu = literal(other) == 0.0;
      default: return false;
    }
  }

  bool take_factor(ValueId v) {
    const std::optional<double> value = literal(v);
    // Libraries do not look at the factors where alpha is 0.
    if (!value || *value == 0 || !std::isfinite(*value)) return false;
    if (bias_.valid() || product_.alpha != 1) return false;
    product_.alpha = *value;
    return true;
  }

  // Of a product, an element a column: repeated along all axes but the last, which is the product's.
  bool take_bias(ValueId v) {
    const Node& node = graph_.producer_node(same_elements(v));
    if (bias_.valid() || node.op != Op::broadcast || !product_.convolution.empty()) return false;
    const auto axes = graph_.attrs(node).ints(AttrKey::axes);
    const auto& shape = graph_.type(node.first_result).dims;
    const ValueId x = graph_.operands(node)[0];
    const auto& given = graph_.type(x).dims;
    if (axes.empty() || axes.back() + 1 != static_cast<int64_t>(shape.size())) return false;
    if (shape.back() != product_.columns || given.back() != product_.columns) return false;
    if (dims_.product(given) != product_.columns || !groups_.stored[x.index]) return false;
    bias_ = x;
    return true;
  }

  // The value with the same elements in the same order of which `v` is another shape.
  ValueId same_elements(ValueId v) const {
    for (;;) {
      const Node& node = graph_.producer_node(v);
      if (node.op != Op::reshape && node.op != Op::specify_shape) return v;
      v = graph_.operands(node)[0];
    }
  }

  std::optional<double> literal(ValueId v) const {
    for (;;) {
      if (schedule::is_literal(graph_, v)) return graph_.constant(v)->as_double(0);
      const Node& node = graph_.producer_node(v);
      if (node.op != Op::broadcast && node.op != Op::reshape) return std::nullopt;
      v = graph_.operands(node)[0];
    }
  }

  const Graph& graph_;
  const schedule::Groups& groups_;
  const schedule::Group& group_;
  DimTable& dims_;
};

}  // namespace

void note_product(PlanWriter& w, uint32_t group, size_t first) {
  LoweredModule& module = *w.state().module;
  if (module.steps.size() != first + 1) return;
  Step& call = module.steps.back();
  ProductFinder finder(w, group);
  if (call.kind != Step::Kind::kCall || !call.messages.empty() || !finder.find()) return;
  LibraryProduct& p = finder.product_;
  bool found = true;
  const auto position = [&](ValueId v) {
    const auto at = std::ranges::find(call.memory, w.memory_of(v));
    found = found && at != call.memory.end();
    return static_cast<uint32_t>(at - call.memory.begin());
  };
  p.a = position(finder.a_);
  p.b = position(finder.b_);
  p.result = position(finder.result_);
  if (finder.bias_.valid()) p.bias = position(finder.bias_);
  if (!found) return;
  // A library may read the bias at any time.
  std::erase_if(call.overwrites, [&](const Overwrite& o) { return o.read == p.bias; });
  call.product = static_cast<uint32_t>(module.products.size());
  module.products.push_back(std::move(p));
}

}  // namespace gcomp::lower
