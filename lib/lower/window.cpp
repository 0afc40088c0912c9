// Pooling: for each position of a window the sum, maximum or place of the maximum. Positions whose window is
// cut off walk the part that exists; along the last axis the others form a stretch done in vectors.

#include <algorithm>

#include "dense.h"
#include "plan_writer.h"

namespace gcomp::lower {

using kernel::Buffer;
using kernel::Builder;
using kernel::Value;
using kernel::Values;

namespace {

class Window {
 public:
  Window(PlanWriter& w, NodeId id)
      : w_(w),
        graph_(w.graph()),
        node_(graph_.node(id)),
        spec_(graph_, w.target()),
        b_(spec_.b()),
        dims_(w.dims()),
        x_(graph_.operands(node_)[0]),
        result_(graph_.result(id)),
        type_(graph_.type(x_)),
        out_(graph_.type(result_).dims) {
    const Attrs attrs = graph_.attrs(node_);
    kernel_ = attrs.ints(AttrKey::kernel);
    strides_ = attrs.ints(AttrKey::strides);
    dilations_ = attrs.ints(AttrKey::dilations);
    low_ = attrs.dims(AttrKey::low);
    high_ = attrs.dims(AttrKey::high);
    accumulator_ = accumulator_dtype(type_.dtype);
  }

  void run() {
    xs_ = spec_.input(w_.groups().storage[x_.index]);
    ys_ = spec_.output(result_);
    const size_t rank = out_.size();
    if (rank == 0) {
      emit_position({}, b_.index(0), 1, true);
      w_.call(spec_.finish(dims_.constant(1), 0));
      return;
    }
    if (w_.target().cuda) return run_elements();
    const size_t last = rank - 1;
    const std::span<const DimId> shape(out_);
    const DimId rows = dims_.product(shape.subspan(0, last));
    const int lanes = node_.op == Op::window_argmax ? 1 : choose_lanes();
    b_.for_loop(b_.range_begin(), b_.range_end(), b_.index(1), [&](Value p) {
      const std::vector<Value> index = unflatten(spec_, p, shape.subspan(0, last));
      const Value all = spec_.dim(out_[last]);
      const auto scalar = [&](Value from, Value to) {
        b_.for_loop(from, to, b_.index(1), [&](Value i) { emit_position(index, i, 1, false); });
      };
      if (lanes == 1) {
        scalar(b_.index(0), all);
        return;
      }
      const auto [lo, hi] = whole_windows(last);
      if (!dims_.is_constant(lo, 0)) scalar(b_.index(0), spec_.dim(lo));
      b_.vector_loop(spec_.dim(lo), spec_.dim(hi), lanes,
                     [&](Value i, int n) { emit_position(index, i, n, true); });
      if (hi != out_[last]) scalar(spec_.dim(hi), all);
    });
    int64_t work = dims_.constant_value(out_[last]).value_or(64) / lanes + 1;
    for (int64_t k : kernel_) work *= k;
    w_.call(spec_.finish(rows, grain_for(2 * work)));
  }

 private:
  // Each iteration one element of the result.
  void run_elements() {
    b_.for_loop(b_.range_begin(), b_.range_end(), b_.index(1), [&](Value p) {
      std::vector<Value> index = unflatten(spec_, p, out_);
      const Value last = index.back();
      index.pop_back();
      emit_position(std::move(index), last, 1, false);
    });
    w_.call(spec_.finish(dims_.product(out_), 1));
  }

  // Neither a window nor padding: the input's index is the position times the stride.
  bool is_plain(size_t a) const {
    return kernel_[a] == 1 && dims_.is_constant(low_[a], 0) && dims_.is_constant(high_[a], 0);
  }

  int choose_lanes() const {
    const int full = vector_lanes(w_.target(), type_.dtype);
    const auto extent = dims_.constant_value(out_.back());
    int lanes = std::min(full, 16);
    while (extent && lanes > 1 && *extent < lanes) lanes /= 2;
    // Shorter vectors are better than a rest done one by one.
    for (int fewer = lanes; extent && fewer >= 4; fewer /= 2) {
      if (*extent % fewer == 0) return fewer;
    }
    return lanes;
  }

  // Positions along axis `a` whose windows lie wholly within x: [first, second).
  std::pair<DimId, DimId> whole_windows(size_t a) {
    const DimId zero = dims_.constant(0), stride = dims_.constant(strides_[a]);
    if (is_plain(a)) return {zero, out_[a]};
    const DimId lo = dims_.min(out_[a], dims_.max(zero, dims_.ceil_div(low_[a], stride)));
    const DimId span = dims_.constant((kernel_[a] - 1) * dilations_[a]);
    const DimId end = dims_.ceil_div(dims_.sub(dims_.add(type_.dims[a], low_[a]), span), stride);
    return {lo, dims_.min(out_[a], dims_.max(lo, end))};
  }

