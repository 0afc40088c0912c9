// What a GPU does otherwise than a CPU: reductions by blocks of threads, maps by wide accesses. What they compute is
// compared on the emulated GPU (cuda_mode.h); here on CPUs only how many kernels they take, and which, is seen.

#include <doctest/doctest.h>

#include "gcomp/passes/placement.h"
#include "net.h"

namespace gcomp::test {
namespace {

size_t cuda_calls(const Graph& g) {
  lower::LowerOptions options;
  options.placement = passes::place_everything(g).devices;
  return lower::lower(g, options).stats.kernel_calls;
}

// The widest load of the module's kernels, in lanes.
int widest_load(const Graph& g) {
  lower::LowerOptions options;
  options.placement = passes::place_everything(g).devices;
  int widest = 0;
  for (const kernel::Kernel& k : lower::lower(g, options).kernels) {
    for (const kernel::Inst& i : k.insts) {
      if (i.code == kernel::Code::kLoad) widest = std::max<int>(widest, i.type.lanes);
    }
  }
  return widest;
}

// Kernels whose threads work together.
int blocks(const Graph& g) {
  lower::LowerOptions options;
  options.placement = passes::place_everything(g).devices;
  int count = 0;
  for (const kernel::Kernel& k : lower::lower(g, options).kernels) count += k.block_threads != 0;
  return count;
}

// Elements that a thread of a graph's only kernel loads, if it has no loops over a row.
int loaded_by_thread(const Graph& g) {
  lower::LowerOptions options;
  options.placement = passes::place_everything(g).devices;
  const lower::LoweredModule m = lower::lower(g, options);
  int count = 0, loops = 0;
  for (const kernel::Inst& i : m.kernels.at(0).insts) {
    if (i.code == kernel::Code::kFor) ++loops;
    if (i.code != kernel::Code::kLoad) continue;
    const kernel::BufferInfo& from = m.kernels[0].buffers[i.imm];
    if (from.role == kernel::Role::kIn) count += i.type.lanes;
  }
  return loops == 1 && m.kernels.size() == 1 ? count : -1;
}

struct Reduced : Net {
  // `row`, which lacks `axis` of x, beside each element of x.
  ValueId along(ValueId row, ValueId x, int64_t axis) {
    std::vector<int64_t> kept;
    for (size_t a = 0; a < b.type(x).dims.size(); ++a) {
      if (static_cast<int64_t>(a) != axis) kept.push_back(static_cast<int64_t>(a));
    }
    return b.broadcast(row, b.type(x).dims, kept);
  }
  ValueId softmax(ValueId x, int64_t axis) {
    const ValueId largest = along(b.reduce(Op::reduce_max, x, {axis}), x, axis);
    const ValueId e = b.value(Op::exp, {b.elementwise(Op::sub, {x, largest})});
    return b.elementwise(Op::div, {e, along(b.reduce(Op::reduce_sum, e, {axis}), x, axis)});
  }
  // x less its tanh'd sum, over the root of the sum of squares.
  ValueId normalised(ValueId x, int64_t axis) {
    const ValueId sum = b.value(Op::tanh, {b.reduce(Op::reduce_sum, x, {axis})});
    const ValueId moved = b.elementwise(Op::sub, {x, along(sum, x, axis)});
    const ValueId squares =
        b.reduce(Op::reduce_sum, b.elementwise(Op::mul, {moved, moved}), {axis});
    const ValueId more = b.elementwise(Op::add, {squares, b.scalar(b.type(x).dtype, 1)});
    return b.elementwise(Op::div, {moved, along(b.value(Op::sqrt, {more}), x, axis)});
  }
  ValueId reduce(Op op, ValueId x, std::vector<int64_t> axes) {
    if (op != Op::argmax && op != Op::argmin) return b.reduce(op, x, axes);
    return b.value(op, {x}, {{AttrKey::axis, axes[0]}, {AttrKey::select_last, int64_t{1}}});
  }
  // A graph of `y`: what differs from the interpreter's results, and the calls it takes on a GPU.
  std::string run(const std::vector<ValueId>& outputs, int64_t n, size_t* calls) {
    for (ValueId y : outputs) b.output("y" + std::to_string(y.index), y);
    const auto g = b.finish();
    *calls = cuda_calls(*g);
    return compare(*g, random_inputs(*g, n, 3), {}, {.relative = 2e-4}, nullptr, false);
  }
};

}  // namespace

TEST_CASE("rows that are few and long are shared by blocks, with what is computed around them") {
  struct Case {
    std::vector<int64_t> shape;  // -1: a symbol, which is 50021
    std::vector<int64_t> axes;
    size_t calls;
  };
  for (const Case& c :
       {Case{{50021}, {0}, 2}, Case{{-1}, {0}, 2}, Case{{3, 40000}, {1}, 2},
        Case{{9000, 7}, {0}, 2}, Case{{-1, 3}, {0}, 2}, Case{{2, 9000, 5}, {1}, 2},
        Case{{1200, 33}, {0}, 2}, Case{{900, 3, 41}, {0, 2}, 2}, Case{{50000, 2}, {0, 1}, 2},
        Case{{40, 700}, {1}, 1}, Case{{70, 200}, {0}, 1}, Case{{2000, 5}, {1}, 1}}) {
    for (Op op : {Op::reduce_sum, Op::reduce_max, Op::argmin}) {
      if (op == Op::argmin && c.axes.size() > 1) continue;
      Reduced r;
      std::vector<DimId> shape;
      for (const int64_t n : c.shape) shape.push_back(n < 0 ? r.dim("N") : r.dim(n));
      const ValueId x = r.input(DType::kFloat32, shape);
      const ValueId last = r.input(DType::kFloat32, {shape.back()});
      const ValueId moved = r.b.elementwise(Op::add, {r.b.value(Op::tanh, {x}), last});
      const ValueId sum = r.reduce(op, moved, c.axes);
      const ValueId after =
          op == Op::argmin ? r.b.value(Op::neg, {sum}) : r.b.value(Op::softplus, {sum});
      size_t calls = 0;
      CAPTURE(c.shape[0]);
      CHECK(r.run({after, sum}, 50021, &calls) == "");
      CHECK(calls == c.calls);
    }
  }
}

TEST_CASE("parts of every reduction and dtype, several at a time, and a map stored on the way") {
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{33000}, {8500, 4}}) {
    for (DType t : {DType::kFloat64, DType::kInt64, DType::kInt8, DType::kFloat16}) {
      Reduced r;
      std::vector<DimId> dims;
      for (const int64_t n : shape) dims.push_back(r.dim(n));
      const ValueId x = r.input(t, dims);
      const ValueId doubled = r.b.elementwise(Op::add, {x, x});
      const ValueId large = r.b.elementwise(Op::gt, {doubled, r.b.scalar(t, 1)});
      std::vector<ValueId> outputs = {doubled};
      for (Op op : {Op::reduce_max, Op::reduce_min, Op::argmax, Op::reduce_prod, Op::reduce_sum}) {
        if (op == Op::reduce_prod && is_float(t)) continue;          // 0 or infinite
        if (op == Op::reduce_sum && t == DType::kFloat16) continue;  // order shows in every digit
        outputs.push_back(r.reduce(op, doubled, {0}));
      }
      for (Op op : {Op::reduce_or, Op::reduce_and}) outputs.push_back(r.reduce(op, large, {0}));
      size_t calls = 0;
      CAPTURE(name(t));
      CHECK(r.run(outputs, 0, &calls) == "");
      CHECK(calls == 2);
    }
  }
}

