// Contractions of any dtype and layout, one result (or one vector of results) at a time: small shapes,
// integers, half precision, channels-first convolutions that no pass has turned.

#include <algorithm>

#include "contraction.h"

namespace gcomp::lower {

using kernel::Buffer;
using kernel::Builder;
using kernel::Value;
using kernel::Values;

ConvShape conv_shape(const Graph& graph, const Node& node) {
  DimTable& dims = graph.context().dims;
  const Attrs attrs = graph.attrs(node);
  const auto& x = graph.type(graph.operands(node)[0]).dims;
  const auto& k = graph.type(graph.operands(node)[1]).dims;
  const auto& y = graph.type(node.first_result).dims;
  ConvShape s;
  s.spatial = x.size() - 2;
  s.batch = x[0];
  s.channels_last = attrs.string_or(AttrKey::layout, "nchw") == "nhwc";
  s.channels = s.channels_last ? x.back() : x[1];
  s.features = s.channels_last ? y.back() : y[1];
  const size_t first = s.channels_last ? 1 : 2;  // spatial axis of x and y
  s.groups = attrs.integer_or(AttrKey::group, 1);
  s.strides = attrs.ints(AttrKey::strides);
  s.dilations = attrs.ints(AttrKey::dilations);
  s.low = attrs.dims(AttrKey::low);
  s.high = attrs.dims(AttrKey::high);
  if (s.strides.empty()) s.strides.assign(s.spatial, 1);
  if (s.dilations.empty()) s.dilations.assign(s.spatial, 1);
  if (s.low.empty()) s.low.assign(s.spatial, dims.constant(0));
  if (s.high.empty()) s.high.assign(s.spatial, dims.constant(0));
  for (size_t i = 0; i < s.spatial; ++i) {
    s.in.push_back(dims.add(x[first + i], dims.add(s.low[i], s.high[i])));
    s.out.push_back(y[first + i]);
    s.window.push_back(k[s.channels_last ? i : i + 2]);
    s.padded = s.padded || !dims.is_constant(s.low[i], 0) || !dims.is_constant(s.high[i], 0);
  }
  return s;
}

namespace {

// Half precision accumulates in float32, everything else in its own dtype.
DType sum_dtype(DType t) {
  return t == DType::kFloat16 || t == DType::kBFloat16 ? DType::kFloat32 : t;
}

Value zero(Builder& b, DType t, int lanes) {
  return b.constant({sum_dtype(t), static_cast<uint16_t>(lanes)}, 0);
}

// Dot products computed one after another before the epilogue takes them as vectors: a task's worth,
// within these bounds.
constexpr int64_t kDotWork = 1 << 15;  // multiplications
constexpr int64_t kMinDotBlock = 64, kMaxDotBlock = 512;

class PlainMatmul {
 public:
  PlainMatmul(PlanWriter& w, uint32_t group)
      : w_(w),
        graph_(w.graph()),
        dims_(w.dims()),
        node_(graph_.node(w.groups().groups[group].nodes[0])),
        trans_a_(graph_.attrs(node_).integer_or(AttrKey::trans_a, 0) != 0),
        trans_b_(graph_.attrs(node_).integer_or(AttrKey::trans_b, 0) != 0),
        dtype_(graph_.type(node_.first_result).dtype),
        sum_(sum_dtype(dtype_)),
        lanes_(std::max(1, w.target().vector_bytes / static_cast<int>(byte_size(sum_)))) {
    const auto& out = graph_.type(node_.first_result).dims;
    const auto& a = graph_.type(graph_.operands(node_)[0]).dims;
    batch_ = dims_.product(std::span(out).first(out.size() - 2));
    m_ = out[out.size() - 2];
    n_ = out.back();
    k_ = trans_a_ ? a[a.size() - 2] : a.back();
  }

  void run(uint32_t group) {
    if (w_.target().cuda) return run_elements(group);
    const bool one_column = dims_.is_constant(n_, 1);
    if (trans_a_ || (!trans_b_ && !one_column)) return run_by_columns(group);
    run_dots(group, one_column);
  }

 private:
  void begin(Contraction& c) {
    const auto operands = graph_.operands(node_);
    a_ = c.spec().input(w_.groups().storage[operands[0].index]);
    b_ = c.spec().input(w_.groups().storage[operands[1].index]);
    c.begin();
  }

