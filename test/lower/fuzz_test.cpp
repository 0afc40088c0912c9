// Random graphs: elementwise, layout, reductions, gathers over random shapes (empty, 1, symbolic), lowered and
// compared with the interpreter.

#include <doctest/doctest.h>

#include <cstdlib>

#include "../sanitized.h"
#include "gcomp/ir/text.h"
#include "net.h"

namespace gcomp::test {
namespace {

class RandomGraph {
 public:
  RandomGraph(uint32_t seed) : rng_(seed) {
    static constexpr DType kTypes[] = {DType::kFloat32, DType::kFloat64, DType::kInt32,
                                       DType::kFloat16, DType::kInt8,    DType::kUInt16};
    dtype_ = kTypes[pick(10) < 6 ? pick(2) : pick(6)];
  }

  std::string run() {
    const size_t inputs = 1 + pick(3);
    for (size_t i = 0; i < inputs; ++i) {
      std::vector<DimId> shape;
      const size_t rank = pick(4);
      for (size_t a = 0; a < rank; ++a) shape.push_back(extent());
      values_.push_back(n_.input(dtype_, shape));
    }
    n_.input(dtype_, {n_.dim("N"), n_.dim("M")});  // gives the symbols their values
    const size_t count = 3 + pick(25);
    for (size_t i = 0; i < count; ++i) grow();
    std::vector<ValueId> outputs;
    const size_t wanted = 1 + pick(3);
    for (size_t i = 0; i < wanted; ++i)
      outputs.push_back(values_[values_.size() - 1 - pick(4) % values_.size()]);
    int k = 0;
    for (ValueId v : outputs) n_.b.output("y" + std::to_string(k++), v);
    const auto g = n_.b.finish();
    if (std::getenv("GCOMP_FUZZ_PRINT") != nullptr) MESSAGE(print(*g));
    lower::LowerOptions options;
    options.fuse = pick(4) != 0;
    const int64_t symbol = static_cast<int64_t>(pick(3) == 0 ? pick(3) : 3 + pick(40));
    return compare(*g, random_inputs(*g, symbol, static_cast<uint32_t>(rng_())), options,
                   {.relative = 1e-3, .relative64 = 1e-9}, nullptr, pick(5) == 0);
  }

 private:
  size_t pick(size_t n) { return rng_() % n; }
  DimId extent() {
    static constexpr int64_t kExtents[] = {1, 2, 3, 4, 5, 8, 17, 33, 64, 0};
    const size_t k = pick(14);
    if (k >= 12) return n_.dim(k == 12 ? "N" : "M");
    return n_.dim(kExtents[k == 9 && pick(4) != 0 ? 0 : k % 10]);
  }
  ValueId any() { return values_[pick(10) < 6 ? values_.size() - 1 : pick(values_.size())]; }
  const std::vector<DimId>& shape(ValueId v) { return n_.b.type(v).dims; }
  size_t rank(ValueId v) { return shape(v).size(); }

  void grow() {
    const ValueId v = any();
    if (n_.b.type(v).dtype != dtype_) return;
    switch (pick(13)) {
      case 0:
      case 1:
      case 2: values_.push_back(unary(v)); break;
      case 3:
      case 4:
      case 5: values_.push_back(binary(v)); break;
      case 6: reduce(v); break;
      case 7: transpose(v); break;
      case 8: slice(v); break;
      case 9: pad(v); break;
      case 10: reshape(v); break;
      case 11: expand(v); break;
      default: other(v); break;
    }
  }

