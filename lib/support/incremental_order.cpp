// The invariant: label(from) < label(to) for each edge. Removing an edge cannot break it, and neither
// can keeping the labels when an edge is taken back.
//
// An edge from -> to whose ends disagree with it is decided by a search from both ends: forward from
// `to`, always at the visited node with the least label, and backward from `from`, always at the one
// with the greatest; one edge each in turn. If the two meet there is a path to -> ... -> from, and the
// edge would close a cycle. When the least of the one side has passed the greatest of the other, or a
// side has nothing left to follow, no such path exists, and it is enough to move what was visited
// (the proof is in Haeupler et al., section 3): with t the least forward node not finished (or
// `from`, if all are), the backward nodes after t and then the forward nodes before t go in front of t.
//
// The published bounds charge searches to edges that are accepted. A caller that proposes many edges
// which close cycles has nothing to charge them to, so it limits the nodes a search may visit; a limit
// on edges followed goes with it, since one node may have a million.

#include "gcomp/support/incremental_order.h"

#include <algorithm>

#include "gcomp/support/error.h"

namespace gcomp {
namespace {

// Between neighbours of a fresh order: 31 nodes fit at any one place before labels are redistributed.
constexpr uint64_t kGap = uint64_t{1} << 32;
constexpr uint64_t kLabels = uint64_t{1} << 63;  // labels are less than this
// Redistributed labels are at least this far apart.
constexpr uint64_t kMinGap = 256;
// A range of 2^b labels is redistributed if fewer than kFill^b nodes are in it: about log n moves for
// each insertion (Bender et al., with 2 / T = kFill).
constexpr double kFill = 1.5;
// `to` of a removed edge: the lists it is still in.
constexpr uint32_t kInOut = 1, kInIn = 2;
// Edges that a search follows, for each node it may visit.
constexpr uint32_t kEdgesPerVisit = 8;

}  // namespace

IncrementalOrder::IncrementalOrder(std::span<const uint32_t> order) {
  nodes_.resize(order.size(), {0, kNone, kNone, kNone, kNone, 0});
  for (uint32_t n : order) {
    GCOMP_CHECK(n < nodes_.size() && nodes_[n].label == 0, "the order is no permutation");
    link(n, last_, label_after(last_));
  }
}

void IncrementalOrder::reserve(size_t nodes, size_t edges) {
  nodes_.reserve(nodes);
  edges_.reserve(edges);
}

std::vector<uint32_t> IncrementalOrder::order() const {
  std::vector<uint32_t> all;
  all.reserve(nodes_.size());
  for (uint32_t n = first_; n != kNone; n = nodes_[n].next) all.push_back(n);
  return all;
}

uint32_t IncrementalOrder::insert(std::span<const uint32_t> inputs,
                                  std::span<const uint32_t> readers) {
  uint32_t previous = kNone, next = kNone;
  for (uint32_t n : inputs) {
    if (previous == kNone || is_before(previous, n)) previous = n;
  }
  for (uint32_t n : readers) {
    if (next == kNone || is_before(n, next)) next = n;
  }
  // Next to its first reader, so that what it makes is kept for a short time.
  if (next != kNone && (previous == kNone || is_before(previous, next))) {
    previous = nodes_[next].previous;
  } else if (previous == kNone) {
    previous = last_;
  }
  const uint32_t node = num_nodes();
  nodes_.push_back({0, kNone, kNone, kNone, kNone, 0});
  place_after(node, previous);
  return node;
}

void IncrementalOrder::pop_node() {
  const Node& n = nodes_.back();
  GCOMP_CHECK(n.first_out == kNone && n.first_in == kNone, "a node with edges is removed");
  unlink(num_nodes() - 1);
  nodes_.pop_back();
}

IncrementalOrder::Verdict IncrementalOrder::add_edge(uint32_t from, uint32_t to, uint32_t* visits,
                                                     uint32_t* edge) {
  if (!is_before(from, to)) {
    const Verdict verdict = search(from, to, visits);
    if (verdict != Verdict::kAccepted) return verdict;
  }
  Node &a = nodes_[from], &b = nodes_[to];
  const auto id = static_cast<uint32_t>(edges_.size());
  edges_.push_back({from, to, a.first_out, b.first_in});
  a.first_out = b.first_in = id;
  if (edge) *edge = id;
  return Verdict::kAccepted;
}

// A removed edge leaves a list when it gets to its front, so that taking edges back in the reverse order
// of their coming leaves nothing behind; any other stays there and is skipped.
void IncrementalOrder::remove_edge(uint32_t edge) {
  Edge& e = edges_[edge];
  GCOMP_CHECK(e.from != kNone, "an edge is removed twice");
  Node &a = nodes_[e.from], &b = nodes_[e.to];
  e.from = kNone;
  e.to = kInOut | kInIn;
  for (uint32_t f = a.first_out; f != kNone && edges_[f].from == kNone; f = a.first_out) {
    edges_[f].to &= ~kInOut;
    a.first_out = edges_[f].next_out;
  }
  for (uint32_t f = b.first_in; f != kNone && edges_[f].from == kNone; f = b.first_in) {
    edges_[f].to &= ~kInIn;
    b.first_in = edges_[f].next_in;
  }
  while (!edges_.empty() && edges_.back().from == kNone && edges_.back().to == 0) edges_.pop_back();
}

bool IncrementalOrder::visited(uint32_t node) const {
  const uint32_t v = nodes_[node].visit;
  return v < visits_.size() && visits_[v].node == node;
}

void IncrementalOrder::visit(uint32_t node, uint32_t parent, bool forward) {
  const auto index = static_cast<uint32_t>(visits_.size());
  Node& n = nodes_[node];
  n.visit = index;
  visits_.push_back({node, parent, forward ? n.first_out : n.first_in, forward});
  std::vector<uint32_t>& heap = forward ? forward_ : backward_;
  heap.push_back(index);
  const auto label = [&](uint32_t v) { return nodes_[visits_[v].node].label; };
  if (forward) {
    std::push_heap(heap.begin(), heap.end(), [&](auto a, auto b) { return label(a) > label(b); });
  } else {
    std::push_heap(heap.begin(), heap.end(), [&](auto a, auto b) { return label(a) < label(b); });
  }
}

// Follows one edge of the foremost node of a side. `limit`: the label of the other side's end, beyond
// which nothing matters. True: the sides have met, and `cycle_` is kept.
bool IncrementalOrder::step(bool forward, uint64_t limit) {
  std::vector<uint32_t>& heap = forward ? forward_ : backward_;
  const uint32_t top = heap.front();
  const uint32_t edge = visits_[top].edge;
  const auto label = [&](uint32_t v) { return nodes_[visits_[v].node].label; };
  if (edge == kNone) {
    if (forward) {
      std::pop_heap(heap.begin(), heap.end(), [&](auto a, auto b) { return label(a) > label(b); });
    } else {
      std::pop_heap(heap.begin(), heap.end(), [&](auto a, auto b) { return label(a) < label(b); });
    }
    heap.pop_back();
    return false;
  }
  const Edge& e = edges_[edge];
  visits_[top].edge = forward ? e.next_out : e.next_in;
  if (e.from == kNone) return false;
  const uint32_t node = forward ? e.to : e.from;
  if (forward ? nodes_[node].label > limit : nodes_[node].label < limit) return false;
  if (!visited(node)) {
    visit(node, top, forward);
    return false;
  }
  const uint32_t other = nodes_[node].visit;
  if (visits_[other].forward == forward) return false;
  keep_cycle(forward ? top : other, forward ? other : top);
  return true;
}

// From the forward end to the start of its search and on from there: reversed, the path from `to`; the
// backward end's parents lead on to `from`.
void IncrementalOrder::keep_cycle(uint32_t forward_end, uint32_t backward_end) {
  cycle_.clear();
  for (uint32_t v = forward_end; v != kNone; v = visits_[v].parent) {
    cycle_.push_back(visits_[v].node);
  }
  std::reverse(cycle_.begin(), cycle_.end());
  for (uint32_t v = backward_end; v != kNone; v = visits_[v].parent) {
    cycle_.push_back(visits_[v].node);
  }
}

IncrementalOrder::Verdict IncrementalOrder::search(uint32_t from, uint32_t to, uint32_t* visits) {
  visits_.clear(), forward_.clear(), backward_.clear();
  if (from == to) {
    cycle_.assign(1, from);
    return Verdict::kCycle;
  }
  const uint64_t low = nodes_[to].label, high = nodes_[from].label;
  visit(to, kNone, true);
  visit(from, kNone, false);
  const bool limited = *visits != kUnlimited;
  const uint64_t max_steps = uint64_t{*visits} * kEdgesPerVisit;
  const auto label = [&](uint32_t v) { return nodes_[visits_[v].node].label; };
  Verdict verdict = Verdict::kAccepted;
  for (uint64_t steps = 0; !forward_.empty() && !backward_.empty(); steps += 2) {
    if (label(forward_.front()) > label(backward_.front())) break;
    if (limited && (visits_.size() + 2 > *visits || steps > max_steps)) {
      verdict = Verdict::kUnknown;
      break;
    }
    if (step(true, high) || (!backward_.empty() && step(false, low))) {
      verdict = Verdict::kCycle;
      break;
    }
  }
  if (limited) *visits -= std::min(*visits, static_cast<uint32_t>(visits_.size()));
  if (verdict == Verdict::kAccepted) move_visited(from);
  return verdict;
}

void IncrementalOrder::move_visited(uint32_t from) {
  const uint32_t t = forward_.empty() ? from : visits_[forward_.front()].node;
  const uint64_t at = nodes_[t].label;
  moved_.clear();
  const auto take = [&](bool forward) {
    const size_t begin = moved_.size();
    for (const Visit& v : visits_) {
      const uint64_t label = nodes_[v.node].label;
      if (v.forward == forward && (forward ? label < at : label > at)) moved_.push_back(v.node);
    }
    std::sort(moved_.begin() + static_cast<ptrdiff_t>(begin), moved_.end(),
              [&](uint32_t a, uint32_t b) { return is_before(a, b); });
  };
  take(false);
  take(true);
  for (uint32_t n : moved_) unlink(n);
  // Before t, except that what is moved because of `from` itself comes after it.
  uint32_t previous = forward_.empty() ? from : nodes_[t].previous;
  const uint32_t next = previous == kNone ? first_ : nodes_[previous].next;
  const uint64_t low = previous == kNone ? 0 : nodes_[previous].label;
  const uint64_t high =
      next == kNone ? std::min(kLabels, low + kGap * (moved_.size() + 1)) : nodes_[next].label;
  const uint64_t gap = (high - low) / (moved_.size() + 1);
  uint64_t label = low;
  for (uint32_t n : moved_) {
    if (gap >= 1) {
      link(n, previous, label += gap);
    } else {
      place_after(n, previous);
    }
    previous = n;
  }
}

void IncrementalOrder::link(uint32_t node, uint32_t previous, uint64_t label) {
  Node& n = nodes_[node];
  n.label = label;
  n.previous = previous;
  n.next = previous == kNone ? first_ : nodes_[previous].next;
  (n.previous == kNone ? first_ : nodes_[n.previous].next) = node;
  (n.next == kNone ? last_ : nodes_[n.next].previous) = node;
}

void IncrementalOrder::unlink(uint32_t node) {
  const Node& n = nodes_[node];
  (n.previous == kNone ? first_ : nodes_[n.previous].next) = n.next;
  (n.next == kNone ? last_ : nodes_[n.next].previous) = n.previous;
}

// A label between that of `previous` (kNone: the begin) and the next one's; `previous`'s own if there
// is none.
uint64_t IncrementalOrder::label_after(uint32_t previous) const {
  const uint64_t low = previous == kNone ? 0 : nodes_[previous].label;
  const uint32_t next = previous == kNone ? first_ : nodes_[previous].next;
  if (next != kNone) return low + (nodes_[next].label - low) / 2;
  return kLabels - low > 2 * kGap ? low + kGap : low + (kLabels - low) / 2;
}

void IncrementalOrder::place_after(uint32_t node, uint32_t previous) {
  uint64_t label = label_after(previous);
  const uint64_t low = previous == kNone ? 0 : nodes_[previous].label;
  if (label == low) {
    make_room(previous == kNone ? first_ : previous);
    label = label_after(previous);
  }
  link(node, previous, label);
}

// Spreads the nodes of the smallest range of labels around `node` that is not too full evenly over it.
void IncrementalOrder::make_room(uint32_t node) {
  uint32_t first = node, last = node;
  uint64_t count = 1;
  double most = 1;
  for (uint64_t width = 2; width <= kLabels; width *= 2) {
    most *= kFill;
    const uint64_t low = nodes_[node].label & ~(width - 1), high = low + (width - 1);
    for (; nodes_[first].previous != kNone && nodes_[nodes_[first].previous].label >= low; ++count)
      first = nodes_[first].previous;
    for (; nodes_[last].next != kNone && nodes_[nodes_[last].next].label <= high; ++count)
      last = nodes_[last].next;
    const uint64_t gap = width / (count + 1);
    if (gap < kMinGap || (width < kLabels && static_cast<double>(count) >= most)) continue;
    uint64_t label = low;
    for (uint32_t n = first;; n = nodes_[n].next) {
      nodes_[n].label = label += gap;
      if (n == last) return;
    }
  }
  internal_error(__FILE__, __LINE__, "an order has too many nodes for its labels");
}

void IncrementalOrder::verify() const {
  size_t count = 0;
  uint64_t label = 0;
  for (uint32_t n = first_; n != kNone; n = nodes_[n].next, ++count) {
    GCOMP_CHECK(nodes_[n].label > label && nodes_[n].label < kLabels, "labels do not rise");
    GCOMP_CHECK((nodes_[n].next == kNone ? last_ : nodes_[nodes_[n].next].previous) == n,
                "the order is not linked both ways");
    label = nodes_[n].label;
  }
  GCOMP_CHECK(count == nodes_.size(), "the order lacks nodes");
  for (const Edge& e : edges_) {
    GCOMP_CHECK(e.from == kNone || is_before(e.from, e.to), "an edge disagrees with the labels");
  }
}

}  // namespace gcomp