  // Vectors along k, added up at the end.
  Value dot(KernelSpec& spec, Value a_row, Value b_row) const {
    Builder& b = spec.b();
    const auto term = [&](Value i, int l) {
      return b.mul(b.cast(b.load(a_, b.add(a_row, i), l), sum_),
                   b.cast(b.load(b_, b.add(b_row, i), l), sum_));
    };
    const Value k = spec.dim(k_);
    const Value whole = b.mul(b.index_div(k, b.index(lanes_)), b.index(lanes_));
    const Values sums = b.for_loop(
        b.index(0), whole, b.index(lanes_), {zero(b, dtype_, lanes_)},
        [&](Value i, std::span<const Value> s) { return Values{b.add(s[0], term(i, lanes_))}; });
    return b.for_loop(
        whole, k, b.index(1), {b.reduce(Op::add, sums[0])},
        [&](Value i, std::span<const Value> s) { return Values{b.add(s[0], term(i, 1))}; })[0];
  }

  // k is contiguous in both: dot products. A result of one column is seen as one row, so that what is
  // computed from it still has vectors.
  void run_dots(uint32_t group, bool one_column) {
    const DimId rows = one_column ? batch_ : dims_.mul(batch_, m_);
    const DimId columns = one_column ? m_ : n_;
    Contraction c(w_, group, rows, columns);
    KernelSpec& spec = c.spec();
    Builder& b = c.b();
    begin(c);
    const int64_t length = std::max<int64_t>(dims_.constant_value(k_).value_or(kDotWork), 1);
    const int64_t block = std::clamp(kDotWork / length, kMinDotBlock, kMaxDotBlock);
    const DimId blocks = dims_.ceil_div(columns, dims_.constant(block));
    const int64_t most = std::min(block, dims_.constant_value(columns).value_or(block));
    const Buffer sums = b.local(sum_, static_cast<uint32_t>(std::max<int64_t>(most, 1)));
    const Value k = spec.dim(k_), end = spec.dim(columns);
    b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value p) {
      const bool one_block = dims_.is_constant(blocks, 1);
      const Value row = one_block ? p : b.index_div(p, spec.dim(blocks));
      const Value first =
          one_block ? b.index(0) : b.mul(b.index_rem(p, spec.dim(blocks)), b.index(block));
      const Value last = one_block ? end : b.min(b.add(first, b.index(block)), end);
      const Value batch = one_column ? row : b.index_div(row, spec.dim(m_));
      const Value fixed = b.mul(row, k), moving = b.mul(batch, b.mul(end, k));
      b.for_loop(first, last, b.index(1), [&](Value column) {
        const Value at = b.add(moving, b.mul(column, k));
        b.store(sums, b.sub(column, first),
                one_column ? dot(spec, at, fixed) : dot(spec, fixed, at));
      });
      b.vector_loop(first, last, lanes_, [&](Value column, int l) {
        const Value x = b.load(sums, b.sub(column, first), l);
        c.finish_piece(row, column, x, l);
      });
    });
    c.call(dims_.mul(rows, blocks), 1);
  }

