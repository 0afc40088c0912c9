// Gathers and scatters by computed coordinates (a gather along one axis is an index map of the nest).

#include "dense.h"
#include "gcomp/support/error.h"
#include "plan_writer.h"

namespace gcomp::lower {

using kernel::Buffer;
using kernel::Builder;
using kernel::Value;

namespace {

// y's element combined with an update.
Value combine(Builder& b, const std::string& reduction, Value old, Value update) {
  if (reduction == "add") return b.add(old, update);
  if (reduction == "mul") return b.mul(old, update);
  if (reduction == "min") return b.op(Op::min, {old, update});
  if (reduction == "max") return b.op(Op::max, {old, update});
  return update;
}

Value combine_typed(Builder& b, DType t, const std::string& reduction, Value old, Value update) {
  if (reduction == "none") return update;
  return b.cast(combine(b, reduction, old, update), t);
}

void copy_operand(PlanWriter& w, ValueId from, ValueId to) {
  if (w.memory_of(to) == w.memory_of(from)) return;
  w.step({.kind = Step::Kind::kCopy,
          .memory = {w.memory_of(to), w.memory_of(from)},
          .extent = w.num_bytes(to)});
}

// Slices of x addressed by tuples: axes [batch, batch + k) of x by the last axis of the indices.
struct Tuples {
  std::vector<DimId> places;  // extents of the indices without the last
  int64_t k = 0;
  DimId count;   // tuples
  DimId length;  // elements of a slice
};

Tuples tuples_of(PlanWriter& w, ValueId x, ValueId indices, size_t batch) {
  DimTable& dims = w.dims();
  const auto& xs = w.graph().type(x).dims;
  const auto& is = w.graph().type(indices).dims;
  Tuples t;
  t.places.assign(is.begin(), is.end() - 1);
  t.k = *dims.constant_value(is.back());
  t.count = dims.product(t.places);
  t.length = dims.product(std::span<const DimId>(xs).subspan(batch + static_cast<size_t>(t.k)));
  return t;
}

// Offset of the slice that tuple number `p` addresses. With `bad`: checked, true when it is not in x.
Value slice_offset(KernelSpec& spec, const Graph& graph, const Node& node, const Tuples& t,
                   ValueId x, Buffer indices, size_t batch, Value p, Value* bad) {
  Builder& b = spec.b();
  const auto& xs = graph.type(x).dims;
  std::vector<Value> where;
  if (batch > 0) {
    const std::vector<Value> place = unflatten(spec, p, t.places);
    where.assign(place.begin(), place.begin() + static_cast<long>(batch));
  }
  if (bad != nullptr) *bad = b.boolean(false);
  for (int64_t c = 0; c < t.k; ++c) {
    const Value raw = b.load(indices, b.add(b.mul(p, b.index(t.k)), b.index(c)));
    const Value extent = spec.dim(xs[batch + static_cast<size_t>(c)]);
    if (bad == nullptr) {
      where.push_back(wrapped_index(spec, raw, extent));
      continue;
    }
    Value out;
    where.push_back(
        checked_index(spec, raw, extent, failure(graph, node, "index out of range"), &out));
    *bad = b.bit_or(*bad, out);
  }
  const Value flat = flatten(spec, where, std::span<const DimId>(xs).subspan(0, where.size()));
  return b.mul(flat, spec.dim(t.length));
}

// Whether constant indices are all inside: element i is one of the axis whose extent is extents[i % n].
bool surely_inside(PlanWriter& w, ValueId indices, std::span<const DimId> extents) {
  constexpr size_t kMost = 1 << 20;
  const Constant* c = w.graph().constant(indices);
  if (c == nullptr || extents.empty() || c->num_elements() > static_cast<int64_t>(kMost)) {
    return false;
  }
  std::vector<int64_t> least;
  for (DimId d : extents) least.push_back(w.dims().lower_bound(d).value_or(0));
  for (size_t i = 0; i < static_cast<size_t>(c->num_elements()); ++i) {
    const int64_t index = c->as_int(i), extent = least[i % least.size()];
    if (index < -extent || index >= extent) return false;
  }
  return true;
}

// All indices are looked at before anything is written: a kernel of its own, so that what it guards cannot
// fail.
void check_elements(PlanWriter& w, const Node& node, ValueId indices, DimId extent) {
  if (surely_inside(w, indices, {&extent, 1})) return;
  KernelSpec spec(w.graph(), w.target());
  Builder& b = spec.b();
  const Buffer is = spec.input(w.groups().storage[indices.index]);
  b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value p) {
    Value bad;
    checked_index(spec, b.load(is, p), spec.dim(extent),
                  failure(w.graph(), node, "index out of range"), &bad);
  });
  w.call(spec.finish(w.num_elements(indices), grain_for(4)));
}

