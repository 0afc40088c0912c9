#pragma once
// What the expansions share: constants of the argument's type, polynomials, bit views, slow paths.

#include <initializer_list>
#include <span>

#include "gcomp/ir/op.h"
#include "gcomp/kernel/builder.h"

namespace gcomp::kernel::math {

class MathBuilder {
 public:
  MathBuilder(Builder& builder, Type type, bool has_fma)
      : b(builder), type(type), has_fma(has_fma) {}

  bool is_f64() const { return type.dtype == DType::kFloat64; }
  Value c(double v) { return b.constant(type, v); }
  // The constant of the precision that is being emitted.
  Value c(double f32, double f64) { return c(is_f64() ? f64 : f32); }

  // The same-width signed integers.
  Type int_type() const { return {is_f64() ? DType::kInt64 : DType::kInt32, type.lanes}; }
  Value ic(int64_t v) { return b.constant_bits(int_type(), bits_of(v)); }
  Value bits(Value x) { return b.bitcast(x, int_type().dtype); }
  Value from_bits(Value i) { return b.bitcast(i, type.dtype); }
  int mantissa_bits() const { return is_f64() ? 52 : 23; }

  Value add(Value x, Value y) { return b.add(x, y); }
  Value sub(Value x, Value y) { return b.sub(x, y); }
  Value mul(Value x, Value y) { return b.mul(x, y); }
  Value div(Value x, Value y) { return b.div(x, y); }
  Value mad(Value x, Value y, Value z) { return b.mul_add(x, y, z); }  // x*y + z
  Value fma(Value x, Value y, Value z) { return b.fma(x, y, z); }
  Value neg(Value x) { return b.neg(x); }
  Value abs(Value x) { return b.abs(x); }
  Value where(Value m, Value x, Value y) { return b.where(m, x, y); }
  // Without NaN handling: y when they do not compare (one instruction).
  Value max_fast(Value x, Value y) { return b.where(b.gt(x, y), x, y); }
  Value min_fast(Value x, Value y) { return b.where(b.lt(x, y), x, y); }
  Value copysign(Value magnitude, Value sign);
  Value sign_bit(Value x);  // integer: the sign bit alone

  // coefficients[0] + coefficients[1] x + ...: Horner, or Estrin pairs where latency matters more.
  Value poly(Value x, std::initializer_list<double> coefficients) {
    return poly(x, std::span<const double>(coefficients.begin(), coefficients.size()));
  }
  Value poly(Value x, std::span<const double> coefficients);
  Value estrin(Value x, std::span<const double> coefficients);
  Value estrin(Value x, std::initializer_list<double> coefficients) {
    return estrin(x, std::span<const double>(coefficients.begin(), coefficients.size()));
  }

  // A double-length number: hi + lo with |lo| <= ulp(hi)/2.
  struct Pair {
    Value hi, lo;
  };
  Pair two_sum(Value x, Value y);
  Pair fast_two_sum(Value x, Value y);  // |x| >= |y| or x == 0
  Pair two_prod(Value x, Value y);
  // Exact products and sums of pairs, to about twice the precision.
  Pair add(Pair x, Value y);
  Pair add(Pair x, Pair y);
  Pair mul(Pair x, Value y);
  Pair mul(Pair x, Pair y);

  // `fast`, with the lanes where `slow` replaced by the C library's op(args), one call a lane.
  Value libm_where(Value slow, Op op, std::span<const Value> args, Value fast);

  Builder& b;
  Type type;
  bool has_fma;  // else exact products take Dekker's 17 operations

 private:
  uint64_t bits_of(int64_t v) const {
    return is_f64() ? static_cast<uint64_t>(v) : static_cast<uint32_t>(v);
  }
};

}  // namespace gcomp::kernel::math
