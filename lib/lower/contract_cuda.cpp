// Matrix products and convolutions on a GPU. A block of 256 threads makes a tile of the result, each thread a
// small square of it in registers. Slices of both factors go through shared memory; the next slice is on its way
// while one is multiplied. A convolution is the product of its windows, which are never written out, with the weights.

#include "contract_cuda.h"

#include "contraction.h"

namespace gcomp::lower {

using kernel::Buffer;
using kernel::Builder;
using kernel::Value;
using kernel::Values;

namespace {

constexpr int kThreads = 256;
// Columns added to a slice in shared memory: threads that store neighbours in depth meet different banks.
constexpr int kPad = 4;
// Neighbouring rows (columns) of a thread's square, which one load of shared memory takes.
constexpr int kRun = 4;

struct Tile {
  int rows, columns, depth;  // of a block
  int square;                // rows and columns of a thread: rows * columns = square^2 * 256
};
constexpr Tile kSmall = {64, 64, 16, 4}, kLarge = {128, 128, 8, 8};
// Fewer large tiles than this leave multiprocessors without work.
constexpr int64_t kLeastLargeTiles = 128;
// Smaller results, or shorter sums, are done element by element.
constexpr int64_t kLeastExtent = 16;

// What is multiplied: `rows` x `depth` times `depth` x `columns`, `batch` times.
struct Product {
  DimId batch, rows, columns, depth;
  DType dtype = DType::kFloat32, sum = DType::kFloat32;
  bool left_by_depth = true;    // neighbours of the left factor in memory are neighbours in depth
  bool right_by_depth = false;  // of the right one
};

Tile tile_for(const DimTable& dims, const Product& p) {
  const int64_t rows = known(dims, p.rows), columns = known(dims, p.columns);
  const int64_t batch = known(dims, p.batch);
  if (p.sum != DType::kFloat32 || rows < 0 || columns < 0) return kSmall;
  const int64_t large =
      (rows / kLarge.rows) * (columns / kLarge.columns) * std::max<int64_t>(batch, 1);
  return large >= kLeastLargeTiles ? kLarge : kSmall;
}

bool is_worth_tiles(const DimTable& dims, const Product& p) {
  if (!is_float(p.dtype)) return false;
  for (const DimId d : {p.rows, p.columns, p.depth}) {
    const int64_t n = known(dims, d);
    if (n >= 0 && n < kLeastExtent) return false;
  }
  return true;
}

// How a factor is read: the element of `batch` at (row or column, depth); not read outside of it.
class Factor {
 public:
  virtual ~Factor() = default;
  virtual Value load(Builder& b, Value batch, Value at, Value depth, Value inside) = 0;
};

class TiledProduct {
 public:
  TiledProduct(Contraction& c, DimTable& dims, const Product& p, Factor& left, Factor& right)
      : c_(c), b_(c.b()), dims_(dims), p_(p), t_(tile_for(dims, p)), left_(left), right_(right) {}

  void emit() {
    const int per_row = t_.columns / t_.square;
    b_.set_block(kThreads);
    thread_ = b_.thread();
    square_x_ = b_.mul(b_.index_rem(thread_, b_.index(per_row)), b_.index(kRun));
    square_y_ = b_.mul(b_.index_div(thread_, b_.index(per_row)), b_.index(kRun));
    slice_left_ = b_.shared(p_.sum, static_cast<uint32_t>(t_.depth * (t_.rows + kPad)));
    slice_right_ = b_.shared(p_.sum, static_cast<uint32_t>(t_.depth * (t_.columns + kPad)));
    const auto elements = static_cast<uint32_t>(t_.square * t_.square);
    sums_ = b_.local(p_.sum, elements);
    rows_ = c_.spec().dim(p_.rows), columns_ = c_.spec().dim(p_.columns);
    depth_ = c_.spec().dim(p_.depth);
    const DimId tiles_y = dims_.ceil_div(p_.rows, dims_.constant(t_.rows));
    const DimId tiles_x = dims_.ceil_div(p_.columns, dims_.constant(t_.columns));
    const Value count_y = c_.spec().dim(tiles_y), count_x = c_.spec().dim(tiles_x);
    b_.for_loop(b_.range_begin(), b_.range_end(), b_.index(1), [&](Value tile) {
      const Value y = b_.index_div(tile, count_x);
      batch_ = b_.index_div(y, count_y);
      first_row_ = b_.mul(b_.index_rem(y, count_y), b_.index(t_.rows));
      first_column_ = b_.mul(b_.index_rem(tile, count_x), b_.index(t_.columns));
      emit_sums();
      emit_results();
    });
    c_.call(dims_.mul(p_.batch, dims_.mul(tiles_y, tiles_x)), 1);
  }

