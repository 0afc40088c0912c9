// Concatenation: every part is copied to its place, by one kernel for all tensors of one element size.

#include "dense.h"
#include "plan_writer.h"

namespace gcomp::lower {

using kernel::Value;

namespace {

// Elements one iteration of the parallel range copies at most; a GPU's thread copies one.
constexpr int64_t kChunk = 8192;

// `rows` runs of `length` elements, `pitch` apart in the result, the first at `first`.
void copy_runs(PlanWriter& w, ValueId from, ValueId to, DimId rows, DimId length, DimId pitch,
               DimId first) {
  // Extents as parameters: all copies are one kernel.
  Target target = w.target();
  target.static_extents = false;
  KernelSpec spec(w.graph(), target);
  kernel::Builder& b = spec.b();
  const kernel::Buffer x = spec.input(w.groups().storage[from.index]), y = spec.output(to);
  const DType dtype = w.graph().type(to).dtype;
  DimTable& dims = w.dims();
  const Value run = spec.dim(length), step = spec.dim(pitch), start = spec.dim(first);
  const int64_t chunk = target.cuda ? 1 : kChunk;
  const DimId chunks = dims.ceil_div(length, dims.constant(chunk));
  const Value per_row = spec.dim(chunks);
  const int lanes = vector_lanes(target, dtype);
  b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value p) {
    const Value row = b.index_div(p, per_row);
    const Value lo = b.mul(b.index_rem(p, per_row), b.index(chunk));
    const Value source = b.mul(row, run), target_base = b.add(start, b.mul(row, step));
    const auto copy = [&](Value i, int n) {
      b.store(y, b.add(target_base, i), b.load(x, b.add(source, i), n));
    };
    if (chunk == 1) return copy(lo, 1);
    b.vector_loop(lo, b.min(run, b.add(lo, b.index(chunk))), lanes, copy);
  });
  const int64_t elements = dims.constant_value(length).value_or(64);
  w.call(spec.finish(dims.mul(rows, chunks),
                     grain_for(std::min<int64_t>(std::max<int64_t>(1, elements), chunk) / lanes)));
}

}  // namespace

void lower_concat(PlanWriter& w, uint32_t group) {
  const NodeId node = w.groups().groups[group].nodes[0];
  const Graph& graph = w.graph();
  const auto axis = static_cast<size_t>(graph.attrs(node).integer(AttrKey::axis));
  const ValueId result = graph.result(node);
  const auto& shape = graph.type(result).dims;
  DimTable& dims = w.dims();
  const std::span<const DimId> all(shape);
  const DimId rows = dims.product(all.subspan(0, axis));
  const DimId inner = dims.product(all.subspan(axis + 1));
  const DimId pitch = dims.mul(shape[axis], inner);
  DimId first = dims.constant(0);
  for (ValueId part : graph.operands(node)) {
    const DimId length = dims.mul(graph.type(part).dims[axis], inner);
    if (!dims.is_constant(length, 0)) copy_runs(w, part, result, rows, length, pitch, first);
    first = dims.add(first, length);
  }
}

}  // namespace gcomp::lower
