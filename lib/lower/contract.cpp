// Matmul and convolution of float32 and float64 by register tiles (contract_kernel.h), the elementwise
// nodes of their group applied to the tile before it is stored. What does not fit here (other dtypes, a
// few columns, channels-first convolutions) goes the general way.

#include <algorithm>

#include "contract_cuda.h"
#include "contract_kernel.h"
#include "contract_pack.h"
#include "contraction.h"
#include "product.h"

namespace gcomp::lower {
namespace {

using kernel::Buffer;
using kernel::Builder;
using kernel::Role;
using kernel::Value;
using kernel::Values;

// Temporaries of a group.
enum Key { kPackedB = 1000, kDenseA, kPadded };

// Rows of one unit of the parallel range: their part of A stays in the second-level cache.
constexpr int kMaxRowsPerUnit = 192;
constexpr int64_t kUnitBytes = 384 << 10;
// Fewer columns than this fill too little of a tile.
constexpr int64_t kMinColumns = 4;

bool has_tiles(DType t) { return t == DType::kFloat32 || t == DType::kFloat64; }

int rows_per_unit(const ContractTile& tile, DType dtype, int64_t depth, int64_t rows) {
  const int64_t row_bytes =
      std::max<int64_t>(1, depth < 0 ? 1024 : depth) * static_cast<int64_t>(byte_size(dtype));
  int64_t n = std::clamp<int64_t>(kUnitBytes / row_bytes, tile.rows, kMaxRowsPerUnit);
  // Work for several threads where there are enough rows.
  if (rows > 0) n = std::min(n, std::max<int64_t>(tile.rows, (rows + 3) / 4));
  return static_cast<int>((n + tile.rows - 1) / tile.rows) * tile.rows;
}

// B of the group packed into panels: a constant when compiling, else by a call before.
Buffer packed_b(PlanWriter& w, Contraction& c, ValueId b_value, DimId batches, DimId depth,
                DimId columns, bool transposed, const MatrixStrides* strides,
                const ContractTile& tile) {
  DimTable& dims = w.dims();
  const DType dtype = w.graph().type(b_value).dtype;
  const Constant* constant = w.graph().constant(w.groups().storage[b_value.index]);
  if (constant != nullptr) {
    const int64_t k = known(dims, depth), n = known(dims, columns);
    const MatrixStrides dense =
        transposed ? MatrixStrides{k * n, 1, k} : MatrixStrides{k * n, n, 1};
    const ConstantId id = w.graph().context().constants.intern(pack_panels(
        *constant, known(dims, batches), k, n, strides ? *strides : dense, tile.columns()));
    return c.spec().constant(id, dtype);
  }
  const DimId panels = dims.ceil_div(columns, dims.constant(tile.columns()));
  const DimId panel = dims.mul(depth, dims.constant(tile.columns()));
  const DimId size = dims.mul(batches, dims.mul(panels, panel));
  KernelSpec pack(w.graph(), w.target());
  const Buffer from = pack.input(w.groups().storage[b_value.index]);
  const Buffer to = pack.temporary(kPackedB, dtype, size, Role::kOut);
  emit_pack(pack.b(), from, to, pack.dim(depth), pack.dim(columns), transposed, tile);
  w.call(pack.finish(dims.mul(batches, panels), 1));
  return c.spec().temporary(kPackedB, dtype, size, Role::kIn);
}

// Units of the parallel range and how many of them are worth a thread.
std::pair<DimId, uint32_t> parallel_range(DimTable& dims, const ContractLoops& l, DimId batches,
                                          DimId rows, DimId columns) {
  const DimId panels = dims.ceil_div(columns, dims.constant(l.tile.columns()));
  const DimId units = dims.mul(dims.ceil_div(rows, dims.constant(l.rows_per_unit)),
                               dims.ceil_div(panels, dims.constant(l.panels_per_unit)));
  return {dims.mul(batches, units), 1};
}

void lower_tiled_matmul(PlanWriter& w, uint32_t group) {
  const Graph& graph = w.graph();
  DimTable& dims = w.dims();
  const Node& node = graph.node(w.groups().groups[group].nodes[0]);
  const ValueId a = graph.operands(node)[0], b = graph.operands(node)[1];
  const bool trans_a = graph.attrs(node).integer_or(AttrKey::trans_a, 0) != 0;
  const bool trans_b = graph.attrs(node).integer_or(AttrKey::trans_b, 0) != 0;
  const Type& out = graph.type(node.first_result);
  const auto& a_dims = graph.type(a).dims;
  const size_t rank = out.dims.size();
  const DimId m = out.dims[rank - 2], n = out.dims[rank - 1];
  const DimId k = a_dims[trans_a ? rank - 2 : rank - 1];
  const DimId batches = dims.product(std::span(out.dims).first(rank - 2));

  const ContractTile tile =
      contract_tile(out.dtype, w.target().vector_bytes, w.target().vector_registers, known(dims, m),
                    known(dims, n), known(dims, k), known(dims, k));
  Contraction c(w, group, dims.mul(batches, m), n);
  const DimId a_size = dims.mul(batches, dims.mul(m, k));
  if (trans_a) {
    KernelSpec t(graph, w.target());
    const Buffer from = t.input(w.groups().storage[a.index]);
    const Buffer to = t.temporary(kDenseA, out.dtype, a_size, Role::kOut);
    emit_transpose(t.b(), from, to, t.dim(k), t.dim(m), tile.lanes);
    w.call(t.finish(dims.mul(batches, dims.ceil_div(m, dims.constant(tile.lanes))), 4));
  }
  ContractLoops& l = c.loops();
  l.dtype = out.dtype;
  l.tile = tile;
  l.b = packed_b(w, c, b, batches, k, n, trans_b, nullptr, tile);
  l.a = trans_a ? c.spec().temporary(kDenseA, out.dtype, a_size, Role::kIn)
                : c.spec().input(w.groups().storage[a.index]);
  Builder& kb = c.b();
  l.rows = c.spec().dim(m);
  l.columns = c.spec().dim(n);
  l.known_columns = known(dims, n);
  l.inner = l.depth = c.spec().dim(k);
  l.known_inner = known(dims, k);
  l.rows_per_unit = rows_per_unit(tile, out.dtype, known(dims, k), known(dims, m));
  l.whole_tiles = known(dims, m) >= 0 && known(dims, m) % tile.rows == 0;
  const Value a_matrix = kb.mul(l.rows, l.depth);
  const Value panels = c.spec().dim(dims.ceil_div(n, dims.constant(tile.columns())));
  const Value b_matrix = kb.mul(kb.mul(panels, kb.index(tile.columns())), l.depth);
  const bool one = dims.is_constant(batches, 1);
  l.row_offsets = [&](Value batch, Value row, int count, Value last) {
    const Value base = one ? kb.index(0) : kb.mul(batch, a_matrix);
    Values offsets;
    for (int i = 0; i < count; ++i) {
      const Value r = i == 0 ? row : kb.min(kb.add(row, kb.index(i)), last);
      offsets.push_back(kb.add(base, kb.mul(r, l.depth)));
    }
    return offsets;
  };
  l.b_offset = [&](Value batch) { return one ? kb.index(0) : kb.mul(batch, b_matrix); };
  l.store = [&](Value batch, Value row, Value column, Value sum, int lanes) {
    c.finish_piece(one ? row : kb.add(kb.mul(batch, l.rows), row), column, sum, lanes);
  };
  c.begin();
  emit_contract(kb, l);
  const auto [extent, grain] = parallel_range(dims, l, batches, m, n);
  c.call(extent, grain);
}

// ---- convolution, channels last

// x with zeros around it: rows of the last spatial axis are copied whole.
void emit_pad(KernelSpec& spec, Buffer from, Buffer to, const ConvShape& s,
              std::span<const DimId> unpadded, DType dtype) {
  Builder& b = spec.b();
  const size_t n = s.spatial;
  const Value channels = spec.dim(s.channels);
  const Value width = b.mul(spec.dim(s.in[n - 1]), channels);
  const Value from_width = b.mul(spec.dim(unpadded[n - 1]), channels);
  const Value left = b.mul(spec.dim(s.low[n - 1]), channels);
  const int lanes = spec.target().vector_bytes / static_cast<int>(byte_size(dtype));
  b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value unit) {
    // Unit: (batch, all spatial indices but the last) of the padded tensor.
    Value rest = unit, inside = b.boolean(true);
    Values source(n > 0 ? n - 1 : 0);
    for (size_t i = n - 1; i-- > 0;) {
      const Value extent = spec.dim(s.in[i]);
      const Value at = b.sub(b.index_rem(rest, extent), spec.dim(s.low[i]));
      rest = b.index_div(rest, extent);
      inside = b.bit_and(inside, b.bit_and(b.ge(at, b.index(0)), b.lt(at, spec.dim(unpadded[i]))));
      source[i] = at;
    }
    Value row = rest;
    for (size_t i = 0; i + 1 < n; ++i) row = b.add(b.mul(row, spec.dim(unpadded[i])), source[i]);
    const Value base = b.mul(unit, width);
    const auto fill = [&](Value lo, Value hi) {
      b.vector_loop(lo, hi, lanes, [&](Value i, int l) {
        b.store(to, b.add(base, i), b.constant({dtype, static_cast<uint16_t>(l)}, 0));
      });
    };
    b.if_else(
        inside,
        [&] {
          const Value from_base = b.mul(row, from_width);
          fill(b.index(0), left);
          b.vector_loop(b.index(0), from_width, lanes, [&](Value i, int l) {
            b.store(to, b.add(base, b.add(left, i)), b.load(from, b.add(from_base, i), l));
          });
          fill(b.add(left, from_width), width);
          return Values{};
        },
        [&] {
          fill(b.index(0), width);
          return Values{};
        });
  });
}

