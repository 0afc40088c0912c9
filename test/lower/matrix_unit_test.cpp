// Products by matrix units (Builder::warp_mma): on the emulated GPU (cuda_mode.h); elsewhere the same bounds hold for
// kernels without them.

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "compare.h"
#include "cuda_mode.h"

namespace gcomp::test {
namespace {

std::vector<double> values_of(const interp::Tensor& t) {
  std::vector<double> values(static_cast<size_t>(t.num_elements()));
  for (size_t i = 0; i < values.size(); ++i) {
    switch (t.dtype) {
      case DType::kFloat16: values[i] = half_to_float(t.data<uint16_t>()[i]); break;
      case DType::kBFloat16: values[i] = bfloat16_to_float(t.data<uint16_t>()[i]); break;
      case DType::kFloat32: values[i] = t.data<float>()[i]; break;
      default: values[i] = t.data<double>()[i]; break;
    }
  }
  return values;
}

interp::Tensor as_float64(const interp::Tensor& t, bool absolute) {
  interp::Tensor wide{.dtype = DType::kFloat64, .shape = t.shape, .bytes = {}};
  const std::vector<double> values = values_of(t);
  wide.bytes.resize(values.size() * sizeof(double));
  for (size_t i = 0; i < values.size(); ++i) {
    wide.data<double>()[i] = absolute ? std::abs(values[i]) : values[i];
  }
  return wide;
}

// Half a unit in the last place, relative.
double rounding_of(DType t) {
  return t == DType::kFloat16 ? 0x1p-11 : t == DType::kBFloat16 ? 0x1p-8 : 0x1p-24;
}

// A contraction of two operands, in any dtype.
struct Where {
  bool shifted = false;   // operands begin one element after the begin of their memory
  bool symbolic = false;  // extents are not known when the kernel is made
};
struct Case {
  Op op = Op::matmul;
  std::vector<int64_t> left, right;
  int64_t depth = 0;  // terms of a sum
  std::vector<Attr> attrs = {};
  Where where = {};
};

std::unique_ptr<Graph> graph_of(Context& context, const Case& c, DType t) {
  GraphBuilder b(context, GraphBuilder::Mode::kInterned);
  // Symbols are 1 when it runs.
  const auto extent = [&](int64_t n) {
    const DimId known = context.dims.constant(n);
    return c.where.symbolic ? context.dims.mul(context.dims.symbol("N"), known) : known;
  };
  const auto input = [&](const char* name, const std::vector<int64_t>& shape) {
    std::vector<DimId> dims;
    for (const int64_t n : shape) dims.push_back(extent(n));
    if (!c.where.shifted) return b.input(name, {t, dims});
    const DimId size = context.dims.product(dims), one = context.dims.constant(1);
    const ValueId flat = b.input(name, {t, {context.dims.add(size, one)}});
    return b.reshape(b.slice(flat, {one}, {size}, {1}), dims);
  };
  const ValueId x = input("x", c.left), y = input("y", c.right);
  b.output("z", b.value(c.op, {x, y}, c.attrs));
  return b.finish();
}

// "" if |z - exact| is at most what the formats and the length of the sums allow: for factors rounded to tf32 two
// roundings of 2^-11 a product; for each addition 2^-22 of the sum of the terms' sizes, for it may cut off what is below
// the last of 24 bits of the largest term, and cut the sum; for the result a rounding of its dtype.
std::string check(Context& context, const Case& c, DType t, bool tf32, bool special = false) {
  const auto g = graph_of(context, c, t), wide = graph_of(context, c, DType::kFloat64);
  std::vector<interp::Tensor> inputs = random_inputs(*g, 1, 5);
  if (special) {
    inputs[0].data<float>()[5] = std::numeric_limits<float>::infinity();
    inputs[1].data<float>()[7] =
        std::bit_cast<float>(0x7f800001u);  // rounded as a number: infinity
  }
  lower::LowerOptions options;
  options.cuda_tf32 = tf32;
  CudaMode* const cuda = CudaMode::get();
  const lower::LoweredModule module = cuda ? cuda->lower(*g, options) : lower::lower(*g, options);
  if (cuda && cuda->records()) return "";
  const ModuleRunner runner = cuda ? cuda->runner(module) : ModuleRunner(module);
  std::string error;
  const interp::Tensor z = runner.run(inputs, 1, &error)[0];
  std::vector<interp::Tensor> exact, sizes;
  for (const interp::Tensor& input : inputs) {
    exact.push_back(as_float64(input, false));
    sizes.push_back(as_float64(input, true));
  }
  const std::vector<double> got = values_of(z), want = values_of(interp::evaluate(*wide, exact)[0]);
  const std::vector<double> size = values_of(interp::evaluate(*wide, sizes)[0]);
  const double of_terms = (tf32 ? 0x1p-10 : 0) + 0x1p-22 * static_cast<double>(c.depth);
  for (size_t i = 0; i < got.size(); ++i) {
    const double bound =
        of_terms * size[i] + rounding_of(t) * (std::abs(want[i]) + of_terms * size[i]);
    const bool same = got[i] == want[i] || (std::isnan(got[i]) && std::isnan(want[i]));
    if (same || std::abs(got[i] - want[i]) <= bound) continue;
    return "element " + std::to_string(i) + " is " + std::to_string(got[i]) + ", not " +
           std::to_string(want[i]) + " within " + std::to_string(bound);
  }
  return error;
}

std::vector<Attr> transposed(bool left, bool right) {
  return {{AttrKey::trans_a, int64_t{left}}, {AttrKey::trans_b, int64_t{right}}};
}

Case conv(Context& context, std::vector<int64_t> x, std::vector<int64_t> w, int64_t group,
          bool last) {
  const std::vector<DimId> one(2, context.dims.constant(1));
  return {.op = Op::conv,
          .left = std::move(x),
          .right = std::move(w),
          .depth = 3 * 2 * 18,
          .attrs = {{AttrKey::strides, std::vector<int64_t>{1, 2}},
                    {AttrKey::dilations, std::vector<int64_t>{1, 1}},
                    {AttrKey::low, one},
                    {AttrKey::high, one},
                    {AttrKey::group, group},
                    {AttrKey::layout, std::string(last ? "nhwc" : "nchw")}}};
}

// The formats: float16, bfloat16, and float32 rounded to tf32.
constexpr std::pair<DType, bool> kFormats[] = {
    {DType::kFloat16, false}, {DType::kBFloat16, false}, {DType::kFloat32, true}};

// Kernels of the graph's GPU part that multiply by matrix units.
int kernels_with_mma(const Case& c, DType t, const lower::LowerOptions& wanted) {
  Context context;
  const auto g = graph_of(context, c, t);
  lower::LowerOptions options = wanted;
  options.placement.assign(g->num_nodes(), Device::kCuda);
  int count = 0;
  for (const kernel::Kernel& k : lower::lower(*g, options).kernels) {
    count += std::ranges::any_of(
        k.insts, [](const kernel::Inst& i) { return i.code == kernel::Code::kWarpMma; });
  }
  return count;
}

}  // namespace

TEST_CASE("products by matrix units, within what their formats and the length of sums allow") {
  for (const auto& [t, tf32] : kFormats) {
    CAPTURE(name(t));
    Context context;
    const auto matrix = [](int64_t rows, int64_t columns, bool turned) {
      return turned ? std::vector<int64_t>{2, columns, rows}
                    : std::vector<int64_t>{2, rows, columns};
    };
    for (const unsigned flags : {0u, 1u, 2u, 3u}) {  // edges of tiles everywhere, an odd depth
      CAPTURE(flags);
      const bool a = flags & 1, b = flags & 2;
      const Case c = {.left = matrix(70, 75, a),
                      .right = matrix(75, 66, b),
                      .depth = 75,
                      .attrs = transposed(a, b)};
      CHECK(check(context, c, t, tf32) == "");
    }
    const Case narrow = {.left = {1, 16, 1000}, .right = {1, 1000, 17}, .depth = 1000};
    CHECK(check(context, narrow, t, tf32) == "");
  }
  Context context;
  const Case large = {.left = {130, 128, 20}, .right = {130, 20, 136}, .depth = 20};
  CHECK(check(context, large, DType::kFloat16, false) == "");
  const Case small = {.left = {1, 20, 40}, .right = {1, 40, 30}, .depth = 40};
  CHECK(check(context, small, DType::kFloat32, true, true) == "");
}

TEST_CASE(
    "random products by tiles: groups of neighbours that are whole or not, views, unknown "
    "extents") {
  std::mt19937 rng(77);
  const auto any_of = [&](std::initializer_list<int64_t> values) {
    return values.begin()[rng() % values.size()];
  };
  for (const auto& [t, tf32] : kFormats) {
    CAPTURE(name(t));
    for (int i = 0; i < 8; ++i) {
      CAPTURE(i);
      Context context;
      const bool a = rng() & 1, b = rng() & 1;
      const int64_t rows = any_of({16, 40, 66, 72}), columns = any_of({16, 24, 67, 80});
      const int64_t depth = any_of({16, 40, 72, 136, 137});
      const auto matrix = [&](int64_t m, int64_t n, bool turned) {
        return turned ? std::vector<int64_t>{2, n, m} : std::vector<int64_t>{2, m, n};
      };
      const Case c = {.left = matrix(rows, depth, a),
                      .right = matrix(depth, columns, b),
                      .depth = depth,
                      .attrs = transposed(a, b),
                      .where = {.shifted = i % 3 == 1, .symbolic = i % 3 == 2}};
      CHECK(check(context, c, t, tf32 && i % 2 == 0) == "");
    }
  }
}

TEST_CASE("convolutions by matrix units") {
  for (const auto& [t, tf32] : kFormats) {
    CAPTURE(name(t));
    Context context;
    const Case last = conv(context, {2, 7, 9, 36}, {3, 2, 18, 40}, 2, true);
    const Case first = conv(context, {2, 36, 7, 9}, {40, 18, 3, 2}, 2, false);
    CHECK(check(context, last, t, tf32) == "");
    CHECK(check(context, first, t, tf32) == "");
    const Case whole = conv(context, {2, 6, 7, 32}, {3, 2, 16, 32}, 2, true);
    CHECK(check(context, whole, t, tf32) == "");
    const Case one_by_one = {
        .op = Op::conv,
        .left = {2, 24, 8, 9},
        .right = {40, 24, 1, 1},
        .depth = 24,
        .attrs = {{AttrKey::strides, std::vector<int64_t>{1, 1}},
                  {AttrKey::dilations, std::vector<int64_t>{1, 1}},
                  {AttrKey::low, std::vector<DimId>(2, context.dims.constant(0))},
                  {AttrKey::high, std::vector<DimId>(2, context.dims.constant(0))},
                  {AttrKey::group, int64_t{1}},
                  {AttrKey::layout, std::string("nchw")}}};
    CHECK(check(context, one_by_one, t, tf32) == "");
  }
}

TEST_CASE(
    "matrix units are for half formats, for float32 if tf32 is allowed, and for nothing on a CPU") {
  const Case c = {.left = {64, 64}, .right = {64, 64}, .depth = 64};
  const auto blocks = [&](DType t, const lower::LowerOptions& options) {
    return kernels_with_mma(c, t, options);
  };
  CHECK(blocks(DType::kFloat16, {}) == 1);
  CHECK(blocks(DType::kBFloat16, {}) == 1);
  CHECK(blocks(DType::kFloat32, {}) == 0);
  CHECK(blocks(DType::kFloat64, {.cuda_tf32 = true}) == 0);
  CHECK(blocks(DType::kFloat32, {.cuda_tf32 = true}) == 1);
  CHECK(blocks(DType::kFloat16, {.cuda_matrix_units = false}) == 0);
  CHECK(blocks(DType::kFloat32, {.cuda_matrix_units = false, .cuda_tf32 = true}) == 0);
  CHECK(kernels_with_mma(c, DType::kFloat16, {.cuda_blocks = false}) == 0);
}

}  // namespace gcomp::test