 private:
  // Element number `i` of those that this thread brings of a slice: across the slice, and in depth.
  std::pair<Value, Value> place(int i, int across, bool by_depth) {
    const Value e = b_.add(thread_, b_.index(kThreads * i));
    const Value n = b_.index(by_depth ? t_.depth : across);
    const Value quotient = b_.index_div(e, n), rest = b_.index_rem(e, n);
    return by_depth ? std::pair(quotient, rest) : std::pair(rest, quotient);
  }

  void fetch(Value depth, Factor& factor, int across, bool by_depth, Value first, Value end,
             Values* to) {
    for (int i = 0; i < across * t_.depth / kThreads; ++i) {
      const auto [offset, k] = place(i, across, by_depth);
      const Value at = b_.add(first, offset), in_depth = b_.add(depth, k);
      const Value inside = b_.bit_and(b_.lt(at, end), b_.lt(in_depth, depth_));
      to->push_back(b_.cast(factor.load(b_, batch_, at, in_depth, inside), p_.sum));
    }
  }

  void put(Buffer slice, int across, bool by_depth, std::span<const Value> values) {
    for (int i = 0; i < static_cast<int>(values.size()); ++i) {
      const auto [offset, k] = place(i, across, by_depth);
      b_.store(slice, b_.add(b_.mul(k, b_.index(across + kPad)), offset),
               values[static_cast<size_t>(i)]);
    }
  }

  Values fetch_both(Value depth) {
    Values values;
    fetch(depth, left_, t_.rows, p_.left_by_depth, first_row_, rows_, &values);
    fetch(depth, right_, t_.columns, p_.right_by_depth, first_column_, columns_, &values);
    return values;
  }

  // Number `i` of a thread's rows (columns) is in the tile at: runs of four, half a tile apart.
  int run_offset(int i, int across) const {
    return i / kRun * (across / (t_.square / kRun)) + i % kRun;
  }

  Values multiply_slice(Values sums) {
    const auto n = static_cast<size_t>(t_.square);
    const Values inside = b_.begin_for(b_.index(0), b_.index(t_.depth), b_.index(1), sums);
    const Value left = b_.add(b_.mul(inside[0], b_.index(t_.rows + kPad)), square_y_);
    const Value right = b_.add(b_.mul(inside[0], b_.index(t_.columns + kPad)), square_x_);
    Values x, y;
    for (int i = 0; i < t_.square; ++i) {
      x.push_back(b_.load(slice_left_, b_.add(left, b_.index(run_offset(i, t_.rows)))));
    }
    for (int j = 0; j < t_.square; ++j) {
      y.push_back(b_.load(slice_right_, b_.add(right, b_.index(run_offset(j, t_.columns)))));
    }
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j)
        sums[i * n + j] = b_.mul_add(x[i], y[j], inside[1 + i * n + j]);
    }
    return b_.end_for(sums);
  }

