#pragma once
// The Schedule: the frozen graph (nodes are ops or fused groups) with an order that is kept, storages,
// and who overwrites which; edits are checked where they change something, nowhere else
// (lib/schedule/README.md has the method, gcomp/support/incremental_order.h the order).
//
// A storage is a value with all its views. Overwriting an operand destroys its storage: every other
// reader of it, through views too, must come before the destroyer (an ordering edge reader ->
// destroyer), and nobody else may destroy it. The result is a new storage in the same memory, which
// may be destroyed in turn.

#include <deque>
#include <optional>
#include <string>

#include "gcomp/schedule/tables.h"
#include "gcomp/support/incremental_order.h"

namespace gcomp::schedule {

// Why an operand is not overwritten.
enum class Refusal : uint8_t {
  kNone,       // it is
  kProtected,  // a constant, an input that is not donated, or an output
  kDestroyed,  // another result overwrites this storage
  kTaken,      // the result overwrites another operand
  kAliased,    // the node reads this memory through another operand too
  kReadLater,  // a reader comes later in the order (only without ordering edges)
  kCycle,      // a reader depends on the result
  kBudget,     // not decided within the visits allowed
};
inline constexpr size_t kNumRefusals = 8;
std::string_view name(Refusal r);  // "protected", for tables
std::string_view reason(
    Refusal r);  // "it is a constant, an input that is not donated or an output"

struct Inconsistency {
  Refusal why = Refusal::kNone;
  std::vector<uint32_t> loop;  // kCycle: nodes, the last is the first
  std::string message;         // with the loop written out: "a -> b -> a"
};

class Schedule {
 public:
  static constexpr uint32_t kVisits = 64;  // of a search, by default

  // Throws InternalError if the tables have a cycle or do not fit together.
  explicit Schedule(ScheduleTables tables);

  uint32_t num_nodes() const { return static_cast<uint32_t>(nodes_.size()); }
  size_t num_values() const { return values_.size(); }
  const std::vector<Candidate>& candidates() const { return tables_.candidates; }  // by node
  // Calls f(index of a candidate) for all, in the order of their nodes, which f must not change.
  template <class F>
  void for_each_candidate(F f) const {
    for (uint32_t n = order_.first(); n != IncrementalOrder::kNone; n = order_.next(n)) {
      for (uint32_t i = nodes_[n].first_candidate, end = i + num_candidates(n); i < end; ++i) {
        look_ahead(i);
        f(i);
      }
    }
  }
  uint64_t bytes(ValueId v) const { return tables_.bytes[v.index]; }
  uint32_t producer(ValueId v) const { return values_[v.index].producer; }
  ValueId storage(ValueId v) const { return values_[v.index].storage; }  // the value without views
  ValueId overwrites(ValueId result) const { return values_[result.index].overwrites; }
  std::vector<uint32_t> order() const { return order_.order(); }
  InplacePlan plan() const;       // what is decided; the schedule is validated
  ScheduleTables tables() const;  // as edits have left them

  // Edits. Nothing is refused here: on_import and on_change_input record what changed.
  // A copy of `v`, which the nodes `readers` read in its place. Returns the copy's value.
  ValueId insert_copy(ValueId v, std::span<const uint32_t> readers);
  // Operand number `index` of the node. Views, overwrites and candidates of that operand follow.
  void change_input(uint32_t node, uint32_t index, ValueId v);
  void add_inplace(ValueId result, ValueId operand);  // one of candidates()
  void remove_inplace(ValueId result);

  // Checks what edits changed since the last call that found nothing, and that alone. What is found
  // stays until it is mended, or taken back.
  [[nodiscard]] std::optional<Inconsistency> validate(uint32_t visits = kVisits);
  // Takes back every edit since `mark`, which was valid then; the order may have changed.
  size_t mark() const { return undo_.size(); }
  void rollback(size_t mark);

  // add_inplace and validate in one step, taken back if refused. `visits` null: accepts only what
  // agrees with the order as it is; else searches, and takes what it visits off `*visits`.
  Refusal try_inplace(ValueId result, ValueId operand, uint32_t* visits);

  void verify() const;  // every invariant; linear, throws InternalError