TEST_CASE("NaN, equal elements and infinities in rows of several parts") {
  for (Op op : {Op::argmax, Op::argmin, Op::reduce_max}) {
    Reduced r;
    const ValueId x = r.input(DType::kInt8, {r.dim(40000)});  // each value many times
    const ValueId f = r.b.cast(x, DType::kFloat32);
    const ValueId positive = r.b.elementwise(Op::gt, {f, r.b.scalar(DType::kFloat32, 0)});
    const ValueId some = r.b.value(
        Op::where,
        {positive, f, r.b.elementwise(Op::div, {f, r.b.cast(positive, DType::kFloat32)})});
    size_t calls = 0;
    CHECK(r.run({r.reduce(op, some, {0}), r.reduce(op, x, {0})}, 0, &calls) == "");
  }
}

TEST_CASE("rows that fit are read once, by 16 bytes, whatever is computed of them") {
  struct Case {
    DType dtype;
    int64_t rows, length;
    int loaded;  // elements of a thread
  };
  for (const Case& c : {Case{DType::kFloat32, 300, 1024, 16}, Case{DType::kFloat32, 3, 8192, 16},
                        Case{DType::kFloat32, 2, 16384, 32}, Case{DType::kFloat32, 40, 1000, 16},
                        Case{DType::kFloat32, 40, 1001, 17}, Case{DType::kFloat32, 70, 64, 8},
                        Case{DType::kFloat32, 17, 24, 4}, Case{DType::kFloat32, 300, 8, 4},
                        Case{DType::kFloat32, 9, 38, 9}, Case{DType::kFloat32, 9, 33, 5},
                        Case{DType::kFloat64, 30, 1024, 8}, Case{DType::kFloat16, 30, 1024, 32},
                        Case{DType::kFloat16, 30, 1030, 17}}) {
    for (const bool norm : {false, true}) {
      Reduced r;
      const ValueId x = r.input(c.dtype, {r.dim(c.rows), r.dim(c.length)});
      if (norm && c.dtype == DType::kFloat16) continue;  // order shows in every digit
      r.b.output("y", norm ? r.normalised(x, 1) : r.softmax(x, 1));
      const auto g = r.b.finish();
      CAPTURE(name(c.dtype));
      CAPTURE(c.length);
      CHECK(loaded_by_thread(*g) == c.loaded);
      const Tolerance tolerance = {.relative = 2e-5};
      CHECK(compare(*g, random_inputs(*g, 0, 3), {}, tolerance, nullptr, false) == "");
    }
  }
}

