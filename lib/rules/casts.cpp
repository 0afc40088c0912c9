// Chains of casts, and what passes through them.
#include "tables.h"

namespace gcomp::rules {
namespace {

const Pattern x = any("x");

int mantissa_bits(DType t) {
  switch (t) {
    case DType::kFloat16: return 11;
    case DType::kBFloat16: return 8;
    case DType::kFloat32: return 24;
    default: return 53;
  }
}
int exponent_range(DType t) {
  switch (t) {
    case DType::kFloat16: return 15;
    case DType::kFloat64: return 1023;
    default: return 127;
  }
}
int value_bits(DType t) {  // of integers, without the sign
  if (t == DType::kBool) return 1;
  return static_cast<int>(byte_size(t)) * 8 - (is_signed_int(t) ? 1 : 0);
}

// Every value of `from` is one of `to`, so that the cast is exact.
bool lossless(DType from, DType to) {
  if (from == to) return true;
  if (to == DType::kBool) return false;
  if (is_float(from)) {
    return is_float(to) && mantissa_bits(from) <= mantissa_bits(to) &&
           exponent_range(from) <= exponent_range(to);
  }
  if (is_float(to)) return value_bits(from) <= mantissa_bits(to);
  return value_bits(from) <= value_bits(to) && (!is_signed_int(from) || is_signed_int(to));
}

// cast(cast(x, middle), to) is cast(x, to).
bool middle_is_needless(DType from, DType middle, DType to) {
  if (lossless(from, middle)) {
    // Float to integer saturates, integer to integer wraps: the way over floats counts.
    const bool ways_differ = !is_float(from) && is_float(middle) && is_int(to);
    return !ways_differ || lossless(from, to);
  }
  // Low bits of low bits.
  return is_int(from) && is_int(middle) && is_int(to) && byte_size(to) <= byte_size(middle);
}

DType source_dtype(const Match& m, std::string_view cast) {
  return m.graph().type(m.operands(cast)[0]).dtype;
}

ValueId cast_of(CaseMaker& make, ValueId v, DType t) {
  return make.builder().value(Op::cast, {v}, {{AttrKey::dtype, t}});
}

// Both operands of a comparison are casts from one dtype that keep order and equality.
bool comparable_before_cast(const Match& m) {
  const DType from = source_dtype(m, "a"), other = source_dtype(m, "b");
  return from == other && lossless(from, m.type("a").dtype);
}

}  // namespace

std::vector<Rule> cast_rules() {
  const std::vector<Op> roundings = {Op::floor, Op::ceil, Op::round, Op::trunc};
  const std::vector<Op> orders = {Op::lt, Op::le, Op::gt, Op::ge, Op::eq, Op::ne};
  return everywhere({
      rule("cast_to_same", "cast(x, dtype of x) -> x", op(Op::cast, {x}),
           [](const Match& m, Emitter&) -> Replacement { return m["x"]; })
          .when([](const Match& m) { return m.type("x").dtype == m.root_type().dtype; })
          .cases([](CaseMaker& make) {
            const DType t = make.dtype(kAllDTypes);
            return cast_of(make, make.input(t, make.shape()), t);
          }),
      rule("cast_cast", "cast(cast(x)) -> cast(x), where the middle loses nothing",
           op(Op::cast, {one_of({Op::cast}, "inner", {x})}),
           [](const Match& m, Emitter& e) -> Replacement {
             return e.cast(m["x"], m.root_type().dtype);
           })
          .when([](const Match& m) {
            return middle_is_needless(m.type("x").dtype, m.type("inner").dtype,
                                      m.root_type().dtype);
          })
          .cases([](CaseMaker& make) {
            const ValueId v = make.input(make.dtype(kAllDTypes), make.shape());
            const ValueId inner = cast_of(make, v, make.dtype(kAllDTypes));
            return cast_of(make, inner, make.dtype(kAllDTypes));
          }),
      rule("cast_of_iota", "cast(iota) -> iota of that dtype",
           op(Op::cast, {one_of({Op::iota}, "i", {})}),
           [](const Match& m, Emitter& e) -> Replacement {
             const Attrs attrs = m.attrs("i");
             const std::vector<DimId> shape = attrs.dims(AttrKey::shape);
             return e.value(Op::iota, e.carriers(shape, {}),
                            {{AttrKey::axis, attrs.integer(AttrKey::axis)},
                             {AttrKey::dtype, m.root_type().dtype},
                             {AttrKey::shape, shape}});
           })
          .when([](const Match& m) {
            return m.type("i").dtype == DType::kInt64 && m.root_type().dtype != DType::kBool;
          })
          .cases([](CaseMaker& make) {
            const std::vector<DimId> shape = make.static_shape(1, 3);
            const ValueId iota = make.builder().value(
                Op::iota, {},
                {{AttrKey::axis, make.pick(0, static_cast<int64_t>(shape.size()) - 1)},
                 {AttrKey::dtype, DType::kInt64},
                 {AttrKey::shape, shape}});
            return cast_of(make, iota, make.dtype(kNumbers));
          }),
      rule("round_of_integer", "floor(cast(x)) -> cast(x), x an integer",
           one_of(roundings, "f", {one_of({Op::cast}, "n", {any("x", kInts | kBools)})}),
           [](const Match& m, Emitter&) -> Replacement { return m["n"]; })
          .cases([roundings](CaseMaker& make) {
            const ValueId v = make.input(make.dtype(kInts | kBools), make.shape());
            return make.builder().value(make.one_of(roundings),
                                        {cast_of(make, v, make.dtype(kFloats))});
          }),
      rule("compare_of_casts", "cast(x) < cast(y) -> x < y, where the cast loses nothing",
           one_of(orders, "o", {one_of({Op::cast}, "a", {x}), one_of({Op::cast}, "b", {any("y")})}),
           [](const Match& m, Emitter& e) -> Replacement {
             return e.value(m.graph().node(m.root()).op, {m["x"], m["y"]});
           })
          .when(comparable_before_cast)
          .cases([orders](CaseMaker& make) {
            const DType t = make.dtype(kAllDTypes), to = make.dtype(kNumbers);
            const std::vector<DimId> shape = make.shape();
            const ValueId a = make.input(t, shape), b = make.input(t, shape);
            return make.builder().value(make.one_of(orders),
                                        {cast_of(make, a, to), cast_of(make, b, to)});
          }),
      rule("cast_bool_of_number", "cast(x, bool) -> x != 0", op(Op::cast, {number("x")}),
           [](const Match& m, Emitter& e) -> Replacement {
             return e.value(Op::ne, {m["x"], splat_like(e, m["x"], 0)});
           })
          .when([](const Match& m) { return m.root_type().dtype == DType::kBool; }),
  });
}

}  // namespace gcomp::rules
