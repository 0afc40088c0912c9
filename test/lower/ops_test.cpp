// Ops with a lowering of their own, against the interpreter.

#include <doctest/doctest.h>

#include "net.h"

namespace gcomp::test {
namespace {

TEST_CASE("concat") {
  for (int64_t axis : {0, 1, 2}) {
    Net n;
    std::vector<DimId> a = {n.dim("N"), n.dim(3), n.dim(5)}, b = a, c = a;
    b[static_cast<size_t>(axis)] = n.dim(7);
    c[static_cast<size_t>(axis)] = n.dim(0);
    const std::vector<ValueId> parts = {n.input(DType::kFloat32, a), n.input(DType::kFloat32, b),
                                        n.input(DType::kFloat32, c)};
    CHECK(n.check({n.b.concat(parts, axis)}) == "");
  }
}

TEST_CASE("cumsum and cumprod") {
  for (Op op : {Op::cumsum, Op::cumprod}) {
    for (int64_t axis : {0, 1, 2}) {
      for (int64_t flags = 0; flags < 4; ++flags) {
        Net n;
        const DType t = flags == 3 ? DType::kInt32 : DType::kFloat64;
        const ValueId x = n.input(t, {n.dim(3), n.dim("N"), n.dim(9)});
        CHECK(n.check({n.b.value(op, {x},
                                 {{AttrKey::axis, axis},
                                  {AttrKey::exclusive, flags & 1},
                                  {AttrKey::reverse, flags >> 1}})},
                      nullptr, 6) == "");
      }
    }
  }
}

// Lines of a few elements more or less than what a block of threads takes at once, and of unknown length. (Long
// sums of float32 differ by their order.)
TEST_CASE("cumsum and cumprod along long lines") {
  int64_t flags = 0;
  for (const int64_t length : {63, 64, 129, 1024, 1025, 2500}) {
    for (const DType t : {DType::kFloat64, DType::kInt64, DType::kFloat16}) {
      Net n;
      const ValueId x = n.input(t, {n.dim("N"), n.dim(length)});
      const ValueId y = n.input(t, {n.dim(2), n.dim("M")});
      const std::vector<Attr> attrs = {{AttrKey::axis, int64_t{1}},
                                       {AttrKey::exclusive, flags & 1},
                                       {AttrKey::reverse, flags >> 1 & 1}};
      ++flags;
      CHECK(n.check({n.b.value(Op::cumsum, {x}, attrs), n.b.value(Op::cumprod, {y}, attrs)},
                    nullptr, 6) == "");
    }
  }
}

TEST_CASE("gather and scatter of elements and slices") {
  for (const char* reduction : {"none", "add", "mul", "min", "max"}) {
    Net n;
    const DType t = DType::kFloat32;
    const ValueId x = n.input(t, {n.dim("N"), n.dim(6)});
    const ValueId i = n.b.constant(make_constant(DType::kInt64, {3, 2}, [] {
      const std::vector<int64_t> v = {0, 4, -1, 2, 3, 0};
      const auto bytes = std::as_bytes(std::span(v));
      return std::vector<std::byte>(bytes.begin(), bytes.end());
    }()));
    const ValueId u = n.input(t, {n.dim(3), n.dim(2)});
    const ValueId e = n.b.value(Op::gather_elements, {x, i}, {{AttrKey::axis, int64_t{1}}});
    const ValueId g = n.b.value(Op::gather_nd, {x, i});
    const ValueId s =
        n.b.value(Op::scatter_elements, {x, i, u},
                  {{AttrKey::axis, int64_t{0}}, {AttrKey::reduction, std::string(reduction)}});
    const ValueId u3 = n.input(t, {n.dim(3)});
    const ValueId d =
        n.b.value(Op::scatter_nd, {x, i, u3}, {{AttrKey::reduction, std::string(reduction)}});
    CHECK(n.check({e, g, s, d}, nullptr, 5) == "");
  }
}

// Lines that a block of threads sorts, with many equal elements and NaN.
TEST_CASE("sort and top_k of long lines") {
  int64_t flags = 0, long_lines = 0;
  for (const int64_t length : {33, 64, 100, 700, 2048, 2049, 9000}) {
    for (const DType t : {DType::kFloat32, DType::kInt8, DType::kFloat16}) {
      for (const int64_t axis : {0, 1}) {
        if (length > 1000 && ++long_lines / 2 % 2 != axis) continue;  // each dtype at some lengths
        Net n;
        const DimId lines = n.dim("N"), line = n.dim(length);
        const ValueId x =
            n.input(t, axis == 0 ? std::vector{line, lines} : std::vector{lines, line});
        const ValueId zero = n.b.broadcast(n.b.scalar(t, 0), n.b.type(x).dims, {});
        const ValueId some = is_float(t) ? n.b.value(Op::div, {x, n.b.value(Op::floor, {x})}) : x;
        const ValueId y = n.b.value(Op::where, {n.b.value(Op::lt, {x, zero}), some, zero});
        const std::vector<Attr> attrs = {{AttrKey::axis, axis}, {AttrKey::descending, ++flags & 1}};
        const NodeId s = n.b.node(Op::sort, std::vector<ValueId>{y}, attrs);
        std::vector<Attr> top = attrs;
        top.push_back({AttrKey::shape, std::vector<DimId>{n.dim(5)}});
        const NodeId k = n.b.node(Op::top_k, std::vector<ValueId>{y}, top);
        CHECK(n.check({n.b.result(s, 0), n.b.result(s, 1), n.b.result(k, 0), n.b.result(k, 1)},
                      nullptr, 3) == "");
      }
    }
  }
}

TEST_CASE("sort, top_k and nonzero") {
  for (DType t : {DType::kFloat32, DType::kInt8}) {
    for (int64_t axis : {0, 1}) {
      for (int64_t descending : {0, 1}) {
        Net n;
        const ValueId x = n.input(t, {n.dim(11), n.dim("N")});
        const std::vector<Attr> attrs = {{AttrKey::axis, axis}, {AttrKey::descending, descending}};
        const NodeId s = n.b.node(Op::sort, std::vector<ValueId>{x}, attrs);
        std::vector<Attr> top = attrs;
        top.push_back({AttrKey::shape, std::vector<DimId>{n.dim(4)}});
        const NodeId k = n.b.node(Op::top_k, std::vector<ValueId>{x}, top);
        CHECK(n.check({n.b.result(s, 0), n.b.result(s, 1), n.b.result(k, 0), n.b.result(k, 1)}) ==
              "");
      }
    }
  }
  Net n;
  const ValueId x = n.input(DType::kBool, {n.dim(5), n.dim("N")});
  const DimId s = n.context.dims.symbol("count");
  const ValueId z = n.b.value(Op::nonzero, {x}, {{AttrKey::symbols, std::vector<DimId>{s}}});
  const ValueId twice = n.b.elementwise(Op::add, {z, z});
  CHECK(n.check({z, twice}) == "");
}

TEST_CASE("windows, channels last and first") {
  for (Op op : {Op::window_max, Op::window_sum, Op::window_argmax}) {
    for (const bool last : {false, true}) {
      for (int64_t stride : {1, 2}) {
        Net n;
        const auto order = [&](auto first, auto second, auto one) {
          using T = decltype(first);
          return last ? std::vector<T>{one, first, second, one}
                      : std::vector<T>{one, one, first, second};
        };
        const std::vector<DimId> shape =
            last ? std::vector<DimId>{n.dim(2), n.dim("N"), n.dim(13), n.dim(9)}
                 : std::vector<DimId>{n.dim(2), n.dim(3), n.dim("N"), n.dim(33)};
        const ValueId x = n.input(DType::kFloat32, shape);
        const ValueId y =
            n.b.value(op, {x},
                      {{AttrKey::kernel, order(int64_t{3}, int64_t{2}, int64_t{1})},
                       {AttrKey::strides, order(stride, stride, int64_t{1})},
                       {AttrKey::dilations, order(int64_t{1}, int64_t{2}, int64_t{1})},
                       {AttrKey::low, order(n.dim(1), n.dim(1), n.dim(0))},
                       {AttrKey::high, order(n.dim(1), n.dim(2), n.dim(0))}});
        CHECK(n.check({y}, nullptr, 10) == "");
      }
    }
  }
}

TEST_CASE("transposed convolution") {
  for (const bool last : {false, true}) {
    for (int64_t group : {1, 2}) {
      Net n;
      const DType t = DType::kFloat32;
      const ValueId x =
          n.input(t, last ? std::vector<DimId>{n.dim(2), n.dim("N"), n.dim(5), n.dim(4)}
                          : std::vector<DimId>{n.dim(2), n.dim(4), n.dim("N"), n.dim(5)});
      const ValueId w =
          n.input(t, last ? std::vector<DimId>{n.dim(3), n.dim(2), n.dim(4), n.dim(6)}
                          : std::vector<DimId>{n.dim(4), n.dim(6), n.dim(3), n.dim(2)});
      const ValueId bias = n.input(t, {n.dim(6 * group)});
      const ValueId y =
          n.b.value(Op::conv_transpose, {x, w, bias},
                    {{AttrKey::layout, std::string(last ? "nhwc" : "nchw")},
                     {AttrKey::group, group},
                     {AttrKey::strides, std::vector<int64_t>{2, 1}},
                     {AttrKey::dilations, std::vector<int64_t>{1, 2}},
                     {AttrKey::low, std::vector<DimId>{n.dim(1), n.dim(0)}},
                     {AttrKey::high, std::vector<DimId>{n.dim(0), n.dim(1)}},
                     {AttrKey::output_padding, std::vector<DimId>{n.dim(1), n.dim(0)}}});
      CHECK(n.check({y}, nullptr, 6) == "");
    }
  }
}

TEST_CASE("a check fails with its message") {
  Net n;
  const ValueId x = n.input(DType::kFloat32, {n.dim("N")});
  const ValueId ok = n.b.elementwise(Op::lt, {x, n.b.scalar(DType::kFloat32, 0.5)});
  const ValueId y = n.b.value(Op::check, {x, ok}, {{AttrKey::message, std::string("too large")}});
  CHECK(n.check({n.b.value(Op::neg, {y})}) == "");
}

}  // namespace
}  // namespace gcomp::test
