// Sorting, top-k and nonzero. A row is sorted by merging runs of positions, bottom up between two buffers:
// stable, no recursion, n log n for any data. On a GPU a block of threads sorts a row (sort_cuda.h).

#include "dense.h"
#include "plan_writer.h"
#include "sort_cuda.h"

namespace gcomp::lower {

using kernel::Buffer;
using kernel::Builder;
using kernel::Value;
using kernel::Values;

namespace {

enum Key { kRuns, kOtherRuns, kKeys, kOtherKeys, kCount };

struct RowSort {
  Builder& b;
  const SortedLines& lines;
  Value base;  // of the row

  Value key(Value position) const {
    return b.load(lines.x, b.add(base, b.mul(position, lines.stride)));
  }

  // Runs of `width` in `from`, merged by pairs into `to`; both begin at `at`.
  void merge(Buffer from, Buffer to, Value at, Value width) const {
    const Value two = b.mul(width, b.index(2));
    b.for_loop(b.index(0), lines.length, two, [&](Value lo) {
      const Value middle = b.min(b.add(lo, width), lines.length),
                  hi = b.min(b.add(lo, two), lines.length);
      const Values init = {lo, middle};
      b.for_loop(lo, hi, b.index(1), init, [&](Value k, std::span<const Value> c) -> Values {
        const Value i = c[0], j = c[1];
        const Value one = b.index(1);
        const Value left = b.load(from, b.add(at, b.min(i, b.sub(middle, one))));
        const Value right = b.load(from, b.add(at, b.min(j, b.sub(hi, one))));
        const Value right_first = comes_before(b, lines, key(right), key(left));
        const Value left_done = b.ge(i, middle), right_open = b.lt(j, hi);
        const Value take_right = b.bit_and(right_open, b.bit_or(left_done, right_first));
        b.store(to, b.add(at, k), b.where(take_right, right, left));
        return {b.where(take_right, i, b.add(i, one)), b.where(take_right, b.add(j, one), j)};
      });
    });
  }

  // The sorted positions end up in `runs`.
  void sort(Buffer runs, Buffer other, Value at) const {
    b.for_loop(b.index(0), lines.length, b.index(1),
               [&](Value i) { b.store(runs, b.add(at, i), i); });
    b.while_loop(
        {b.index(1)}, [&](std::span<const Value> c) { return b.lt(c[0], lines.length); },
        [&](std::span<const Value> c) -> Values {
          merge(runs, other, at, c[0]);
          merge(other, runs, at, b.mul(c[0], b.index(2)));
          return {b.mul(c[0], b.index(4))};
        });
  }
};

using ForLines =
    std::function<void(const std::function<void(Value p, Value base, Value results)>&)>;

// A block a line, which fits into its shared memory.
void sort_in_blocks(Builder& b, const SortedLines& lines, int64_t length,
                    const ForLines& for_lines) {
  BlockSort block(b, lines, length);
  for_lines([&](Value, Value base, Value results) {
    block.sort(base, b.index(0), lines.length);
    block.for_each([&](Value i, Value key, Value place) {
      b.if_then(b.lt(i, lines.shown), [&] {
        const Value to = b.add(results, b.mul(i, lines.stride));
        b.store(lines.values, to, key);
        b.store(lines.places, to, b.cast(place, DType::kInt64));
      });
    });
  });
}

}  // namespace

void lower_sort(PlanWriter& w, uint32_t group) {
  const NodeId id = w.groups().groups[group].nodes[0];
  const Graph& graph = w.graph();
  const Node& node = graph.node(id);
  const Attrs attrs = graph.attrs(node);
  const bool top = node.op == Op::top_k;
  const auto axis = static_cast<size_t>(attrs.integer(AttrKey::axis));
  const ValueId x = graph.operands(node)[0];
  const Type& type = graph.type(x);
  DimTable& dims = w.dims();
  const std::span<const DimId> shape(type.dims);
  const DimId outer = dims.product(shape.subspan(0, axis));
  const DimId inner = dims.product(shape.subspan(axis + 1));
  const DimId total = dims.product(shape);
  const DimId kept = top ? attrs.dims(AttrKey::shape)[0] : shape[axis];

  KernelSpec spec(graph, w.target());
  Builder& b = spec.b();
  const Buffer xs = spec.input(w.groups().storage[x.index]);
  const Buffer values = spec.output(graph.result(id, 0));
  const Buffer places = spec.output(graph.result(id, 1));
  const Value n = spec.dim(shape[axis]), stride = spec.dim(inner), k = spec.dim(kept);
  if (top && kept != shape[axis]) {
    spec.fail_if(b.gt(k, n), failure(graph, node, "k is larger than the axis"));
  }
  const SortedLines lines{.x = xs,
                          .values = values,
                          .places = places,
                          .dtype = type.dtype,
                          .descending = attrs.integer_or(AttrKey::descending, top ? 1 : 0) != 0,
                          .length = n,
                          .shown = b.min(k, n),
                          .stride = stride};
  const auto for_lines = [&](const std::function<void(Value p, Value base, Value results)>& body) {
    b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value p) {
      const Value o = b.index_div(p, stride), i = b.index_rem(p, stride);
      const Value base = b.add(b.mul(o, b.mul(n, stride)), i);
      body(p, base, b.add(b.mul(o, b.mul(k, stride)), i));
    });
  };
  const std::optional<int64_t> known = dims.constant_value(shape[axis]);
  const bool by_blocks = w.target().cuda_blocks &&
                         is_worth_block_sort(known, dims.constant_value(dims.mul(outer, inner)));
  if (by_blocks && known && *known <= BlockSort::kLongest) {
    sort_in_blocks(b, lines, *known, for_lines);
    return w.call(spec.finish(dims.mul(outer, inner), 1));
  }
  const Buffer runs = spec.temporary(kRuns, DType::kInt64, total, kernel::Role::kOut);
  const Buffer other = spec.temporary(kOtherRuns, DType::kInt64, total, kernel::Role::kOut);
  if (by_blocks) {
    const Buffer keys = spec.temporary(kKeys, type.dtype, total, kernel::Role::kOut);
    const Buffer other_keys = spec.temporary(kOtherKeys, type.dtype, total, kernel::Role::kOut);
    LongSort sort(b, lines, {keys, runs}, {other_keys, other});
    for_lines([&](Value p, Value base, Value results) { sort.line(base, b.mul(p, n), results); });
    return w.call(spec.finish(dims.mul(outer, inner), 1));
  }
  for_lines([&](Value p, Value base, Value results) {
    const RowSort row{.b = b, .lines = lines, .base = base};
    const Value at = b.mul(p, n);
    row.sort(runs, other, at);
    b.for_loop(b.index(0), lines.shown, b.index(1), [&](Value j) {
      const Value from = b.load(runs, b.add(at, j));
      const Value to = b.add(results, b.mul(j, stride));
      b.store(values, to, row.key(from));
      b.store(places, to, from);
    });
  });
  w.call(spec.finish(dims.mul(outer, inner), grain_for(60 * known.value_or(256))));
}