// The input of a convolution's loops: x itself, or a padded copy.
Buffer conv_input(PlanWriter& w, Contraction& c, ValueId x, const ConvShape& s) {
  const DType dtype = w.graph().type(x).dtype;
  const ValueId stored = w.groups().storage[x.index];
  if (!s.padded) return c.spec().input(stored);
  DimTable& dims = w.dims();
  const DimId rows = dims.mul(s.batch, dims.product(std::span(s.in).first(s.spatial - 1)));
  const DimId size = dims.mul(dims.mul(rows, s.in.back()), s.channels);
  KernelSpec pad(w.graph(), w.target());
  const Buffer from = pad.input(stored);
  const Buffer to = pad.temporary(kPadded, dtype, size, Role::kOut);
  const auto& x_dims = w.graph().type(x).dims;
  emit_pad(pad, from, to, s, std::span(x_dims).subspan(1, s.spatial), dtype);
  w.call(pad.finish(rows, 16));
  return c.spec().temporary(kPadded, dtype, size, Role::kIn);
}

// Offsets in x of the windows of result pixels row, row+1, ...: the first by division, the others by
// counting on, which is what makes pixel tiles that cross image rows cheap.
Values pixel_offsets(KernelSpec& spec, const ConvShape& s, Value row, int count, Value last) {
  Builder& b = spec.b();
  const size_t n = s.spatial;
  const Value channels = spec.dim(s.channels);
  Values strides(n);  // of one step of each spatial index of the result, in elements of x
  Value size = channels;
  for (size_t i = n; i-- > 0;) {
    strides[i] = b.mul(size, b.index(s.strides[i]));
    size = b.mul(size, spec.dim(s.in[i]));
  }
  Values at(n);
  Value rest = row;
  for (size_t i = n; i-- > 0;) {
    const Value extent = spec.dim(s.out[i]);
    at[i] = b.index_rem(rest, extent);
    rest = b.index_div(rest, extent);
  }
  Value image = rest;
  const auto offset = [&] {
    Value o = b.mul(image, size);
    for (size_t i = 0; i < n; ++i) o = b.add(o, b.mul(at[i], strides[i]));
    return o;
  };
  Values offsets{offset()};
  for (int k = 1; k < count; ++k) {
    Value carry = b.boolean(true);
    for (size_t i = n; i-- > 0;) {
      const Value next = b.where(carry, b.add(at[i], b.index(1)), at[i]);
      carry = b.eq(next, spec.dim(s.out[i]));
      at[i] = b.where(carry, b.index(0), next);
    }
    image = b.where(carry, b.add(image, b.index(1)), image);
    const Value valid = b.le(b.add(row, b.index(k)), last);
    offsets.push_back(b.where(valid, offset(), offsets.back()));
  }
  return offsets;
}

