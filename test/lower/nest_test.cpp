#include <doctest/doctest.h>

#include "net.h"

namespace gcomp::test {
namespace {

TEST_CASE("an elementwise graph end to end is one kernel") {
  for (DType t : {DType::kFloat32, DType::kFloat64}) {
    Net n;
    const ValueId x = n.input(t, {n.dim("N"), n.dim(5)}), y = n.input(t, {n.dim(5)});
    const ValueId s = n.b.elementwise(Op::add, {x, y});
    const ValueId e = n.b.elementwise(Op::mul, {n.b.value(Op::tanh, {s}), n.b.scalar(t, 0.3)});
    lower::Stats stats;
    CHECK(n.check({e}, &stats) == "");
    CHECK(stats.kernel_calls == 1);
  }
}

TEST_CASE("softmax over the last and over a middle axis is one kernel") {
  for (int64_t axis : {2, 1}) {
    for (const bool symbolic : {false, true}) {
      Net n;
      const ValueId x =
          n.input(DType::kFloat32, {n.dim(3), symbolic ? n.dim("N") : n.dim(50), n.dim(44)});
      const auto shape = n.b.type(x).dims;
      std::vector<int64_t> kept =
          axis == 2 ? std::vector<int64_t>{0, 1} : std::vector<int64_t>{0, 2};
      const ValueId m = n.b.reduce(Op::reduce_max, x, {axis});
      const ValueId e =
          n.b.value(Op::exp, {n.b.elementwise(Op::sub, {x, n.b.broadcast(m, shape, kept)})});
      const ValueId s = n.b.reduce(Op::reduce_sum, e, {axis});
      const ValueId y = n.b.elementwise(Op::div, {e, n.b.broadcast(s, shape, kept)});
      lower::Stats stats;
      CHECK(n.check({y}, &stats) == "");
      CHECK(stats.kernel_calls == 1);
    }
  }
}

TEST_CASE("layer normalisation is one kernel") {
  Net n;
  const ValueId x = n.input(DType::kFloat32, {n.dim("N"), n.dim(96)});
  const ValueId gain = n.input(DType::kFloat32, {n.dim(96)});
  const auto shape = n.b.type(x).dims;
  const ValueId inv = n.b.scalar(DType::kFloat32, 1.0 / 96);
  const ValueId mean = n.b.elementwise(Op::mul, {n.b.reduce(Op::reduce_sum, x, {1}), inv});
  const ValueId c = n.b.elementwise(Op::sub, {x, n.b.broadcast(mean, shape, {0})});
  const ValueId v = n.b.elementwise(
      Op::mul, {n.b.reduce(Op::reduce_sum, n.b.elementwise(Op::mul, {c, c}), {1}), inv});
  const ValueId sd =
      n.b.value(Op::sqrt, {n.b.elementwise(Op::add, {v, n.b.scalar(DType::kFloat32, 1e-5)})});
  const ValueId z = n.b.elementwise(Op::div, {c, n.b.broadcast(sd, shape, {0})});
  const ValueId y = n.b.elementwise(Op::mul, {z, n.b.broadcast(gain, shape, {1})});
  lower::Stats stats;
  CHECK(n.check({y}, &stats) == "");
  CHECK(stats.kernel_calls == 1);
}

TEST_CASE("slices at different places share their kernels") {
  for (const int64_t steps : {4, 12}) {
    Net n;
    const ValueId x = n.input(DType::kFloat64, {n.dim(steps), n.dim(20)});
    std::vector<ValueId> outputs;
    for (int64_t i = 0; i < steps; ++i) {
      const ValueId row = n.b.slice(x, {n.dim(i), n.dim(0)}, {n.dim(1), n.dim(20)}, {1, 1});
      outputs.push_back(n.b.reduce(Op::reduce_sum, n.b.value(Op::tanh, {row}), {0, 1}));
    }
    lower::Stats stats;
    CHECK(n.check(outputs, &stats) == "");
    CHECK(stats.kernel_calls >= static_cast<size_t>(steps));
    CHECK(stats.distinct_kernels <= 4);  // the first row lies at offset 0; what follows the sums
  }
}

TEST_CASE("reductions over each choice of axes") {
  for (Op op : {Op::reduce_sum, Op::reduce_max, Op::reduce_min, Op::reduce_prod}) {
    for (const std::vector<int64_t>& axes :
         {std::vector<int64_t>{0}, {1}, {2}, {0, 1}, {1, 2}, {0, 2}, {0, 1, 2}}) {
      Net n;
      const ValueId x = n.input(DType::kFloat64, {n.dim(4), n.dim("N"), n.dim(3)});
      CHECK(n.check({n.b.reduce(op, x, axes)}, nullptr, 7) == "");
    }
  }
}

TEST_CASE("short rows and what is computed from their reductions: vectors across rows") {
  for (int64_t length : {1, 3, 5, 8, 60}) {
    for (const bool symbolic : {false, true}) {
      for (Op op : {Op::reduce_sum, Op::reduce_max, Op::argmax}) {
        Net n;
        const DimId rows = symbolic ? n.dim("N") : n.dim(83);
        const ValueId x = n.input(DType::kFloat64, {n.dim(2), rows, n.dim(length)});
        const ValueId w = n.input(DType::kFloat64, {n.dim(length)});
        const ValueId p = n.b.elementwise(Op::mul, {n.b.value(Op::tanh, {x}), w});
        const ValueId s =
            op == Op::argmax
                ? n.b.cast(n.b.value(op, {p}, {{AttrKey::axis, int64_t{2}}}), DType::kFloat64)
                : n.b.reduce(op, p, {2});
        const ValueId y = n.b.value(Op::softplus, {s});
        lower::Stats stats;
        CAPTURE(length);
        CHECK(n.check({y, n.b.elementwise(Op::mul, {y, s})}, &stats) == "");
        CHECK(stats.kernel_calls == 1);
      }
    }
  }
}

TEST_CASE("argmax and argmin") {
  for (Op op : {Op::argmax, Op::argmin}) {
    for (int64_t axis : {0, 1}) {
      for (int64_t last : {0, 1}) {
        for (DType t : {DType::kFloat32, DType::kInt8, DType::kInt64}) {
          Net n;
          const ValueId x = n.input(t, {n.dim("N"), n.dim(70)});
          CHECK(n.check({n.b.value(op, {x},
                                   {{AttrKey::axis, axis}, {AttrKey::select_last, last}})}) == "");
        }
      }
    }
  }
}

TEST_CASE("layout ops are index maps") {
  Net n;
  const ValueId x = n.input(DType::kFloat32, {n.dim(6), n.dim("N")});
  const ValueId t = n.b.transpose(x, {1, 0});
  const ValueId s = n.b.slice(x, {n.dim(1), n.dim(2)}, {n.dim(3), n.dim(4)}, {2, 1});
  const ValueId p =
      n.b.pad(s, n.b.scalar(DType::kFloat32, 9), {n.dim(1), n.dim(3)}, {n.dim(2), n.dim(-1)});
  const ValueId r = n.b.value(Op::reverse, {x}, {{AttrKey::axes, std::vector<int64_t>{1}}});
  const ValueId q = n.b.reshape(n.b.elementwise(Op::mul, {x, x}), {n.dim(2), n.dim(3), n.dim("N")});
  CHECK(n.check({n.b.value(Op::exp, {t}), t, p, n.b.value(Op::neg, {r}),
                 n.b.value(Op::neg, {q})}) == "");
}

TEST_CASE("long sums are done in blocks: rows, columns, several axes, with other reductions") {
  const int64_t n_extent = 2 * 512 * 32 + 1000;  // more than two blocks of any number of lanes
  for (const bool symbolic : {false, true}) {
    Net n;
    const DimId many = symbolic ? n.dim("N") : n.dim(n_extent);
    const auto sum = [&](std::vector<DimId> shape, std::vector<int64_t> axes) {
      return n.b.reduce(Op::reduce_sum, n.input(DType::kFloat32, std::move(shape)), axes);
    };
    const ValueId x = n.input(DType::kFloat32, {n.dim(3), many});
    const ValueId squares = n.b.reduce(Op::reduce_sum, n.b.elementwise(Op::mul, {x, x}), {1});
    const ValueId largest = n.b.reduce(Op::reduce_max, x, {1});
    CHECK(n.check({sum({n.dim(2), many}, {1}), sum({many, n.dim(5)}, {0}), squares, largest,
                   sum({n.dim(2), many, n.dim(3), n.dim(4)}, {1, 3}),
                   sum({n.dim(3), many, n.dim(2)}, {0, 2})},
                  nullptr, n_extent) == "");
  }
}

// Columns of accumulators in memory: short rows and long ones, whole vectors and not, blocks of the sum and of columns.
TEST_CASE("columns: sums of several kinds, maps stored on the way, what is computed of them") {
  struct Case {
    std::vector<int64_t> shape;  // -1: a symbol, which is 37
    bool in_blocks;              // sums have accumulators of their own in each
  };
  for (const Case& c : {Case{{20, 130}, false}, Case{{1030, 600}, true}, Case{{-1, 1301}, true},
                        Case{{513, 1500}, true}, Case{{3, 23, 2100}, false}}) {
    for (const DType t : {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kInt32}) {
      CAPTURE(name(t));
      CAPTURE(c.shape.back());
      Net n;
      std::vector<DimId> shape;
      for (const int64_t e : c.shape) shape.push_back(e < 0 ? n.dim("N") : n.dim(e));
      const auto axis = static_cast<int64_t>(shape.size()) - 2;
      const ValueId x = n.input(t, shape), row = n.input(t, {shape.back()});
      const ValueId moved = n.b.elementwise(Op::sub, {x, row});
      const ValueId sum = n.b.reduce(Op::reduce_sum, moved, {axis});
      const ValueId most = n.b.reduce(Op::reduce_max, x, {axis});
      n.b.output("moved", moved);
      const ValueId square = n.b.elementwise(Op::mul, {moved, moved});
      const ValueId squares = n.b.reduce(Op::reduce_sum, square, {axis});
      const ValueId larger = n.b.elementwise(Op::max, {sum, squares});
      n.b.output("y", n.b.elementwise(Op::max, {larger, row}));
      n.b.output("most", most);
      const auto g = n.b.finish();
      const lower::LoweredModule module = lower::lower(*g, {});
      long arrays = 0;
      for (const kernel::Kernel& k : module.kernels) {
        arrays += std::ranges::count(k.buffers, kernel::Role::kLocal, &kernel::BufferInfo::role);
      }
      const bool is_short = c.shape.back() * static_cast<int64_t>(byte_size(t)) < 512;
      CHECK(arrays == (is_short ? 0 : c.in_blocks && is_float(t) ? 5 : 3));
      CHECK(compare(*g, random_inputs(*g, 37, 5), {}, {}, nullptr, false) == "");
    }
  }
}

TEST_CASE("gather, with an index out of range reported") {
  for (int64_t shift : {0, 40}) {
    Net n;
    const ValueId x = n.input(DType::kFloat32, {n.dim("N"), n.dim(9)});
    const std::vector<int64_t> where = {3 + shift, -1, 0, 2, 2};
    const ValueId i = n.b.int64s(where);
    const ValueId rows = n.b.value(Op::gather, {x, i}, {{AttrKey::axis, int64_t{0}}});
    const ValueId cols =
        n.b.value(Op::gather, {n.b.value(Op::exp, {x}), n.b.int64s(std::vector<int64_t>{8, 1})},
                  {{AttrKey::axis, int64_t{1}}});
    CHECK(n.check({rows, cols}) == "");
  }
}

}  // namespace
}  // namespace gcomp::test
