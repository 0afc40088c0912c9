// Transposed convolution by plain loops, gathered: each result position sums the inputs whose window covers it. Channels-last
// results are vectors of channels; channels-first ones are done one at a time.

#include <algorithm>

#include "contraction.h"
#include "dense.h"

namespace gcomp::lower {

using kernel::Buffer;
using kernel::Builder;
using kernel::Value;
using kernel::Values;

namespace {

class ConvTranspose {
 public:
  ConvTranspose(PlanWriter& w, uint32_t group)
      : w_(w),
        graph_(w.graph()),
        node_(graph_.node(w.groups().groups[group].nodes[0])),
        dims_(w.dims()),
        result_(node_.first_result),
        x_(graph_.type(graph_.operands(node_)[0])),
        k_(graph_.type(graph_.operands(node_)[1])),
        out_(graph_.type(result_).dims),
        contraction_(w, group, dims_.product(std::span(out_).first(out_.size() - 1)), out_.back()),
        spec_(contraction_.spec()),
        b_(spec_.b()) {
    const Attrs attrs = graph_.attrs(node_);
    last_ = attrs.string_or(AttrKey::layout, "nchw") == "nhwc";
    groups_ = attrs.integer_or(AttrKey::group, 1);
    strides_ = attrs.ints(AttrKey::strides);
    dilations_ = attrs.ints(AttrKey::dilations);
    low_ = attrs.dims(AttrKey::low);
    spatial_ = x_.dims.size() - 2;
    first_ = last_ ? 1 : 2;
    channel_ = last_ ? x_.dims.size() - 1 : 1;
    accumulator_ = accumulator_dtype(x_.dtype);
    const size_t rank = x_.dims.size();
    in_channel_of_w_ = last_ ? rank - 2 : 0;
    out_channel_of_w_ = last_ ? rank - 1 : 1;
  }

  void run() {
    const auto operand = [&](size_t i) {
      return spec_.input(w_.groups().storage[graph_.operands(node_)[i].index]);
    };
    xs_ = operand(0);
    ks_ = operand(1);
    if (node_.num_operands > 2) contraction_.set_bias(graph_.operands(node_)[2]);
    contraction_.begin();
    // Rows of the parallel range: everything but the axis walked in vectors, or but one element.
    std::vector<DimId> rows(out_);
    const bool by_vectors = last_ && groups_ == 1 && !w_.target().cuda;
    const DimId width = by_vectors ? rows.back() : dims_.constant(1);
    if (by_vectors) rows.pop_back();
    b_.for_loop(b_.range_begin(), b_.range_end(), b_.index(1), [&](Value p) {
      std::vector<Value> index = unflatten(spec_, p, rows);
      if (!by_vectors) {
        emit(index, 1);
        return;
      }
      index.push_back(b_.index(0));
      const int lanes = 2 * vector_lanes(w_.target(), x_.dtype);
      b_.vector_loop(b_.index(0), spec_.dim(width), lanes, [&](Value c, int n) {
        index.back() = c;
        emit(index, n);
      });
    });
    int64_t work = dims_.constant_value(x_.dims[channel_]).value_or(64);
    for (size_t i = 0; i < spatial_; ++i) work *= 2;
    contraction_.call(dims_.product(rows), grain_for(work * 4));
  }

 private:
  void emit(const std::vector<Value>& index, int lanes) {
    const kernel::Type wide{accumulator_, static_cast<uint16_t>(lanes)};
    Value acc = b_.constant(wide, 0);
    std::vector<Value> from(x_.dims.size()), tap(k_.dims.size());
    from[0] = index[0];
    acc = taps(0, index, lanes, &from, &tap, acc);
    const std::span<const Value> row = std::span(index).first(index.size() - 1);
    contraction_.finish_piece(flatten(spec_, row, std::span(out_).first(row.size())), index.back(),
                              index[channel_], acc, lanes);
  }

  // Spatial axes from `i` on (at most three deep): kernel elements that reach the position.
  Value taps(size_t i, const std::vector<Value>& index, int lanes, std::vector<Value>* from,
             std::vector<Value>* tap, Value acc) {
    if (i == spatial_) return channels(index, lanes, *from, *tap, acc);
    const size_t axis = first_ + i;
    const Values inside =
        b_.begin_for(b_.index(0), spec_.dim(k_.dims[last_ ? i : i + 2]), b_.index(1), Values{acc});
    const Value k = inside[0];
    (*tap)[last_ ? i : i + 2] = k;
    // position + low - k * dilation = input index * stride
    const Value at =
        b_.sub(b_.add(index[axis], spec_.dim(low_[i])), b_.mul(k, b_.index(dilations_[i])));
    const Value stride = b_.index(strides_[i]), safe = b_.max(at, b_.index(0));
    const Value place = b_.index_div(safe, stride);
    Value covers = b_.bit_and(b_.ge(at, b_.index(0)), b_.lt(place, spec_.dim(x_.dims[axis])));
    covers = b_.bit_and(covers, b_.eq(b_.index_rem(safe, stride), b_.index(0)));
    (*from)[axis] = place;
    const Values sum = b_.if_else(
        covers, [&]() -> Values { return {taps(i + 1, index, lanes, from, tap, inside[1])}; },
        [&]() -> Values { return {inside[1]}; });
    return b_.end_for(sum)[0];
  }

  Value channels(const std::vector<Value>& index, int lanes, std::vector<Value> from,
                 std::vector<Value> tap, Value acc) {
    const DimId group = dims_.constant(groups_);
    const DimId in_group = dims_.floor_div(x_.dims[channel_], group);
    const Value per_group = spec_.dim(in_group);
    const Value out_per_group = spec_.dim(k_.dims[out_channel_of_w_]);
    Value first = b_.index(0), o = index[channel_];
    if (groups_ > 1) {
      first = b_.mul(b_.index_div(o, out_per_group), per_group);
      o = b_.index_rem(o, out_per_group);
    }
    const Values init = {acc};
    const Values sum =
        b_.for_loop(b_.index(0), per_group, b_.index(1), init,
                    [&](Value c, std::span<const Value> carried) -> Values {
                      from[channel_] = b_.add(first, c);
                      tap[in_channel_of_w_] = from[channel_];
                      tap[out_channel_of_w_] = o;
                      const Value x = b_.load(xs_, flatten(spec_, from, x_.dims));
                      const Value k = b_.load(ks_, flatten(spec_, tap, k_.dims), lanes);
                      const Value wide = b_.splat(b_.cast(x, accumulator_), lanes);
                      return {b_.mul_add(wide, b_.cast(k, accumulator_), carried[0])};
                    });
    return sum[0];
  }

  PlanWriter& w_;
  const Graph& graph_;
  const Node& node_;
  DimTable& dims_;
  ValueId result_;
  const Type &x_, &k_;
  const std::vector<DimId>& out_;
  Contraction contraction_;
  KernelSpec& spec_;
  Builder& b_;
  bool last_ = false;
  int64_t groups_ = 1;
  std::vector<int64_t> strides_, dilations_;
  std::vector<DimId> low_;
  size_t spatial_ = 0, first_ = 0, channel_ = 0, in_channel_of_w_ = 0, out_channel_of_w_ = 0;
  DType accumulator_ = DType::kFloat32;
  Buffer xs_, ks_;
};

}  // namespace

void lower_plain_conv_transpose(PlanWriter& w, uint32_t group) { ConvTranspose(w, group).run(); }

}  // namespace gcomp::lower
