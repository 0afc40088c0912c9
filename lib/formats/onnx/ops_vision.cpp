// Sampling of images at computed places.

#include <numeric>

#include "onnx/importer.h"
#include "onnx/window.h"

namespace gcomp::formats::onnx {
namespace {

// ---- GridSample ----

struct GridAttrs {
  std::string mode, padding;
  bool align = false;
};

// x mirrored at `low` and `high` until it is within.
ValueId reflect(NodeImport& n, ValueId x, ValueId low, ValueId high) {
  const ValueId range = n.sub(high, low);
  const ValueId period = n.mul(range, 2.0);
  const ValueId m = n.binary(Op::mod, n.sub(x, low), period);
  const ValueId inside = n.add(low, n.min(m, n.sub(period, m)));
  return n.where(n.compare(Op::eq, range, 0), low, inside);
}

struct GridAxis {
  ValueId size;       // of the image along this axis, as a scalar of the grid's dtype
  ValueId low, high;  // where reflection turns
  ValueId at;         // sampled coordinates [N, P]
};

GridAxis grid_axis(NodeImport& n, const GridAttrs& a, ValueId normal, DimId extent) {
  GridAxis g;
  g.size = n.extent_value(extent, n.dtype(normal));
  g.low = n.like(normal, a.align ? 0 : -0.5);
  g.high = a.align ? n.sub(g.size, 1.0) : n.sub(g.size, 0.5);
  const ValueId shifted = n.add(normal, 1.0);
  if (a.align) {
    g.at = n.mul(n.div(shifted, 2.0), n.sub(g.size, 1.0));
  } else {
    g.at = n.div(n.sub(n.mul(shifted, g.size), 1.0), 2.0);
  }
  if (a.mode == "nearest") g.at = n.unary(Op::round, g.at);
  const ValueId outside =
      n.binary(Op::bit_or, n.binary(Op::lt, g.at, g.low), n.binary(Op::gt, g.at, g.high));
  if (a.padding == "border") {
    const ValueId clamped = n.max(n.min(g.at, n.sub(g.size, 1.0)), 0.0);
    g.at = n.where(outside, clamped, g.at);
  } else if (a.padding == "reflection") {
    g.at = n.where(outside, reflect(n, g.at, g.low, g.high), g.at);
  }
  return g;
}

// One neighbour along an axis: its index in the image, its weight, whether it is in the image.
struct Tap {
  ValueId index, weight, inside;
};

ValueId tap_weight(NodeImport& n, const std::string& mode, ValueId fraction, int k) {
  const ValueId x = n.unary(Op::abs, n.sub(n.like(fraction, k), fraction));
  if (mode == "linear") return n.sub(n.like(x, 1), x);
  constexpr double a = -0.75;
  const ValueId x2 = n.square(x), x3 = n.mul(x2, x);
  if (k == 0 || k == 1) return n.add(n.sub(n.mul(x3, a + 2), n.mul(x2, a + 3)), 1.0);
  return n.sub(n.add(n.sub(n.mul(x3, a), n.mul(x2, 5 * a)), n.mul(x, 8 * a)), 4 * a);
}

std::vector<Tap> taps(NodeImport& n, const GridAttrs& a, const GridAxis& g) {
  std::vector<Tap> list;
  const ValueId base = n.unary(Op::floor, g.at);
  const ValueId fraction = n.sub(g.at, base);
  const int first = a.mode == "cubic" ? -1 : 0;
  const int last = a.mode == "nearest" ? 0 : a.mode == "linear" ? 1 : 2;
  const ValueId end = n.sub(g.size, 1.0);
  for (int k = first; k <= last; ++k) {
    Tap tap;
    ValueId position = k == 0 ? base : n.add(base, static_cast<double>(k));
    if (a.padding == "zeros") {
      tap.inside =
          n.binary(Op::bit_and, n.compare(Op::ge, position, 0), n.binary(Op::le, position, end));
    } else if (a.padding == "reflection") {
      const ValueId outside = n.binary(Op::bit_or, n.binary(Op::lt, position, g.low),
                                       n.binary(Op::gt, position, g.high));
      position = n.where(outside, reflect(n, position, g.low, g.high), position);
      position = n.unary(Op::trunc, position);
    }
    position = n.max(n.min(position, end), 0.0);
    tap.index = n.cast(position, DType::kInt64);
    if (a.mode != "nearest") tap.weight = tap_weight(n, a.mode, fraction, k);
    list.push_back(tap);
  }
  return list;
}

void import_grid_sample(NodeImport& n) {
  const ValueId x = n.in(0);
  const int axes = n.rank(x) - 2;
  if (axes < 1 || axes > 3 || n.rank(n.in(1)) != axes + 2) {
    n.unsupported("an input of this rank");
  }
  GridAttrs a;
  a.mode = n.text("mode", n.opset() < 20 ? "bilinear" : "linear");
  if (a.mode == "bilinear") a.mode = "linear";
  if (a.mode == "bicubic") a.mode = "cubic";
  if (a.mode != "nearest" && a.mode != "linear" && a.mode != "cubic") {
    n.unsupported("mode '" + a.mode + "'");
  }
  a.padding = n.text("padding_mode", "zeros");
  if (a.padding != "zeros" && a.padding != "border" && a.padding != "reflection") {
    n.unsupported("padding_mode '" + a.padding + "'");
  }
  a.align = n.flag("align_corners", false);

  const ValueId image = n.widen(x);
  const DType t = n.dtype(image);
  const Dims shape = n.shape(x), places = n.shape(n.in(1));
  const Dims spatial(shape.begin() + 2, shape.end());
  const Dims out_spatial(places.begin() + 1, places.end() - 1);
  const DimId points = n.dims().product(out_spatial);
  const ValueId grid = n.reshape(n.cast(n.in(1), t), {shape[0], points, n.dim(axes)});
  const ValueId flat = n.reshape(image, {shape[0], shape[1], n.dims().product(spatial)});
  std::vector<std::vector<Tap>> all;
  for (int i = 0; i < axes; ++i) {  // the grid's last axis counts from the image's last
    const ValueId normal = n.squeeze(n.slice_axis(grid, 2, n.dim(axes - 1 - i), n.dim(1)), {2});
    all.push_back(taps(n, a, grid_axis(n, a, normal, spatial[static_cast<size_t>(i)])));
  }
  // Every combination of one tap an axis.
  std::vector<Tap> corners = all[0];
  for (size_t i = 1; i < all.size(); ++i) {
    std::vector<Tap> next;
    const ValueId width = n.extent_value(spatial[i], DType::kInt64);
    for (const Tap& c : corners) {
      for (const Tap& tap : all[i]) {
        Tap both;
        both.index = n.add(n.mul(c.index, width), tap.index);
        if (c.weight.valid()) both.weight = n.mul(c.weight, tap.weight);
        if (c.inside.valid()) both.inside = n.binary(Op::bit_and, c.inside, tap.inside);
        next.push_back(both);
      }
    }
    corners = std::move(next);
  }
  ValueId sum;
  for (const Tap& c : corners) {
    ValueId v = n.b.value(Op::gather, {flat, c.index},
                          {{AttrKey::axis, int64_t{2}}, {AttrKey::batch_dims, int64_t{1}}});
    if (c.inside.valid()) v = n.where(n.unsqueeze(c.inside, {1}), v, n.like(v, 0));
    if (c.weight.valid()) v = n.mul(v, n.unsqueeze(c.weight, {1}));
    sum = sum.valid() ? n.add(sum, v) : v;
  }
  Dims to = {shape[0], shape[1]};
  to.insert(to.end(), out_spatial.begin(), out_spatial.end());
  n.out(n.cast(n.reshape(sum, to), n.dtype(x)));
}

// ---- AffineGrid ----

// The base coordinates of one axis: from -1 to 1 over the corners, or over the cells' centres.
ValueId base_coordinates(NodeImport& n, DimId extent, bool align, DType t) {
  const ValueId i = n.iota(t, {extent}, 0);
  const ValueId size = n.extent_value(extent, t);
  if (align) return n.sub(n.div(n.mul(i, 2.0), n.sub(size, 1.0)), 1.0);
  return n.sub(n.div(n.add(n.mul(i, 2.0), 1.0), size), 1.0);
}

void import_affine_grid(NodeImport& n) {
  const ValueId theta = n.widen(n.in(0));
  const DType t = n.dtype(theta);
  const Dims size = n.extents_of(n.in(1), "size");
  if (size.size() != 4 && size.size() != 5) n.fail("AffineGrid: size must have 4 or 5 elements");
  const Dims spatial(size.begin() + 2, size.end());
  const auto axes = static_cast<int64_t>(spatial.size());
  const bool align = n.flag("align_corners", false);
  Values columns;  // x first: the last spatial axis
  Dims one = spatial;
  one.push_back(n.dim(1));
  for (int64_t i = axes - 1; i >= 0; --i) {
    const ValueId c = base_coordinates(n, spatial[static_cast<size_t>(i)], align, t);
    columns.push_back(n.place(c, one, {i}));
  }
  columns.push_back(n.full(t, one, 1));
  const DimId points = n.dims().product(spatial);
  const ValueId base = n.reshape(n.concat(columns, axes), {points, n.dim(axes + 1)});
  const ValueId grid = n.matmul(base, n.transpose(theta, {0, 2, 1}));  // [N, points, axes]
  Dims to = {n.extent(theta, 0)};
  to.insert(to.end(), spatial.begin(), spatial.end());
  to.push_back(n.dim(axes));
  n.out(n.cast(n.reshape(grid, to), n.dtype(n.in(0))));
}

// ---- Col2Im ----

// Sums the columns of blocks back into the image: the transpose of taking blocks.
void import_col2im(NodeImport& n) {
  const ValueId x = n.in(0);
  const Dims image = n.extents_of(n.in(1), "image");
  const Ints block = n.need_ints(n.in(2), "block_shape");
  if (n.rank(x) != 3 || block.size() != image.size() || image.empty()) {
    n.fail("Col2Im: the input must be [N, C * block, L], and the shapes agree in length");
  }
  const WindowAttrs w = window_attrs(n, image, block, false);
  DimTable& d = n.dims();
  int64_t block_elements = 1;
  for (int64_t k : block) {
    if (k > 4096 || (block_elements *= k) > 65536) n.unsupported("a block this large");
  }
  const DimId channels = d.floor_div(n.extent(x, 1), n.dim(block_elements));
  // Flat index into the image of element k of block p, over [block, L]; outside: one past the end.
  const size_t axes = image.size();
  Dims blocks, grid;
  for (size_t i = 0; i < axes; ++i) {
    const DimId reach = n.dim(w.dilations[i] * (block[i] - 1) + 1);
    const DimId room = d.sub(d.add(image[i], d.add(w.low[i], w.high[i])), reach);
    blocks.push_back(d.add(d.floor_div(room, n.dim(w.strides[i])), n.dim(1)));
  }
  grid = n.dim_list(block);
  grid.insert(grid.end(), blocks.begin(), blocks.end());
  const DType t = DType::kInt64;
  const auto place = static_cast<int64_t>(axes);
  ValueId index = n.b.scalar_int(t, 0), inside;
  for (size_t i = 0; i < axes; ++i) {
    const auto a = static_cast<int64_t>(i);
    const ValueId k = n.mul(n.iota(t, grid, a), n.b.scalar_int(t, w.dilations[i]));
    const ValueId p = n.mul(n.iota(t, grid, a + place), n.b.scalar_int(t, w.strides[i]));
    const ValueId at = n.sub(n.add(k, p), n.extent_value(w.low[i], t));
    const ValueId size = n.extent_value(image[i], t);
    const ValueId within =
        n.binary(Op::bit_and, n.compare(Op::ge, at, 0), n.binary(Op::lt, at, size));
    inside = inside.valid() ? n.binary(Op::bit_and, inside, within) : within;
    index = n.add(n.mul(index, size), at);
  }
  const DimId pixels = d.product(image);
  const DimId flat = d.product(grid);
  index = n.where(inside, index, n.extent_value(pixels, t));
  const DimId batch = n.extent(x, 0);
  const ValueId everywhere = n.place(n.reshape(index, {flat}), {batch, channels, flat}, {2});
  const ValueId updates = n.reshape(x, {batch, channels, flat});
  const ValueId zeros = n.full(n.dtype(x), {batch, channels, d.add(pixels, n.dim(1))}, 0);
  ValueId y = n.b.value(Op::scatter_elements, {zeros, everywhere, updates},
                        {{AttrKey::axis, int64_t{2}}, {AttrKey::reduction, std::string("add")}});
  Dims to = {batch, channels};
  to.insert(to.end(), image.begin(), image.end());
  n.out(n.reshape(n.slice_axis(y, 2, n.dim(0), pixels), to));
}

// ---- RoiAlign ----

// Samples along one axis of every region: [regions, bins * samples].
struct RoiAxis {
  ValueId low, high;    // indices of the two neighbours
  ValueId weight_high;  // of the upper one
  ValueId inside;       // the sample counts at all
};

RoiAxis roi_axis(NodeImport& n, ValueId start, ValueId end, int64_t bins, int64_t samples,
                 DimId extent, bool half_pixel) {
  const DType t = n.dtype(start);
  const double scale = n.real("spatial_scale", 1), offset = half_pixel ? 0.5 : 0;
  start = n.sub(n.mul(start, scale), offset);
  ValueId size = n.sub(n.sub(n.mul(end, scale), offset), start);
  if (!half_pixel) size = n.max(size, 1.0);
  const double points = static_cast<double>(bins * samples);
  const ValueId i = n.add(n.iota(t, {n.dim(bins * samples)}, 0), 0.5);
  const ValueId step = n.unsqueeze(n.div(size, points), {1});
  ValueId at = n.add(n.unsqueeze(start, {1}), n.mul(step, i));
  const ValueId count = n.extent_value(extent, t);
  RoiAxis a;
  a.inside = n.binary(Op::bit_and, n.compare(Op::ge, at, -1), n.binary(Op::le, at, count));
  at = n.max(at, 0.0);
  const ValueId last = n.sub(count, 1.0);
  const ValueId low = n.min(n.unary(Op::floor, at), last);
  a.weight_high = n.where(n.binary(Op::ge, low, last), n.like(at, 0), n.sub(at, low));
  a.low = n.cast(low, DType::kInt64);
  a.high = n.cast(n.min(n.add(low, 1.0), last), DType::kInt64);
  return a;
}

void import_roi_align(NodeImport& n) {
  const ValueId x = n.widen(n.in(0)), rois = n.cast(n.in(1), n.dtype(x));
  if (n.rank(x) != 4 || n.rank(rois) != 2 || n.rank(n.in(2)) != 1) {
    n.fail("RoiAlign: the inputs must be [N, C, H, W], [R, 4] and [R]");
  }
  const int64_t height = n.integer("output_height", 1), width = n.integer("output_width", 1);
  const int64_t samples = n.integer("sampling_ratio", 0);
  if (samples == 0) n.unsupported("sampling_ratio = 0 (as many samples as the region is large)");
  for (int64_t v : {height, width, samples}) {
    if (v < 1 || v > 4096) n.fail("RoiAlign: sizes are out of range");
  }
  const std::string mode = n.text("mode", "avg");
  if (mode != "avg" && mode != "max") n.unsupported("mode '" + mode + "'");
  const bool half_pixel =
      n.text("coordinate_transformation_mode",
             n.opset() < 16 ? "output_half_pixel" : "half_pixel") == "half_pixel";
  const auto column = [&](int64_t i) {
    return n.squeeze(n.slice_axis(rois, 1, n.dim(i), n.dim(1)), {1});
  };
  const RoiAxis h = roi_axis(n, column(1), column(3), height, samples, n.extent(x, 2), half_pixel);
  const RoiAxis w = roi_axis(n, column(0), column(2), width, samples, n.extent(x, 3), half_pixel);
  const DimId regions = n.extent(rois, 0), channels = n.extent(x, 1);
  const Dims grid = {regions, n.dim(height * samples), n.dim(width * samples)};
  const ValueId image = n.transpose(x, {0, 2, 3, 1});
  const ValueId batch = n.place(n.cast(n.in(2), DType::kInt64), grid, {0});
  const ValueId inside = n.unsqueeze(
      n.binary(Op::bit_and, n.unsqueeze(h.inside, {2}), n.unsqueeze(w.inside, {1})), {3});
  ValueId total;
  for (int corner = 0; corner < 4; ++corner) {
    const bool down = corner / 2 != 0, right = corner % 2 != 0;
    const ValueId row = n.place(down ? h.high : h.low, grid, {0, 1});
    const ValueId col = n.place(right ? w.high : w.low, grid, {0, 2});
    const ValueId index =
        n.concat({n.unsqueeze(batch, {3}), n.unsqueeze(row, {3}), n.unsqueeze(col, {3})}, 3);
    const auto part = [&](ValueId high, bool upper) {
      return upper ? high : n.sub(n.like(high, 1), high);
    };
    const ValueId weight = n.mul(n.unsqueeze(part(h.weight_high, down), {2}),
                                 n.unsqueeze(part(w.weight_high, right), {1}));
    ValueId v = n.b.value(Op::gather_nd, {image, index}, {{AttrKey::batch_dims, int64_t{0}}});
    v = n.where(inside, n.mul(v, n.unsqueeze(weight, {3})), n.like(v, 0));
    if (total.valid()) {
      total = mode == "avg" ? n.add(total, v) : n.max(total, v);
    } else {
      total = v;
    }
  }
  total = n.reshape(
      total, {regions, n.dim(height), n.dim(samples), n.dim(width), n.dim(samples), channels});
  total =
      mode == "avg" ? n.mean(total, {2, 4}, false) : n.reduce(Op::reduce_max, total, {2, 4}, false);
  n.out(n.cast(n.transpose(total, {0, 3, 1, 2}), n.dtype(n.in(0))));
}

// ---- NonMaxSuppression ----

// Corners of boxes [..., 4] as four tensors [...]: y1, x1, y2, x2, the smaller first.
std::vector<ValueId> box_corners(NodeImport& n, ValueId boxes, bool centred) {
  const int64_t last = n.rank(boxes) - 1;
  const auto column = [&](int64_t i) {
    return n.squeeze(n.slice_axis(boxes, last, n.dim(i), n.dim(1)), {last});
  };
  const ValueId a = column(0), b = column(1), c = column(2), d = column(3);
  if (centred) {  // x, y, width, height
    const ValueId w = n.div(c, 2.0), h = n.div(d, 2.0);
    return {n.sub(b, h), n.sub(a, w), n.add(b, h), n.add(a, w)};
  }
  return {n.min(a, c), n.min(b, d), n.max(a, c), n.max(b, d)};
}

// Boxes in order of falling score, for every batch and class at once: in step i the i-th box, if it
// still stands, strikes out those after it that overlap it too much.
void import_nms(NodeImport& n) {
  const ValueId boxes = n.widen(n.in(0)), scores = n.widen(n.in(1));
  if (n.rank(boxes) != 3 || n.rank(scores) != 3) {
    n.fail("NonMaxSuppression: the inputs must be [batch, boxes, 4] and [batch, classes, boxes]");
  }
  const DType t = n.dtype(boxes), i64 = DType::kInt64;
  const auto scalar = [&](size_t i, DType type, ValueId absent) {
    return n.has(i) ? n.cast(n.reshape(n.in(i), {}), type) : absent;
  };
  const ValueId limit = scalar(2, i64, n.b.scalar_int(i64, 0));
  const ValueId overlap = scalar(3, t, n.b.scalar(t, 0));
  const Dims shape = n.shape(scores);  // [batch, classes, boxes]
  const DimId count = shape[2];
  const NodeId sorted = n.b.node(Op::sort, Values{scores},
                                 {{AttrKey::axis, int64_t{2}}, {AttrKey::descending, int64_t{1}}});
  const ValueId order = n.b.result(sorted, 1);
  ValueId stands = n.full(DType::kBool, shape, 1);
  if (n.has(4)) stands = n.binary(Op::gt, n.b.result(sorted, 0), scalar(4, t, ValueId()));
  // The boxes of each class in that order: [batch, classes, boxes] a corner.
  Values operands = {n.extent_value(count, i64), n.b.scalar_int(DType::kBool, 1), stands,
                     n.full(i64, {shape[0], shape[1]}, 0)};
  for (ValueId c : box_corners(n, boxes, n.flag("center_point_box", false))) {
    const ValueId spread = n.place(n.specify(c, {shape[0], count}), shape, {0, 2});
    operands.push_back(
        n.b.value(Op::gather_elements, {spread, order}, {{AttrKey::axis, int64_t{2}}}));
  }
  operands.push_back(limit);
  operands.push_back(overlap);

  Body body(n.importer().context());
  GraphBuilder& b = body.builder;
  b.set_loc(n.b.loc());
  Emitter e(body);
  const ValueId i = b.input("step", Type{i64, {}});
  Values in;
  for (size_t k = 2; k < operands.size(); ++k) {
    in.push_back(b.input("in" + std::to_string(k), n.b.type(operands[k])));
  }
  const auto current = [&](ValueId v) { return e.gather(v, i, 2); };
  const ValueId chosen = e.binary(Op::bit_and, current(in[0]), e.binary(Op::lt, in[1], in[6]));
  const auto now = [&](size_t k) { return e.unsqueeze(current(in[k]), {2}); };
  const ValueId height = e.sub(e.min(in[4], now(4)), e.max(in[2], now(2)));
  const ValueId width = e.sub(e.min(in[5], now(5)), e.max(in[3], now(3)));
  const ValueId common = e.mul(e.max(height, 0.0), e.max(width, 0.0));
  const ValueId area = e.mul(e.sub(in[4], in[2]), e.sub(in[5], in[3]));
  const ValueId together = e.sub(e.add(area, e.unsqueeze(current(area), {2})), common);
  const ValueId share =
      e.where(e.compare(Op::gt, together, 0), e.div(common, together), e.like(together, 0));
  const ValueId position = e.iota(i64, e.shape(in[0]), 2);
  const ValueId later = e.binary(Op::gt, position, i);
  const ValueId strikes = e.binary(Op::bit_and, e.binary(Op::gt, share, in[7]),
                                   e.binary(Op::bit_and, later, e.unsqueeze(chosen, {2})));
  // A box that is not chosen because there are enough falls itself.
  const ValueId itself = e.binary(Op::bit_and, e.binary(Op::eq, position, i),
                                  e.unary(Op::bit_not, e.unsqueeze(chosen, {2})));
  const ValueId falls = e.binary(Op::bit_or, strikes, itself);
  b.output("continue", b.scalar_int(DType::kBool, 1));
  b.output("stands", e.binary(Op::bit_and, in[0], e.unary(Op::bit_not, falls)));
  b.output("number", e.add(in[1], e.cast(chosen, i64)));
  const GraphId graph = n.importer().context().add_graph(b.finish());
  const NodeId loop =
      n.defining(Op::loop, operands,
                 {{AttrKey::bodies, std::vector<GraphId>{graph}}, {AttrKey::index, int64_t{2}}});

  const Dims symbols = {n.dims().fresh_symbol("selected")};
  const ValueId found = n.transpose(
      n.b.result(n.defining(Op::nonzero, {n.b.result(loop, 0)}, {{AttrKey::symbols, symbols}})),
      {1, 0});  // [selected, (batch, class, place in the order)]
  const ValueId box = n.b.value(Op::gather_nd, {order, found}, {{AttrKey::batch_dims, int64_t{0}}});
  n.out(n.concat({n.slice_axis(found, 1, n.dim(0), n.dim(2)), n.unsqueeze(box, {1})}, 1));
}

constexpr OpRow kRows[] = {
    {"AffineGrid", import_affine_grid, "align_corners"},
    {"Col2Im", import_col2im, "dilations pads strides"},
    {"GridSample", import_grid_sample, "align_corners mode padding_mode"},
    {"NonMaxSuppression", import_nms, "center_point_box"},
    {"RoiAlign", import_roi_align,
     "coordinate_transformation_mode mode output_height output_width sampling_ratio spatial_scale"},
};

}  // namespace

std::span<const OpRow> vision_rows() { return kRows; }

}  // namespace gcomp::formats::onnx