TEST_CASE("sums of columns, of neighbours by 16 bytes") {
  struct Case {
    DType dtype;
    std::vector<int64_t> shape;  // -1: a symbol, which is 77
    int64_t axis;
    int lanes;
  };
  for (const Case& c :
       {Case{DType::kFloat32, {300, 64}, 0, 4}, Case{DType::kFloat32, {-1, 132}, 0, 4},
        Case{DType::kFloat32, {90, 6}, 0, 2}, Case{DType::kFloat32, {90, 7}, 0, 1},
        Case{DType::kFloat32, {3, -1, 20}, 1, 4}, Case{DType::kFloat32, {90, -1}, 0, 1},
        Case{DType::kFloat64, {5, 100, 34}, 1, 2}, Case{DType::kInt8, {90, 72}, 0, 8},
        Case{DType::kFloat32, {3, 64}, 0, 4}, Case{DType::kFloat32, {2, 1 << 20}, 0, 4},
        Case{DType::kFloat32, {8, 300000}, 0, 4}}) {
    Reduced r;
    std::vector<DimId> shape;
    for (const int64_t n : c.shape) shape.push_back(n < 0 ? r.dim("N") : r.dim(n));
    const ValueId x = r.input(c.dtype, shape), row = r.input(c.dtype, {shape.back()});
    const ValueId sum = r.b.reduce(Op::reduce_sum, r.b.elementwise(Op::mul, {x, row}), {c.axis});
    r.b.output("y", r.b.elementwise(Op::add, {sum, row}));
    r.b.output("last", r.reduce(Op::argmax, x, {c.axis}));
    const auto g = r.b.finish();
    CAPTURE(c.shape.back());
    CHECK(widest_load(*g) == c.lanes);
    CHECK(compare(*g, random_inputs(*g, 77, 3), {}, {}, nullptr, false) == "");
  }
}

