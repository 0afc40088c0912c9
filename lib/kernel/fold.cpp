#include "fold.h"

#include <bit>
#include <cmath>
#include <limits>

#include "gcomp/ir/constant.h"
#include "gcomp/support/error.h"

namespace gcomp::kernel {
namespace {

int bit_width(DType t) { return t == DType::kBool ? 1 : static_cast<int>(byte_size(t)) * 8; }

uint64_t mask_of(DType t) {
  int width = bit_width(t);
  return width == 64 ? ~0ull : (1ull << width) - 1;
}

template <class Int>
uint64_t saturate(double value) {
  if (std::isnan(value)) return 0;
  // The upper bound as a double may round up to 2^n, which is already out of range.
  constexpr double kLo = static_cast<double>(std::numeric_limits<Int>::min());
  const double hi = std::ldexp(1.0, std::numeric_limits<Int>::digits);
  if (value <= kLo) return static_cast<uint64_t>(std::numeric_limits<Int>::min());
  if (value >= hi) return static_cast<uint64_t>(std::numeric_limits<Int>::max());
  return static_cast<uint64_t>(static_cast<Int>(value));
}

template <class T>
bool compare(Op op, T a, T b) {
  switch (op) {
    case Op::eq: return a == b;
    case Op::ne: return a != b;
    case Op::lt: return a < b;
    case Op::le: return a <= b;
    case Op::gt: return a > b;
    default: return a >= b;
  }
}

template <class T>
bool fold_float(Op op, std::span<const T> a, T* r) {
  switch (op) {
    case Op::add: *r = a[0] + a[1]; return true;
    case Op::sub: *r = a[0] - a[1]; return true;
    case Op::mul: *r = a[0] * a[1]; return true;
    case Op::div: *r = a[0] / a[1]; return true;
    case Op::neg: *r = -a[0]; return true;
    case Op::abs: *r = std::fabs(a[0]); return true;
    case Op::sqrt: *r = std::sqrt(a[0]); return true;
    case Op::floor: *r = std::floor(a[0]); return true;
    case Op::ceil: *r = std::ceil(a[0]); return true;
    case Op::trunc: *r = std::trunc(a[0]); return true;
    default: return false;
  }
}

template <class T, class Bits>
bool fold_float_bits(Op op, std::span<const uint64_t> args, uint64_t* result) {
  T values[3] = {};
  for (size_t i = 0; i < args.size(); ++i) values[i] = std::bit_cast<T>(static_cast<Bits>(args[i]));
  if (is_comparison(op)) {
    *result = compare(op, values[0], values[1]);
    return true;
  }
  T r;
  if (!fold_float<T>(op, {values, args.size()}, &r)) return false;
  // A NaN's sign and payload are the processor's business.
  if (std::isnan(r)) return false;
  *result = std::bit_cast<Bits>(r);
  return true;
}

// Quotients of integers, op by op as the op table states them.
bool fold_division(Op op, DType t, int64_t a, int64_t b, int64_t* r) {
  if (b == 0) {
    *r = 0;
    return true;
  }
  bool is_unsigned = !is_signed_int(t);
  if (is_unsigned) {
    auto ua = static_cast<uint64_t>(a), ub = static_cast<uint64_t>(b);
    *r = static_cast<int64_t>(op == Op::div || op == Op::floor_div ? ua / ub : ua % ub);
    return true;
  }
  if (b == -1) {  // avoids the overflow of INT64_MIN / -1
    *r = op == Op::div || op == Op::floor_div ? static_cast<int64_t>(0 - static_cast<uint64_t>(a))
                                              : 0;
    return true;
  }
  int64_t q = a / b, m = a % b;
  bool adjust = m != 0 && (m < 0) != (b < 0);
  switch (op) {
    case Op::div: *r = q; return true;
    case Op::floor_div: *r = q - (adjust ? 1 : 0); return true;
    case Op::rem: *r = m; return true;
    default: *r = m + (adjust ? b : 0); return true;
  }
}

int64_t shift(Op op, DType t, int64_t a, uint64_t by) {
  auto width = static_cast<uint64_t>(bit_width(t));
  if (op == Op::shl) return by >= width ? 0 : static_cast<int64_t>(static_cast<uint64_t>(a) << by);
  if (is_signed_int(t)) return a >> (by >= width ? width - 1 : by);
  return by >= width ? 0 : static_cast<int64_t>(static_cast<uint64_t>(a) >> by);
}

bool fold_int(Op op, DType t, std::span<const uint64_t> args, uint64_t* result) {
  int64_t a = as_int(t, args[0]);
  int64_t b = args.size() > 1 ? as_int(t, args[1]) : 0;
  auto ua = static_cast<uint64_t>(a), ub = static_cast<uint64_t>(b);
  bool is_signed = is_signed_int(t);
  if (is_comparison(op)) {
    *result = is_signed ? compare(op, a, b) : compare(op, ua, ub);
    return true;
  }
  int64_t r = 0;
  bool a_less = is_signed ? a < b : ua < ub;
  switch (op) {
    case Op::add: r = static_cast<int64_t>(ua + ub); break;
    case Op::sub: r = static_cast<int64_t>(ua - ub); break;
    case Op::mul: r = static_cast<int64_t>(ua * ub); break;
    case Op::neg: r = static_cast<int64_t>(0 - ua); break;
    case Op::min: r = a_less ? a : b; break;
    case Op::max: r = a_less ? b : a; break;
    case Op::bit_and: r = a & b; break;
    case Op::bit_or: r = a | b; break;
    case Op::bit_xor: r = a ^ b; break;
    case Op::bit_not: r = ~a; break;
    case Op::shl:
    case Op::shr: r = shift(op, t, a, ub & mask_of(t)); break;
    case Op::div:
    case Op::floor_div:
    case Op::mod:
    case Op::rem:
      if (t == DType::kBool || !fold_division(op, t, a, b, &r)) return false;
      break;
    default: return false;
  }
  *result = from_int(t, r);
  return true;
}

bool fold_bool(Op op, std::span<const uint64_t> args, uint64_t* result) {
  switch (op) {
    case Op::bit_and:
    case Op::bit_or:
    case Op::bit_xor:
    case Op::bit_not:
    case Op::min:
    case Op::max: return fold_int(op, DType::kBool, args, result);
    default: return is_comparison(op) && fold_int(op, DType::kBool, args, result);
  }
}

}  // namespace

int64_t as_int(DType t, uint64_t bits) {
  int width = bit_width(t);
  bits &= mask_of(t);
  if (!is_signed_int(t) || width == 64) return static_cast<int64_t>(bits);
  return static_cast<int64_t>(bits << (64 - width)) >> (64 - width);
}

double as_double(DType t, uint64_t bits) {
  switch (t) {
    case DType::kFloat16: return static_cast<double>(half_to_float(static_cast<uint16_t>(bits)));
    case DType::kBFloat16:
      return static_cast<double>(bfloat16_to_float(static_cast<uint16_t>(bits)));
    case DType::kFloat32:
      return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits)));
    case DType::kFloat64: return std::bit_cast<double>(bits);
    case DType::kUInt64: return static_cast<double>(bits);
    default: return static_cast<double>(as_int(t, bits));
  }
}