void lower_tiled_conv(PlanWriter& w, uint32_t group, const ConvShape& s) {
  const Graph& graph = w.graph();
  DimTable& dims = w.dims();
  const Node& node = graph.node(w.groups().groups[group].nodes[0]);
  const auto operands = graph.operands(node);
  const DType dtype = graph.type(node.first_result).dtype;
  const DimId pixels = dims.mul(s.batch, dims.product(s.out));
  const DimId group_count = dims.constant(s.groups);
  const DimId columns = dims.floor_div(s.features, group_count);
  const DimId group_channels = dims.floor_div(s.channels, group_count);
  const DimId depth = dims.mul(dims.product(s.window), group_channels);

  const ContractTile tile = contract_tile(
      dtype, w.target().vector_bytes, w.target().vector_registers, known(dims, pixels),
      known(dims, columns), known(dims, depth), known(dims, s.channels));
  Contraction c(w, group, pixels, s.features);
  if (operands.size() > 2) c.set_bias(operands[2]);
  ContractLoops& l = c.loops();
  l.dtype = dtype;
  l.tile = tile;
  const MatrixStrides strides{known(dims, columns), known(dims, s.features), 1};
  l.b = packed_b(w, c, operands[1], group_count, depth, columns, false, &strides, tile);
  l.a = conv_input(w, c, operands[0], s);
  Builder& b = c.b();
  KernelSpec& spec = c.spec();
  l.rows = spec.dim(pixels);
  l.columns = spec.dim(columns);
  l.known_columns = known(dims, columns);
  l.depth = spec.dim(depth);
  // Window positions that lie next to each other in x and in B are one contiguous piece of k.
  const Value channels = spec.dim(s.channels);
  size_t loops = s.spatial;
  DimId inner = group_channels;
  if (s.groups == 1 && s.dilations.back() == 1) {
    inner = dims.mul(inner, s.window.back());
    --loops;
  }
  l.inner = spec.dim(inner);
  l.known_inner = known(dims, inner);
  Value stride = channels;
  std::vector<ContractPiece> pieces;
  for (size_t i = s.spatial; i-- > 0;) {
    if (i < loops && !dims.is_constant(s.window[i], 1)) {
      pieces.push_back({spec.dim(s.window[i]), b.mul(stride, b.index(s.dilations[i])),
                        known(dims, s.window[i])});
    }
    stride = b.mul(stride, spec.dim(s.in[i]));
  }
  std::reverse(pieces.begin(), pieces.end());
  l.outer = std::move(pieces);
  l.rows_per_unit = rows_per_unit(tile, dtype, known(dims, depth), known(dims, pixels));
  l.whole_tiles = known(dims, pixels) >= 0 && known(dims, pixels) % tile.rows == 0;
  const Value per_group = spec.dim(group_channels);
  const Value panels = spec.dim(dims.ceil_div(columns, dims.constant(tile.columns())));
  const Value b_matrix = b.mul(b.mul(panels, b.index(tile.columns())), l.depth);
  l.row_offsets = [&](Value batch, Value row, int count, Value last) {
    Values offsets = pixel_offsets(spec, s, row, count, last);
    if (s.groups > 1) {
      for (Value& o : offsets) o = b.add(o, b.mul(batch, per_group));
    }
    return offsets;
  };
  l.b_offset = [&](Value batch) { return s.groups == 1 ? b.index(0) : b.mul(batch, b_matrix); };
  l.store = [&](Value batch, Value row, Value column, Value sum, int lanes) {
    if (s.groups > 1) column = b.add(column, b.mul(batch, l.columns));
    c.finish_piece(row, column, sum, lanes);
  };
  c.begin();
  emit_contract(b, l);
  const auto [extent, grain] = parallel_range(dims, l, group_count, pixels, columns);
  c.call(extent, grain);
}