  void run_by_columns(uint32_t group) {
    const DimId rows = dims_.mul(batch_, m_);
    Contraction c(w_, group, rows, n_);
    Builder& b = c.b();
    begin(c);
    const Sizes sizes = sizes_of(c.spec());
    b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value row) {
      const Row from = row_of(b, sizes, row);
      b.vector_loop(b.index(0), sizes.n, trans_b_ ? 1 : lanes_,
                    [&](Value column, int l) { finish(c, sizes, from, row, column, l); });
    });
    c.call(rows, 1);
  }

  // Each iteration one element of the result.
  void run_elements(uint32_t group) {
    const DimId rows = dims_.mul(batch_, m_);
    Contraction c(w_, group, rows, n_);
    Builder& b = c.b();
    begin(c);
    const Sizes sizes = sizes_of(c.spec());
    b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value p) {
      const Value row = b.index_div(p, sizes.n);
      finish(c, sizes, row_of(b, sizes, row), row, b.index_rem(p, sizes.n), 1);
    });
    c.call(dims_.mul(rows, n_), 1);
  }

  struct Sizes {
    Value m, n, k;
  };
  Sizes sizes_of(KernelSpec& spec) const { return {spec.dim(m_), spec.dim(n_), spec.dim(k_)}; }

  // Where a row of the result finds its factors.
  struct Row {
    Value b_base, a_row, a_step;
  };
  Row row_of(Builder& b, const Sizes& s, Value row) const {
    const Value batch = b.index_div(row, s.m), r = b.index_rem(row, s.m);
    const Value a_base = b.mul(batch, b.mul(s.m, s.k)), b_base = b.mul(batch, b.mul(s.k, s.n));
    const Value a_row = b.add(a_base, trans_a_ ? r : b.mul(r, s.k));
    return {b_base, a_row, trans_a_ ? s.m : b.index(1)};
  }

  // `lanes` elements of the result from (row, column) on.
  void finish(Contraction& c, const Sizes& sizes, const Row& from, Value row, Value column,
              int lanes) {
    Builder& b = c.b();
    const Values sums = b.for_loop(b.index(0), sizes.k, b.index(1), {zero(b, dtype_, lanes)},
                                   [&](Value i, std::span<const Value> s) {
                                     const Value x =
                                         b.load(a_, b.add(from.a_row, b.mul(i, from.a_step)));
                                     const Value at = trans_b_ ? b.add(b.mul(column, sizes.k), i)
                                                               : b.add(b.mul(i, sizes.n), column);
                                     const Value y = b.load(b_, b.add(from.b_base, at), lanes);
                                     const Value wide = b.splat(b.cast(x, sum_), lanes);
                                     // A GPU's fma is one instruction; sums of the CPU's vectors stay as they were.
                                     if (w_.target().cuda)
                                       return Values{b.mul_add(wide, b.cast(y, sum_), s[0])};
                                     return Values{b.add(s[0], b.mul(wide, b.cast(y, sum_)))};
                                   });
    c.finish_piece(row, column, sums[0], lanes);
  }

  PlanWriter& w_;
  const Graph& graph_;
  DimTable& dims_;
  const Node& node_;
  const bool trans_a_, trans_b_;
  const DType dtype_, sum_;
  const int lanes_;
  DimId batch_, m_, n_, k_;
  Buffer a_, b_;
};

class PlainConv {
 public:
  PlainConv(PlanWriter& w, uint32_t group)
      : w_(w),
        graph_(w.graph()),
        dims_(w.dims()),
        node_(graph_.node(w.groups().groups[group].nodes[0])),
        s_(conv_shape(graph_, node_)),
        dtype_(graph_.type(node_.first_result).dtype),
        rows_(dims_.product(std::span(graph_.type(node_.first_result).dims).first(s_.spatial + 1))),
        c_(w, group, rows_, graph_.type(node_.first_result).dims.back()),
        b_(c_.b()),
        spec_(c_.spec()) {}

  void run() {
    const auto operands = graph_.operands(node_);
    x_ = spec_.input(w_.groups().storage[operands[0].index]);
    weights_ = spec_.input(w_.groups().storage[operands[1].index]);
    if (operands.size() > 2) c_.set_bias(operands[2]);
    c_.begin();
    const DimId columns = graph_.type(node_.first_result).dims.back();
    const Value width = spec_.dim(columns);
    const bool by_element = w_.target().cuda;
    b_.for_loop(b_.range_begin(), b_.range_end(), b_.index(1), [&](Value p) {
      if (by_element) return finish(b_.index_div(p, width), b_.index_rem(p, width));
      b_.for_loop(b_.index(0), width, b_.index(1), [&](Value column) { finish(p, column); });
    });
    c_.call(by_element ? dims_.mul(rows_, columns) : rows_, 1);
  }

 private:
  void finish(Value row, Value column) {
    const auto& out = graph_.type(node_.first_result).dims;
    Values at(out.size());  // the index of the result element
    at.back() = column;
    Value rest = row;
    for (size_t i = out.size() - 1; i-- > 0;) {
      at[i] = i == 0 ? rest : b_.index_rem(rest, spec_.dim(out[i]));
      rest = b_.index_div(rest, spec_.dim(out[i]));
    }
    const Value feature = s_.channels_last ? at.back() : at[1];
    c_.finish_piece(row, column, feature, sum_at(at, feature), 1);
  }