  void emit_sums() {
    const auto squares = static_cast<size_t>(t_.square) * static_cast<size_t>(t_.square);
    const auto lefts = static_cast<size_t>(t_.rows * t_.depth / kThreads);
    Values carried(squares, b_.constant({p_.sum, 1}, 0));
    for (const Value v : fetch_both(b_.index(0))) carried.push_back(v);
    const Values inside = b_.begin_for(b_.index(0), depth_, b_.index(t_.depth), carried);
    const std::span<const Value> now(inside);
    const auto fetched = now.subspan(1 + squares);
    b_.barrier();  // the last slice has been read
    put(slice_left_, t_.rows, p_.left_by_depth, fetched.first(lefts));
    put(slice_right_, t_.columns, p_.right_by_depth, fetched.subspan(lefts));
    b_.barrier();
    const Values next = fetch_both(b_.add(inside[0], b_.index(t_.depth)));
    Values sums =
        multiply_slice(Values(now.begin() + 1, now.begin() + 1 + static_cast<long>(squares)));
    sums.insert(sums.end(), next.begin(), next.end());
    carried = b_.end_for(sums);
    for (size_t i = 0; i < squares; ++i) {
      b_.store(sums_, b_.index(static_cast<int64_t>(i)), carried[i]);
    }
  }

  // Number `i` of a thread's rows (columns), for an `i` that a loop counts.
  Value position(Value first, Value square, Value i, int across) {
    const int64_t apart = across / (t_.square / kRun);
    const Value run = b_.mul(b_.index_div(i, b_.index(kRun)), b_.index(apart));
    return b_.add(b_.add(first, square), b_.add(run, b_.index_rem(i, b_.index(kRun))));
  }

  void emit_results() {
    const Value zero = b_.index(0), one = b_.index(1), n = b_.index(t_.square);
    b_.for_loop(zero, n, one, [&](Value i) {
      const Value row = position(first_row_, square_y_, i, t_.rows);
      b_.if_then(b_.lt(row, rows_), [&] {
        b_.for_loop(zero, n, one, [&](Value j) {
          const Value column = position(first_column_, square_x_, j, t_.columns);
          b_.if_then(b_.lt(column, columns_), [&] {
            const Value sum = b_.load(sums_, b_.add(b_.mul(i, n), j));
            const Value whole_row = b_.add(b_.mul(batch_, rows_), row);
            c_.finish_piece(whole_row, column, sum, 1);
          });
        });
      });
    });
  }

  Contraction& c_;
  Builder& b_;
  DimTable& dims_;
  const Product p_;
  const Tile t_;
  Factor &left_, &right_;
  Buffer slice_left_, slice_right_, sums_;
  Value thread_, square_x_, square_y_, rows_, columns_, depth_, batch_, first_row_, first_column_;
};

// A matrix in memory, of `across` rows (or columns) and `depth`.
class Matrix : public Factor {
 public:
  Matrix(Buffer buffer, DType dtype, Value across, Value depth, bool by_depth)
      : buffer_(buffer), dtype_(dtype), across_(across), depth_(depth), by_depth_(by_depth) {}

  Value load(Builder& b, Value batch, Value at, Value depth, Value inside) override {
    const Value base = b.mul(batch, b.mul(across_, depth_));
    const Value offset =
        by_depth_ ? b.add(b.mul(at, depth_), depth) : b.add(b.mul(depth, across_), at);
    return b.masked_load(buffer_, b.add(base, offset), inside, b.constant({dtype_, 1}, 0));
  }

 private:
  Buffer buffer_;
  DType dtype_;
  Value across_, depth_;
  bool by_depth_;
};

// The windows of a channels-last convolution: a row for each position of the result, in depth first along the
// channels, then through the window.
class Windows : public Factor {
 public:
  Windows(KernelSpec& spec, DimTable& dims, Buffer x, DType dtype, const ConvShape& s)
      : spec_(spec), dims_(dims), x_(x), dtype_(dtype), s_(s) {}