// ---- depthwise: one feature a channel, vectors over channels, a few pixels of a row at a time

constexpr int kDepthwisePixels = 4;
constexpr int64_t kMaxUnrolledWindow = 32;

void lower_depthwise(PlanWriter& w, uint32_t group, const ConvShape& s) {
  const Graph& graph = w.graph();
  DimTable& dims = w.dims();
  const Node& node = graph.node(w.groups().groups[group].nodes[0]);
  const auto operands = graph.operands(node);
  const DType dtype = graph.type(node.first_result).dtype;
  const DimId pixels = dims.mul(s.batch, dims.product(s.out));
  Contraction c(w, group, pixels, s.features);
  if (operands.size() > 2) c.set_bias(operands[2]);
  const Buffer x = conv_input(w, c, operands[0], s);
  const Buffer weights = c.spec().input(w.groups().storage[operands[1].index]);
  c.begin();
  Builder& b = c.b();
  KernelSpec& spec = c.spec();
  const Value channels = spec.dim(s.channels);
  const Value width = spec.dim(s.out.back());
  const int lanes = w.target().vector_bytes / static_cast<int>(byte_size(dtype));

  // Offsets of the window positions in x, and their numbers in the weights.
  std::vector<std::pair<Value, int64_t>> window{{b.index(0), 0}};
  Value stride = channels;
  int64_t weight_stride = 1;
  for (size_t i = s.spatial; i-- > 0;) {
    std::vector<std::pair<Value, int64_t>> longer;
    for (int64_t p = 0; p < known(dims, s.window[i]); ++p) {
      for (const auto& [offset, number] : window) {
        longer.emplace_back(b.add(offset, b.mul(stride, b.index(p * s.dilations[i]))),
                            number + p * weight_stride);
      }
    }
    window = std::move(longer);
    stride = b.mul(stride, spec.dim(s.in[i]));
    weight_stride *= known(dims, s.window[i]);
  }
  const Value step = b.mul(channels, b.index(s.strides.back()));
  const auto pixels_at = [&](Value first_row, Value base, Value column, int l, Value ow,
                             int count) {
    Values sums(static_cast<size_t>(count), b.constant({dtype, static_cast<uint16_t>(l)}, 0));
    const Value at = b.add(b.add(base, b.mul(ow, step)), column);
    for (const auto& [offset, number] : window) {
      const Value weight = b.load(weights, b.add(b.mul(b.index(number), channels), column), l);
      for (int p = 0; p < count; ++p) {
        const Value here = b.add(b.add(at, b.mul(step, b.index(p))), offset);
        sums[static_cast<size_t>(p)] =
            b.mul_add(b.load(x, here, l), weight, sums[static_cast<size_t>(p)]);
      }
    }
    for (int p = 0; p < count; ++p) {
      c.finish_piece(b.add(b.add(first_row, ow), b.index(p)), column, sums[static_cast<size_t>(p)],
                     l);
    }
  };
  b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value line) {
    const Value first_row = b.mul(line, width);
    const Value base = pixel_offsets(spec, s, first_row, 1, first_row)[0];
    const auto columns_at = [&](Value column, int l) {
      const Value most =
          b.mul(b.index_div(width, b.index(kDepthwisePixels)), b.index(kDepthwisePixels));
      b.for_loop(b.index(0), most, b.index(kDepthwisePixels),
                 [&](Value ow) { pixels_at(first_row, base, column, l, ow, kDepthwisePixels); });
      b.for_loop(most, width, b.index(1),
                 [&](Value ow) { pixels_at(first_row, base, column, l, ow, 1); });
    };
    // The number of channels is the number of groups.
    const int64_t whole = s.groups / lanes * lanes;
    b.for_loop(b.index(0), b.index(whole), b.index(lanes),
               [&](Value column) { columns_at(column, lanes); });
    for_each_part(static_cast<int>(s.groups - whole), lanes,
                  [&](int from, int l) { columns_at(b.index(whole + from), l); });
  });
  const DimId lines = dims.mul(s.batch, dims.product(std::span(s.out).first(s.spatial - 1)));
  c.call(lines, 1);
}

