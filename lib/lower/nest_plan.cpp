// Planning a nest: which loop runs over vector lanes, how many, and what is kept between the passes over
// the reduced loops.

#include <algorithm>
#include <bit>

#include "gcomp/support/error.h"
#include "nest_emitter.h"

namespace gcomp::lower {
namespace {

// What recomputing may cost (in op_weight) before a value is kept for later passes instead.
// Memory is slow beside a GPU's blocks of threads: there a load weighs more, and arithmetic may cost as much as two.
constexpr uint32_t kMaxRecomputeWeight = 8, kBlockRecomputeWeight = 48, kBlockLoadWeight = 16;
// Rows up to this length may be summed with lanes across rows; what reading an element from afar and
// joining the lanes of a sum cost then (in op_weight).
constexpr int64_t kMaxShortRow = 64;
constexpr int64_t kGatherWeight = 3;
constexpr int64_t kJoinLanesWeight = 6;
// Bytes of stack a kernel may use for kept rows: half of L1.
constexpr int64_t kMaxLocalBytes = 16 << 10;
// GPU: bytes of a thread's widest access, elements it does at most, what its values may take of the registers,
// and threads that fill the device.
constexpr int kAccessBytes = 16, kMostAccessLanes = 8, kLiveBytes = 256;
constexpr int64_t kEnoughThreads = 1 << 16;

int value_bytes(DType t) {
  if (t == DType::kBool) return 1;
  if (t == DType::kFloat16 || t == DType::kBFloat16) return 4;  // widened
  return static_cast<int>(byte_size(t));
}

}  // namespace

int NestEmitter::level_of(AxisMask axes) const {
  int level = 0;
  for (; axes != 0; axes &= axes - 1) {
    level = std::max(level, axis_level_[static_cast<size_t>(std::countr_zero(axes))]);
  }
  return level;
}

// The innermost loop, so that lanes are neighbours in memory; but where that is a short sum (a row of a
// slim matrix), the rows: lanes along it are few, and what is computed from the sum would have one.
int NestEmitter::choose_lane_axis() {
  const int last = static_cast<int>(loops_.size()) - 1;
  if (reduced_mask_ == 0 || !reduced_[static_cast<size_t>(last)]) return last;
  int rows = last;
  while (rows >= 0 && reduced_[static_cast<size_t>(rows)]) --rows;
  if (rows < 0) return last;
  for (const auto& [v, i] : outputs_) {
    if (is_deep(items_[i])) return last;  // its rows are stored along the innermost loop
  }
  for (uint32_t r : reductions_) {
    if (items_[r].stage > 1) return last;  // passes keep rows
  }
  return lanes_pay_across(static_cast<uint32_t>(rows)) ? rows : last;
}

// Whether sums over the innermost loop cost less with lanes across loop `rows` than along them.
bool NestEmitter::lanes_pay_across(uint32_t rows) {
  const int64_t length = dims_.constant_value(loops_.back()).value_or(kMaxShortRow + 1);
  if (length > kMaxShortRow) return false;
  const AxisMask lane = AxisMask{1} << rows;
  int64_t deep = 0, gathered = 0, once = 0;  // op_weight of an element of a row, and once a row
  int widest = 1;
  for (const Item& i : items_) {
    if ((!is_deep(i) && (i.axes & lane) == 0) || i.kind == ItemKind::kLiteral) continue;
    widest = std::max(widest, value_bytes(i.dtype));
    const bool is_op = i.kind == ItemKind::kOp;
    (is_deep(i) ? deep : once) +=
        is_op ? schedule::op_weight(graph_.producer_node(i.value).op, i.dtype) : 1;
    if (i.kind != ItemKind::kLoad || (i.axes & lane) == 0) continue;
    if (!dims_.is_constant(table_.coefficient(i.linear, rows), 1)) ++gathered;
  }
  const int64_t lanes = spec_.target().vector_bytes / widest;
  if (dims_.constant_value(loops_[rows]).value_or(lanes) < lanes) return false;
  const int64_t join = length < lanes ? 0 : kJoinLanesWeight;
  const int64_t along = (length / lanes + length % lanes) * deep + join + once;
  const int64_t across = (length * (deep + kGatherWeight * lanes * gathered) + once) / lanes;
  return across < along;
}

void NestEmitter::choose_levels() {
  const auto n = static_cast<uint32_t>(loops_.size());
  axis_level_.assign(n, 1);
  if (spec_.target().cuda) {
    choose_block();
  } else {
    lane_axis_ = choose_lane_axis();
  }
  lanes_reduced_ = lane_axis_ >= 0 && reduced_[static_cast<size_t>(lane_axis_)];
  const bool blocks = block_.threads() != 0;  // they walk the rows' loops as one, and the others
  row_level_ = lane_axis_ >= 0 && !lanes_reduced_ && !blocks ? 2 : 1;
  if (row_level_ == 2) axis_level_[static_cast<size_t>(lane_axis_)] = 2;
  int next = row_level_ + 1;
  for (uint32_t a = 0; a < n; ++a) {
    if (!reduced_[a] || (static_cast<int>(a) == lane_axis_ && !blocks)) continue;
    if (!blocks) reduced_outer_.push_back(a);
    axis_level_[a] = blocks ? next : next++;
  }
  if (blocks || lanes_reduced_) ++next;
  if (lanes_reduced_ && !blocks) axis_level_[static_cast<size_t>(lane_axis_)] = next - 1;
  level_log_.resize(static_cast<size_t>(next) + 1);
  level_terms_.resize(static_cast<size_t>(next) + 1);
}

uint32_t NestEmitter::total_weight() const {
  uint32_t w = 0;
  for (const Item& i : items_) {
    w += i.kind == ItemKind::kOp ? schedule::op_weight(graph_.producer_node(i.value).op, i.dtype)
                                 : 1;
  }
  return w;
}

// Values that vary with `lane` and are needed at the same time, at most.
int NestEmitter::most_live(AxisMask lane) const {
  std::vector<uint32_t> last_use(items_.size(), 0);
  for (uint32_t i = 0; i < items_.size(); ++i) {
    for (uint32_t o : items_[i].operands) last_use[o] = i;
  }
  int live = 0, most = 0;
  std::vector<int> ends(items_.size() + 1, 0);
  for (uint32_t i = 0; i < items_.size(); ++i) {
    if ((items_[i].axes & lane) == 0 || items_[i].kind == ItemKind::kLiteral) continue;
    ++live;
    most = std::max(most, live);
    ++ends[std::max(last_use[i], i)];
    live -= ends[i];
  }
  return most;
}

// GPU: neighbours that a thread does at once, so that each access is one of 16 bytes. 1 where they are apart in memory
// or not all there.
int NestEmitter::choose_access_lanes() {
  if (loops_.empty() || (reduced_mask_ != 0 && !spec_.target().cuda_blocks)) return 1;
  const auto axis = static_cast<uint32_t>(loops_.size() - 1);
  const AxisMask lane = AxisMask{1} << axis;
  const auto are_neighbours = [&](const Linear& at) {
    return dims_.is_constant(table_.coefficient(at, axis), 1) && table_.only_linear(at, axis);
  };
  int widest = 1;
  for (const Item& i : items_) {
    if ((i.axes & lane) == 0) continue;
    if (i.kind == ItemKind::kSelect || i.kind == ItemKind::kWrap || !i.guards.empty()) return 1;
    if (i.kind != ItemKind::kLoad) continue;
    if (!are_neighbours(i.linear)) return 1;
    widest = std::max(widest, static_cast<int>(byte_size(i.dtype)));
  }
  for (const auto& [v, i] : outputs_) {
    const Linear at = place_of(v);
    if ((table_.axes(at) & lane) == 0) continue;
    if (reduced_mask_ != 0 && !are_neighbours(at)) return 1;
    widest = std::max(widest, static_cast<int>(byte_size(items_[i].dtype)));
  }
  int lanes = std::min(kAccessBytes / widest, kMostAccessLanes);
  while (lanes > 1 && most_live(lane) * lanes * std::max(widest, 4) > kLiveBytes) lanes /= 2;
  return reduced_mask_ == 0 ? lanes_for_map(lanes) : lanes_for_row(lanes);
}

// Fewer where much would be left over, or threads of the GPU without work.
int NestEmitter::lanes_for_map(int lanes) const {
  const auto extent = dims_.constant_value(loops_.back());
  while (extent && *extent < 4 * lanes && *extent % lanes != 0) lanes /= 2;
  const auto elements = dims_.constant_value(rows_);
  while (lanes > 1 && elements && *elements / lanes < kEnoughThreads) lanes /= 2;
  return lanes;
}

// What is left over may only be the end of a row that is one loop.
int NestEmitter::lanes_for_row(int lanes) const {
  const auto extent = dims_.constant_value(loops_.back());
  const bool has_end = reduced_.back() && std::ranges::count(reduced_, true) == 1;
  if (!extent) return has_end ? lanes : 1;
  while (*extent % lanes != 0 && (!has_end || *extent < 4 * lanes)) lanes /= 2;
  return lanes;
}

// Wide bodies hide the latency of long chains (measured: 32 x float is twice as quick as 8 on a chain
// of 30 ops) until the live values no longer fit the registers.
int NestEmitter::choose_lanes() {
  if (lane_axis_ < 0) return 1;
  const AxisMask lane = AxisMask{1} << lane_axis_;
  int widest = 1;
  for (uint32_t i = 0; i < items_.size(); ++i) {
    if ((items_[i].axes & lane) == 0) continue;
    widest = std::max(widest, value_bytes(items_[i].dtype));
    for (uint32_t o : items_[i].operands) widest = std::max(widest, value_bytes(items_[o].dtype));
    if (items_[i].kind == ItemKind::kWrap || general_in_lanes(items_[i].linear)) widest = 8;
  }
  const int most = most_live(lane);
  const int one = std::max(1, spec_.target().vector_bytes / widest);
  const int room = spec_.target().vector_registers / std::max(1, most);
  int unroll = room >= 4 ? 4 : room >= 3 ? 2 : 1;
  if (widest == 1) unroll = std::min(unroll, 2);
  int lanes = std::min(one * unroll, kernel::kMaxLanes);
  const auto extent = dims_.constant_value(loops_[static_cast<size_t>(lane_axis_)]);
  if (!extent || !spec_.target().static_extents) return lanes;
  // Fewest steps, a step of the scalar rest counting as one and a half vectors.
  int best = 1;
  double best_cost = 1e300;
  for (int l = lanes; l >= 1; l /= 2) {
    const double vectors = static_cast<double>(*extent / l) * std::max(1.0, double(l) / one) +
                           0.25 * static_cast<double>(*extent / l);
    const double cost = vectors + 1.5 * static_cast<double>(l == 1 ? *extent : *extent % l);
    if (*extent >= l && cost < best_cost) best = l, best_cost = cost;
  }
  return best;
}

uint32_t NestEmitter::max_recompute_weight() const {
  return block_.threads() != 0 ? kBlockRecomputeWeight : kMaxRecomputeWeight;
}

uint32_t NestEmitter::recompute_weight(uint32_t item) const {
  uint32_t weight = 0;
  std::vector<uint32_t> open{item};
  while (!open.empty() && weight <= max_recompute_weight()) {
    const Item& i = items_[open.back()];
    open.pop_back();
    if (!is_deep(i)) continue;
    weight += i.kind == ItemKind::kOp
                  ? schedule::op_weight(graph_.producer_node(i.value).op, i.dtype)
              : i.kind == ItemKind::kLoad && block_.threads() != 0 ? kBlockLoadWeight
                                                                   : 1;
    if (i.kind == ItemKind::kWrap || general_in_lanes(i.linear)) weight += 4;
    open.insert(open.end(), i.operands.begin(), i.operands.end());
  }
  return weight;
}

// Finds memory for `item` from the pass it is computed in to later ones.
bool NestEmitter::keep(uint32_t id) {
  if (kept_.contains(id)) return true;
  if (phase_ != kAllPasses) return false;
  const Item& item = items_[id];
  for (const auto& [v, out] : outputs_) {
    if (out != id) continue;
    const Linear at = place_of(v);
    if ((table_.axes(at) & reduced_mask_) == 0) continue;
    kept_[id] = {.output = v, .buffer = {}, .local = false, .at = at};
    return true;
  }
  if (item.dtype == DType::kBool) return false;
  // The row of an output that is written in the last pass, when all its readers are done.
  for (const auto& [v, out] : outputs_) {
    const Linear at = place_of(v);
    const bool whole = table_.axes(at) == (AxisMask{1} << loops_.size()) - 1;
    bool used = false;
    for (const auto& [other, k] : kept_) used = used || k.output == v;
    if (!whole || used || items_[out].dtype != item.dtype || items_[out].stage + 1 != num_passes_) {
      continue;
    }
    kept_[id] = {.output = v, .buffer = {}, .local = false, .at = at};
    return true;
  }
  // A row on the stack, or of a block.
  const bool block_row = block_.threads() != 0 && block_.across == 1;
  if (!lanes_reduced_ && !block_row) return false;
  DimId elements = dims_.constant(1);
  Linear at = table_.constant(0);
  for (uint32_t a = static_cast<uint32_t>(loops_.size()); a-- > 0;) {
    if (!reduced_[a]) continue;
    at = table_.add(at, table_.scale(table_.loop(a), elements));
    elements = dims_.mul(elements, loops_[a]);
  }
  int64_t bytes = 0;
  for (const auto& [other, k] : kept_) {
    if (k.local)
      bytes += b_.info(k.buffer).size * static_cast<int64_t>(byte_size(b_.info(k.buffer).dtype));
  }
  const auto n = dims_.constant_value(elements);
  if (!n || *n <= 0 || bytes + *n * static_cast<int64_t>(byte_size(item.dtype)) > kMaxLocalBytes) {
    return false;
  }
  kept_[id] = {.output = {},
               .buffer = block_row ? b_.shared(item.dtype, static_cast<uint32_t>(*n))
                                   : b_.local(item.dtype, static_cast<uint32_t>(*n)),
               .local = true,
               .at = at};
  return true;
}

void NestEmitter::need_operands(uint32_t item, std::vector<bool>* needed) const {
  const Item& i = items_[item];
  for (uint32_t o : i.operands) (*needed)[o] = true;
  std::vector<uint32_t> open;
  const auto need_terms = [&](const Linear& l) {
    for (const LinearTerm& t : l.terms) open.push_back(t.term);
  };
  if (i.linear.constant.valid()) need_terms(i.linear);
  for (const Guard& g : i.guards) need_terms(g.index);
  while (!open.empty()) {
    const IndexTerm& t = table_.term(open.back());
    open.pop_back();
    if (t.kind == TermKind::kItem) (*needed)[t.number] = true;
    need_terms(t.inner);
  }
}

// Whether pass `pass` finds in memory or in registers what an earlier one has computed.
bool NestEmitter::is_read_back(uint32_t item, uint32_t pass) const {
  if (num_pieces_ != 0) return first_pass_[item] < pass;
  return kept_.contains(item) && items_[item].stage < pass;
}

// The deep items that pass `pass` computes: what its sinks need, up to what earlier passes kept.
std::vector<bool> NestEmitter::needed_in_pass(uint32_t pass) const {
  std::vector<bool> needed(items_.size(), false);
  for (uint32_t r : reductions_) {
    if (items_[r].stage == pass + 1) needed[items_[r].operands[0]] = true;
  }
  for (const auto& [v, i] : outputs_) {
    if (items_[i].stage == pass) needed[i] = true;
  }
  for (const auto& [i, k] : kept_) {
    if (items_[i].stage == pass) needed[i] = true;
  }
  for (uint32_t i = static_cast<uint32_t>(items_.size()); i-- > 0;) {
    if (!needed[i]) continue;
    if (!is_deep(items_[i])) continue;  // has its value already
    if (is_read_back(i, pass)) continue;
    need_operands(i, &needed);
  }
  return needed;
}

void NestEmitter::count_passes() {
  num_passes_ = 0;
  if (reduced_mask_ == 0) return;
  for (uint32_t r : reductions_) num_passes_ = std::max(num_passes_, items_[r].stage);
  for (const auto& [v, i] : outputs_) {
    if (!is_of_row(v)) num_passes_ = std::max(num_passes_, items_[i].stage + 1);
  }
}

// What is kept in memory from pass to pass.
void NestEmitter::plan_passes() {
  for (uint32_t pass = 1; pass < num_passes_; ++pass) {
    const std::vector<bool> needed = needed_in_pass(pass);
    // From the sinks down: the first items of earlier passes met are the ones to keep.
    std::vector<bool> covered(items_.size(), false);
    for (uint32_t i = static_cast<uint32_t>(items_.size()); i-- > 0;) {
      if (!needed[i] || covered[i] || !is_deep(items_[i]) || items_[i].stage >= pass) continue;
      const bool done = kept_.contains(i) ||
                        (recompute_weight(i) > max_recompute_weight() && keep(i)) ||
                        recompute_weight(i) <= max_recompute_weight();
      if (!done) continue;
      for (uint32_t o : items_[i].operands) covered[o] = true;
      covered[i] = true;
    }
  }
}

// Of a pass: what it reduces and stores. Of the last phase: the other outputs.
void NestEmitter::find_items_of_phase() {
  in_phase_.assign(items_.size(), phase_ == kAllPasses);
  if (phase_ == kAllPasses) return;
  for (uint32_t r : reductions_) {
    if (static_cast<int>(items_[r].stage) == phase_ + 1) in_phase_[r] = true;
  }
  for (const auto& [v, i] : outputs_) {
    if (is_stored(v, i)) in_phase_[i] = true;
  }
  for (uint32_t i = static_cast<uint32_t>(items_.size()); i-- > 0;) {
    const bool joined = items_[i].kind == ItemKind::kReduce && joins(items_[i].stage - 1);
    if (in_phase_[i] && !joined) need_operands(i, &in_phase_);
  }
}

void NestEmitter::plan() {
  if (planned_) return;
  planned_ = true;
  build_outputs();
  count_passes();
  choose_levels();
  if (!spec_.target().cuda) lanes_ = choose_lanes();
  choose_columns();
  choose_parts();
  choose_pieces();
  if (num_pieces_ == 0) plan_passes();
  choose_tile();
  find_items_of_phase();
}

}  // namespace gcomp::lower