  Value load(Builder& b, Value, Value at, Value depth, Value inside) override {
    const Value channels = spec_.dim(s_.channels);
    const Value channel = b.index_rem(depth, channels);
    Value window = b.index_div(depth, channels);
    Value step = channels, offset = channel;
    for (size_t i = s_.spatial; i-- > 0;) {
      const Value out = spec_.dim(s_.out[i]), width = spec_.dim(s_.window[i]);
      const Value moved = b.add(b.mul(b.index_rem(at, out), b.index(s_.strides[i])),
                                b.mul(b.index_rem(window, width), b.index(s_.dilations[i])));
      const Value place = b.sub(moved, spec_.dim(s_.low[i]));
      const Value extent = spec_.dim(dims_.sub(s_.in[i], dims_.add(s_.low[i], s_.high[i])));
      inside = b.bit_and(inside, b.bit_and(b.ge(place, b.index(0)), b.lt(place, extent)));
      offset = b.add(offset, b.mul(place, step));
      step = b.mul(step, extent);
      at = b.index_div(at, out);
      window = b.index_div(window, width);
    }
    offset = b.add(offset, b.mul(at, step));
    return b.masked_load(x_, offset, inside, b.constant({dtype_, 1}, 0));
  }

 private:
  KernelSpec& spec_;
  DimTable& dims_;
  Buffer x_;
  DType dtype_;
  const ConvShape& s_;
};

DType sum_dtype(DType t) { return t == DType::kFloat64 ? t : DType::kFloat32; }

}  // namespace

bool lower_cuda_matmul(PlanWriter& w, uint32_t group) {
  const Graph& graph = w.graph();
  DimTable& dims = w.dims();
  const Node& node = graph.node(w.groups().groups[group].nodes[0]);
  const auto operands = graph.operands(node);
  const Attrs attrs = graph.attrs(node);
  const bool trans_a = attrs.integer_or(AttrKey::trans_a, 0) != 0;
  const bool trans_b = attrs.integer_or(AttrKey::trans_b, 0) != 0;
  const auto& out = graph.type(node.first_result).dims;
  const auto& a = graph.type(operands[0]).dims;
  const DType dtype = graph.type(node.first_result).dtype;
  const Product p{.batch = dims.product(std::span(out).first(out.size() - 2)),
                  .rows = out[out.size() - 2],
                  .columns = out.back(),
                  .depth = trans_a ? a[a.size() - 2] : a.back(),
                  .dtype = dtype,
                  .sum = sum_dtype(dtype),
                  .left_by_depth = !trans_a,
                  .right_by_depth = trans_b};
  if (!is_worth_tiles(dims, p)) return false;
  Contraction c(w, group, dims.mul(p.batch, p.rows), p.columns);
  const Buffer left = c.spec().input(w.groups().storage[operands[0].index]);
  const Buffer right = c.spec().input(w.groups().storage[operands[1].index]);
  c.begin();
  const Value depth = c.spec().dim(p.depth);
  Matrix x(left, dtype, c.spec().dim(p.rows), depth, p.left_by_depth);
  Matrix y(right, dtype, c.spec().dim(p.columns), depth, p.right_by_depth);
  TiledProduct(c, dims, p, x, y).emit();
  return true;
}

bool lower_cuda_conv(PlanWriter& w, uint32_t group) {
  const Graph& graph = w.graph();
  DimTable& dims = w.dims();
  const Node& node = graph.node(w.groups().groups[group].nodes[0]);
  const auto operands = graph.operands(node);
  const ConvShape s = conv_shape(graph, node);
  if (!s.channels_last || s.groups != 1) return false;
  const DType dtype = graph.type(node.first_result).dtype;
  const Product p{.batch = dims.constant(1),
                  .rows = dims.mul(s.batch, dims.product(s.out)),
                  .columns = s.features,
                  .depth = dims.mul(s.channels, dims.product(s.window)),
                  .dtype = dtype,
                  .sum = sum_dtype(dtype),
                  .left_by_depth = true,
                  .right_by_depth = false};
  if (!is_worth_tiles(dims, p)) return false;
  Contraction c(w, group, p.rows, p.columns);
  const Buffer x = c.spec().input(w.groups().storage[operands[0].index]);
  const Buffer weights = c.spec().input(w.groups().storage[operands[1].index]);
  if (operands.size() > 2) c.set_bias(operands[2]);
  c.begin();
  Windows windows(c.spec(), dims, x, dtype, s);
  Matrix matrix(weights, dtype, c.spec().dim(p.columns), c.spec().dim(p.depth), false);
  TiledProduct(c, dims, p, windows, matrix).emit();
  return true;
}

}  // namespace gcomp::lower