// ---- transposed convolution whose windows lie side by side: a matmul from each pixel of x to the pixels
// of its window, stored where they belong

bool has_adjacent_windows(const Graph& graph, const Node& node, const ConvShape& s) {
  const DimTable& dims = graph.context().dims;
  if (!s.channels_last || s.groups != 1 || s.padded) return false;
  for (DimId p : graph.attrs(node).dims(AttrKey::output_padding)) {
    if (!dims.is_constant(p, 0)) return false;
  }
  for (size_t i = 0; i < s.spatial; ++i) {
    const bool dense = s.dilations[i] == 1 || dims.is_constant(s.window[i], 1);
    if (!dense || !dims.is_constant(s.window[i], s.strides[i])) return false;
  }
  return true;
}

// Row of the result where the window of pixel `row` of x begins.
Value window_begin(KernelSpec& spec, const ConvShape& s, Value row) {
  Builder& b = spec.b();
  Values at(s.spatial);
  for (size_t i = s.spatial; i-- > 1;) {
    at[i] = b.index_rem(row, spec.dim(s.in[i]));
    row = b.index_div(row, spec.dim(s.in[i]));
  }
  Value begin = b.mul(row, b.index(s.strides[0]));
  for (size_t i = 1; i < s.spatial; ++i) {
    begin = b.mul(b.add(b.mul(begin, spec.dim(s.in[i])), at[i]), b.index(s.strides[i]));
  }
  return begin;
}