// Counts, binds the count, then writes the coordinates. Both kernels walk in order on one thread.
void lower_nonzero(PlanWriter& w, uint32_t group) {
  const NodeId id = w.groups().groups[group].nodes[0];
  const Graph& graph = w.graph();
  const Node& node = graph.node(id);
  const ValueId x = graph.operands(node)[0];
  const Type& type = graph.type(x);
  DimTable& dims = w.dims();
  const DimId symbol = graph.attrs(node).dims(AttrKey::symbols)[0];
  const auto is_set = [&](Builder& b, Value v) {
    return type.dtype == DType::kBool ? v : b.ne(v, b.like(v, 0));
  };
  {
    KernelSpec spec(graph, w.target());
    Builder& b = spec.b();
    const Buffer xs = spec.input(w.groups().storage[x.index]);
    const Buffer count =
        spec.temporary(kCount, DType::kInt64, dims.constant(1), kernel::Role::kOut);
    const Values init = {b.index(0)};
    const Values n = b.for_loop(
        b.index(0), spec.dim(w.num_elements(x)), b.index(1), init,
        [&](Value i, std::span<const Value> c) -> Values {
          return {b.add(c[0], b.where(is_set(b, b.load(xs, i)), b.index(1), b.index(0)))};
        });
    b.store(count, b.index(0), n[0]);
    w.call(spec.finish(dims.constant(1), 0));
  }
  w.step({.kind = Step::Kind::kBind,
          .memory = {w.group_temporary(kCount)},
          .symbols = {*dims.as_symbol(symbol)}});
  if (type.rank() == 0) return;
  KernelSpec spec(graph, w.target());
  Builder& b = spec.b();
  const Buffer xs = spec.input(w.groups().storage[x.index]);
  const Buffer ys = spec.output(graph.result(id));
  const Value columns = spec.dim(symbol);
  const Values init = {b.index(0)};
  b.for_loop(b.index(0), spec.dim(w.num_elements(x)), b.index(1), init,
             [&](Value i, std::span<const Value> c) -> Values {
               return b.if_else(
                   is_set(b, b.load(xs, i)),
                   [&]() -> Values {
                     const std::vector<Value> where = unflatten(spec, i, type.dims);
                     Value row = c[0];
                     for (Value v : where) {
                       b.store(ys, row, v);
                       row = b.add(row, columns);
                     }
                     return {b.add(c[0], b.index(1))};
                   },
                   [&]() -> Values { return {c[0]}; });
             });
  w.call(spec.finish(dims.constant(1), 0));
}

}  // namespace gcomp::lower