  // The window elements k of axis `a` that are within x at position `p`: [first, second).
  std::pair<Value, Value> window_range(size_t a, Value p) {
    const Value zero = b_.index(0), d = b_.index(dilations_[a]);
    const Value before = b_.sub(spec_.dim(low_[a]), b_.mul(p, b_.index(strides_[a])));
    const auto ceil_div = [&](Value v) {
      return b_.index_div(b_.add(b_.max(v, zero), b_.sub(d, b_.index(1))), d);
    };
    const Value hi =
        b_.min(b_.index(kernel_[a]), ceil_div(b_.add(before, spec_.dim(type_.dims[a]))));
    return {ceil_div(before), hi};
  }

  Value input_index(size_t a, Value p, Value k) {
    const Value moved =
        b_.add(b_.mul(p, b_.index(strides_[a])), b_.mul(k, b_.index(dilations_[a])));
    return b_.sub(moved, spec_.dim(low_[a]));
  }

  // The result at `index` and, along the last axis, position i (and the lanes-1 after it).
  void emit_position(std::vector<Value> index, Value i, int lanes, bool whole_last) {
    if (!out_.empty()) index.push_back(i);
    const kernel::Type wide{accumulator_, static_cast<uint16_t>(lanes)};
    Values acc;
    if (node_.op == Op::window_sum) {
      acc = {b_.constant(wide, 0)};
    } else {
      acc = {b_.constant_bits(wide, least_bits(accumulator_))};
    }
    if (node_.op == Op::window_argmax) acc.push_back(b_.index(-1));
    std::vector<Value> at(out_.size());
    walk(0, index, lanes, whole_last, &at, &acc);
    const Value y = node_.op == Op::window_argmax ? acc[1] : b_.cast(acc[0], type_.dtype);
    b_.store(ys_, flatten(spec_, index, out_), y);
  }

  // Axes from `a` on (at most the rank deep).
  // NOLINTNEXTLINE(misc-no-recursion): at most the rank deep
  void walk(size_t a, const std::vector<Value>& index, int lanes, bool whole_last,
            std::vector<Value>* at, Values* acc) {
    if (a == out_.size()) {
      accumulate(*at, lanes, acc);
      return;
    }
    if (is_plain(a)) {
      (*at)[a] = input_index(a, index[a], b_.index(0));
      walk(a + 1, index, lanes, whole_last, at, acc);
      return;
    }
    const bool whole = whole_last && a + 1 == out_.size();
    auto [lo, hi] =
        whole ? std::pair{b_.index(0), b_.index(kernel_[a])} : window_range(a, index[a]);
    const Values inside = b_.begin_for(lo, hi, b_.index(1), *acc);
    (*at)[a] = input_index(a, index[a], inside[0]);
    Values now(inside.begin() + 1, inside.end());
    walk(a + 1, index, lanes, whole_last, at, &now);
    *acc = b_.end_for(now);
  }

  void accumulate(const std::vector<Value>& at, int lanes, Values* acc) {
    const Value place = flatten(spec_, at, type_.dims);
    Value x;
    if (lanes == 1 || strides_.back() == 1) {
      x = b_.load(xs_, place, lanes);
    } else {
      const Value step = b_.splat(b_.index(strides_.back()), lanes);
      const Value offsets = b_.mul(b_.iota(DType::kInt64, lanes), step);
      x = b_.gather(xs_, b_.add(b_.splat(place, lanes), offsets));
    }
    x = b_.cast(x, accumulator_);
    if (node_.op == Op::window_sum) {
      (*acc)[0] = b_.add((*acc)[0], x);
    } else if (node_.op == Op::window_max) {
      (*acc)[0] = b_.max((*acc)[0], x);
    } else {
      const Value best = (*acc)[0];
      Value better = b_.bit_or(b_.gt(x, best), b_.lt((*acc)[1], b_.index(0)));
      if (is_float(accumulator_)) {
        better = b_.bit_or(better, b_.bit_and(b_.ne(x, x), b_.eq(best, best)));
      }
      *acc = {b_.where(better, x, best), b_.where(better, place, (*acc)[1])};
    }
  }

  PlanWriter& w_;
  const Graph& graph_;
  const Node& node_;
  KernelSpec spec_;
  Builder& b_;
  DimTable& dims_;
  ValueId x_, result_;
  const Type& type_;
  const std::vector<DimId>& out_;
  std::vector<int64_t> kernel_, strides_, dilations_;
  std::vector<DimId> low_, high_;
  DType accumulator_;
  Buffer xs_, ys_;
};

}  // namespace

void lower_window(PlanWriter& w, uint32_t group) {
  Window(w, w.groups().groups[group].nodes[0]).run();
}

}  // namespace gcomp::lower
