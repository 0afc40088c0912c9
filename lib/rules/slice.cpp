// Slices move towards the inputs, where they make less to compute; gathers at constants are slices.
#include <algorithm>

#include "tables.h"

namespace gcomp::rules {
namespace {

const Pattern x = any("x");

// A slice's attributes, copied: emitting nodes interns new lists.
struct Slice {
  std::vector<DimId> starts, shape;
  std::vector<int64_t> strides;
  explicit Slice(const Attrs& a)
      : starts(a.dims(AttrKey::starts)),
        shape(a.dims(AttrKey::shape)),
        strides(a.ints(AttrKey::strides)) {}
};

Slice root_slice(const Match& m) { return Slice(m.graph().attrs(m.root())); }

bool at_least(const Match& m, DimId a, DimId b) {  // a >= b whatever the symbols are
  return provably_at_least(m.dims(), m.dims().sub(a, b), 0);
}

// The last index along axis `i` plus one, of a slice with positive stride.
DimId end_of(DimTable& dims, const Slice& s, size_t i) {
  const DimId steps = dims.sub(s.shape[i], dims.constant(1));
  const DimId last = dims.add(s.starts[i], dims.mul(steps, dims.constant(s.strides[i])));
  return dims.add(last, dims.constant(1));
}

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

// The slice lies within the padded tensor: it is a slice of that.
Replacement slice_of_pad(const Match& m, Emitter& e) {
  Slice s = root_slice(m);
  const std::vector<DimId> low = m.attrs("p").dims(AttrKey::low);
  const std::vector<DimId> inner = m.type("x").dims;
  DimTable& dims = m.dims();
  for (size_t i = 0; i < s.starts.size(); ++i) {
    if (s.strides[i] < 1 || !at_least(m, s.starts[i], low[i])) return std::nullopt;
    if (!at_least(m, dims.add(low[i], inner[i]), end_of(dims, s, i))) return std::nullopt;
    s.starts[i] = dims.sub(s.starts[i], low[i]);
  }
  return e.slice(m["x"], s.starts, s.shape, s.strides);
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

ValueId pad_case(CaseMaker& make) {
  const DType t = make.dtype(kNumbers);
  const std::vector<DimId> shape = make.static_shape(1, 2, 2);
  std::vector<DimId> low, high, starts;
  for (size_t i = 0; i < shape.size(); ++i) {
    low.push_back(make.dims().constant(make.pick(0, 2)));
    high.push_back(make.dims().constant(make.pick(0, 2)));
    starts.push_back(low.back());
  }
  const ValueId p = make.builder().value(Op::pad, {make.input(t, shape), make.input(t, {})},
                                         {{AttrKey::low, low}, {AttrKey::high, high}});
  return make.builder().value(Op::slice, {p},
                              {{AttrKey::starts, starts},
                               {AttrKey::shape, shape},
                               {AttrKey::strides, std::vector<int64_t>(shape.size(), 1)}});
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
      rule("slice_of_pad", "slice within what was padded -> slice of that", of(Op::pad, "p"),
           slice_of_pad)
          .cases(pad_case),
      rule("gather_at_constants", "gather at constants in arithmetic progression -> slice",
           op(Op::gather, {x, constant("i")}), gather_at_constants)
          .cases(gather_case),
  });
}

}  // namespace gcomp::rules