  Value sum_at(const Values& at, Value feature) {
    const Values position(at.begin() + (s_.channels_last ? 1 : 2),
                          s_.channels_last ? at.end() - 1 : at.end());
    const DimId per_group = dims_.floor_div(s_.channels, dims_.constant(s_.groups));
    const DimId features = dims_.floor_div(s_.features, dims_.constant(s_.groups));
    const Value first_channel =
        b_.mul(b_.index_div(feature, spec_.dim(features)), spec_.dim(per_group));
    Values window;
    const Values sum =
        b_.for_loop(b_.index(0), spec_.dim(per_group), b_.index(1), {zero(b_, dtype_, 1)},
                    [&](Value channel, std::span<const Value> s) {
                      return Values{over_window(at[0], position, feature, channel, first_channel,
                                                &window, s[0])};
                    });
    return sum[0];
  }

  // Loops over the window's axes, one inside the other (at most three).
  Value over_window(Value image, const Values& position, Value feature, Value channel,
                    Value first_channel, Values* window, Value sum) {
    const size_t axis = window->size();
    if (axis < s_.spatial) {
      return b_.for_loop(b_.index(0), spec_.dim(s_.window[axis]), b_.index(1), {sum},
                         [&](Value k, std::span<const Value> s) {
                           window->push_back(k);
                           const Value r = over_window(image, position, feature, channel,
                                                       first_channel, window, s[0]);
                           window->pop_back();
                           return Values{r};
                         })[0];
    }
    Values at;  // in x before padding
    Value inside = b_.boolean(true);
    for (size_t i = 0; i < s_.spatial; ++i) {
      const Value moved = b_.add(b_.mul(position[i], b_.index(s_.strides[i])),
                                 b_.mul((*window)[i], b_.index(s_.dilations[i])));
      at.push_back(b_.sub(moved, spec_.dim(s_.low[i])));
      const DimId extent = dims_.sub(s_.in[i], dims_.add(s_.low[i], s_.high[i]));
      inside = b_.bit_and(inside,
                          b_.bit_and(b_.ge(at[i], b_.index(0)), b_.lt(at[i], spec_.dim(extent))));
    }
    const Value x = b_.masked_load(x_, x_offset(image, at, b_.add(first_channel, channel)), inside,
                                   b_.constant({dtype_, 1}, 0));
    const Value k = b_.load(weights_, weight_offset(*window, feature, channel));
    const DType t = sum_dtype(dtype_);
    if (w_.target().cuda) return b_.mul_add(b_.cast(x, t), b_.cast(k, t), sum);
    return b_.add(sum, b_.mul(b_.cast(x, t), b_.cast(k, t)));
  }

  Value x_offset(Value image, const Values& at, Value channel) {
    Value o = image;
    if (!s_.channels_last) o = b_.add(b_.mul(o, spec_.dim(s_.channels)), channel);
    for (size_t i = 0; i < s_.spatial; ++i) {
      const DimId extent = dims_.sub(s_.in[i], dims_.add(s_.low[i], s_.high[i]));
      o = b_.add(b_.mul(o, spec_.dim(extent)), at[i]);
    }
    return s_.channels_last ? b_.add(b_.mul(o, spec_.dim(s_.channels)), channel) : o;
  }

  Value weight_offset(const Values& window, Value feature, Value channel) {
    const Value per_group = spec_.dim(dims_.floor_div(s_.channels, dims_.constant(s_.groups)));
    Value o = s_.channels_last ? b_.index(0) : b_.add(b_.mul(feature, per_group), channel);
    for (size_t i = 0; i < s_.spatial; ++i)
      o = b_.add(b_.mul(o, spec_.dim(s_.window[i])), window[i]);
    if (!s_.channels_last) return o;
    return b_.add(b_.mul(b_.add(b_.mul(o, per_group), channel), spec_.dim(s_.features)), feature);
  }

  PlanWriter& w_;
  const Graph& graph_;
  DimTable& dims_;
  const Node& node_;
  const ConvShape s_;
  const DType dtype_;
  const DimId rows_;
  Contraction c_;
  Builder& b_;
  KernelSpec& spec_;
  Buffer x_, weights_;
};

}  // namespace

void lower_plain_contraction(PlanWriter& w, uint32_t group) {
  const Op op = w.graph().node(w.groups().groups[group].nodes[0]).op;
  if (op == Op::matmul) {
    PlainMatmul(w, group).run(group);
  } else {
    PlainConv(w, group).run();
  }
}

}  // namespace gcomp::lower