void check_tuples(PlanWriter& w, const Node& node, ValueId x, ValueId indices, const Tuples& t) {
  const auto& xs = w.graph().type(x).dims;
  if (surely_inside(w, indices, std::span(xs).first(static_cast<size_t>(t.k)))) return;
  KernelSpec spec(w.graph(), w.target());
  Builder& b = spec.b();
  const Buffer is = spec.input(w.groups().storage[indices.index]);
  b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value p) {
    Value bad;
    slice_offset(spec, w.graph(), node, t, x, is, 0, p, &bad);
  });
  w.call(spec.finish(t.count, grain_for(4 * std::max<int64_t>(t.k, 1))));
}

}  // namespace

void lower_gather_elements(PlanWriter& w, uint32_t group) {
  const NodeId id = w.groups().groups[group].nodes[0];
  const Graph& graph = w.graph();
  const Node& node = graph.node(id);
  const auto axis = static_cast<size_t>(graph.attrs(node).integer(AttrKey::axis));
  const ValueId x = graph.operands(node)[0], indices = graph.operands(node)[1];
  const auto& from = graph.type(x).dims;
  const auto& shape = graph.type(graph.result(id)).dims;
  KernelSpec spec(graph, w.target());
  Builder& b = spec.b();
  const Buffer xs = spec.input(w.groups().storage[x.index]);
  const Buffer is = spec.input(w.groups().storage[indices.index]);
  const Buffer ys = spec.output(graph.result(id));
  b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value p) {
    std::vector<Value> where = unflatten(spec, p, shape);
    Value bad;
    where[axis] = checked_index(spec, b.load(is, p), spec.dim(from[axis]),
                                failure(graph, node, "index out of range"), &bad);
    const Value place = flatten(spec, where, from);
    const DType t = graph.type(x).dtype;
    const Value zero = b.constant_bits({t, 1}, 0);
    b.store(ys, p, b.masked_load(xs, place, b.bit_not(bad), zero));
  });
  w.call(spec.finish(w.num_elements(graph.result(id)), grain_for(20)));
}

void lower_gather_nd(PlanWriter& w, uint32_t group) {
  const NodeId id = w.groups().groups[group].nodes[0];
  const Graph& graph = w.graph();
  const Node& node = graph.node(id);
  const auto batch = static_cast<size_t>(graph.attrs(node).integer_or(AttrKey::batch_dims, 0));
  const ValueId x = graph.operands(node)[0], indices = graph.operands(node)[1];
  const Tuples t = tuples_of(w, x, indices, batch);
  KernelSpec spec(graph, w.target());
  Builder& b = spec.b();
  const Buffer xs = spec.input(w.groups().storage[x.index]);
  const Buffer is = spec.input(w.groups().storage[indices.index]);
  const Buffer ys = spec.output(graph.result(id));
  const Value length = spec.dim(t.length);
  const int lanes = vector_lanes(w.target(), graph.type(x).dtype);
  const bool by_element = w.target().cuda;  // else by slice
  b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value p) {
    const Value tuple = by_element ? b.index_div(p, length) : p;
    Value bad;
    const Value source = slice_offset(spec, graph, node, t, x, is, batch, tuple, &bad);
    const Value target = b.mul(tuple, length);
    const auto copy = [&](Value i, int n) {
      b.store(ys, b.add(target, i), b.load(xs, b.add(source, i), n));
    };
    b.if_then(b.bit_not(bad), [&] {
      if (by_element) return copy(b.index_rem(p, length), 1);
      b.vector_loop(b.index(0), length, lanes, copy);
    });
  });
  const int64_t n = by_element ? 1 : w.dims().constant_value(t.length).value_or(64);
  const DimId extent = by_element ? w.dims().mul(t.count, t.length) : t.count;
  w.call(spec.finish(extent, grain_for(10 + n / lanes)));
}

