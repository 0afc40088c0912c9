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
  add_candidates();
  add_edges();
  // What is kept in another form.
  tables_.first_operand = {};
  tables_.operands = {};
  tables_.producer = tables_.first_operand;
  tables_.view_of = tables_.operands;
  tables_.protection = {};
}

void Schedule::add_values() {
  const size_t count = tables_.num_values();
  GCOMP_CHECK(tables_.view_of.size() == count && tables_.bytes.size() == count &&
                  tables_.protection.size() == count,
              "a table of values has another size");
  nodes_.reserve(with_room(tables_.num_nodes()));
  values_.reserve(with_room(count));
  views_.reserve(with_room(count));
  tables_.bytes.reserve(with_room(count));
  nodes_.resize(tables_.num_nodes(), {0, 0, ValueId(), 0});
  values_.resize(count);
  views_.resize(count);
  for (size_t i = count; i-- > 0;) {
    const ValueId v(i);
    at(v).producer = tables_.producer[i];
    view(v).view_of = tables_.view_of[i];
    view(v).protection = tables_.protection[i];
    if (at(v).producer == kNoNode) continue;
    GCOMP_CHECK(at(v).producer < nodes_.size(), "a value is made by a node that is not there");
    at(v).next_result = nodes_[at(v).producer].first_result;
    nodes_[at(v).producer].first_result = v;
  }
  for (size_t i = count; i-- > 0;) {
    if (views_[i].view_of.valid()) link_view(ValueId(i));
  }
  for (size_t i = 0; i < count; ++i) {
    if (views_[i].view_of.valid()) continue;
    const ValueId root(i);
    for (ValueId v = root; v.valid(); v = next_in_storage(v, root)) {
      at(v).storage = root;
      at(root).num_protected += view(v).protection != Protection::kNone;
    }
  }
}

void Schedule::add_candidates() {
  std::vector<Candidate>& all = tables_.candidates;
  const auto less = [&](const Candidate& a, const Candidate& b) {
    return producer(a.result) < producer(b.result);
  };
  if (!std::is_sorted(all.begin(), all.end(), less)) std::stable_sort(all.begin(), all.end(), less);
  for (const Candidate& c : all) {
    const uint32_t node = producer(c.result);
    GCOMP_CHECK(node != kNoNode && storage(c.result) != storage(c.operand),
                "a result that is not made, or a view, is to overwrite an operand");
    const bool reads = std::ranges::any_of(
        slots_of(node), [&](const Slot& s) { return storage(s.value) == storage(c.operand); });
    GCOMP_CHECK(reads || producer(storage(c.operand)) == kNoNode,
                "a result is to overwrite what its node does not read");
    if (node + 1 < nodes_.size())
      nodes_[node + 1].first_candidate = 1 + static_cast<uint32_t>(&c - all.data());
  }
  for (size_t n = 1; n < nodes_.size(); ++n) {
    nodes_[n].first_candidate = std::max(nodes_[n].first_candidate, nodes_[n - 1].first_candidate);
  }
}

