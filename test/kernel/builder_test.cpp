#include "gcomp/kernel/builder.h"

#include <doctest/doctest.h>

#include <cmath>

#include "gcomp/ir/op.h"
#include "gcomp/support/error.h"

using namespace gcomp;
using namespace gcomp::kernel;

namespace {

Kernel scale_kernel(float factor) {
  Builder b;
  Buffer x = b.parameter(DType::kFloat32, Role::kIn);
  Buffer y = b.parameter(DType::kFloat32, Role::kOut);
  b.vector_loop(b.range_begin(), b.range_end(), 8, [&](Value i, int lanes) {
    b.store(y, i, b.mul(b.load(x, i, lanes), b.f32(factor)));
  });
  return b.finish();
}

int64_t folded(Builder& b, Value v) {
  int64_t r = 0;
  REQUIRE(b.constant_value(v, &r));
  return r;
}

Value int_constant(Builder& b, DType t, int64_t v) { return b.cast(b.index(v), t); }

}  // namespace

TEST_CASE("equal build calls give equal kernels and equal hashes; another constant differs") {
  Kernel a = scale_kernel(2), b = scale_kernel(2), c = scale_kernel(3);
  CHECK(a == b);
  CHECK(hash(a) == hash(b));
  CHECK(!(a == c));
  CHECK(hash(a) != hash(c));
}

TEST_CASE("the printer shows regions and buffers") {
  std::string text = print(scale_kernel(2));
  CHECK(text.find("kernel(b0: in float32, b1: out float32) scalars() {") == 0);
  CHECK(text.find("for begin, ") != std::string::npos);
  CHECK(text.find(": float32x8 = load b0 %") != std::string::npos);
  CHECK(text.find(": float32x8 = mul %") != std::string::npos);
  CHECK(text.find("store b1 %") != std::string::npos);
  CHECK(text.find("end_for") != std::string::npos);
}

TEST_CASE("index arithmetic folds") {
  Builder b;
  Value s = b.scalar(DType::kInt64);
  CHECK(b.add(s, b.index(0)) == s);
  CHECK(b.mul(b.index(1), s) == s);
  CHECK(b.mul(s, b.index(0)) == b.index(0));
  CHECK(b.sub(s, s) == b.index(0));
  CHECK(folded(b, b.index_div(b.index(17), b.index(5))) == 3);
  CHECK(folded(b, b.index_rem(b.index(17), b.index(5))) == 2);
  CHECK(b.index_div(s, b.index(1)) == s);
}

TEST_CASE("integer constants fold as the op table says") {
  Builder b;
  auto i32 = [&](int64_t v) { return int_constant(b, DType::kInt32, v); };
  CHECK(folded(b, b.div(i32(-7), i32(2))) == -3);
  CHECK(folded(b, b.div(i32(7), i32(0))) == 0);
  CHECK(folded(b, b.div(i32(INT32_MIN), i32(-1))) == INT32_MIN);
  CHECK(folded(b, b.op(Op::floor_div, {i32(-7), i32(2)})) == -4);
  CHECK(folded(b, b.op(Op::mod, {i32(-7), i32(2)})) == 1);
  CHECK(folded(b, b.op(Op::mod, {i32(7), i32(-2)})) == -1);
  CHECK(folded(b, b.op(Op::rem, {i32(-7), i32(2)})) == -1);
  CHECK(folded(b, b.shl(i32(1), i32(32))) == 0);
  CHECK(folded(b, b.shr(i32(-8), i32(40))) == -1);
  CHECK(folded(b, b.add(i32(INT32_MAX), i32(1))) == INT32_MIN);
  Value u = int_constant(b, DType::kUInt8, 200);
  CHECK(folded(b, b.add(u, u)) == 144);
  CHECK(folded(b, b.cast(b.f32(300.7f), DType::kUInt8)) == 255);
  CHECK(folded(b, b.cast(b.f32(-1e30f), DType::kInt64)) == INT64_MIN);
  CHECK(folded(b, b.cast(b.constant({DType::kFloat64, 1}, NAN), DType::kInt32)) == 0);
}

TEST_CASE("float identities keep the sign of zero") {
  Builder b;
  Value s = b.scalar(DType::kFloat32);
  CHECK(b.mul(s, b.f32(1)) == s);
  CHECK(b.add(s, b.f32(-0.0f)) == s);
  CHECK(b.sub(s, b.f32(0)) == s);
  CHECK(!(b.add(s, b.f32(0)) == s));
  CHECK(!(b.mul(s, b.f32(0)) == b.f32(0)));
}

TEST_CASE("a value used outside its region does not verify") {
  Builder b;
  Buffer y = b.parameter(DType::kInt64, Role::kOut);
  Value leaked;
  b.for_loop(b.range_begin(), b.range_end(), b.index(1),
             [&](Value i) { leaked = b.add(i, b.index(1)); });
  b.store(y, b.index(0), leaked);
  CHECK_THROWS_AS(b.finish(), InternalError);
}

TEST_CASE("writing an input, a wrong dtype and an open loop do not verify") {
  {
    Builder b;
    Buffer x = b.parameter(DType::kFloat32, Role::kIn);
    b.store(x, b.index(0), b.f32(1));
    CHECK_THROWS_AS(b.finish(), InternalError);
  }
  {
    Builder b;
    Buffer x = b.parameter(DType::kFloat64, Role::kOut);
    b.store(x, b.index(0), b.f32(1));
    CHECK_THROWS_AS(b.finish(), InternalError);
  }
  {
    Builder b;
    b.begin_for(b.index(0), b.range_end(), b.index(1), {});
    CHECK_THROWS_AS(b.finish(), InternalError);
  }
}

TEST_CASE("the verifier names the instruction") {
  Kernel k = scale_kernel(2);
  for (Inst& inst : k.insts) {
    if (inst.code == kernel::Code::kStore) inst.imm = 7;
  }
  std::vector<std::string> errors = verify(k);
  REQUIRE(!errors.empty());
  CHECK(errors[0].find("(store): no such buffer") != std::string::npos);
}