 private:
  static constexpr uint32_t kNone = 0xffffffffu;
  struct Slot {  // an operand
    ValueId value;
    uint32_t node;
    uint32_t next, previous;  // readers of the value
    uint32_t data_edge = kNone, order_edge = kNone;
  };
  struct NodeInfo {
    uint32_t first_slot, num_slots;
    ValueId first_result;
    uint32_t first_candidate;  // those of a node are together
  };
  // What an attempt looks at, 32 bytes; and the rest.
  struct ValueInfo {
    uint32_t producer = kNoNode;
    ValueId storage;
    ValueId first_view;
    uint32_t first_reader = kNone;
    ValueId overwrites;          // wanted
    ValueId destroyer;           // of a storage: the result that does overwrite it
    uint32_t num_protected = 0;  // values of a storage
    ValueId next_result;         // of the producer
  };
  struct ViewInfo {
    ValueId view_of, next_view, previous_view;
    uint32_t view_slot = kNone;  // the operand of the producer that it is a view of
    // Of a storage with views: the reader that last refused an attempt. May be out of date.
    uint32_t refused_by = kNone;
    Protection protection = Protection::kNone;
  };
  struct Undo {
    enum class Kind : uint8_t { kImport, kInput, kOverwrites, kView, kCandidate };
    Kind kind;
    uint32_t what;
    ValueId old;
  };

  void add_values();
  void add_slots();
  void add_candidates();
  void add_edges();
  ValueInfo& at(ValueId v) { return values_[v.index]; }
  const ValueInfo& at(ValueId v) const { return values_[v.index]; }
  ViewInfo& view(ValueId v) { return views_[v.index]; }
  const ViewInfo& view(ValueId v) const { return views_[v.index]; }
  uint32_t num_candidates(uint32_t node) const;
  // Asks for the memory that later candidates need: a tenth of the time of an attempt on a million nodes.
  void look_ahead(uint32_t i) const {
    constexpr uint32_t kNear = 12, kFar = 24;
    const std::vector<Candidate>& all = tables_.candidates;
    if (i + kFar >= all.size()) return;
    __builtin_prefetch(&at(all[i + kFar].operand));
    const uint32_t slot = at(all[i + kNear].operand).first_reader;
    if (slot != kNone) __builtin_prefetch(&slots_[slot]);
  }
  std::span<const Candidate> candidates_of(uint32_t node) const {
    return {tables_.candidates.data() + nodes_[node].first_candidate, num_candidates(node)};
  }
  std::span<const Slot> slots_of(uint32_t n) const {
    return {slots_.data() + nodes_[n].first_slot, nodes_[n].num_slots};
  }
  ValueId next_in_storage(ValueId v, ValueId root) const;
  template <class F>
  bool for_each_reader(ValueId root, F f);
  void link_reader(uint32_t slot);
  void unlink_reader(uint32_t slot);
  void link_view(ValueId v);
  void unlink_view(ValueId v);
  void remove_edge(uint32_t* edge);
  bool reads_elsewhere(uint32_t node, ValueId v, uint32_t slot) const;
  bool is_view_of(ValueId v, ValueId of) const;
  bool is_candidate(ValueId result, ValueId operand) const;
  bool is_aliased(ValueId result, ValueId operand) const;

  // What edits consist of; each can be undone by itself.
  void set_input(uint32_t slot, ValueId v);
  void set_overwrites(ValueId result, ValueId operand);
  void set_view(ValueId v, ValueId of);
  void set_candidate(uint32_t index, ValueId operand);
  void forget_newest();
  void log(Undo::Kind kind, uint32_t what, ValueId old);

  void on_import(uint32_t node);
  void on_change_input(uint32_t slot);
  Refusal establish(ValueId result, ValueId operand, uint32_t* visits);
  void release(ValueId result, ValueId operand);
  Refusal derive_data_edge(uint32_t slot, uint32_t* visits);
  Refusal derive_order_edge(uint32_t slot, uint32_t* visits);
  Refusal check_changes(uint32_t* visits);
  Refusal refusal(IncrementalOrder::Verdict verdict, uint32_t from);

  ScheduleTables tables_;  // candidates, bytes, before, name_of; the rest is in what follows
  std::vector<NodeInfo> nodes_;
  std::vector<ValueInfo> values_;
  std::vector<ViewInfo> views_;  // per value
  std::vector<Slot> slots_;
  IncrementalOrder order_;
  std::vector<uint32_t> changed_slots_;
  std::vector<ValueId> changed_results_;  // whose overwrites are to be established
  std::deque<Undo> undo_;                 // grows without copying what is there
  bool undoing_ = false;
  std::vector<uint32_t> loop_;  // of the last refusal kCycle
  std::vector<uint32_t> scratch_;
};

}  // namespace gcomp::schedule