  ValueId unary(ValueId v) {
    if (!is_float(dtype_)) return n_.b.value(pick(2) ? Op::neg : Op::abs, {v});
    static constexpr Op kOps[] = {Op::tanh, Op::sigmoid, Op::neg, Op::abs, Op::sin, Op::floor};
    return n_.b.value(kOps[pick(6)], {v});
  }
  ValueId binary(ValueId v) {
    static constexpr Op kOps[] = {Op::add, Op::sub, Op::mul, Op::max, Op::min};
    const Op op = kOps[pick(5)];
    for (int tries = 0; tries < 8; ++tries) {
      const ValueId u = any();
      if (n_.b.type(u) == n_.b.type(v)) return n_.b.value(op, {v, u});
      if (n_.b.type(u).dtype == dtype_ && rank(u) == 0) return n_.b.elementwise(op, {v, u});
    }
    return n_.b.elementwise(op, {v, n_.b.scalar(dtype_, pick(2) ? 0.75 : 3)});
  }
  void reduce(ValueId v) {
    std::vector<int64_t> axes;
    for (size_t a = 0; a < rank(v); ++a) {
      if (pick(2)) axes.push_back(static_cast<int64_t>(a));
    }
    static constexpr Op kOps[] = {Op::reduce_sum, Op::reduce_max, Op::reduce_min};
    const Op op = kOps[pick(3)];
    if (op == Op::reduce_sum && dtype_ == DType::kFloat16) return;  // order shows in every digit
    const ValueId r = n_.b.reduce(op, v, axes);
    values_.push_back(r);
    if (pick(2) == 0) return;
    // The way softmax and normalisation go on.
    std::vector<int64_t> kept;
    for (size_t a = 0; a < rank(v); ++a) {
      if (std::find(axes.begin(), axes.end(), static_cast<int64_t>(a)) == axes.end()) {
        kept.push_back(static_cast<int64_t>(a));
      }
    }
    const ValueId wide =
        n_.b.broadcast(pick(2) && is_float(dtype_) ? n_.b.value(Op::tanh, {r}) : r, shape(v), kept);
    if (n_.b.type(wide) == n_.b.type(v)) values_.push_back(n_.b.value(Op::sub, {unary(v), wide}));
  }
  void transpose(ValueId v) {
    std::vector<int64_t> perm(rank(v));
    for (size_t i = 0; i < perm.size(); ++i) perm[i] = static_cast<int64_t>(i);
    std::shuffle(perm.begin(), perm.end(), rng_);
    values_.push_back(n_.b.transpose(v, perm));
  }
  void slice(ValueId v) {
    std::vector<DimId> starts, extents;
    std::vector<int64_t> strides;
    for (DimId d : shape(v)) {
      const auto e = n_.context.dims.constant_value(d);
      if (!e || *e < 3 || pick(2)) {
        starts.push_back(n_.dim(0)), extents.push_back(d), strides.push_back(1);
      } else if (pick(2)) {
        starts.push_back(n_.dim(1)), extents.push_back(n_.dim((*e - 1) / 2)), strides.push_back(2);
      } else {
        starts.push_back(n_.dim(*e - 1)), extents.push_back(n_.dim(*e - 1)), strides.push_back(-1);
      }
    }
    values_.push_back(n_.b.slice(v, starts, extents, strides));
  }
  void pad(ValueId v) {
    std::vector<DimId> low, high;
    for (DimId d : shape(v)) {
      const auto e = n_.context.dims.constant_value(d);
      low.push_back(n_.dim(static_cast<int64_t>(pick(3))));
      high.push_back(n_.dim(e && *e > 2 ? static_cast<int64_t>(pick(4)) - 1 : 1));
    }
    values_.push_back(n_.b.pad(v, n_.b.scalar(dtype_, 2), low, high));
  }
  void reshape(ValueId v) {
    std::vector<DimId> to = shape(v);
    if (to.size() >= 2 && pick(2)) {
      const size_t a = pick(to.size() - 1);
      to[a] = n_.context.dims.mul(to[a], to[a + 1]);
      to.erase(to.begin() + static_cast<long>(a) + 1);
    } else if (pick(3) == 0) {
      to = {n_.context.dims.product(to)};
    } else {
      for (size_t a = 0; a < to.size(); ++a) {
        const auto e = n_.context.dims.constant_value(to[a]);
        if (!e || *e % 2 != 0 || *e == 0) continue;
        to[a] = n_.dim(*e / 2);
        to.insert(to.begin() + static_cast<long>(a), n_.dim(2));
        break;
      }
      to.insert(to.begin() + static_cast<long>(pick(to.size() + 1)), n_.dim(1));
    }
    if (to.size() <= 5) values_.push_back(n_.b.reshape(v, to));
  }
  void expand(ValueId v) {
    if (rank(v) >= 4) return;
    std::vector<DimId> to = shape(v);
    to.insert(to.begin(), extent());
    std::vector<int64_t> axes;
    for (size_t a = 0; a < rank(v); ++a) axes.push_back(static_cast<int64_t>(a) + 1);
    values_.push_back(n_.b.broadcast(v, to, axes));
  }
  void other(ValueId v) {
    if (rank(v) == 0) return;
    const auto axis = static_cast<int64_t>(pick(rank(v)));
    switch (pick(4)) {
      case 0: {
        const std::vector<int64_t> at = {0, -1, 0};
        if (n_.context.dims.lower_bound(shape(v)[static_cast<size_t>(axis)]).value_or(0) < 1)
          return;
        values_.push_back(n_.b.value(Op::gather, {v, n_.b.int64s(at)}, {{AttrKey::axis, axis}}));
        break;
      }
      case 1: {
        const std::vector<ValueId> parts = {v, unary(v)};
        values_.push_back(n_.b.concat(parts, axis));
        break;
      }
      case 2:
        values_.push_back(
            n_.b.value(Op::reverse, {v}, {{AttrKey::axes, std::vector<int64_t>{axis}}}));
        break;
      default:
        if (dtype_ == DType::kFloat16) return;
        values_.push_back(n_.b.value(Op::cumsum, {v}, {{AttrKey::axis, axis}}));
    }
  }

  std::mt19937 rng_;
  Net n_;
  DType dtype_;
  std::vector<ValueId> values_;
};

TEST_CASE("random graphs") {
  const char* seeds = std::getenv("GCOMP_FUZZ_GRAPHS");
  const uint32_t count =
      seeds != nullptr ? static_cast<uint32_t>(std::atoi(seeds)) : (kSanitized ? 60 : 150);
  const char* first = std::getenv("GCOMP_FUZZ_SEED");
  const uint32_t from = first != nullptr ? static_cast<uint32_t>(std::atoi(first)) : 1;
  for (uint32_t seed = from; seed < from + count; ++seed) {
    CAPTURE(seed);
    std::string result;
    try {
      result = RandomGraph(seed).run();
    } catch (const std::exception& e) {
      result = e.what();
    }
    CHECK(result == "");
  }
}

}  // namespace
}  // namespace gcomp::test