// Updates are applied one after the other, in row-major order: what the op promises.
void lower_scatter_elements(PlanWriter& w, uint32_t group) {
  const NodeId id = w.groups().groups[group].nodes[0];
  const Graph& graph = w.graph();
  const Node& node = graph.node(id);
  const auto axis = static_cast<size_t>(graph.attrs(node).integer(AttrKey::axis));
  const std::string reduction = graph.attrs(node).string_or(AttrKey::reduction, "none");
  const auto operands = graph.operands(node);
  const ValueId result = graph.result(id);
  const auto& shape = graph.type(operands[1]).dims;
  const auto& to = graph.type(result).dims;
  check_elements(w, node, operands[1], to[axis]);
  copy_operand(w, operands[0], result);
  KernelSpec spec(graph, w.target());
  Builder& b = spec.b();
  const Buffer is = spec.input(w.groups().storage[operands[1].index]);
  const Buffer us = spec.input(w.groups().storage[operands[2].index]);
  const Buffer ys = spec.output(result);
  const auto apply = [&](std::vector<Value> where, Value p) {
    where[axis] = wrapped_index(spec, b.load(is, p), spec.dim(to[axis]));
    const Value place = flatten(spec, where, to);
    const Value update = b.load(us, p);
    const Value old = reduction == "none" ? update : b.load(ys, place);
    b.store(ys, place, combine_typed(b, graph.type(result).dtype, reduction, old, update));
  };
  if (!w.target().cuda) {
    b.for_loop(b.index(0), spec.dim(w.num_elements(operands[1])), b.index(1),
               [&](Value p) { apply(unflatten(spec, p, shape), p); });
    return w.call(spec.finish(w.dims().constant(1), 0));
  }
  // Only updates of one line along the axis can meet: a thread does a line.
  std::vector<DimId> lines(shape);
  lines[axis] = w.dims().constant(1);
  b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value line) {
    std::vector<Value> where = unflatten(spec, line, lines);
    b.for_loop(b.index(0), spec.dim(shape[axis]), b.index(1), [&](Value i) {
      where[axis] = i;
      apply(where, flatten(spec, where, shape));
    });
  });
  w.call(spec.finish(w.dims().product(lines), 1));
}

void lower_scatter_nd(PlanWriter& w, uint32_t group) {
  const NodeId id = w.groups().groups[group].nodes[0];
  const Graph& graph = w.graph();
  const Node& node = graph.node(id);
  const std::string reduction = graph.attrs(node).string_or(AttrKey::reduction, "none");
  const auto operands = graph.operands(node);
  const ValueId result = graph.result(id);
  const Tuples t = tuples_of(w, operands[0], operands[1], 0);
  check_tuples(w, node, operands[0], operands[1], t);
  copy_operand(w, operands[0], result);
  const DType dtype = graph.type(result).dtype;
  KernelSpec spec(graph, w.target());
  Builder& b = spec.b();
  const Buffer is = spec.input(w.groups().storage[operands[1].index]);
  const Buffer us = spec.input(w.groups().storage[operands[2].index]);
  const Buffer ys = spec.output(result);
  const Value length = spec.dim(t.length);
  const int lanes = vector_lanes(w.target(), dtype);
  const auto target_of = [&](Value tuple) {
    return slice_offset(spec, graph, node, t, operands[0], is, 0, tuple, nullptr);
  };
  const auto apply = [&](Value target, Value source, Value i, int n) {
    const Value place = b.add(target, i);
    const Value update = b.load(us, b.add(source, i), n);
    const Value old = reduction == "none" ? update : b.load(ys, place, n);
    b.store(ys, place, combine_typed(b, dtype, reduction, old, update));
  };
  if (w.target().cuda) {  // a thread does one element of all slices
    b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value i) {
      b.for_loop(b.index(0), spec.dim(t.count), b.index(1),
                 [&](Value p) { apply(target_of(p), b.mul(p, length), i, 1); });
    });
    return w.call(spec.finish(t.length, 1));
  }
  b.for_loop(b.index(0), spec.dim(t.count), b.index(1), [&](Value p) {
    const Value target = target_of(p);
    const Value source = b.mul(p, length);
    b.vector_loop(b.index(0), length, lanes, [&](Value i, int n) { apply(target, source, i, n); });
  });
  w.call(spec.finish(w.dims().constant(1), 0));
}

}  // namespace gcomp::lower