TEST_CASE("softmax over an outer axis, by a block a tile of columns") {
  for (const int64_t columns : {1, 6, 40}) {
    for (const int64_t length : {-1, 150}) {  // few columns of unknown length are cut into parts
      Reduced r;
      const DimId n = length < 0 ? r.dim("N") : r.dim(length);
      const ValueId x = r.input(DType::kFloat32, {r.dim(2), n, r.dim(columns)});
      size_t calls = 0;
      CHECK(r.run({r.softmax(x, 1)}, 150, &calls) == "");
      CHECK(calls == (length < 0 ? 3 : 1));
    }
  }
}

TEST_CASE("several passes over rows that are few and long: a kernel each, by all blocks") {
  struct Case {
    std::vector<int64_t> shape;  // -1: a symbol, which is 33001
    int64_t axis;
  };
  for (const Case& c : {Case{{-1}, 0}, Case{{2, 33000}, 1}, Case{{9000, 5}, 0},
                        Case{{3, 11000, 3}, 1}, Case{{-1, 2}, 0}}) {
    for (const bool norm : {false, true}) {
      Reduced r;
      std::vector<DimId> shape;
      for (const int64_t n : c.shape) shape.push_back(n < 0 ? r.dim("N") : r.dim(n));
      const ValueId x = r.input(DType::kFloat32, shape);
      const ValueId moved = r.b.elementwise(Op::add, {x, r.input(DType::kFloat32, {shape.back()})});
      const ValueId y = norm ? r.normalised(moved, c.axis) : r.softmax(moved, c.axis);
      size_t calls = 0;
      CAPTURE(c.shape[0]);
      CHECK(r.run({y}, 33001, &calls) == "");
      CHECK(calls == 3);
    }
    Reduced r;  // what is of rows, one kernel more, also beside each element
    std::vector<DimId> shape;
    for (const int64_t n : c.shape) shape.push_back(n < 0 ? r.dim("N") : r.dim(n));
    const ValueId x = r.input(DType::kFloat32, shape);
    const ValueId largest = r.b.reduce(Op::reduce_max, x, {c.axis});
    const ValueId less = r.b.elementwise(Op::sub, {x, r.along(largest, x, c.axis)});
    const ValueId sum = r.b.reduce(Op::reduce_sum, r.b.value(Op::exp, {less}), {c.axis});
    const ValueId all = r.b.elementwise(Op::add, {r.b.value(Op::log, {sum}), largest});
    size_t calls = 0;
    const ValueId beside = r.along(all, x, c.axis);
    CHECK(r.run({all, r.b.value(Op::neg, {largest}), less, beside}, 33001, &calls) == "");
    CHECK(calls == 4);
  }
}