// How many rows after that position `place` of the window lies.
Value window_place(KernelSpec& spec, const ConvShape& s, Value place) {
  Builder& b = spec.b();
  Value shift = b.index(0), size = b.index(1);
  for (size_t i = s.spatial; i-- > 0;) {
    const Value at = i == 0 ? place : b.index_rem(place, b.index(s.strides[i]));
    place = b.index_div(place, b.index(s.strides[i]));
    shift = b.add(shift, b.mul(at, size));
    size = b.mul(size, spec.dim(s.out[i]));
  }
  return shift;
}

void lower_tiled_conv_transpose(PlanWriter& w, uint32_t group, const ConvShape& s) {
  const Graph& graph = w.graph();
  DimTable& dims = w.dims();
  const Node& node = graph.node(w.groups().groups[group].nodes[0]);
  const auto operands = graph.operands(node);
  const DType dtype = graph.type(node.first_result).dtype;
  const DimId pixels = dims.mul(s.batch, dims.product(s.in));
  const DimId places = dims.product(s.window);
  // One feature fills no tile: then the places are the columns, else each place is a matmul.
  const bool joint = dims.is_constant(s.features, 1);
  const DimId batches = joint ? dims.constant(1) : places;
  const DimId columns = joint ? places : s.features;

  ContractTile tile = contract_tile(dtype, w.target().vector_bytes, w.target().vector_registers,
                                    known(dims, pixels), known(dims, columns),
                                    known(dims, s.channels), known(dims, s.channels));
  Contraction c(w, group, dims.mul(s.batch, dims.product(s.out)), s.features);
  if (operands.size() > 2) c.set_bias(operands[2]);
  ContractLoops& l = c.loops();
  l.dtype = dtype;
  l.tile = tile;
  l.b = packed_b(w, c, operands[1], batches, s.channels, columns, joint, nullptr, tile);
  KernelSpec& spec = c.spec();
  Builder& b = c.b();
  l.a = spec.input(w.groups().storage[operands[0].index]);
  l.rows = spec.dim(pixels);
  l.columns = spec.dim(columns);
  l.known_columns = known(dims, columns);
  l.inner = l.depth = spec.dim(s.channels);
  l.known_inner = known(dims, s.channels);
  l.rows_per_unit = rows_per_unit(tile, dtype, known(dims, s.channels), known(dims, pixels));
  l.whole_tiles = known(dims, pixels) >= 0 && known(dims, pixels) % tile.rows == 0;
  const Value panels = spec.dim(dims.ceil_div(columns, dims.constant(tile.columns())));
  const Value b_matrix = b.mul(b.mul(panels, b.index(tile.columns())), l.depth);
  l.row_offsets = [&](Value, Value row, int count, Value last) {
    Values offsets;
    for (int i = 0; i < count; ++i) {
      offsets.push_back(b.mul(b.min(b.add(row, b.index(i)), last), l.depth));
    }
    return offsets;
  };
  l.b_offset = [&](Value batch) { return b.mul(batch, b_matrix); };
  l.result_row = [&](Value batch, Value row) {
    const Value begin = window_begin(spec, s, row);
    return joint ? begin : b.add(begin, window_place(spec, s, batch));
  };
  l.store = [&](Value, Value row, Value column, Value sum, int lanes) {
    if (!joint) return c.finish_piece(row, column, sum, lanes);
    for (int i = 0; i < lanes; ++i) {
      const Value place = b.add(column, b.index(i));
      const Value one = lanes == 1 ? sum : b.extract(sum, i);
      c.finish_piece(b.add(row, window_place(spec, s, place)), b.index(0), one, 1);
    }
  };
  c.begin();
  emit_contract(b, l);
  const auto [extent, grain] = parallel_range(dims, l, batches, pixels, columns);
  c.call(extent, grain);
}

