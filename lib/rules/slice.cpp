// Slices move towards the inputs, where they make less to compute; gathers at constants are slices.
#include <algorithm>

#include "slices.h"

namespace gcomp::rules {

bool at_least(const Match& m, DimId a, DimId b) {
  return provably_at_least(m.dims(), m.dims().sub(a, b), 0);
}

DimId end_of(DimTable& dims, const Slice& s, size_t i) {
  const DimId steps = dims.sub(s.shape[i], dims.constant(1));
  const DimId last = dims.add(s.starts[i], dims.mul(steps, dims.constant(s.strides[i])));
  return dims.add(last, dims.constant(1));
}

bool is_full(const Match& m, const Slice& s, size_t i, DimId extent) {
  return s.shape[i] == extent && s.strides[i] == 1 && m.dims().is_constant(s.starts[i], 0);
}

Place place_in_block(const Match& m, const Slice& s, const std::vector<DimId>& low,
                     const std::vector<DimId>& extents) {
  bool inside = true;
  for (size_t i = 0; i < s.rank(); ++i) {
    if (s.strides[i] < 1) return Place::kUnknown;
    const DimId end = end_of(m.dims(), s, i), high = m.dims().add(low[i], extents[i]);
    if (at_least(m, low[i], end) || at_least(m, s.starts[i], high)) return Place::kOutside;
    inside = inside && at_least(m, s.starts[i], low[i]) && at_least(m, high, end);
  }
  return inside ? Place::kInside : Place::kUnknown;
}

ValueId make_slice(CaseMaker& make, ValueId v) {
  std::vector<DimId> starts, shape;
  std::vector<int64_t> strides;
  const std::vector<DimId> from = make.builder().type(v).dims;
  for (DimId d : from) {
    const int64_t n = make.dims().constant_value(d).value_or(0);
    const int64_t stride = make.chance(0.3) ? 2 : 1, start = n > 0 ? make.pick(0, n - 1) : 0;
    const int64_t room = n > start ? (n - start + stride - 1) / stride : 0;
    const int64_t count = room > 0 ? make.pick(0, room) : 0;
    const bool back = make.chance(0.2) && count > 0;
    starts.push_back(make.dims().constant(back ? start + (count - 1) * stride : start));
    shape.push_back(make.dims().constant(count));
    strides.push_back(back ? -stride : stride);
  }
  return make.builder().value(
      Op::slice, {v},
      {{AttrKey::starts, starts}, {AttrKey::shape, shape}, {AttrKey::strides, strides}});
}

namespace {

const Pattern x = any("x");

Replacement whole(const Match& m, Emitter&) {
  const Slice s = root_slice(m);
  for (size_t i = 0; i < s.starts.size(); ++i) {
    const bool one = m.dims().is_constant(s.shape[i], 1);
    if (!m.dims().is_constant(s.starts[i], 0) || (s.strides[i] != 1 && !one)) return std::nullopt;
  }
  return m["x"];
}

Replacement slice_slice(const Match& m, Emitter& e) {
  Slice outer = root_slice(m);
  const Slice inner(m.attrs("s"));
  DimTable& dims = m.dims();
  for (size_t i = 0; i < outer.starts.size(); ++i) {
    outer.starts[i] =
        dims.add(inner.starts[i], dims.mul(outer.starts[i], dims.constant(inner.strides[i])));
    outer.strides[i] *= inner.strides[i];
  }
  return e.slice(m["x"], outer.starts, outer.shape, outer.strides);
}

// One part holds all of the slice.
Replacement slice_of_concat(const Match& m, Emitter& e) {
  Slice s = root_slice(m);
  const auto axis = static_cast<size_t>(m.attrs("c").integer(AttrKey::axis));
  if (s.strides[axis] < 1) return std::nullopt;
  DimTable& dims = m.dims();
  const DimId end = end_of(dims, s, axis);
  DimId offset = dims.constant(0);
  for (ValueId part : m.operands("c")) {
    const DimId next = dims.add(offset, m.graph().type(part).dims[axis]);
    if (at_least(m, s.starts[axis], offset) && at_least(m, next, end)) {
      s.starts[axis] = dims.sub(s.starts[axis], offset);
      return e.slice(part, s.starts, s.shape, s.strides);
    }
    if (!at_least(m, s.starts[axis], next)) return std::nullopt;
    offset = next;
  }
  return std::nullopt;
}

Replacement slice_of_broadcast(const Match& m, Emitter& e) {
  const Slice s = root_slice(m);
  const std::vector<int64_t> axes = m.attrs("b").ints(AttrKey::axes);
  const std::vector<DimId> from = m.type("x").dims, full = m.type("b").dims;
  DimTable& dims = m.dims();
  std::vector<DimId> starts, shape;
  std::vector<int64_t> strides;
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto a = static_cast<size_t>(axes[i]);
    const bool repeats = dims.is_constant(from[i], 1);
    if (!repeats && from[i] != full[a]) return std::nullopt;
    starts.push_back(repeats ? dims.constant(0) : s.starts[a]);
    shape.push_back(repeats ? dims.constant(1) : s.shape[a]);
    strides.push_back(repeats ? 1 : s.strides[a]);
  }
  return e.broadcast(e.slice(m["x"], starts, shape, strides), s.shape, axes);
}

Replacement slice_of_transpose(const Match& m, Emitter& e) {
  const Slice s = root_slice(m);
  const std::vector<int64_t> perm = m.attrs("t").ints(AttrKey::perm);
  Slice moved = s;
  for (size_t i = 0; i < perm.size(); ++i) {
    const auto a = static_cast<size_t>(perm[i]);
    moved.starts[a] = s.starts[i];
    moved.shape[a] = s.shape[i];
    moved.strides[a] = s.strides[i];
  }
  return e.transpose(e.slice(m["x"], moved.starts, moved.shape, moved.strides), perm);
}

// A slice of the block that was padded, or of nothing but padding.
Replacement slice_of_pad(const Match& m, Emitter& e) {
  Slice s = root_slice(m);
  const std::vector<DimId> low = m.attrs("p").dims(AttrKey::low);
  switch (place_in_block(m, s, low, m.type("x").dims)) {
    case Place::kOutside: return e.broadcast(m["fill"], s.shape, {});
    case Place::kInside:
      for (size_t i = 0; i < s.rank(); ++i) s.starts[i] = m.dims().sub(s.starts[i], low[i]);
      return slice(e, m["x"], s);
    default: return std::nullopt;
  }
}

// Padding and some of the block: the padding of a slice. Numbers only, so that the parts are known.
Replacement slice_across_pad(const Match& m, Emitter& e) {
  Slice s = root_slice(m);
  DimTable& dims = m.dims();
  const std::vector<DimId> from = m.type("x").dims, pad_low = m.attrs("p").dims(AttrKey::low);
  if (place_in_block(m, s, pad_low, from) != Place::kUnknown) return std::nullopt;
  std::vector<DimId> low, high;
  for (size_t i = 0; i < s.rank(); ++i) {
    const auto first = dims.constant_value(s.starts[i]), count = dims.constant_value(s.shape[i]);
    const auto before = dims.constant_value(pad_low[i]), extent = dims.constant_value(from[i]);
    if (!first || !count || !before || !extent || s.strides[i] != 1) return std::nullopt;
    const int64_t begin = *first - *before, end = begin + *count;  // in x
    const int64_t from_x = std::clamp<int64_t>(begin, 0, *extent);
    const int64_t to_x = std::clamp<int64_t>(end, from_x, *extent);
    s.starts[i] = dims.constant(from_x);
    s.shape[i] = dims.constant(to_x - from_x);
    low.push_back(dims.constant(from_x - begin));
    high.push_back(dims.constant(end - to_x));
  }
  return e.pad(slice(e, m["x"], s), m["fill"], low, high);
}

// Several parts, of which the slice takes something of each.
Replacement slice_across_concat(const Match& m, Emitter& e) {
  const Slice s = root_slice(m);
  const int64_t axis = m.attrs("c").integer(AttrKey::axis);
  const auto a = static_cast<size_t>(axis);
  if (s.strides[a] != 1) return std::nullopt;
  DimTable& dims = m.dims();
  const DimId begin = s.starts[a], end = dims.add(begin, s.shape[a]);
  DimId offset = dims.constant(0);
  std::vector<ValueId> parts;
  for (ValueId part : m.operands("c")) {
    const DimId next = dims.add(offset, m.graph().type(part).dims[a]);
    const bool before = at_least(m, begin, next), after = at_least(m, offset, end);
    if (!before && !after) {
      const bool cut_low = at_least(m, begin, offset), cut_high = at_least(m, next, end);
      if ((!cut_low && !at_least(m, offset, begin)) || (!cut_high && !at_least(m, end, next))) {
        return std::nullopt;
      }
      const DimId from = cut_low ? begin : offset, to = cut_high ? end : next;
      Slice own = s;
      own.starts[a] = dims.sub(from, offset);
      own.shape[a] = dims.sub(to, from);
      parts.push_back(slice(e, part, own));
    }
    offset = next;
  }
  if (parts.size() < 2) return std::nullopt;
  return e.concat(parts, axis);
}

Replacement slice_of_reverse(const Match& m, Emitter& e) {
  Slice s = root_slice(m);
  DimTable& dims = m.dims();
  const std::vector<DimId> from = m.type("x").dims;
  for (int64_t a : std::vector<int64_t>(m.attrs("r").ints(AttrKey::axes))) {
    const auto i = static_cast<size_t>(a);
    s.starts[i] = dims.sub(dims.sub(from[i], dims.constant(1)), s.starts[i]);
    s.strides[i] = -s.strides[i];
  }
  return slice(e, m["x"], s);
}

// The extents of one group of axes that a reshape splits: x's axis is the product of the result's.
struct SplitAxis {
  size_t source;
  size_t first, last;  // of the result: [first, last)
};

// How a reshape relates axes, if it only splits some and adds or drops extents of 1.
std::optional<std::vector<SplitAxis>> split_axes(DimTable& dims, const std::vector<DimId>& from,
                                                 const std::vector<DimId>& to) {
  std::vector<SplitAxis> groups;
  size_t k = 0;
  for (size_t i = 0; i < from.size(); ++i) {
    if (dims.is_constant(from[i], 1)) continue;
    while (k < to.size() && dims.is_constant(to[k], 1)) ++k;
    SplitAxis group{i, k, k};
    DimId product = dims.constant(1);
    while (product != from[i]) {
      if (k == to.size()) return std::nullopt;
      product = dims.mul(product, to[k++]);
    }
    group.last = k;
    groups.push_back(group);
  }
  while (k < to.size() && dims.is_constant(to[k], 1)) ++k;
  if (k != to.size()) return std::nullopt;
  return groups;
}

// The one range of the source axis that a slice of its parts covers.
bool join_range(const Match& m, const Slice& s, const SplitAxis& g, const std::vector<DimId>& to,
                Slice* moved) {
  DimTable& dims = m.dims();
  const DimId one = dims.constant(1);
  DimId start = dims.constant(0), inner = one;
  DimId count = one;
  int64_t stride = 1;
  bool whole = true;  // all axes further in are taken whole
  for (size_t i = g.last; i-- > g.first;) {
    start = dims.add(start, dims.mul(s.starts[i], inner));
    if (s.shape[i] != one) {
      if (!whole) return false;
      if (s.strides[i] != 1 && inner != one) return false;
      stride = s.strides[i];
      count = dims.mul(count, s.shape[i]);
    }
    whole = whole && is_full(m, s, i, to[i]);
    inner = dims.mul(inner, to[i]);
  }
  moved->starts[g.source] = start;
  moved->shape[g.source] = count;
  moved->strides[g.source] = stride;
  return true;
}

Replacement slice_of_reshape(const Match& m, Emitter& e) {
  const Slice s = root_slice(m);
  const std::vector<DimId> from = m.type("x").dims, to = m.type("r").dims;
  const auto groups = split_axes(m.dims(), from, to);
  if (!groups) return std::nullopt;
  for (size_t i = 0; i < s.rank(); ++i) {  // nothing of an extent of 1: no slice of x says so
    if (m.dims().is_constant(to[i], 1) && !m.dims().is_constant(s.shape[i], 1)) return std::nullopt;
  }
  Slice moved(m.dims(), from);
  for (const SplitAxis& g : *groups) {
    if (!join_range(m, s, g, to, &moved)) return std::nullopt;
  }
  return e.reshape(slice(e, m["x"], moved), s.shape);
}

Replacement slice_of_iota(const Match& m, Emitter& e) {
  const Slice s = root_slice(m);
  const Type t = m.root_type();
  const int64_t axis = m.attrs("n").integer(AttrKey::axis);
  const auto a = static_cast<size_t>(axis);
  const auto start = m.dims().constant_value(s.starts[a]);
  if (!start) return std::nullopt;
  std::vector<DimId> mentioned = t.dims;
  const std::vector<ValueId> carriers = e.carriers(mentioned, {});
  ValueId v = e.value(Op::iota, carriers,
                      {{AttrKey::axis, axis}, {AttrKey::dtype, t.dtype}, {AttrKey::shape, t.dims}});
  if (s.strides[a] != 1 && !m.dims().is_constant(s.shape[a], 1)) {
    v = e.value(Op::mul, {v, e.full(t, static_cast<double>(s.strides[a]))});
  }
  if (*start != 0) v = e.value(Op::add, {v, e.full(t, static_cast<double>(*start))});
  return v;
}

bool wide_integer(const Match& m) {
  const DType t = m.root_type().dtype;
  return t == DType::kInt64 || t == DType::kInt32;
}

// Of "base with a block replaced by what `p` has there": the exporters' set_subtensor.
Replacement slice_of_set(const Match& m, Emitter& e) {
  const Slice s = root_slice(m);
  const std::vector<DimId> low = m.attrs("mask").dims(AttrKey::low);
  switch (place_in_block(m, s, low, m.type("in").dims)) {
    case Place::kOutside: return slice(e, m["x"], s);
    case Place::kInside: return slice(e, m["p"], s);
    default: return std::nullopt;
  }
}

// Of an increment of another block.
Replacement slice_beside_increment(const Match& m, Emitter& e) {
  const Slice s = root_slice(m);
  const std::vector<DimId> low = m.attrs("p").dims(AttrKey::low);
  if (place_in_block(m, s, low, m.type("y").dims) != Place::kOutside) return std::nullopt;
  return slice(e, m["x"], s);
}

// first, first + step, ...: the start and step of constant indices; nullopt: irregular.
std::optional<std::pair<int64_t, int64_t>> progression(const Constant& c) {
  const int64_t n = c.num_elements();
  if (n == 0) return std::nullopt;
  const int64_t first = c.as_int(0), step = n > 1 ? c.as_int(1) - first : 1;
  if (step == 0) return std::nullopt;
  for (int64_t i = 2; i < n; ++i) {
    if (c.as_int(i) - c.as_int(i - 1) != step) return std::nullopt;
  }
  return std::pair(first, step);
}

Replacement gather_at_constants(const Match& m, Emitter& e) {
  const Graph& g = m.graph();
  const Attrs attrs = g.attrs(m.root());
  const Constant* indices = g.constant(m["i"]);
  if (indices == nullptr || indices->shape.size() > 1) return std::nullopt;
  if (attrs.integer_or(AttrKey::batch_dims, 0) != 0) return std::nullopt;
  const auto regular = progression(*indices);
  if (!regular) return std::nullopt;
  const auto [first, step] = *regular;
  const int64_t n = indices->num_elements(), last = first + (n - 1) * step;
  if ((first < 0) != (last < 0)) return std::nullopt;
  const auto axis = static_cast<size_t>(attrs.integer(AttrKey::axis));
  DimTable& dims = m.dims();
  std::vector<DimId> shape = m.type("x").dims;
  const DimId extent = shape[axis];
  // In range for all sizes, else the gather's own check must stay.
  const int64_t least = std::min(first, last), most = std::max(first, last);
  if (!provably_at_least(dims, extent, first < 0 ? -least : most + 1)) return std::nullopt;
  std::vector<DimId> starts(shape.size(), dims.constant(0));
  std::vector<int64_t> strides(shape.size(), 1);
  starts[axis] = first < 0 ? dims.add(extent, dims.constant(first)) : dims.constant(first);
  shape[axis] = dims.constant(n);
  strides[axis] = n > 1 ? step : 1;
  const std::vector<DimId> result = m.root_type().dims;
  return e.reshape(e.slice(m["x"], starts, shape, strides), result);
}

// ---- cases ----

ValueId static_input(CaseMaker& make, int min_rank = 1) {
  return make.input(make.dtype(kNumbers), make.static_shape(min_rank, 3));
}

ValueId concat_case(CaseMaker& make) {
  std::vector<DimId> shape = make.static_shape(1, 2, 1);
  const DType t = make.dtype(kAllDTypes);
  const auto axis = make.pick(0, static_cast<int64_t>(shape.size()) - 1);
  std::vector<ValueId> parts;
  for (int i = 0; i < 3; ++i) {
    shape[static_cast<size_t>(axis)] = make.dims().constant(make.pick(0, 2));
    parts.push_back(make.input(t, shape));
  }
  return make_slice(make, make.builder().value(Op::concat, parts, {{AttrKey::axis, axis}}));
}

ValueId broadcast_case(CaseMaker& make) {
  const std::vector<DimId> shape = make.static_shape(1, 3, 1);
  const std::vector<int64_t> axes = make.axes(static_cast<int>(shape.size()));
  std::vector<DimId> from;
  for (int64_t a : axes) {
    from.push_back(make.chance(0.3) ? make.dims().constant(1) : shape[static_cast<size_t>(a)]);
  }
  const ValueId v = make.input(make.dtype(kAllDTypes), from);
  return make_slice(make, make.builder().value(Op::broadcast, {v},
                                               {{AttrKey::axes, axes}, {AttrKey::shape, shape}}));
}

ValueId transpose_case(CaseMaker& make) {
  const ValueId v = static_input(make, 2);
  const int rank = make.builder().type(v).rank();
  return make_slice(
      make, make.builder().value(Op::transpose, {v}, {{AttrKey::perm, make.permutation(rank)}}));
}

// A random block of a tensor of that shape: padding around it.
struct Block {
  std::vector<DimId> low, high, shape;
};

Block random_block(CaseMaker& make, const std::vector<DimId>& full) {
  DimTable& d = make.dims();
  Block b;
  for (DimId extent : full) {
    const int64_t n = d.constant_value(extent).value_or(0), low = make.pick(0, n);
    const int64_t count = make.pick(0, n - low);
    b.low.push_back(d.constant(low));
    b.shape.push_back(d.constant(count));
    b.high.push_back(d.constant(n - low - count));
  }
  return b;
}

ValueId padded(CaseMaker& make, const Block& b, ValueId v, ValueId fill) {
  return make.builder().value(Op::pad, {v, fill}, {{AttrKey::low, b.low}, {AttrKey::high, b.high}});
}

ValueId pad_case(CaseMaker& make) {
  const DType t = make.dtype(kNumbers);
  const Block b = random_block(make, make.static_shape(1, 2, 2));
  return make_slice(make, padded(make, b, make.input(t, b.shape), make.input(t, {})));
}

ValueId set_case(CaseMaker& make) {
  GraphBuilder& g = make.builder();
  const DType t = make.dtype(kAllDTypes);
  const std::vector<DimId> full = make.static_shape(1, 2, 2);
  const Block b = random_block(make, full);
  const ValueId mask =
      padded(make, b, make.splat({DType::kBool, b.shape}, 1), make.splat({DType::kBool, {}}, 0));
  const ValueId set = padded(make, b, make.input(t, b.shape), make.splat({t, {}}, 0));
  return make_slice(make, g.value(Op::where, {mask, set, make.input(t, full)}));
}

ValueId increment_case(CaseMaker& make) {
  GraphBuilder& g = make.builder();
  const DType t = make.dtype(kNumbers);
  const std::vector<DimId> full = make.static_shape(1, 2, 2);
  const Block b = random_block(make, full);
  const ValueId p = padded(make, b, make.input(t, b.shape), make.splat({t, {}}, 0));
  return make_slice(make, g.value(Op::add, {make.input(t, full), p}));
}

ValueId reshape_case(CaseMaker& make) {
  GraphBuilder& g = make.builder();
  DimTable& d = make.dims();
  std::vector<DimId> from, to;
  for (int64_t i = make.pick(1, 2); i > 0; --i) {
    std::vector<DimId> parts;
    for (int64_t k = make.pick(1, 2); k > 0; --k) parts.push_back(make.static_extent(1));
    from.push_back(d.product(parts));
    if (make.chance(0.2)) from.push_back(d.constant(1));
    to.insert(to.end(), parts.begin(), parts.end());
    if (make.chance(0.3)) to.push_back(d.constant(1));
  }
  return make_slice(make, g.value(Op::reshape, {make.input(make.dtype(kAllDTypes), from)},
                                  {{AttrKey::shape, to}}));
}

ValueId reverse_case(CaseMaker& make) {
  const ValueId v = static_input(make);
  const std::vector<int64_t> axes = make.axes(make.builder().type(v).rank());
  return make_slice(make, make.builder().value(Op::reverse, {v}, {{AttrKey::axes, axes}}));
}

ValueId iota_case(CaseMaker& make) {
  const std::vector<DimId> shape = make.static_shape(1, 3);
  return make_slice(
      make, make.builder().value(
                Op::iota, std::span<const ValueId>(),
                {{AttrKey::axis, make.pick(0, static_cast<int64_t>(shape.size()) - 1)},
                 {AttrKey::dtype, make.dtype(mask_of(DType::kInt64) | mask_of(DType::kInt32))},
                 {AttrKey::shape, shape}}));
}

ValueId gather_case(CaseMaker& make) {
  std::vector<DimId> shape = make.static_shape(1, 3, 1);
  const auto axis = make.pick(0, static_cast<int64_t>(shape.size()) - 1);
  shape[static_cast<size_t>(axis)] = make.dims().constant(5);
  const ValueId v = make.input(make.dtype(kAllDTypes), shape);
  const std::vector<std::vector<int64_t>> choices = {{0},       {4},       {-1},
                                                     {1, 2, 3}, {4, 2, 0}, {-4, -2}};
  ValueId indices = make.builder().int64s(make.one_of(choices));
  if (make.chance(0.3)) indices = make.builder().scalar_int(DType::kInt64, make.pick(-5, 4));
  return make.builder().value(Op::gather, {v, indices}, {{AttrKey::axis, axis}});
}

}  // namespace