uint32_t Schedule::num_candidates(uint32_t node) const {
  const size_t end =
      node + 1 < nodes_.size() ? nodes_[node + 1].first_candidate : tables_.candidates.size();
  return static_cast<uint32_t>(end) - nodes_[node].first_candidate;
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
  for (size_t i = 0; i < values_.size(); ++i) {
    ViewInfo& v = views_[i];
    if (!v.view_of.valid() || values_[i].producer == kNoNode) continue;
    const NodeInfo& node = nodes_[values_[i].producer];
    for (uint32_t s = node.first_slot + node.num_slots; s-- > node.first_slot;) {
      if (slots_[s].value == v.view_of) v.view_slot = s;
    }
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
  for (size_t i = 0; i < values_.size(); ++i) {
    t.producer.push_back(values_[i].producer);
    t.view_of.push_back(views_[i].view_of);
    t.protection.push_back(views_[i].protection);
  }
  return t;
}

// --- lists ---

// The values of a storage: `root` and its views, parents first.
ValueId Schedule::next_in_storage(ValueId v, ValueId root) const {
  if (at(v).first_view.valid()) return at(v).first_view;
  while (v != root && !view(v).next_view.valid()) v = view(v).view_of;
  return v == root ? ValueId() : view(v).next_view;
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
  ValueId& first = at(view(v).view_of).first_view;
  view(v).previous_view = ValueId();
  view(v).next_view = first;
  if (first.valid()) view(first).previous_view = v;
  first = v;
}

void Schedule::unlink_view(ValueId v) {
  const ViewInfo& w = view(v);
  (w.previous_view.valid() ? view(w.previous_view).next_view : at(w.view_of).first_view) =
      w.next_view;
  if (w.next_view.valid()) view(w.next_view).previous_view = w.previous_view;
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
  while (v.valid() && v != of) v = view(v).view_of;
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
  return std::ranges::any_of(candidates_of(producer(result)), [&](const Candidate& c) {
    return c.result == result && c.operand == operand && !c.same_index;
  });
}

bool Schedule::is_candidate(ValueId result, ValueId operand) const {
  return std::ranges::any_of(candidates_of(producer(result)), [&](const Candidate& c) {
    return c.result == result && c.operand == operand;
  });
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
  log(Undo::Kind::kView, v.index, view(v).view_of);
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
    const bool is_protected = view(m).protection != Protection::kNone;
    at(from).num_protected -= is_protected;
    at(to).num_protected += is_protected;
    at(m).storage = to;
  }
  unlink_view(v);
  view(v).view_of = of;
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
    if (view(r).view_slot == slot && !is_view_of(v, r)) set_view(r, v);
  }
  if (reads_elsewhere(node, old, slot)) return;
  const uint32_t first = nodes_[node].first_candidate, end = first + num_candidates(node);
  for (uint32_t i = first; i < end; ++i) {
    if (tables_.candidates[i].operand == old) set_candidate(i, v);
  }
  for (ValueId r = nodes_[node].first_result; r.valid(); r = at(r).next_result) {
    if (at(r).overwrites == old) set_overwrites(r, v);
  }
}

ValueId Schedule::insert_copy(ValueId v, std::span<const uint32_t> readers) {
  const auto node = static_cast<uint32_t>(nodes_.size());
  const ValueId copy(values_.size());
  nodes_.push_back({static_cast<uint32_t>(slots_.size()), 1, copy,
                    static_cast<uint32_t>(tables_.candidates.size())});
  values_.emplace_back();
  views_.emplace_back();
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
  views_.pop_back();
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
  const auto put_before = [&](uint32_t slot) {
    const uint32_t from = slots_[slot].node;
    if (from == to || slots_[slot].order_edge != kNone) return true;
    if (visits || order_.is_before(from, to)) {
      uint32_t none = 0;
      why = refusal(order_.add_edge(from, to, visits ? visits : &none, &slots_[slot].order_edge),
                    from);
    } else {
      why = Refusal::kReadLater;
    }
    if (why != Refusal::kNone) failed = slot;
    return why == Refusal::kNone;
  };
  // Who refused before comes first: a storage with very many readers, all of which want it, is not walked
  // again and again. Among a value's readers it is the first; among those of many views it is known.
  const bool has_views = s.first_view.valid();
  const uint32_t likely = has_views ? view(root).refused_by : kNone;
  const bool known = likely < slots_.size() && storage(slots_[likely].value) == root;
  if (known && !put_before(likely)) return why;
  if (for_each_reader(root, put_before)) {
    s.destroyer = result;
    return Refusal::kNone;
  }
  for_each_reader(root, [&](uint32_t slot) {
    if (slot == failed) return false;
    remove_edge(&slots_[slot].order_edge);
    return true;
  });
  if (known) remove_edge(&slots_[likely].order_edge);
  unlink_reader(failed);
  link_reader(failed);
  if (has_views) view(root).refused_by = failed;
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
  for (size_t i = 0; i < values_.size(); ++i) {
    const ViewInfo& v = views_[i];
    GCOMP_CHECK(!v.view_of.valid() || storage(ValueId(i)) == storage(v.view_of),
                "a view in another storage");
    num_protected[values_[i].storage.index] += v.protection != Protection::kNone;
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
