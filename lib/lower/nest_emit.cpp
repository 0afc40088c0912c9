// Emitting a nest: loops from the outside in, each item at the outermost level it depends on.

#include <algorithm>
#include <set>

#include "gcomp/support/error.h"
#include "gcomp/support/hash.h"
#include "nest_emitter.h"

namespace gcomp::lower {

using kernel::Buffer;
using kernel::Value;
using kernel::Values;

namespace {

// Elements of one iteration of the parallel range when one loop is cut into blocks: a few KB, so that a
// block's outputs stay in L1 and the loop's overhead does not show.
constexpr int64_t kBlock = 2048;
// Work (in op_weight times vectors) that pays for waking another thread, some 10 us.
constexpr int64_t kGrainWork = 40000;
// What an extent that is not known counts as, for costs only.
constexpr int64_t kGuessedExtent = 256;

size_t hash_of(const Linear& l) {
  size_t h = l.constant.index;
  for (const LinearTerm& t : l.terms)
    h = hash_combine(hash_combine(h, t.term), t.coefficient.index);
  return h;
}

uint64_t literal_bits(const Constant& c) {
  uint64_t bits = 0;
  std::copy_n(c.bytes.begin(), byte_size(c.dtype), reinterpret_cast<std::byte*>(&bits));
  return bits;
}

}  // namespace

// ---- addresses

bool NestEmitter::general_in_lanes(const Linear& a) const {
  if (lane_axis_ < 0) return false;
  for (const LinearTerm& t : a.terms) {
    const IndexTerm& term = table_.term(t.term);
    if (term.kind != TermKind::kLoop && (term.axes >> lane_axis_ & 1) != 0) return true;
  }
  return false;
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as divisions stand in an index
Value NestEmitter::term_value(uint32_t t, int lanes) {
  const IndexTerm& term = table_.term(t);
  if (term.kind == TermKind::kLoop) return axis_value_[term.number];
  if (term.kind == TermKind::kItem) return values_[term.number];
  if (t >= term_values_.size()) term_values_.resize(table_.num_terms());
  if (term_values_[t].valid()) return term_values_[t];
  const bool varies = lane_axis_ >= 0 && (term.axes >> lane_axis_ & 1) != 0;
  const Value inner = varies && lanes > 1 ? lanes_of(term.inner, lanes) : base_of(term.inner);
  const Value divisor = spec_.dim(term.divisor);
  const Value v =
      term.kind == TermKind::kDiv ? b_.index_div(inner, divisor) : b_.index_rem(inner, divisor);
  term_values_[t] = v;
  level_terms_[static_cast<size_t>(level_)].push_back(t);
  return v;
}

// The part of `a` known at `level`: constants and terms of loops up to there, of lane 0.
// NOLINTNEXTLINE(misc-no-recursion): as deep as divisions stand in an index
Value NestEmitter::prefix(const Linear& a, int level) {
  std::vector<uint32_t>& bucket = address_ids_[hash_of(a)];
  uint32_t id = 0xffffffffu;
  for (uint32_t k : bucket) {
    if (addresses_[k].linear == a) id = k;
  }
  if (id == 0xffffffffu) {
    id = static_cast<uint32_t>(addresses_.size());
    addresses_.push_back({a, {}});
    bucket.push_back(id);
  }
  int done = -1;
  Value sum;
  if (!addresses_[id].prefix.empty()) {
    done = addresses_[id].prefix.back().first;
    sum = addresses_[id].prefix.back().second;
    if (done >= level) return sum;
  } else {
    sum = spec_.offset(a.constant);
  }
  for (int l = done + 1; l <= level; ++l) {
    for (const LinearTerm& t : a.terms) {
      const IndexTerm& term = table_.term(t.term);
      if (level_of(term.axes) != l) continue;
      const bool in_lanes = term.kind != TermKind::kLoop && current_lanes_ > 1 && lane_axis_ >= 0 &&
                            (term.axes >> lane_axis_ & 1) != 0;
      if (in_lanes) continue;
      sum = b_.add(sum, b_.mul(term_value(t.term, 1), spec_.dim(t.coefficient)));
    }
  }
  addresses_[id].prefix.push_back({level, sum});
  return sum;
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as divisions stand in an index
Value NestEmitter::base_of(const Linear& a) { return prefix(a, level_); }

// NOLINTNEXTLINE(misc-no-recursion): as deep as divisions stand in an index
Value NestEmitter::lanes_of(const Linear& a, int lanes) {
  Value v = b_.splat(base_of(a), lanes);
  if (lanes == 1) return v;
  const DimId c = table_.coefficient(a, static_cast<uint32_t>(lane_axis_));
  if (!dims_.is_constant(c, 0)) {
    v = b_.add(v, b_.mul(b_.iota(DType::kInt64, lanes), b_.splat(spec_.dim(c), lanes)));
  }
  for (const LinearTerm& t : a.terms) {
    const IndexTerm& term = table_.term(t.term);
    if (term.kind == TermKind::kLoop || (term.axes >> lane_axis_ & 1) == 0) continue;
    const Value scaled = b_.mul(b_.splat(term_value(t.term, lanes), lanes),
                                b_.splat(spec_.dim(t.coefficient), lanes));
    v = b_.add(v, scaled);
  }
  return v;
}

Value NestEmitter::guard_mask(const std::vector<Guard>& guards, int lanes) {
  Value mask;
  const auto both = [&](Value v) { mask = mask.valid() ? b_.bit_and(mask, v) : v; };
  for (const Guard& g : guards) {
    const bool varies = lanes > 1 && (table_.axes(g.index) >> lane_axis_ & 1) != 0;
    const Value i = varies ? lanes_of(g.index, lanes) : base_of(g.index);
    const int n = varies ? lanes : 1;
    both(b_.ge(i, b_.splat(b_.index(0), n)));
    both(b_.lt(i, b_.splat(spec_.dim(g.extent), n)));
  }
  return mask;
}

Value NestEmitter::emit_load(const Linear& at, const std::vector<Guard>& guards, Buffer buffer,
                             DType dtype, bool varies, int lanes) {
  if (!varies) lanes = 1;
  const Value mask = guards.empty() ? Value() : guard_mask(guards, lanes);
  const auto zero = [&](int n) { return b_.constant_bits({dtype, static_cast<uint16_t>(n)}, 0); };
  if (lanes == 1) {
    const Value base = base_of(at);
    return mask.valid() ? b_.masked_load(buffer, base, mask, zero(1)) : b_.load(buffer, base, 1);
  }
  const DimId step = table_.coefficient(at, static_cast<uint32_t>(lane_axis_));
  const bool general = general_in_lanes(at);
  if (!general && dims_.is_constant(step, 0)) {
    // Equal in all lanes but for the guards.
    const Value any = b_.any(b_.splat(mask, lanes));
    const Value x = b_.masked_load(buffer, base_of(at), any, zero(1));
    return b_.splat(x, lanes);
  }
  if (!general && dims_.is_constant(step, 1)) {
    const Value base = base_of(at);
    return mask.valid() ? b_.masked_load(buffer, base, b_.splat(mask, lanes), zero(lanes))
                        : b_.load(buffer, base, lanes);
  }
  if (!general && dims_.is_constant(step, -1) && !mask.valid()) {
    const Value x = b_.load(buffer, b_.sub(base_of(at), b_.index(lanes - 1)), lanes);
    std::vector<int> order;
    for (int l = lanes; l-- > 0;) order.push_back(l);
    return b_.shuffle(x, order);
  }
  const Value indices = lanes_of(at, lanes);
  if (!mask.valid()) return b_.gather(buffer, indices);
  // Lanes that are off read what a lane that is on may read, so that nothing outside is touched.
  const Value wide = b_.splat(mask, lanes);
  const Value off =
      b_.constant_bits({DType::kInt64, static_cast<uint16_t>(lanes)}, 0x7fffffffffffffff);
  const Value some = b_.reduce(Op::min, b_.where(wide, indices, off));
  const Values r = b_.if_else(
      b_.any(wide),
      [&] {
        const Value safe = b_.where(wide, indices, b_.splat(some, lanes));
        return Values{b_.where(wide, b_.gather(buffer, safe), zero(lanes))};
      },
      [&] { return Values{zero(lanes)}; });
  return r[0];
}

void NestEmitter::emit_store(const Linear& at, Buffer buffer, Value v, int lanes) {
  if (lanes == 1) {
    b_.store(buffer, base_of(at), v);
    return;
  }
  v = b_.splat(v, lanes);
  const DimId step = table_.coefficient(at, static_cast<uint32_t>(lane_axis_));
  if (!general_in_lanes(at) && dims_.is_constant(step, 1)) {
    b_.store(buffer, base_of(at), v);
  } else {
    b_.scatter(buffer, lanes_of(at, lanes), v);
  }
}

// ---- items

void NestEmitter::set_value(uint32_t item, int level, Value v) {
  values_[item] = v;
  level_log_[static_cast<size_t>(level)].push_back(item);
}

void NestEmitter::emit_item(uint32_t id, int lanes) {
  const Item& item = items_[id];
  const bool varies = lane_axis_ >= 0 && (item.axes >> lane_axis_ & 1) != 0;
  const int n = varies ? lanes : 1;
  Value v;
  switch (item.kind) {
    case ItemKind::kLoad:
      v = emit_load(item.linear, item.guards, spec_.input(groups_.storage[item.value.index]),
                    item.dtype, varies, n);
      break;
    case ItemKind::kLiteral:
      v = spec_.literal(item.dtype, literal_bits(*graph_.constant(item.value)));
      break;
    case ItemKind::kIndex: v = b_.cast(lanes_of(item.linear, n), item.dtype); break;
    case ItemKind::kDims: {
      const Node& node = graph_.producer_node(item.value);
      const auto& list = graph_.attrs(node).dims(AttrKey::values);
      const Value i = lanes_of(item.linear, n);
      v = b_.splat(list.empty() ? b_.index(0) : spec_.dim(list.back()), n);
      for (size_t k = list.size(); k-- > 1;) {
        const Value here = b_.splat(b_.index(static_cast<int64_t>(k) - 1), n);
        v = b_.where(b_.eq(i, here), b_.splat(spec_.dim(list[k - 1]), n), v);
      }
      break;
    }
    case ItemKind::kOp: {
      const Node& node = graph_.producer_node(item.value);
      std::vector<Value> args;
      for (uint32_t o : item.operands) args.push_back(values_[o]);
      v = node.op == Op::cast ? b_.cast(args[0], item.dtype) : b_.op(node.op, args);
      break;
    }
    case ItemKind::kSelect: {
      const Value mask = guard_mask(item.guards, n);
      const Value x = values_[item.operands[0]], y = values_[item.operands[1]];
      v = b_.where(b_.splat(mask, n), b_.splat(x, n), b_.splat(y, n));
      break;
    }
    case ItemKind::kWrap: {
      const Value extent = b_.splat(spec_.dim(item.extent), n);
      const Value zero = b_.splat(b_.index(0), n);
      const Value raw = b_.splat(b_.cast(values_[item.operands[0]], DType::kInt64), n);
      const Value i = b_.where(b_.lt(raw, zero), b_.add(raw, extent), raw);
      Value bad = b_.bit_or(b_.lt(i, zero), b_.ge(i, extent));
      v = b_.where(bad, zero, i);
      if (!item.guards.empty()) bad = b_.bit_and(bad, b_.splat(guard_mask(item.guards, n), n));
      const Node& node = graph_.producer_node(item.value);
      spec_.fail_if(b_.any(bad), std::string(name(node.op)) + ": index out of range at " +
                                     graph_.context().locs[node.loc]);
      break;
    }
    case ItemKind::kReduce:
    case ItemKind::kGiven: GCOMP_CHECK(false, "nest: value used before it is known");
  }
  set_value(id, level_, v);
}

void NestEmitter::emit_items(int level, const std::vector<bool>& needed, int lanes) {
  for (uint32_t i = 0; i < items_.size(); ++i) {
    if (!needed[i] || values_[i].valid() || level_of(items_[i].axes) > level) continue;
    if (items_[i].kind == ItemKind::kReduce || items_[i].kind == ItemKind::kGiven) continue;
    emit_item(i, lanes);
  }
}

// The loops of `level` have their values: addresses used further in take what they can here.
void NestEmitter::open_level(int level, const std::vector<bool>& needed) {
  level_ = level;
  for (uint32_t i = 0; i < items_.size(); ++i) {
    if (!needed[i] || values_[i].valid() || level_of(items_[i].axes) <= level) continue;
    const auto hoist = [&](const Linear& l) {
      // A term that is an item computed later cannot be taken yet.
      for (const LinearTerm& t : l.terms) {
        const IndexTerm& term = table_.term(t.term);
        if (term.kind != TermKind::kLoop && level_of(term.axes) <= level) return;
      }
      if (level_of(table_.axes(l)) > level) prefix(l, level);
    };
    if (items_[i].linear.constant.valid() && !kept_.contains(i)) hoist(items_[i].linear);
    for (const Guard& g : items_[i].guards) hoist(g.index);
  }
}

void NestEmitter::close_level(int level) {
  for (uint32_t i : level_log_[static_cast<size_t>(level)]) values_[i] = Value();
  level_log_[static_cast<size_t>(level)].clear();
  for (uint32_t t : level_terms_[static_cast<size_t>(level)]) term_values_[t] = Value();
  level_terms_[static_cast<size_t>(level)].clear();
  for (Address& a : addresses_) {
    while (!a.prefix.empty() && a.prefix.back().first >= level) a.prefix.pop_back();
  }
  level_ = level - 1;
}

// ---- rows

// Values of the loops of `level` in their iteration `p`; the last loop varies fastest.
void NestEmitter::decode(int level, Value p) {
  std::vector<uint32_t> axes;
  for (uint32_t a = 0; a < loops_.size(); ++a) {
    if (axis_level_[a] == level) axes.push_back(a);
  }
  for (size_t k = axes.size(); k-- > 0;) {
    if (k == 0) {
      axis_value_[axes[k]] = p;
      break;
    }
    const Value extent = spec_.dim(loops_[axes[k]]);
    axis_value_[axes[k]] = b_.index_rem(p, extent);
    p = b_.index_div(p, extent);
  }
}

void NestEmitter::emit_row(int row_lanes) {
  // Row items that need no pass are there; each pass makes those that need its reductions.
  std::vector<bool> row_items(items_.size(), false);
  for (uint32_t pass = 0; pass < num_passes_; ++pass) {
    emit_pass(pass, row_lanes);
    if (phase_ == static_cast<int>(pass)) return;
    for (uint32_t i = 0; i < items_.size(); ++i) {
      row_items[i] = in_phase_[i] && !is_deep(items_[i]) && items_[i].stage <= pass + 1;
    }
    emit_items(row_level_, row_items, row_lanes);
  }
  for (const auto& [v, i] : outputs_) {
    if (is_of_row(v)) store_of_row(place_of(v), spec_.output(v), values_[i], row_lanes);
  }
}

void NestEmitter::store_of_row(const Linear& at, Buffer buffer, Value v, int lanes) {
  if (block_.threads() == 0) return emit_store(at, buffer, v, lanes);
  base_of(at);  // known outside the branch too
  by_first_thread([&] { emit_store(at, buffer, v, lanes); });
}

// Whether this kernel stores output `v`, item `i`.
bool NestEmitter::is_stored(ValueId v, uint32_t i) {
  if (phase_ == kAllPasses) return true;
  return is_part() ? !is_of_row(v) && static_cast<int>(items_[i].stage) == phase_ : is_of_row(v);
}

// The first pass that writes to the memory of `output`: itself, or an item kept there.
uint32_t NestEmitter::first_store(ValueId output, uint32_t item) const {
  uint32_t first = items_[item].stage;
  for (const auto& [i, k] : kept_) {
    if (!k.local && k.output == output) first = std::min(first, items_[i].stage);
  }
  return first;
}

// Each iteration (a vector's lanes together) loads before it stores, and an output's index is another one in
// each iteration. So what is read at that very index only is read before it is written, unless a later
// pass reads it again.
std::vector<std::pair<ValueId, ValueId>> NestEmitter::overwrites() {
  std::vector<uint32_t> last_load(items_.size(), 0);
  for (uint32_t pass = 0; pass < num_passes_; ++pass) {
    const std::vector<bool> needed = needed_in_pass(pass);
    for (uint32_t i = 0; i < items_.size(); ++i) {
      if (needed[i] && is_deep(items_[i])) last_load[i] = pass;
    }
  }
  std::vector<std::pair<ValueId, ValueId>> found;
  for (const auto& [v, out] : outputs_) {
    if (!is_stored(v, out)) continue;
    const Linear at = place_of(v);
    const uint32_t stored = first_store(v, out);
    std::map<ValueId, bool> safe;  // storage roots that are read
    std::set<ValueId> here;        // by this kernel
    for (uint32_t i = 0; i < items_.size(); ++i) {
      const Item& item = items_[i];
      if (item.kind != ItemKind::kLoad) continue;
      const bool same = item.linear == at && item.guards.empty() && last_load[i] <= stored &&
                        byte_size(item.dtype) == byte_size(graph_.type(v).dtype);
      const auto [it, first] = safe.try_emplace(groups_.storage[item.value.index], same);
      it->second = it->second && same;
      if (in_phase_[i]) here.insert(it->first);
    }
    for (const auto& [root, is_safe] : safe) {
      if (is_safe && here.contains(root)) found.emplace_back(v, root);
    }
  }
  return found;
}

void NestEmitter::for_vectors(const Vectors& range, const VectorBody& body) {
  if (lanes_ > 1) {
    b_.for_loop(range.lo, range.middle, b_.index(lanes_), [&](Value i) { body(i, lanes_); });
  }
  if (lanes_ > 1 && !range.has_rest) return;
  const Value rest = lanes_ == 1 ? range.lo : range.middle;
  b_.for_loop(rest, range.hi, b_.index(1), [&](Value i) { body(i, 1); });
}

// The iteration of the vectorised loop from `i` on.
void NestEmitter::in_vector(Value i, int lanes, const std::vector<bool>& early,
                            const std::function<void()>& body) {
  axis_value_[static_cast<size_t>(lane_axis_)] = i;
  current_lanes_ = lanes;
  open_level(2, early);
  emit_items(2, early, lanes);
  body();
  close_level(2);
  current_lanes_ = 1;
}

// An iteration is lanes_ neighbours, or those that the last loop has left.
std::pair<DimId, uint32_t> NestEmitter::emit_accesses(const std::vector<bool>& early) {
  const auto lane = static_cast<uint32_t>(lane_axis_);
  const DimId extent = loops_[lane];
  const DimId pieces = dims_.ceil_div(extent, dims_.constant(lanes_));
  DimId rows = dims_.constant(1);
  for (uint32_t a = 0; a < lane; ++a) rows = dims_.mul(rows, loops_[a]);
  const auto known = dims_.constant_value(extent);
  const auto body = [&](Value i, int lanes) {
    in_vector(i, lanes, early, [&] { emit_row(lanes); });
  };
  b_.for_loop(b_.range_begin(), b_.range_end(), b_.index(1), [&](Value p) {
    Value number = p;
    if (!dims_.is_constant(rows, 1)) {
      number = b_.index_rem(p, spec_.dim(pieces));
      p = b_.index_div(p, spec_.dim(pieces));
    }
    const Value first = b_.mul(number, b_.index(lanes_));
    decode(1, p);
    open_level(1, early);
    emit_items(1, early, 1);
    if (known && *known % lanes_ == 0) {
      body(first, lanes_);
    } else {
      const Value end = spec_.dim(extent);
      const auto whole = [&] { return body(first, lanes_), Values(); };
      const auto rest = [&] {
        b_.for_loop(first, end, b_.index(1), [&](Value i) { body(i, 1); });
        return Values();
      };
      b_.if_else(b_.le(b_.add(first, b_.index(lanes_)), end), whole, rest);
    }
    close_level(1);
  });
  return {dims_.mul(rows, pieces), 1};
}

std::pair<DimId, uint32_t> NestEmitter::emit() {
  plan();
  values_.assign(items_.size(), Value());
  axis_value_.assign(loops_.size(), Value());
  term_values_.assign(table_.num_terms(), Value());
  for (uint32_t i = 0; i < items_.size(); ++i) {
    if (items_[i].kind == ItemKind::kLoad && in_phase_[i]) {
      spec_.input(groups_.storage[items_[i].value.index]);
    }
  }
  for (const auto& [v, i] : outputs_) {
    if (is_stored(v, i)) spec_.output(v);
  }

  std::vector<bool> early(items_.size(), false);  // rows' items that need no reduction
  for (uint32_t i = 0; i < items_.size(); ++i) {
    early[i] = in_phase_[i] && !is_deep(items_[i]) && items_[i].stage == 0;
  }
  if (block_.threads() != 0) begin_block();
  if (!tiled_.empty()) begin_square();
  open_level(0, early);
  emit_items(0, early, 1);
  if (block_.threads() != 0) return emit_tiles(early);
  if (!tiled_.empty()) return emit_squares(early);
  if (spec_.target().cuda && lane_axis_ >= 0) return emit_accesses(early);

  DimId rows = dims_.constant(1);
  int64_t row_elements = 1;
  for (uint32_t a = 0; a < loops_.size(); ++a) {
    if (axis_level_[a] == 1) {
      rows = dims_.mul(rows, loops_[a]);
    } else {
      row_elements *=
          std::max<int64_t>(1, dims_.constant_value(loops_[a]).value_or(kGuessedExtent));
    }
  }
  const auto grain_of = [&](int64_t elements) {
    const int64_t work = std::max<int64_t>(1, elements * total_weight() / std::max(1, lanes_));
    return static_cast<uint32_t>(std::clamp<int64_t>(kGrainWork / work, 1, 1 << 30));
  };
  if (lane_axis_ < 0 || lanes_reduced_) {
    if (loops_.empty()) {
      emit_row(1);
      return {rows, 0};
    }
    b_.for_loop(b_.range_begin(), b_.range_end(), b_.index(1), [&](Value p) {
      decode(1, p);
      open_level(1, early);
      emit_items(1, early, 1);
      emit_row(1);
      close_level(1);
    });
    return {rows, grain_of(row_elements)};
  }

  // The vectorised loop is not reduced: cut into blocks, which are the fastest part of the range.
  const auto lane = static_cast<uint32_t>(lane_axis_);
  const DimId extent = loops_[lane];
  const auto known = dims_.constant_value(extent);
  int64_t inner = 1;  // elements of the reduced loops for each lane
  for (uint32_t a : reduced_outer_)
    inner *= dims_.constant_value(loops_[a]).value_or(kGuessedExtent);
  int64_t block = std::max<int64_t>(lanes_, kBlock / std::max<int64_t>(1, inner) / lanes_ * lanes_);
  if (columns_ != 0) block = columns_;
  const bool one_block = known && *known <= block;
  if (one_block) block = *known;
  const DimId blocks =
      one_block ? dims_.constant(1) : dims_.ceil_div(extent, dims_.constant(block));
  b_.for_loop(b_.range_begin(), b_.range_end(), b_.index(1), [&](Value p) {
    Value lo = b_.index(0), hi = spec_.dim(extent);
    if (!one_block) {
      Value number = p;
      if (!dims_.is_constant(rows, 1)) {
        number = b_.index_rem(p, spec_.dim(blocks));
        p = b_.index_div(p, spec_.dim(blocks));
      }
      lo = b_.mul(number, b_.index(block));
      hi = b_.min(b_.add(lo, b_.index(block)), hi);
    }
    decode(1, p);
    open_level(1, early);
    emit_items(1, early, 1);
    const Value whole = one_block && spec_.target().static_extents
                            ? b_.index(block / lanes_ * lanes_)
                            : b_.add(lo, b_.bit_and(b_.sub(hi, lo), b_.index(-lanes_)));
    const bool has_rest = !(spec_.target().static_extents && known && *known % lanes_ == 0);
    const Vectors range{lo, has_rest ? whole : hi, hi, has_rest};
    if (columns_ != 0) sum_columns(range, early);
    for_vectors(range,
                [&](Value i, int lanes) { in_vector(i, lanes, early, [&] { emit_row(lanes); }); });
    close_level(1);
  });
  int64_t elements = std::max<int64_t>(1, inner);
  elements *= known ? std::min(*known, block) : block;
  return {dims_.mul(rows, blocks), grain_of(elements)};
}

}  // namespace gcomp::lower