std::vector<Rule> slice_rules() {
  const auto of = [](Op o, std::string name) {
    return op(Op::slice, {one_of({o}, std::move(name), {x})});
  };
  const Pattern padded_x = one_of({Op::pad}, "p", {x, any("fill")});
  return everywhere({
      rule("slice_all", "slice of everything -> x", op(Op::slice, {x}), whole)
          .when([](const Match& m) { return m.type("x") == m.root_type(); })
          .cases([](CaseMaker& make) {
            const ValueId v = static_input(make);
            const std::vector<DimId> shape = make.builder().type(v).dims;
            return make.builder().value(
                Op::slice, {v},
                {{AttrKey::starts, std::vector<DimId>(shape.size(), make.dims().constant(0))},
                 {AttrKey::shape, shape},
                 {AttrKey::strides, std::vector<int64_t>(shape.size(), 1)}});
          }),
      rule("slice_slice", "slice(slice(x)) -> slice(x)", of(Op::slice, "s"), slice_slice)
          .cases([](CaseMaker& make) {
            return make_slice(make, make_slice(make, static_input(make)));
          }),
      rule("slice_of_concat", "slice within one part of concat -> slice of the part",
           of(Op::concat, "c"), slice_of_concat)
          .cases(concat_case),
      rule("slice_of_broadcast", "slice(broadcast(x)) -> broadcast(slice(x))",
           of(Op::broadcast, "b"), slice_of_broadcast)
          .cases(broadcast_case),
      rule("slice_of_transpose", "slice(transpose(x)) -> transpose(slice(x))",
           of(Op::transpose, "t"), slice_of_transpose)
          .cases(transpose_case),
      rule("slice_across_concat", "slice over parts of concat -> concat of slices of them",
           of(Op::concat, "c"), slice_across_concat)
          .cases(concat_case),
      rule("slice_of_pad", "slice within what was padded -> slice of that; of padding -> fill",
           op(Op::slice, {padded_x}), slice_of_pad)
          .cases(pad_case),
      rule("slice_across_pad", "slice(pad(x)) -> pad(slice(x))", op(Op::slice, {padded_x}),
           slice_across_pad)
          .cases(pad_case),
      rule("slice_of_reverse", "slice(reverse(x)) -> slice(x) backwards", of(Op::reverse, "r"),
           slice_of_reverse)
          .cases(reverse_case),
      rule("slice_of_reshape", "slice(reshape(x)) -> reshape(slice(x)), where axes are split only",
           of(Op::reshape, "r"), slice_of_reshape)
          .cases(reshape_case),
      rule("slice_of_iota", "slice(iota) -> iota * stride + start",
           op(Op::slice, {one_of({Op::iota}, "n", {})}), slice_of_iota)
          .when(wide_integer)
          .cases(iota_case),
      rule(
          "slice_of_set", "slice of a tensor with a block set -> of the block, or of the tensor",
          op(Op::slice, {where(one_of({Op::pad}, "mask", {scalar("in", kBools), 0}), any("p"), x)}),
          slice_of_set)
          .when([](const Match& m) { return m.facts().splat(m["in"])->real != 0; })
          .cases(set_case),
      rule("slice_beside_increment",
           "slice of a tensor with another block incremented -> of the tensor",
           op(Op::slice, {x + one_of({Op::pad}, "p", {any("y"), 0})}), slice_beside_increment)
          .reassociates()  // -0.0 + 0 is 0
          .cases(increment_case),
      rule("gather_at_constants", "gather at constants in arithmetic progression -> slice",
           op(Op::gather, {x, constant("i")}), gather_at_constants)
          .cases(gather_case),
  });
}

}  // namespace gcomp::rules
