// What is kept, always:
//   - a slot is in the list of readers of its value, a view in that of the value it shares memory with,
//     and `storage` is the end of the chain of view_of;
//   - num_protected of a storage counts its protected values;
//   - destroyer of a storage is a result whose `overwrites` is in it.
// What is kept except where a change is recorded (changed_slots_, changed_results_):
//   - a slot has a data edge from its value's producer to its node;
//   - a slot of another node than the destroyer of its value's storage has an ordering edge to that;
//   - a result that overwrites a value is the destroyer of its storage.
// Edges that a change makes void are removed at once, which is always safe; edges it demands are added
// by validate(), from the tables as they are then: a record says where to look, not what to find.

#include "gcomp/schedule/schedule.h"

#include <algorithm>
#include <numeric>

#include "gcomp/support/error.h"

namespace gcomp::schedule {

using Verdict = IncrementalOrder::Verdict;

std::string_view name(Refusal r) {
  constexpr std::string_view kNames[kNumRefusals] = {
      "accepted", "protected", "destroyed", "taken", "aliased", "read later", "cycle", "budget"};
  return kNames[static_cast<size_t>(r)];
}

std::string_view reason(Refusal r) {
  constexpr std::string_view kReasons[kNumRefusals] = {
      "it is overwritten",
      "it is a constant, an input that is not donated or an output",
      "another result is written over its memory",
      "the result is written over another operand",
      "the node reads its memory through another operand too",
      "it is read later in the order",
      "one of its readers needs the result",
      "whether its readers can come first was not decided within the visits allowed",
  };
  return kReasons[static_cast<size_t>(r)];
}

namespace {

// Room for copies, so that no edit pays for moving everything; memory that is not used costs nothing.
size_t with_room(size_t n) { return n + n / 2 + 64; }

}  // namespace

Schedule::Schedule(ScheduleTables tables) : tables_(std::move(tables)) {
  add_values();
  add_slots();
  add_edges();
  // What is kept in another form.
  tables_.first_operand = {};
  tables_.operands = {};
  tables_.producer = tables_.first_operand;
  tables_.view_of = tables_.operands;
  tables_.protection = {};
}

void Schedule::add_values() {
  nodes_.reserve(with_room(tables_.num_nodes()));
  values_.reserve(with_room(tables_.num_values()));
  tables_.bytes.reserve(with_room(tables_.num_values()));
  nodes_.resize(tables_.num_nodes(), {0, 0, ValueId()});
  values_.resize(tables_.num_values());
  GCOMP_CHECK(tables_.view_of.size() == values_.size() && tables_.bytes.size() == values_.size() &&
                  tables_.protection.size() == values_.size(),
              "a table of values has another size");
  for (size_t i = values_.size(); i-- > 0;) {
    ValueInfo& v = values_[i];
    v.producer = tables_.producer[i];
    v.view_of = tables_.view_of[i];
    v.protection = tables_.protection[i];
    if (v.producer == kNoNode) continue;
    GCOMP_CHECK(v.producer < nodes_.size(), "a value is made by a node that is not there");
    v.next_result = nodes_[v.producer].first_result;
    nodes_[v.producer].first_result = ValueId(i);
  }
  for (size_t i = values_.size(); i-- > 0;) {
    if (values_[i].view_of.valid()) link_view(ValueId(i));
  }
  for (size_t i = 0; i < values_.size(); ++i) {
    if (values_[i].view_of.valid()) continue;
    const ValueId root(i);
    for (ValueId v = root; v.valid(); v = next_in_storage(v, root)) {
      at(v).storage = root;
      at(root).num_protected += at(v).protection != Protection::kNone;
    }
  }
  std::vector<Candidate>& candidates = tables_.candidates;
  const auto less = [](const Candidate& a, const Candidate& b) { return a.result < b.result; };
  if (!std::is_sorted(candidates.begin(), candidates.end(), less)) {
    std::stable_sort(candidates.begin(), candidates.end(), less);
  }
  for (size_t i = candidates.size(); i-- > 0;) {
    at(candidates[i].result).first_candidate = static_cast<uint32_t>(i);
  }
}

void Schedule::add_slots() {
  slots_.reserve(with_room(tables_.operands.size()));
  for (uint32_t n = 0; n < nodes_.size(); ++n) {
    const auto operands = tables_.operands_of(n);
    nodes_[n].first_slot = static_cast<uint32_t>(slots_.size());
    nodes_[n].num_slots = static_cast<uint32_t>(operands.size());
    for (ValueId v : operands) {
      slots_.push_back({v, n, kNone, kNone});
      link_reader(static_cast<uint32_t>(slots_.size() - 1));  // the last reader first
    }
  }
  for (ValueInfo& v : values_) {
    if (!v.view_of.valid() || v.producer == kNoNode) continue;
    const NodeInfo& node = nodes_[v.producer];
    for (uint32_t s = node.first_slot + node.num_slots; s-- > node.first_slot;) {
      if (slots_[s].value == v.view_of) v.view_slot = s;
    }
  }
  for (const Candidate& c : tables_.candidates) {
    const uint32_t node = producer(c.result);
    GCOMP_CHECK(node != kNoNode && storage(c.result) != storage(c.operand),
                "a result that is not made, or a view, is to overwrite an operand");
    const bool reads = std::ranges::any_of(
        slots_of(node), [&](const Slot& s) { return storage(s.value) == storage(c.operand); });
    GCOMP_CHECK(reads || producer(storage(c.operand)) == kNoNode,
                "a result is to overwrite what its node does not read");
  }
}

void Schedule::add_edges() {
  std::vector<uint32_t> ids(nodes_.size());
  std::iota(ids.begin(), ids.end(), 0u);
  order_ = IncrementalOrder(ids);
  order_.reserve(with_room(nodes_.size()), 2 * with_room(slots_.size()));
  uint32_t visits = IncrementalOrder::kUnlimited;
  for (const auto& [first, second] : tables_.before) {
    GCOMP_CHECK(order_.add_edge(first, second, &visits) == Verdict::kAccepted,
                "the schedule has a cycle");
  }
  for (uint32_t s = 0; s < slots_.size(); ++s) {
    GCOMP_CHECK(derive_data_edge(s, &visits) == Refusal::kNone, "the schedule has a cycle");
  }
}

InplacePlan Schedule::plan() const {
  InplacePlan plan{order(), std::vector<ValueId>(values_.size())};
  for (size_t i = 0; i < values_.size(); ++i) plan.overwrites[i] = values_[i].overwrites;
  return plan;
}

ScheduleTables Schedule::tables() const {
  ScheduleTables t = tables_;
  t.first_operand.assign(1, 0);
  for (uint32_t n = 0; n < nodes_.size(); ++n) {
    for (const Slot& s : slots_of(n)) t.operands.push_back(s.value);
    t.first_operand.push_back(static_cast<uint32_t>(t.operands.size()));
  }
  for (const ValueInfo& v : values_) {
    t.producer.push_back(v.producer);
    t.view_of.push_back(v.view_of);
    t.protection.push_back(v.protection);
  }
  return t;
}

// --- lists ---

// The values of a storage: `root` and its views, parents first.
ValueId Schedule::next_in_storage(ValueId v, ValueId root) const {
  if (at(v).first_view.valid()) return at(v).first_view;
  while (v != root && !at(v).next_view.valid()) v = at(v).view_of;
  return v == root ? ValueId() : at(v).next_view;
}

// Calls f(slot) for each slot that reads `root` or a view of it, until f is false.
template <class F>
bool Schedule::for_each_reader(ValueId root, F f) {
  for (ValueId v = root; v.valid(); v = next_in_storage(v, root)) {
    for (uint32_t s = at(v).first_reader, next; s != kNone; s = next) {
      next = slots_[s].next;
      if (!f(s)) return false;
    }
  }
  return true;
}

void Schedule::link_reader(uint32_t slot) {
  Slot& s = slots_[slot];
  uint32_t& first = at(s.value).first_reader;
  s.previous = kNone;
  s.next = first;
  if (first != kNone) slots_[first].previous = slot;
  first = slot;
}

void Schedule::unlink_reader(uint32_t slot) {
  const Slot& s = slots_[slot];
  (s.previous == kNone ? at(s.value).first_reader : slots_[s.previous].next) = s.next;
  if (s.next != kNone) slots_[s.next].previous = s.previous;
}

void Schedule::link_view(ValueId v) {
  ValueInfo& view = at(v);
  ValueId& first = at(view.view_of).first_view;
  view.previous_view = ValueId();
  view.next_view = first;
  if (first.valid()) at(first).previous_view = v;
  first = v;
}

void Schedule::unlink_view(ValueId v) {
  const ValueInfo& view = at(v);
  (view.previous_view.valid() ? at(view.previous_view).next_view : at(view.view_of).first_view) =
      view.next_view;
  if (view.next_view.valid()) at(view.next_view).previous_view = view.previous_view;
}

void Schedule::remove_edge(uint32_t* edge) {
  if (*edge != kNone) order_.remove_edge(*edge);
  *edge = kNone;
}

bool Schedule::reads_elsewhere(uint32_t node, ValueId v, uint32_t slot) const {
  const uint32_t first = nodes_[node].first_slot;
  for (uint32_t s = first; s < first + nodes_[node].num_slots; ++s) {
    if (s != slot && slots_[s].value == v) return true;
  }
  return false;
}

// A view of a view of itself is a loop that the data edges tell of.
bool Schedule::is_view_of(ValueId v, ValueId of) const {
  while (v.valid() && v != of) v = at(v).view_of;
  return v.valid();
}

// Whether the node of `result` reads the memory of `operand` through another operand, at elements other
// than those it writes.
bool Schedule::is_aliased(ValueId result, ValueId operand) const {
  const ValueId root = storage(operand);
  size_t others = 0, own = 0;
  for (const Slot& s : slots_of(producer(result))) {
    if (storage(s.value) == root) ++(s.value == operand ? own : others);
  }
  if (others == 0 && own <= 1) return false;
  const std::vector<Candidate>& all = tables_.candidates;
  for (size_t i = at(result).first_candidate; i < all.size() && all[i].result == result; ++i) {
    if (all[i].operand == operand && !all[i].same_index) return true;
  }
  return false;
}

bool Schedule::is_candidate(ValueId result, ValueId operand) const {
  const std::vector<Candidate>& all = tables_.candidates;
  for (size_t i = at(result).first_candidate; i < all.size() && all[i].result == result; ++i) {
    if (all[i].operand == operand) return true;
  }
  return false;
}

// --- edits ---

void Schedule::log(Undo::Kind kind, uint32_t what, ValueId old) {
  if (!undoing_) undo_.push_back({kind, what, old});
}

void Schedule::set_input(uint32_t slot, ValueId v) {
  log(Undo::Kind::kInput, slot, slots_[slot].value);
  remove_edge(&slots_[slot].data_edge);
  remove_edge(&slots_[slot].order_edge);
  unlink_reader(slot);
  slots_[slot].value = v;
  link_reader(slot);
  on_change_input(slot);
}

void Schedule::set_overwrites(ValueId result, ValueId operand) {
  const ValueId old = at(result).overwrites;
  log(Undo::Kind::kOverwrites, result.index, old);
  if (old.valid()) release(result, old);
  at(result).overwrites = operand;
  if (operand.valid()) changed_results_.push_back(result);
}

void Schedule::set_view(ValueId v, ValueId of) {
  log(Undo::Kind::kView, v.index, at(v).view_of);
  const ValueId from = storage(v), to = storage(of);
  const ValueId destroyer = at(from).destroyer;
  for (ValueId m = v; m.valid(); m = next_in_storage(m, v)) {
    if (!destroyer.valid() || at(destroyer).overwrites != m) continue;
    release(destroyer, m);
    changed_results_.push_back(destroyer);
    break;
  }
  for_each_reader(v, [&](uint32_t slot) {
    remove_edge(&slots_[slot].order_edge);
    changed_slots_.push_back(slot);
    return true;
  });
  for (ValueId m = v; m.valid(); m = next_in_storage(m, v)) {
    const bool is_protected = at(m).protection != Protection::kNone;
    at(from).num_protected -= is_protected;
    at(to).num_protected += is_protected;
    at(m).storage = to;
  }
  unlink_view(v);
  at(v).view_of = of;
  link_view(v);
  // If this brings a protected value, that is found there.
  if (at(to).destroyer.valid()) changed_results_.push_back(at(to).destroyer);
}

void Schedule::set_candidate(uint32_t index, ValueId operand) {
  log(Undo::Kind::kCandidate, index, tables_.candidates[index].operand);
  tables_.candidates[index].operand = operand;
}

void Schedule::change_input(uint32_t node, uint32_t index, ValueId v) {
  const uint32_t slot = nodes_[node].first_slot + index;
  const ValueId old = slots_[slot].value;
  if (old == v) return;
  set_input(slot, v);
  for (ValueId r = nodes_[node].first_result; r.valid(); r = at(r).next_result) {
    if (at(r).view_slot == slot && !is_view_of(v, r)) set_view(r, v);
  }
  if (reads_elsewhere(node, old, slot)) return;
  for (ValueId r = nodes_[node].first_result; r.valid(); r = at(r).next_result) {
    const std::vector<Candidate>& all = tables_.candidates;
    for (uint32_t i = at(r).first_candidate; i < all.size() && all[i].result == r; ++i) {
      if (all[i].operand == old) set_candidate(i, v);
    }
    if (at(r).overwrites == old) set_overwrites(r, v);
  }
}

ValueId Schedule::insert_copy(ValueId v, std::span<const uint32_t> readers) {
  const auto node = static_cast<uint32_t>(nodes_.size());
  const ValueId copy(values_.size());
  nodes_.push_back({static_cast<uint32_t>(slots_.size()), 1, copy});
  values_.emplace_back();
  at(copy).producer = node;
  at(copy).storage = copy;
  tables_.bytes.push_back(tables_.bytes[v.index]);
  slots_.push_back({v, node, kNone, kNone});
  link_reader(nodes_[node].first_slot);
  // It takes its place in the order among those that read it, and before `v` is overwritten.
  scratch_.assign(readers.begin(), readers.end());
  const ValueId destroyer = at(storage(v)).destroyer;
  if (destroyer.valid()) scratch_.push_back(producer(destroyer));
  const uint32_t from = producer(v);
  order_.insert({&from, from == kNoNode ? 0u : 1u}, scratch_);
  log(Undo::Kind::kImport, node, ValueId());
  on_import(node);
  for (uint32_t n : readers) {
    for (uint32_t i = 0; i < nodes_[n].num_slots; ++i) {
      if (slots_[nodes_[n].first_slot + i].value == v) change_input(n, i, copy);
    }
  }
  return copy;
}

void Schedule::forget_newest() {
  const NodeInfo node = nodes_.back();
  GCOMP_CHECK(at(node.first_result).first_reader == kNone, "a copy is forgotten that is read");
  for (uint32_t i = 0; i < node.num_slots; ++i) {
    const auto slot = static_cast<uint32_t>(slots_.size() - 1);
    remove_edge(&slots_[slot].data_edge);
    remove_edge(&slots_[slot].order_edge);
    unlink_reader(slot);
    slots_.pop_back();
  }
  values_.pop_back();
  tables_.bytes.pop_back();
  nodes_.pop_back();
  order_.pop_node();
}

void Schedule::add_inplace(ValueId result, ValueId operand) {
  GCOMP_CHECK(is_candidate(result, operand), "a result is to overwrite what it cannot");
  set_overwrites(result, operand);
}

void Schedule::remove_inplace(ValueId result) { set_overwrites(result, ValueId()); }

void Schedule::rollback(size_t mark) {
  undoing_ = true;
  for (; undo_.size() > mark; undo_.pop_back()) {
    const Undo& u = undo_.back();
    switch (u.kind) {
      case Undo::Kind::kImport: forget_newest(); break;
      case Undo::Kind::kInput: set_input(u.what, u.old); break;
      case Undo::Kind::kOverwrites: set_overwrites(ValueId(u.what), u.old); break;
      case Undo::Kind::kView: set_view(ValueId(u.what), u.old); break;
      case Undo::Kind::kCandidate: set_candidate(u.what, u.old); break;
    }
  }
  undoing_ = false;
  uint32_t visits = IncrementalOrder::kUnlimited;
  GCOMP_CHECK(check_changes(&visits) == Refusal::kNone, "a schedule taken back is not valid");
}

// --- validation ---

void Schedule::on_import(uint32_t node) {
  for (uint32_t i = 0; i < nodes_[node].num_slots; ++i) {
    on_change_input(nodes_[node].first_slot + i);
  }
}

// The slot's own edges are to be derived, and who destroys what it reads now must come after it: not
// the changed node alone is looked at, but the destroyer of the value that gains a reader.
void Schedule::on_change_input(uint32_t slot) { changed_slots_.push_back(slot); }

Refusal Schedule::refusal(Verdict verdict, uint32_t from) {
  if (verdict == Verdict::kAccepted) return Refusal::kNone;
  if (verdict == Verdict::kUnknown) return Refusal::kBudget;
  loop_.assign(1, from);
  loop_.insert(loop_.end(), order_.cycle().begin(), order_.cycle().end());
  return Refusal::kCycle;
}

Refusal Schedule::derive_data_edge(uint32_t slot, uint32_t* visits) {
  Slot& s = slots_[slot];
  const uint32_t from = producer(s.value);
  if (from == kNoNode || s.data_edge != kNone) return Refusal::kNone;
  return refusal(order_.add_edge(from, s.node, visits, &s.data_edge), from);
}

Refusal Schedule::derive_order_edge(uint32_t slot, uint32_t* visits) {
  Slot& s = slots_[slot];
  const ValueId result = at(storage(s.value)).destroyer;
  if (!result.valid()) return Refusal::kNone;
  const uint32_t to = producer(result);
  if (to == s.node) {
    return is_aliased(result, overwrites(result)) ? Refusal::kAliased : Refusal::kNone;
  }
  if (s.order_edge != kNone) return Refusal::kNone;
  return refusal(order_.add_edge(s.node, to, visits, &s.order_edge), s.node);
}

// Makes `result` the destroyer of the storage of `operand`, with all ordering edges; or changes nothing.
Refusal Schedule::establish(ValueId result, ValueId operand, uint32_t* visits) {
  const ValueId root = storage(operand);
  ValueInfo& s = at(root);
  if (s.num_protected > 0) return Refusal::kProtected;
  if (s.destroyer.valid() && s.destroyer != result) return Refusal::kDestroyed;
  if (is_aliased(result, operand)) return Refusal::kAliased;
  if (s.destroyer == result) return Refusal::kNone;  // new readers are changed slots
  const uint32_t to = producer(result);
  Refusal why = Refusal::kNone;
  uint32_t failed = kNone;
  for_each_reader(root, [&](uint32_t slot) {
    const uint32_t from = slots_[slot].node;
    if (from == to) return true;
    if (visits || order_.is_before(from, to)) {
      uint32_t none = 0;
      why = refusal(order_.add_edge(from, to, visits ? visits : &none, &slots_[slot].order_edge),
                    from);
    } else {
      why = Refusal::kReadLater;
    }
    if (why != Refusal::kNone) failed = slot;
    return why == Refusal::kNone;
  });
  if (why == Refusal::kNone) {
    s.destroyer = result;
    return why;
  }
  for_each_reader(root, [&](uint32_t slot) {
    if (slot == failed) return false;
    remove_edge(&slots_[slot].order_edge);
    return true;
  });
  // It is looked at first by the next who wants this storage: a storage with very many readers is not
  // walked again and again.
  unlink_reader(failed);
  link_reader(failed);
  return why;
}

void Schedule::release(ValueId result, ValueId operand) {
  const ValueId root = storage(operand);
  if (at(root).destroyer != result) return;  // was not established
  at(root).destroyer = ValueId();
  for_each_reader(root, [&](uint32_t slot) {
    remove_edge(&slots_[slot].order_edge);
    return true;
  });
}

Refusal Schedule::try_inplace(ValueId result, ValueId operand, uint32_t* visits) {
  if (at(result).overwrites.valid()) return Refusal::kTaken;
  const Refusal why = establish(result, operand, visits);
  if (why == Refusal::kNone) {
    log(Undo::Kind::kOverwrites, result.index, ValueId());
    at(result).overwrites = operand;
  }
  return why;
}

Refusal Schedule::check_changes(uint32_t* visits) {
  // Records may be of nodes that were taken back.
  std::erase_if(changed_slots_, [&](uint32_t s) { return s >= slots_.size(); });
  std::erase_if(changed_results_,
                [&](ValueId r) { return r.index >= values_.size() || !at(r).overwrites.valid(); });
  Refusal why = Refusal::kNone;
  for (size_t i = 0; i < changed_slots_.size() && why == Refusal::kNone; ++i) {
    why = derive_data_edge(changed_slots_[i], visits);
  }
  for (size_t i = 0; i < changed_results_.size() && why == Refusal::kNone; ++i) {
    why = establish(changed_results_[i], overwrites(changed_results_[i]), visits);
  }
  for (size_t i = 0; i < changed_slots_.size() && why == Refusal::kNone; ++i) {
    why = derive_order_edge(changed_slots_[i], visits);
  }
  if (why == Refusal::kNone) changed_slots_.clear(), changed_results_.clear();
  return why;
}

std::optional<Inconsistency> Schedule::validate(uint32_t visits) {
  const Refusal why = check_changes(&visits);
  if (why == Refusal::kNone) return std::nullopt;
  Inconsistency found{why, {}, std::string(reason(why))};
  if (why == Refusal::kCycle) {
    found.loop = loop_;
    found.message = "these nodes would have to come before each other: ";
    for (size_t i = 0; i < loop_.size(); ++i) {
      found.message += (i ? " -> " : "") + tables_.name(loop_[i]);
    }
  }
  return found;
}

void Schedule::verify() const {
  order_.verify();
  for (uint32_t s = 0; s < slots_.size(); ++s) {
    const Slot& slot = slots_[s];
    const uint32_t from = producer(slot.value);
    GCOMP_CHECK(from == kNoNode ? slot.data_edge == kNone : order_.is_before(from, slot.node),
                "a node comes before what it reads is made");
    const ValueId destroyer = at(storage(slot.value)).destroyer;
    const bool ordered = destroyer.valid() && producer(destroyer) != slot.node;
    GCOMP_CHECK(ordered == (slot.order_edge != kNone), "an ordering edge is missing or left over");
    GCOMP_CHECK(!ordered || order_.is_before(slot.node, producer(destroyer)),
                "a reader comes after the destroyer");
  }
  std::vector<uint32_t> num_protected(values_.size(), 0);
  for (const ValueInfo& v : values_) {
    GCOMP_CHECK(!v.view_of.valid() || v.storage == storage(v.view_of), "a view in another storage");
    num_protected[v.storage.index] += v.protection != Protection::kNone;
  }
  for (size_t i = 0; i < values_.size(); ++i) {
    const ValueInfo& v = values_[i];
    GCOMP_CHECK(v.num_protected == num_protected[i], "protected values are miscounted");
    GCOMP_CHECK(!v.overwrites.valid() || at(storage(v.overwrites)).destroyer == ValueId(i),
                "an overwrite is not established");
    GCOMP_CHECK(!v.destroyer.valid() ||
                    (storage(at(v.destroyer).overwrites) == ValueId(i) && num_protected[i] == 0),
                "a storage is destroyed that must not be");
  }
}

}  // namespace gcomp::schedule