// False (and nothing written) when the group does not fit tiles.
bool lower_by_tiles(PlanWriter& w, uint32_t group) {
  const Graph& graph = w.graph();
  const Node& node = graph.node(w.groups().groups[group].nodes[0]);
  const Type& out = graph.type(node.first_result);
  const DimTable& dims = w.dims();
  if (!has_tiles(out.dtype)) return false;
  const int64_t columns = known(dims, out.dims.back());
  if (node.op == Op::matmul) {
    if (columns >= 0 && columns < kMinColumns) return false;
    lower_tiled_matmul(w, group);
    return true;
  }
  const ConvShape s = conv_shape(graph, node);
  if (!s.channels_last) return false;
  for (size_t i = 0; i < s.spatial; ++i) {
    if (dims.lower_bound(s.low[i]).value_or(-1) < 0) return false;
    if (dims.lower_bound(s.high[i]).value_or(-1) < 0) return false;
  }
  int64_t window = 1;
  for (DimId d : s.window) window = known(dims, d) < 0 ? -1 : window * known(dims, d);
  const bool weights_known = graph.constant(w.groups().storage[graph.operands(node)[1].index]);
  const bool depthwise =
      s.groups > 1 && known(dims, s.channels) == s.groups && known(dims, s.features) == s.groups;
  if (depthwise && window > 0 && window <= kMaxUnrolledWindow) {
    lower_depthwise(w, group, s);
    return true;
  }
  if (s.groups > 1 && (!weights_known || columns / s.groups < kMinColumns)) return false;
  lower_tiled_conv(w, group, s);
  return true;
}

void lower_by_kernels(PlanWriter& w, uint32_t group) {
  const Op op = w.graph().node(w.groups().groups[group].nodes[0]).op;
  if (w.target().cuda_blocks) {
    if (op == Op::matmul ? lower_cuda_matmul(w, group) : lower_cuda_conv(w, group)) return;
  }
  if (w.target().cuda || !lower_by_tiles(w, group)) lower_plain_contraction(w, group);
}

}  // namespace

void lower_contraction(PlanWriter& w, uint32_t group) {
  const size_t first = w.state().module->steps.size();
  lower_by_kernels(w, group);
  if (w.target().cuda) note_product(w, group, first);
}

void lower_conv_transpose(PlanWriter& w, uint32_t group) {
  const Node& node = w.graph().node(w.groups().groups[group].nodes[0]);
  const ConvShape s = conv_shape(w.graph(), node);
  if (!w.target().cuda && has_tiles(w.graph().type(node.first_result).dtype) &&
      has_adjacent_windows(w.graph(), node, s)) {
    lower_tiled_conv_transpose(w, group, s);
  } else {
    lower_plain_conv_transpose(w, group);
  }
}

}  // namespace gcomp::lower
