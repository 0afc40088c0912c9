// Running sums and products along an axis: sequential along it, vectors over the axes behind it.

#include "dense.h"
#include "plan_writer.h"

namespace gcomp::lower {

using kernel::Value;
using kernel::Values;

void lower_scan(PlanWriter& w, uint32_t group) {
  const NodeId id = w.groups().groups[group].nodes[0];
  const Graph& graph = w.graph();
  const Node& node = graph.node(id);
  const Attrs attrs = graph.attrs(node);
  const auto axis = static_cast<size_t>(attrs.integer(AttrKey::axis));
  const bool exclusive = attrs.integer_or(AttrKey::exclusive, 0) != 0;
  const bool reverse = attrs.integer_or(AttrKey::reverse, 0) != 0;
  const ValueId operand = graph.operands(node)[0], result = graph.result(id);
  const Type& type = graph.type(operand);
  DimTable& dims = w.dims();
  const std::span<const DimId> shape(type.dims);
  const DimId outer = dims.product(shape.subspan(0, axis));
  const DimId inner = dims.product(shape.subspan(axis + 1));
  const DType sum = accumulator_dtype(type.dtype);
  const Op op = node.op == Op::cumsum ? Op::add : Op::mul;
  const double neutral = node.op == Op::cumsum ? 0 : 1;

  KernelSpec spec(graph, w.target());
  kernel::Builder& b = spec.b();
  const kernel::Buffer x = spec.input(w.groups().storage[operand.index]), y = spec.output(result);
  const Value length = spec.dim(shape[axis]), stride = spec.dim(inner);
  const int lanes = vector_lanes(w.target(), type.dtype);
  // An iteration: one outer index, one vector's width of the inner axes.
  const DimId strips = dims.ceil_div(inner, dims.constant(lanes));
  const Value per_outer = spec.dim(strips);
  b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value p) {
    const Value o = b.index_div(p, per_outer);
    const Value lo = b.mul(b.index_rem(p, per_outer), b.index(lanes));
    const Value hi = b.min(stride, b.add(lo, b.index(lanes)));
    const Value base = b.mul(o, b.mul(length, stride));
    b.vector_loop(lo, hi, lanes, [&](Value i, int n) {
      const kernel::Type wide{sum, static_cast<uint16_t>(n)};
      const Values init = {b.constant(wide, neutral)};
      b.for_loop(b.index(0), length, b.index(1), init,
                 [&](Value k, std::span<const Value> carried) -> Values {
                   const Value at = reverse ? b.sub(b.sub(length, b.index(1)), k) : k;
                   const Value place = b.add(base, b.add(b.mul(at, stride), i));
                   const Value v = b.cast(b.load(x, place, n), sum);
                   const Value next = b.op(op, {carried[0], v});
                   b.store(y, place, b.cast(exclusive ? carried[0] : next, type.dtype));
                   return {next};
                 });
    });
  });
  spec.may_overwrite(result, w.groups().storage[operand.index]);
  const int64_t n = dims.constant_value(shape[axis]).value_or(256);
  w.call(spec.finish(dims.mul(outer, strips), grain_for(4 * n)));
}

}  // namespace gcomp::lower
