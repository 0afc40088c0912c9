// Builder: elementwise operations with folding, casts, lanes.

#include <algorithm>
#include <array>

#include "builder_state.h"
#include "fold.h"
#include "gcomp/ir/op.h"
#include "gcomp/support/error.h"

namespace gcomp::kernel {
namespace {

bool is_half(DType t) { return t == DType::kFloat16 || t == DType::kBFloat16; }

bool gives_bool(Op op) { return is_comparison(op) || op == Op::is_nan || op == Op::is_inf; }

bool is_commutative(Op op) {
  switch (op) {
    case Op::add:
    case Op::mul:
    case Op::min:
    case Op::max:
    case Op::eq:
    case Op::ne:
    case Op::bit_and:
    case Op::bit_or:
    case Op::bit_xor: return true;
    default: return false;
  }
}

// Arithmetic on bool is logic.
Op bool_op(Op op) {
  switch (op) {
    case Op::add:
    case Op::max: return Op::bit_or;
    case Op::mul:
    case Op::min: return Op::bit_and;
    case Op::sub:
    case Op::ne: return Op::bit_xor;
    default: return op;
  }
}

bool is_integer_identity(Op op) {
  return op == Op::floor || op == Op::ceil || op == Op::round || op == Op::trunc;
}

}  // namespace

// --- elementwise ------------------------------------------------------------------------------

// Operations simplify to simpler ones of the same builder, a few calls deep.
// NOLINTBEGIN(misc-no-recursion)

Value Builder::op(Op op, std::span<const Value> given) {
  GCOMP_CHECK(!given.empty() && given.size() <= 3, "kernel builder: elementwise operand count");
  std::array<Value, 3> args;
  int lanes = 1;
  for (Value v : given) lanes = std::max<int>(lanes, type(v).lanes);
  for (size_t i = 0; i < given.size(); ++i) args[i] = splat(given[i], lanes);
  std::span<Value> a(args.data(), given.size());
  if (op == Op::where) return where(a[0], a[1], a[2]);
  DType t = type(a[0]).dtype;
  for (Value v : a) {
    GCOMP_CHECK(type(v).dtype == t, "kernel builder: operands of different dtypes");
  }
  if (is_half(t)) {
    for (Value& v : a) v = cast(v, DType::kFloat32);
    Value wide = this->op(op, a);
    return gives_bool(op) ? wide : cast(wide, t);
  }
  if (t == DType::kBool) op = bool_op(op);
  if (!is_float(t) && is_integer_identity(op)) return a[0];
  Type result{gives_bool(op) ? DType::kBool : t, static_cast<uint16_t>(lanes)};
  if (!is_float(t) && (op == Op::is_nan || op == Op::is_inf)) return constant_bits(result, 0);

  bool all_const = std::ranges::all_of(a, [&](Value v) { return s_->is_const(v); });
  std::array<uint64_t, 3> bits{};
  for (size_t i = 0; i < a.size(); ++i) bits[i] = s_->bits(a[i]);
  uint64_t folded;
  if (all_const && fold_op(op, t, {bits.data(), a.size()}, &folded)) {
    return constant_bits(result, folded);
  }
  if (a.size() == 2) {
    if (is_commutative(op) && s_->is_const(a[0]) && !s_->is_const(a[1])) std::swap(a[0], a[1]);
    Value simple = simplify(op, a[0], a[1]);
    if (simple.valid()) return simple;
  }
  Value v = s_->append_one(Code::kOp, result, a);
  s_->kernel.insts.back().op = op;
  return v;
}

// x op c and x op x, exact in every dtype; invalid when nothing applies.
Value Builder::simplify(Op op, Value a, Value b) {
  Type t = type(a);
  bool integer = !is_float(t.dtype);
  if (a == b && integer) {
    if (op == Op::sub || op == Op::bit_xor) return constant_bits(t, 0);
    if (op == Op::bit_and || op == Op::bit_or || op == Op::min || op == Op::max) return a;
  }
  if (!s_->is_const(b)) return {};
  uint64_t bits = s_->bits(b);
  uint64_t one = from_double(t.dtype, 1), minus_zero = from_double(t.dtype, -0.0);
  uint64_t zero = 0, ones = integer ? from_int(t.dtype, -1) : ~0ull;
  switch (op) {
    case Op::add:
      // x + 0.0 is not x for x = -0.0, but x + -0.0 is.
      if (bits == (integer ? zero : minus_zero)) return a;
      return integer ? add_offset(op, a, b) : Value();
    case Op::sub:
      if (bits == zero) return a;
      return integer ? add(a, neg(b)) : Value();
    case Op::mul:
      if (bits == one) return a;
      return integer && bits == zero ? b : Value();
    case Op::div:
    case Op::floor_div: return bits == one ? a : Value();
    case Op::bit_and:
      if (bits == zero) return b;
      return bits == ones ? a : Value();
    case Op::bit_or:
      if (bits == ones) return b;
      return bits == zero ? a : Value();
    case Op::bit_xor:
    case Op::shl:
    case Op::shr: return bits == zero ? a : Value();
    default: return {};
  }
}

// (x + c1) + c2 -> x + (c1 + c2), so that unrolled index arithmetic folds.
Value Builder::add_offset(Op op, Value a, Value c) {
  const Inst* inst = s_->def(a);
  if (!inst || inst->code != Code::kOp || inst->op != op) return {};
  Value inner = s_->operand(*inst, 1);
  if (!s_->is_const(inner)) return {};
  Value x = s_->operand(*inst, 0);
  return add(x, add(inner, c));
}

Value Builder::add(Value a, Value b) { return op(Op::add, {a, b}); }
Value Builder::sub(Value a, Value b) { return op(Op::sub, {a, b}); }
Value Builder::mul(Value a, Value b) { return op(Op::mul, {a, b}); }
Value Builder::div(Value a, Value b) { return op(Op::div, {a, b}); }
Value Builder::min(Value a, Value b) { return op(Op::min, {a, b}); }
Value Builder::max(Value a, Value b) { return op(Op::max, {a, b}); }
Value Builder::neg(Value v) { return op(Op::neg, {v}); }
Value Builder::abs(Value v) { return op(Op::abs, {v}); }
Value Builder::sqrt(Value v) { return op(Op::sqrt, {v}); }
Value Builder::floor(Value v) { return op(Op::floor, {v}); }
Value Builder::round(Value v) { return op(Op::round, {v}); }
Value Builder::eq(Value a, Value b) { return op(Op::eq, {a, b}); }
Value Builder::ne(Value a, Value b) { return op(Op::ne, {a, b}); }
Value Builder::lt(Value a, Value b) { return op(Op::lt, {a, b}); }
Value Builder::le(Value a, Value b) { return op(Op::le, {a, b}); }
Value Builder::gt(Value a, Value b) { return op(Op::gt, {a, b}); }
Value Builder::ge(Value a, Value b) { return op(Op::ge, {a, b}); }
Value Builder::bit_and(Value a, Value b) { return op(Op::bit_and, {a, b}); }
Value Builder::bit_or(Value a, Value b) { return op(Op::bit_or, {a, b}); }
Value Builder::bit_xor(Value a, Value b) { return op(Op::bit_xor, {a, b}); }
Value Builder::bit_not(Value v) { return op(Op::bit_not, {v}); }
Value Builder::shl(Value a, Value b) { return op(Op::shl, {a, b}); }
Value Builder::shr(Value a, Value b) { return op(Op::shr, {a, b}); }

Value Builder::where(Value condition, Value a, Value b) {
  int lanes = std::max({type(condition).lanes, type(a).lanes, type(b).lanes});
  condition = splat(condition, lanes), a = splat(a, lanes), b = splat(b, lanes);
  GCOMP_CHECK(type(condition).dtype == DType::kBool && type(a) == type(b),
              "kernel builder: where(bool, T, T)");
  if (a == b) return a;
  if (s_->is_const(condition)) return s_->bits(condition) ? a : b;
  Value v = s_->append_one(Code::kOp, type(a), {condition, a, b});
  s_->kernel.insts.back().op = Op::where;
  return v;
}

namespace {

int widest(const Builder& b, std::initializer_list<Value> values) {
  int lanes = 1;
  for (Value v : values) lanes = std::max<int>(lanes, b.type(v).lanes);
  return lanes;
}

}  // namespace

Value Builder::fma(Value a, Value b, Value c) { return fused(Code::kFma, a, b, c); }
Value Builder::mul_add(Value a, Value b, Value c) {
  if (!is_float(type(a).dtype)) return add(mul(a, b), c);
  return fused(Code::kMulAdd, a, b, c);
}

Value Builder::fused(Code code, Value a, Value b, Value c) {
  int lanes = widest(*this, {a, b, c});
  a = splat(a, lanes), b = splat(b, lanes), c = splat(c, lanes);
  DType t = type(a).dtype;
  if (is_half(t)) {
    Value wide =
        fused(code, cast(a, DType::kFloat32), cast(b, DType::kFloat32), cast(c, DType::kFloat32));
    return cast(wide, t);
  }
  return s_->append_one(code, type(a), {a, b, c});
}

Value Builder::index_div(Value a, Value b) {
  int64_t x, y;
  if (constant_value(b, &y)) {
    if (y == 1) return a;
    if (constant_value(a, &x) && type(a).lanes == 1) return index(x / y);
  }
  int lanes = widest(*this, {a, b});
  a = splat(a, lanes), b = splat(b, lanes);
  return s_->append_one(Code::kIndexDiv, type(a), {a, b});
}

Value Builder::index_rem(Value a, Value b) {
  int64_t x, y;
  if (constant_value(b, &y)) {
    if (y == 1) return constant_bits(type(a), 0);
    if (constant_value(a, &x) && type(a).lanes == 1) return index(x % y);
  }
  int lanes = widest(*this, {a, b});
  a = splat(a, lanes), b = splat(b, lanes);
  return s_->append_one(Code::kIndexRem, type(a), {a, b});
}

Value Builder::libm(Op op, std::span<const Value> args) {
  Value v = s_->append_one(Code::kLibm, type(args[0]), args);
  s_->kernel.insts.back().op = op;
  return v;
}

// --- casts ------------------------------------------------------------------------------------
// Codegen is left with the pairs among bool, integers, float32 and float64, and float32 to and from
// the two half formats.

Value Builder::cast(Value v, DType to) {
  Type t = type(v);
  if (t.dtype == to) return v;
  Type result{to, t.lanes};
  if (s_->is_const(v)) return constant_bits(result, fold_cast(t.dtype, to, s_->bits(v)));
  if (to == DType::kBool) return ne(v, constant_bits(t, 0));
  if (is_half(t.dtype)) {
    Value wide = s_->append_one(Code::kCast, {DType::kFloat32, t.lanes}, {v});
    return cast(wide, to);
  }
  if (is_half(to)) return s_->append_one(Code::kCast, result, {narrow_once(v)});
  return s_->append_one(Code::kCast, result, {v});
}

// `v` as the float32 that rounds to the same half: wider numbers are rounded to odd (the odd one of the
// two neighbours unless exact), which keeps the second rounding honest.
Value Builder::narrow_once(Value v) {
  Type t = type(v);
  if (t.dtype == DType::kFloat32) return v;
  if (t.dtype != DType::kFloat64) {
    bool exact = byte_size(t.dtype) <= 2;
    if (exact) return cast(v, DType::kFloat32);
    v = cast(v, DType::kFloat64);
  }
  Type word{DType::kInt32, t.lanes};
  auto as_word = [&](Value m) { return where(m, constant_bits(word, 1), constant_bits(word, 0)); };
  Value nearest = cast(v, DType::kFloat32);
  Value back = cast(nearest, DType::kFloat64);
  Value bits = bitcast(nearest, DType::kInt32);
  Value even = bit_xor(bit_and(bits, constant_bits(word, 1)), constant_bits(word, 1));
  // |back| < |v| and its converse are false for NaN and for exact results.
  Value up = as_word(lt(abs(back), abs(v))), down = as_word(gt(abs(back), abs(v)));
  return bitcast(add(bits, mul(even, sub(up, down))), DType::kFloat32);
}

Value Builder::bitcast(Value v, DType to) {
  Type t = type(v);
  GCOMP_CHECK(byte_size(t.dtype) == byte_size(to) && t.dtype != DType::kBool && to != DType::kBool,
              "kernel builder: bitcast needs equal sizes");
  if (t.dtype == to) return v;
  if (s_->is_const(v)) return constant_bits({to, t.lanes}, s_->bits(v));
  return s_->append_one(Code::kBitcast, {to, t.lanes}, {v});
}

// --- lanes ------------------------------------------------------------------------------------

Value Builder::splat(Value v, int lanes) {
  Type t = type(v);
  if (t.lanes == lanes) return v;
  GCOMP_CHECK(t.lanes == 1, "kernel builder: only one-lane values are splat");
  Type result{t.dtype, static_cast<uint16_t>(lanes)};
  if (s_->is_const(v)) return constant_bits(result, s_->bits(v));
  return s_->append_one(Code::kSplat, result, {v});
}

Value Builder::extract(Value v, int lane) {
  Type t = type(v);
  GCOMP_CHECK(lane >= 0 && lane < t.lanes, "kernel builder: no such lane");
  if (t.lanes == 1) return v;
  if (s_->is_const(v)) return constant_bits({t.dtype, 1}, s_->bits(v));
  const Inst* inst = s_->def(v);
  if (inst && inst->code == Code::kSplat) return s_->operand(*inst, 0);
  Value r = s_->append_one(Code::kExtract, {t.dtype, 1}, {v});
  s_->kernel.insts.back().imm = static_cast<uint32_t>(lane);
  return r;
}

Value Builder::insert(Value v, int lane, Value element) {
  Type t = type(v);
  GCOMP_CHECK(lane >= 0 && lane < t.lanes, "kernel builder: no such lane");
  if (t.lanes == 1) return element;
  Value r = s_->append_one(Code::kInsert, t, {v, element});
  s_->kernel.insts.back().imm = static_cast<uint32_t>(lane);
  return r;
}

Value Builder::iota(DType dtype, int lanes) {
  Type t{dtype, static_cast<uint16_t>(lanes)};
  if (lanes == 1) return constant_bits(t, 0);
  return s_->append_one(Code::kIota, t, std::span<const Value>());
}

Value Builder::reduce(Op op, Value v) {
  Type t = type(v);
  if (t.lanes == 1) return v;
  if (is_half(t.dtype)) return cast(reduce(op, cast(v, DType::kFloat32)), t.dtype);
  if (t.dtype == DType::kBool) op = bool_op(op);
  Value r = s_->append_one(Code::kReduce, {t.dtype, 1}, {v});
  s_->kernel.insts.back().op = op;
  return r;
}

Value Builder::any(Value mask) { return reduce(Op::bit_or, mask); }
Value Builder::all(Value mask) { return reduce(Op::bit_and, mask); }

Value Builder::shuffle(Value a, Value b, std::span<const int> lanes) {
  Type t = type(a);
  GCOMP_CHECK(type(b) == t, "kernel builder: shuffle of different types");
  if (lanes.size() == 1) {
    return lanes[0] < t.lanes ? extract(a, lanes[0]) : extract(b, lanes[0] - t.lanes);
  }
  auto offset = static_cast<uint32_t>(s_->kernel.lane_lists.size());
  for (int lane : lanes) {
    GCOMP_CHECK(lane >= 0 && lane < 2 * t.lanes, "kernel builder: shuffle lane out of range");
    s_->kernel.lane_lists.push_back(static_cast<uint8_t>(lane));
  }
  Type result{t.dtype, static_cast<uint16_t>(lanes.size())};
  Value r = s_->append_one(Code::kShuffle, result, {a, b});
  s_->kernel.insts.back().imm = offset;
  return r;
}

Value Builder::concat(Value a, Value b) {
  std::vector<int> lanes(size_t{2} * type(a).lanes);
  for (size_t i = 0; i < lanes.size(); ++i) lanes[i] = static_cast<int>(i);
  return shuffle(a, b, lanes);
}

Value Builder::slice_lanes(Value v, int first, int count) {
  std::vector<int> lanes(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) lanes[static_cast<size_t>(i)] = first + i;
  return count == type(v).lanes ? v : shuffle(v, v, lanes);
}

Value Builder::interleave_low(Value a, Value b) {
  int n = type(a).lanes;
  std::vector<int> lanes;
  for (int i = 0; i < std::max(n / 2, 1); ++i) lanes.insert(lanes.end(), {i, n + i});
  return shuffle(a, b, lanes);
}

Value Builder::interleave_high(Value a, Value b) {
  int n = type(a).lanes;
  std::vector<int> lanes;
  for (int i = n / 2; i < n; ++i) lanes.insert(lanes.end(), {i, n + i});
  return shuffle(a, b, lanes);
}

// log2(n) rounds; round h swaps the off-diagonal h x h blocks of every 2h x 2h block.
Values Builder::transpose(const Values& rows) {
  int n = static_cast<int>(rows.size());
  GCOMP_CHECK(n > 0 && type(rows[0]).lanes == n, "kernel builder: transpose needs a square");
  Values r = rows;
  for (int h = n / 2; h >= 1; h /= 2) {
    std::vector<int> low, high;
    for (int j = 0; j < n; ++j) {
      low.push_back(j & h ? n + j - h : j);
      high.push_back(j & h ? n + j : j + h);
    }
    for (int i = 0; i < n; ++i) {
      if (i & h) continue;
      auto a = static_cast<size_t>(i), b = static_cast<size_t>(i + h);
      Value top = shuffle(r[a], r[b], low);
      r[b] = shuffle(r[a], r[b], high);
      r[a] = top;
    }
  }
  return r;
}

// NOLINTEND(misc-no-recursion)

}  // namespace gcomp::kernel