TEST_CASE("random rows and columns") {
  std::mt19937 rng(7);
  const auto pick = [&](size_t n) { return rng() % n; };
  static constexpr int64_t kExtents[] = {1,  2,  3,   5,   8,   12,  16,   31,  32,
                                         36, 64, 100, 127, 129, 260, 1000, 2050};
  static constexpr DType kTypes[] = {DType::kFloat32, DType::kFloat32, DType::kFloat64,
                                     DType::kFloat16, DType::kInt8};
  for (int graph = 0; graph < 36; ++graph) {
    Reduced r;
    const DType t = kTypes[pick(5)];
    std::vector<DimId> shape;
    int64_t elements = 1;
    for (size_t a = pick(3) + 1; shape.size() < a;) {
      const int64_t n = kExtents[pick(std::size(kExtents))];
      if (elements * n > 9000) continue;
      elements *= n;
      shape.push_back(pick(5) == 0 ? r.dim("N") : r.dim(n));
    }
    const auto axis = static_cast<int64_t>(pick(shape.size()));
    ValueId x = r.input(t, shape);
    if (pick(2) == 0) x = r.b.elementwise(Op::add, {x, r.input(t, {shape.back()})});
    const bool exact = t != DType::kFloat16;  // else order shows in every digit
    std::vector<ValueId> outputs;
    if (is_float(t))
      outputs.push_back(exact && pick(2) ? r.normalised(x, axis) : r.softmax(x, axis));
    if (exact && pick(2)) outputs.push_back(r.b.reduce(Op::reduce_sum, x, {axis}));
    if (pick(2)) outputs.push_back(r.reduce(Op::argmin, x, {axis}));
    if (outputs.empty() || pick(3) == 0) outputs.push_back(r.b.reduce(Op::reduce_max, x, {axis}));
    for (size_t k = 0; k < outputs.size(); ++k) r.b.output("y" + std::to_string(k), outputs[k]);
    const auto g = r.b.finish();
    CAPTURE(graph);
    CHECK(compare(*g, random_inputs(*g, kExtents[pick(12)], 5), {}, {}, nullptr, false) == "");
  }
}

TEST_CASE("an index out of range in a part is an error") {
  for (const int64_t shift : {0, 1}) {
    Reduced r;
    const ValueId x = r.input(DType::kFloat32, {r.dim(40000)});
    const ValueId at =
        r.b.elementwise(Op::add, {r.b.value(Op::iota, {},
                                            {{AttrKey::axis, int64_t{0}},
                                             {AttrKey::shape, std::vector<DimId>{r.dim(40000)}},
                                             {AttrKey::dtype, DType::kInt64}}),
                                  r.b.scalar(DType::kInt64, static_cast<double>(shift))});
    const ValueId g = r.b.value(Op::gather, {x, at}, {{AttrKey::axis, int64_t{0}}});
    size_t calls = 0;
    CHECK(r.run({r.b.reduce(Op::reduce_sum, g, {0})}, 0, &calls) == "");
  }
}

TEST_CASE("maps of neighbours in memory are done by accesses of 16 bytes") {
  struct Case {
    DType dtype;
    std::vector<int64_t> shape;  // -1: a symbol, which is 5003
    int lanes;
  };
  for (const Case& c : {Case{DType::kFloat32, {-1}, 4}, Case{DType::kFloat64, {-1}, 2},
                        Case{DType::kFloat16, {-1}, 8}, Case{DType::kInt8, {-1}, 8},
                        Case{DType::kFloat32, {-1, 12}, 4}, Case{DType::kFloat32, {-1, 6}, 2},
                        Case{DType::kFloat32, {-1, 7}, 1}, Case{DType::kFloat32, {300000}, 4},
                        Case{DType::kFloat32, {300003}, 4}, Case{DType::kFloat32, {1000}, 1}}) {
    Net n;
    std::vector<DimId> shape;
    for (const int64_t e : c.shape) shape.push_back(e < 0 ? n.dim("N") : n.dim(e));
    const ValueId x = n.input(c.dtype, shape), row = n.input(c.dtype, {shape.back()});
    const ValueId one = n.input(c.dtype, {});
    const ValueId y = n.b.elementwise(
        Op::mul, {n.b.elementwise(Op::add, {x, row}), n.b.elementwise(Op::sub, {x, one})});
    const ValueId larger = n.b.elementwise(Op::gt, {y, x});
    n.b.output("y", y);
    n.b.output("larger", larger);
    const auto g = n.b.finish();
    CAPTURE(name(c.dtype));
    CAPTURE(c.shape.back());
    CHECK(widest_load(*g) == c.lanes);
    CHECK(compare(*g, random_inputs(*g, 5003, 5), {}, {}, nullptr, false) == "");
  }
}