uint64_t from_int(DType t, int64_t value) {
  GCOMP_CHECK(!is_float(t), "from_int of a float dtype");
  return static_cast<uint64_t>(value) & mask_of(t);
}

uint64_t from_double(DType t, double value) {
  uint64_t bits = 0;
  switch (t) {
    case DType::kBool: bits = value != 0; break;
    case DType::kInt8: bits = saturate<int8_t>(value); break;
    case DType::kInt16: bits = saturate<int16_t>(value); break;
    case DType::kInt32: bits = saturate<int32_t>(value); break;
    case DType::kInt64: bits = saturate<int64_t>(value); break;
    case DType::kUInt8: bits = saturate<uint8_t>(value); break;
    case DType::kUInt16: bits = saturate<uint16_t>(value); break;
    case DType::kUInt32: bits = saturate<uint32_t>(value); break;
    case DType::kUInt64: bits = saturate<uint64_t>(value); break;
    case DType::kFloat16: bits = double_to_half(value); break;
    case DType::kBFloat16: bits = double_to_bfloat16(value); break;
    case DType::kFloat32: bits = std::bit_cast<uint32_t>(static_cast<float>(value)); break;
    case DType::kFloat64: bits = std::bit_cast<uint64_t>(value); break;
  }
  return bits & mask_of(t);
}

uint64_t fold_cast(DType from, DType to, uint64_t bits) {
  if (from == to) return bits;
  if (is_float(from)) return from_double(to, as_double(from, bits));
  if (to == DType::kBool) return bits != 0;
  if (!is_float(to)) return from_int(to, as_int(from, bits));
  if (to == DType::kFloat32) {  // 64-bit integers must not round twice
    float f =
        from == DType::kUInt64 ? static_cast<float>(bits) : static_cast<float>(as_int(from, bits));
    return std::bit_cast<uint32_t>(f);
  }
  return from_double(to, as_double(from, bits));
}

bool fold_op(Op op, DType t, std::span<const uint64_t> args, uint64_t* result) {
  switch (t) {
    case DType::kFloat32: return fold_float_bits<float, uint32_t>(op, args, result);
    case DType::kFloat64: return fold_float_bits<double, uint64_t>(op, args, result);
    case DType::kFloat16:
    case DType::kBFloat16: return false;
    case DType::kBool: return fold_bool(op, args, result);
    default: return fold_int(op, t, args, result);
  }
}

}  // namespace gcomp::kernel
