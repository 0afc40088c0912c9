// The passes over the reduced loops, and how each reduction accumulates. The order is fixed by the loops
// alone: lanes accumulate independently, are joined in halves, then the rest that fills no vector.

#include <limits>

#include "gcomp/support/error.h"
#include "nest_emitter.h"

namespace gcomp::lower {

using kernel::Value;
using kernel::Values;

namespace {

DType accumulator(Op op, DType t) {
  if (t == DType::kFloat16 || t == DType::kBFloat16) return DType::kFloat32;
  return t;
}

uint64_t mask_bits(DType t) {
  const size_t bits = byte_size(t) * 8;
  return bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
}

// The bits of the value that no other is below (or above).
uint64_t limit_bits(DType t, bool lowest) {
  if (t == DType::kFloat32) return lowest ? 0xff800000u : 0x7f800000u;
  if (t == DType::kFloat64) return lowest ? 0xfff0000000000000u : 0x7ff0000000000000u;
  if (t == DType::kBool) return lowest ? 0 : 1;
  const uint64_t sign = uint64_t{1} << (byte_size(t) * 8 - 1);
  if (is_unsigned_int(t)) return lowest ? 0 : mask_bits(t);
  return lowest ? sign : mask_bits(t) & ~sign;
}

Op join_op(Op op) {
  switch (op) {
    case Op::reduce_sum: return Op::add;
    case Op::reduce_prod: return Op::mul;
    case Op::reduce_max:
    case Op::argmax: return Op::max;
    case Op::reduce_min:
    case Op::argmin: return Op::min;
    case Op::reduce_and: return Op::bit_and;
    default: return Op::bit_or;
  }
}

constexpr int64_t kNoPosition = std::numeric_limits<int64_t>::max();

}  // namespace

uint32_t NestEmitter::num_accumulators(uint32_t id) const {
  const Op op = graph_.producer_node(items_[id].value).op;
  return op == Op::argmax || op == Op::argmin ? 2 : 1;
}

// One accumulator a reduction; two (best value, its position) for argmax and argmin.
Values NestEmitter::reduce_init(uint32_t id, int lanes) {
  const Item& item = items_[id];
  const Op op = graph_.producer_node(item.value).op;
  const DType t = accumulator(op, items_[item.operands[0]].dtype);
  const kernel::Type type{t, static_cast<uint16_t>(lanes)};
  switch (op) {
    case Op::reduce_sum:
    case Op::reduce_or: return {b_.constant_bits(type, 0)};
    case Op::reduce_prod: return {b_.constant(type, 1.0)};
    case Op::reduce_and: return {b_.constant_bits(type, 1)};
    case Op::reduce_max:
    case Op::reduce_min: return {b_.constant_bits(type, limit_bits(t, op == Op::reduce_max))};
    default: {
      const bool last =
          graph_.attrs(graph_.producer_node(item.value)).integer_or(AttrKey::select_last, 0) != 0;
      const kernel::Type position{DType::kInt64, static_cast<uint16_t>(lanes)};
      return {b_.constant_bits(type, limit_bits(t, op == Op::argmax)),
              b_.constant_bits(position, static_cast<uint64_t>(last ? -1 : kNoPosition))};
    }
  }
}

void NestEmitter::reduce_step(uint32_t id, int lanes, std::span<Value> acc) {
  const Item& item = items_[id];
  const Op op = graph_.producer_node(item.value).op;
  const DType t = accumulator(op, items_[item.operands[0]].dtype);
  const int n = b_.type(acc[0]).lanes;
  const Value x = b_.splat(b_.cast(values_[item.operands[0]], t), n);
  if (op != Op::argmax && op != Op::argmin) {
    const Value args[] = {acc[0], x};
    acc[0] = b_.op(join_op(op), args);
    return;
  }
  const bool last =
      graph_.attrs(graph_.producer_node(item.value)).integer_or(AttrKey::select_last, 0) != 0;
  // NaN is better than any number.
  const Value best = acc[0];
  Value better = op == Op::argmax ? (last ? b_.ge(x, best) : b_.gt(x, best))
                                  : (last ? b_.le(x, best) : b_.lt(x, best));
  if (is_float(t)) {
    const Value nan = b_.ne(x, x);
    better = b_.bit_or(better, last ? nan : b_.bit_and(nan, b_.eq(best, best)));
    if (last) better = b_.bit_and(better, b_.bit_or(nan, b_.eq(best, best)));
  }
  acc[0] = b_.where(better, x, best);
  acc[1] = b_.where(better, b_.splat(lanes_of(item.linear, lanes), n), acc[1]);
}

// From accumulators with lanes to accumulators with one.
Values NestEmitter::reduce_lanes(uint32_t id, std::span<const Value> acc) {
  const Op op = graph_.producer_node(items_[id].value).op;
  const Value best = b_.reduce(join_op(op), acc[0]);
  if (acc.size() == 1) return {best};
  const int n = b_.type(acc[0]).lanes;
  const Value wide = b_.splat(best, n);
  Value equal = b_.eq(acc[0], wide);
  if (is_float(b_.type(best).dtype)) {
    equal = b_.bit_or(equal, b_.bit_and(b_.ne(acc[0], acc[0]), b_.ne(wide, wide)));
  }
  const bool last =
      graph_.attrs(graph_.producer_node(items_[id].value)).integer_or(AttrKey::select_last, 0) != 0;
  const Value none = b_.splat(b_.index(last ? -1 : kNoPosition), n);
  const Value at = b_.where(equal, acc[1], none);
  return {best, b_.reduce(last ? Op::max : Op::min, at)};
}

Values NestEmitter::reduce_join(uint32_t id, std::span<const Value> a, std::span<const Value> c) {
  const Op op = graph_.producer_node(items_[id].value).op;
  if (a.size() == 1) {
    const Value args[] = {a[0], c[0]};
    return {b_.op(join_op(op), args)};
  }
  const bool last =
      graph_.attrs(graph_.producer_node(items_[id].value)).integer_or(AttrKey::select_last, 0) != 0;
  const Value args[] = {a[0], c[0]};
  const Value best = b_.op(join_op(op), args);
  const auto position = [&](std::span<const Value> v) {
    Value equal = b_.eq(v[0], best);
    if (is_float(b_.type(best).dtype)) {
      equal = b_.bit_or(equal, b_.bit_and(b_.ne(v[0], v[0]), b_.ne(best, best)));
    }
    return b_.where(equal, v[1], b_.index(last ? -1 : kNoPosition));
  };
  const Value pa = position(a), pc = position(c);
  return {best, last ? b_.max(pa, pc) : b_.min(pa, pc)};
}

Value NestEmitter::reduce_finish(uint32_t id, std::span<const Value> acc) {
  const Item& item = items_[id];
  if (acc.size() == 1) return b_.cast(acc[0], item.dtype);
  // No element better than the worst value: all are equal to it (an empty row is an error).
  const int n = b_.type(acc[1]).lanes;
  const Value none = b_.splat(b_.index(kNoPosition), n);
  const Value zero = b_.splat(b_.index(0), n);
  return b_.where(b_.bit_or(b_.eq(acc[1], none), b_.lt(acc[1], zero)), zero, acc[1]);
}

void NestEmitter::begin_pass(uint32_t pass) {
  needed_ = needed_in_pass(pass);
  pass_reductions_.clear();
  bool float_sum = false, positions = false;
  for (uint32_t r : reductions_) {
    if (items_[r].stage != pass + 1 || !in_phase_[r]) continue;
    pass_reductions_.push_back(r);
    const Op op = graph_.producer_node(items_[r].value).op;
    float_sum = float_sum || (op == Op::reduce_sum && is_float(items_[r].dtype));
    positions = positions || op == Op::argmax || op == Op::argmin;
  }
  in_blocks_ = float_sum && !positions;
}

// Of the pass's reductions.
Values NestEmitter::first_accumulators(int lanes) {
  Values first;
  for (uint32_t r : pass_reductions_) {
    for (Value v : reduce_init(r, lanes)) first.push_back(v);
  }
  return first;
}

// Of sums in blocks: each accumulator of a block is one value.
Values NestEmitter::join_block(std::span<const Value> total, std::span<const Value> block) {
  Values sums;
  for (size_t i = 0; i < total.size(); ++i) {
    const uint32_t r = pass_reductions_[i % pass_reductions_.size()];
    sums.push_back(reduce_join(r, total.subspan(i, 1), block.subspan(i, 1))[0]);
  }
  return sums;
}

// Carried through the loops: for each reduction of the pass its accumulators with lanes_ lanes (lanes in
// the row: row_lanes), then, if the reduced innermost loop is vectorised, those of the scalar rest.
void NestEmitter::emit_pass(uint32_t pass, int row_lanes) {
  begin_pass(pass);
  const std::vector<uint32_t> here = pass_reductions_;
  const bool join = joins(pass);
  if (join && here.empty()) return;
  Values carried = first_accumulators(lanes_reduced_ && !join ? lanes_ : row_lanes);
  const size_t half = carried.size();
  const bool rest = lanes_reduced_ && lanes_ > 1 && !join && (block_.threads() == 0 || has_rest_);
  if (rest) {
    for (Value v : first_accumulators(1)) carried.push_back(v);
  }
  fresh_ = carried;
  // Items of earlier levels that only this pass needs were made at their level; deep ones now.
  if (columns_ != 0) {
    carried = load_columns(column_sums_, row_lanes);
  } else if (block_.threads() == 0) {
    emit_reduced_loops(0, pass, row_lanes, &carried);
  } else if (join) {
    join_parts(&carried);
  } else {
    emit_block_pass(pass, &carried);
  }
  level_ = row_level_;
  size_t k = 0;
  for (uint32_t r : here) {
    const size_t n = num_accumulators(r);
    Values acc(carried.begin() + static_cast<long>(k), carried.begin() + static_cast<long>(k + n));
    if (rest) {
      const std::span<const Value> scalar(carried.data() + half + k, n);
      acc = reduce_join(r, reduce_lanes(r, acc), scalar);
    } else if (lanes_reduced_ && !join) {
      acc = reduce_lanes(r, acc);
    }
    if (block_.threads() != 0) acc = reduce_threads(r, acc);
    k += n;
    if (phase_ == static_cast<int>(pass)) {
      store_part(r, acc);
      continue;
    }
    if (n == 2) {
      const Node& node = graph_.producer_node(items_[r].value);
      const Type& x = graph_.type(graph_.operands(node)[0]);
      const DimId extent = x.dims[static_cast<size_t>(graph_.attrs(node).integer(AttrKey::axis))];
      if (dims_.lower_bound(extent).value_or(0) < 1) {
        spec_.fail_if(b_.lt(spec_.dim(extent), b_.index(1)), std::string(name(node.op)) +
                                                                 ": the axis is empty at " +
                                                                 graph_.context().locs[node.loc]);
      }
    }
    set_value(r, row_level_, reduce_finish(r, acc));
  }
}

// Emits `body`, the innermost reduced loop, over [lo, hi): in blocks with accumulators of their own where
// that keeps sums accurate.
void NestEmitter::emit_blocks(DimId extent, Value lo, Value hi, int step, Values* carried,
                              const std::function<void(Value, Value, Values*)>& body) {
  const auto known = dims_.constant_value(extent);
  const bool single = known && *known <= step * kSumBlock;
  const bool outer_loops = reduced_outer_.size() > (lanes_reduced_ ? 0u : 1u);
  if (!in_blocks_ || (single && !outer_loops)) return body(lo, hi, carried);
  Values block = fresh_;
  if (single) {
    body(lo, hi, &block);
    *carried = join_block(*carried, block);
    return;
  }
  const Value length = b_.index(step * kSumBlock);
  const Values inside = b_.begin_for(lo, hi, length, *carried);
  body(inside[0], b_.min(b_.add(inside[0], length), hi), &block);
  *carried = b_.end_for(join_block(std::span(inside).subspan(1), block));
}

// NOLINTNEXTLINE(misc-no-recursion): at most the rank deep
void NestEmitter::emit_reduced_loops(size_t depth, uint32_t pass, int row_lanes, Values* carried) {
  if (depth == reduced_outer_.size()) {
    if (lanes_reduced_) {
      const DimId extent = loops_[static_cast<size_t>(lane_axis_)];
      emit_innermost(pass, b_.index(0), spec_.dim(extent), carried);
    } else {
      emit_body(pass, row_lanes, false, carried);
    }
    return;
  }
  const uint32_t axis = reduced_outer_[depth];
  // NOLINTNEXTLINE(misc-no-recursion): at most the rank deep
  const auto loop = [&](Value from, Value to, Values* sums) {
    emit_reduced_loop(depth, from, to, pass, row_lanes, sums);
  };
  const Value lo = b_.index(0), hi = spec_.dim(loops_[axis]);
  if (depth + 1 == reduced_outer_.size() && !lanes_reduced_) {
    emit_blocks(loops_[axis], lo, hi, 1, carried, loop);
  } else {
    loop(lo, hi, carried);
  }
}

// NOLINTNEXTLINE(misc-no-recursion): at most the rank deep
void NestEmitter::emit_reduced_loop(size_t depth, Value lo, Value hi, uint32_t pass, int row_lanes,
                                    Values* carried) {
  const Values inside = b_.begin_for(lo, hi, b_.index(1), *carried);
  Values now(inside.begin() + 1, inside.end());
  emit_reduced_turn(depth, inside[0], pass, row_lanes, &now);
  *carried = b_.end_for(now);
}

// NOLINTNEXTLINE(misc-no-recursion): at most the rank deep
void NestEmitter::emit_reduced_turn(size_t depth, Value i, uint32_t pass, int row_lanes,
                                    Values* carried) {
  const uint32_t axis = reduced_outer_[depth];
  const int level = axis_level_[axis];
  axis_value_[axis] = i;
  open_level(level, needed_);
  // With lanes in the row, the deep items of this level have the row's lanes.
  std::vector<bool> deep(needed_);
  for (uint32_t i = 0; i < items_.size(); ++i) {
    if (!is_deep(items_[i]) || (kept_.contains(i) && items_[i].stage < pass)) deep[i] = false;
  }
  if (depth + 1 < reduced_outer_.size() || lanes_reduced_) emit_items(level, deep, row_lanes);
  emit_reduced_loops(depth + 1, pass, row_lanes, carried);
  close_level(level);
}

void NestEmitter::emit_innermost(uint32_t pass, Value lo, Value hi, Values* carried) {
  const auto axis = static_cast<uint32_t>(lane_axis_);
  const auto known = dims_.constant_value(loops_[axis]);
  const bool no_rest = spec_.target().static_extents && known && *known % lanes_ == 0;
  const Value middle = no_rest       ? hi
                       : lanes_ == 1 ? lo
                                     : b_.add(lo, b_.bit_and(b_.sub(hi, lo), b_.index(-lanes_)));
  const auto loop = [&](Value from, Value to, int lanes, Values* sums) {
    const Values inside = b_.begin_for(from, to, b_.index(lanes), *sums);
    axis_value_[axis] = inside[0];
    Values now(inside.begin() + 1, inside.end());
    current_lanes_ = lanes;
    open_level(axis_level_[axis], needed_);
    emit_body(pass, lanes, lanes == 1 && lanes_ > 1, &now);
    close_level(axis_level_[axis]);
    current_lanes_ = 1;
    *sums = b_.end_for(now);
  };
  emit_blocks(loops_[axis], lo, lanes_ == 1 ? hi : middle, lanes_, carried,
              [&](Value from, Value to, Values* sums) { loop(from, to, lanes_, sums); });
  if (lanes_ > 1 && !no_rest) loop(middle, hi, 1, carried);
}

// Computes item `id`, or reads what an earlier pass has kept of it.
void NestEmitter::emit_deep_item(uint32_t id, uint32_t pass, int lanes) {
  const auto kept = kept_.find(id);
  if (kept == kept_.end() || items_[id].stage >= pass) return emit_item(id, lanes);
  const Kept& k = kept->second;
  const kernel::Buffer buffer = k.local ? k.buffer : spec_.output(k.output);
  const bool varies = lane_axis_ >= 0 && (table_.axes(k.at) >> lane_axis_ & 1) != 0;
  set_value(id, level_, emit_load(k.at, {}, buffer, items_[id].dtype, varies, lanes));
}

// The innermost iteration: what the pass computes, stores and accumulates.
void NestEmitter::emit_body(uint32_t pass, int lanes, bool scalar_part, Values* carried) {
  for (uint32_t i = 0; i < items_.size(); ++i) {
    if (needed_[i] && !values_[i].valid() && is_deep(items_[i])) emit_deep_item(i, pass, lanes);
  }
  for (const auto& [i, k] : kept_) {
    if (items_[i].stage != pass) continue;
    bool is_own_output = false;
    for (const auto& [v, out] : outputs_)
      is_own_output = is_own_output || (out == i && v == k.output);
    if (is_own_output) continue;  // stored below
    emit_store(k.at, k.local ? k.buffer : spec_.output(k.output), values_[i], lanes);
  }
  for (const auto& [v, i] : outputs_) {
    if (items_[i].stage != pass || is_of_row(v)) continue;
    emit_store(place_of(v), spec_.output(v), values_[i], lanes);
  }
  size_t total = carried->size();
  size_t k = scalar_part ? total / 2 : 0;
  for (uint32_t r : reductions_) {
    if (items_[r].stage != pass + 1) continue;
    const size_t n = num_accumulators(r);
    reduce_step(r, lanes, std::span<Value>(carried->data() + k, n));
    k += n;
  }
}

}  // namespace gcomp::lower
