// Shape arithmetic: small integer tensors whose elements are known as expressions over extents.
#include <algorithm>

#include "tables.h"

namespace gcomp::rules {
namespace {

const std::vector<Op> kArithmetic = {
    Op::add,    Op::sub,    Op::mul,     Op::div,        Op::floor_div,  Op::mod,
    Op::min,    Op::max,    Op::neg,     Op::cast,       Op::where,      Op::slice,
    Op::concat, Op::gather, Op::reshape, Op::reduce_sum, Op::lt,         Op::le,
    Op::gt,     Op::ge,     Op::eq,      Op::ne,         Op::reduce_prod};

// Cheap enough to ask about: an integer or truth value of rank 0 or 1.
bool small_integer(const Match& m) {
  const Type& t = m.root_type();
  return t.rank() <= 1 && !is_float(t.dtype) && byte_size(t.dtype) != 2;
}

bool all_numbers(const DimTable& dims, const std::vector<DimId>& values) {
  return std::all_of(values.begin(), values.end(),
                     [&](DimId d) { return dims.constant_value(d).has_value(); });
}

ValueId number_tensor(const Match& m, Emitter& e, const Type& t, const std::vector<DimId>& values) {
  std::vector<std::byte> bytes;
  for (DimId d : values) {
    const Constant one = make_scalar_int(t.dtype, *m.dims().constant_value(d));
    bytes.insert(bytes.end(), one.bytes.begin(), one.bytes.end());
  }
  std::vector<int64_t> shape;
  if (t.rank() == 1) shape.push_back(static_cast<int64_t>(values.size()));
  return e.builder().constant(make_constant(t.dtype, std::move(shape), std::move(bytes)));
}

Replacement known_elements(const Match& m, Emitter& e) {
  const auto known = e.builder().dim_values(m.root_value());
  if (!known) return std::nullopt;
  const Type t = m.root_type();
  if (all_numbers(m.dims(), *known)) return number_tensor(m, e, t, *known);
  if (t.dtype == DType::kBool) return std::nullopt;
  const ValueId v = e.reshape(e.dims_value(*known), t.dims);
  return e.cast(v, t.dtype);
}

ValueId shape_case(CaseMaker& make) {
  GraphBuilder& b = make.builder();
  const ValueId v = make.input(DType::kFloat32, make.shape(2, 3));
  const ValueId shape = b.shape_of(v);
  const auto at = [&](int64_t i) {
    return b.value(Op::gather, {shape, b.scalar_int(DType::kInt64, i)},
                   {{AttrKey::axis, int64_t{0}}});
  };
  const ValueId two = b.scalar_int(DType::kInt64, 2);
  switch (make.pick(0, 4)) {
    case 0: return b.value(Op::mul, {at(0), at(1)});
    case 1: return b.value(Op::floor_div, {b.value(Op::add, {at(0), at(1)}), two});
    case 2: return b.value(Op::cast, {at(-1)}, {{AttrKey::dtype, DType::kInt32}});
    case 3: return b.value(Op::lt, {at(0), b.value(Op::add, {at(0), two})});
    default: return b.value(Op::reduce_prod, {shape}, {{AttrKey::axes, std::vector<int64_t>{0}}});
  }
}

}  // namespace

std::vector<Rule> shape_rules() {
  std::vector<Rule> rules = everywhere({
      rule("shape_arithmetic", "integers computed from extents -> dims or a constant",
           one_of(kArithmetic, "n", {}).and_more(), known_elements)
          .when(small_integer)
          .cases(shape_case),
      rule("dims_constant", "dims without symbols -> a constant", op(Op::dims, {}), known_elements)
          .when([](const Match& m) {
            return all_numbers(m.dims(), m.graph().attrs(m.root()).dims(AttrKey::values));
          })
          .cases([](CaseMaker& make) {
            const std::vector<DimId> values = make.static_shape(1, 3);
            return make.builder().value(Op::dims, {}, {{AttrKey::values, values}});
          }),
  });
  for (Rule& r : rules) r.tags.push_back("shape");
  return rules;
}

}  // namespace gcomp::rules