TEST_CASE("wide accesses of slices, which begin anywhere, and none where neighbours are apart") {
  for (const int64_t stride : {1, 2, -1}) {
    Net n;
    const ValueId x = n.input(DType::kFloat32, {n.dim(3), n.dim(300003)});
    const std::vector<DimId> starts = {n.dim(1), n.dim(stride < 0 ? 150001 : 1)};
    const ValueId s = n.b.slice(x, starts, {n.dim(2), n.dim(150001)}, {1, stride});
    const ValueId t = n.b.slice(x, {n.dim(0), n.dim(3)}, {n.dim(2), n.dim(150001)}, {1, 1});
    n.b.output("y", n.b.elementwise(Op::mul, {s, t}));
    const auto g = n.b.finish();
    CHECK(widest_load(*g) == (stride == 1 ? 4 : 1));
    CHECK(compare(*g, random_inputs(*g, 0, 5), {}, {}, nullptr, false) == "");
  }
}

TEST_CASE("transposes go through shared memory, with the map around them") {
  for (DType t : {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kInt8}) {
    for (const std::vector<int64_t>& shape : {std::vector<int64_t>{64, 128},
                                              {70, 45},
                                              {-1, 33},
                                              {-1, -1},
                                              {20, 200},
                                              {8, 100},
                                              {67, 130}}) {
      Net n;
      std::vector<DimId> dims;  // -1: a symbol, which is 41
      for (const int64_t e : shape) dims.push_back(e < 0 ? n.dim("N") : n.dim(e));
      const ValueId x = n.input(t, dims), z = n.input(t, {dims[1], dims[0]});
      const ValueId column = n.input(t, {dims[0]}), row = n.input(t, {dims[1]});
      const ValueId shifted = n.b.elementwise(
          Op::add, {n.b.elementwise(Op::add, {x, row}), n.b.broadcast(column, dims, {0})});
      const ValueId y = n.b.elementwise(Op::mul, {n.b.transpose(shifted, {1, 0}), z});
      n.b.output("y", y);
      const auto g = n.b.finish();
      CAPTURE(shape[0]);
      CHECK(blocks(*g) == (shape[0] != 8));
      CHECK(compare(*g, random_inputs(*g, 41, 5), {}, {}, nullptr, false) == "");
    }
  }
}

TEST_CASE("transposes of several axes, pads, slices and several operands") {
  Net n;
  const ValueId x = n.input(DType::kFloat32, {n.dim(2), n.dim(34), n.dim(3), n.dim("N")});
  const ValueId z = n.input(DType::kFloat32, {n.dim("N"), n.dim(34)});
  const ValueId channels = n.b.value(Op::exp, {n.b.transpose(x, {0, 3, 2, 1})});
  const ValueId swapped =
      n.b.value(Op::neg, {n.b.transpose(x, {3, 1, 2, 0})});  // the last is short
  const ValueId padded = n.b.transpose(
      n.b.pad(z, n.b.scalar(DType::kFloat32, 2), {n.dim(3), n.dim(1)}, {n.dim(0), n.dim(5)}),
      {1, 0});
  const ValueId part =
      n.b.transpose(n.b.slice(x, {n.dim(1), n.dim(2), n.dim(1), n.dim(0)},
                              {n.dim(1), n.dim(30), n.dim(1), n.dim("N")}, {1, 1, 1, 1}),
                    {0, 2, 3, 1});
  const ValueId both = n.b.elementwise(
      Op::add, {n.b.transpose(z, {1, 0}), n.b.transpose(n.b.value(Op::abs, {z}), {1, 0})});
  int k = 0;
  for (const ValueId v :
       {channels, swapped, n.b.value(Op::abs, {padded}), n.b.value(Op::neg, {part}), both}) {
    n.b.output("y" + std::to_string(k++), v);
  }
  const auto g = n.b.finish();
  CHECK(blocks(*g) == 4);
  for (const int64_t size : {1, 31, 65}) {
    CHECK(compare(*g, random_inputs(*g, size, 5), {}, {}, nullptr, false) == "");
  }
}

}  // namespace gcomp::test
