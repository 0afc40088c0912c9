#pragma once
// A topological order of a directed graph on bare ids 0, 1, ... that is kept while edges and nodes
// come and go, and refuses an edge that would close a cycle (lib/support/README.md has the method and
// figures). Nodes have 64-bit labels with gaps (order maintenance: Dietz and Sleator 1987; Bender,
// Cole, Demaine, Farach-Colton, Zito 2002): an edge that agrees with them costs O(1), and a new node
// takes a label between its inputs and its readers. Any other edge costs a two-way search of the
// region between its ends (Pearce and Kelly 2006; Haeupler, Kavitha, Mathew, Sen, Tarjan 2012).

#include <cstdint>
#include <span>
#include <vector>

namespace gcomp {

class IncrementalOrder {
 public:
  static constexpr uint32_t kNone = 0xffffffffu;
  static constexpr uint32_t kUnlimited = 0xffffffffu;

  enum class Verdict : uint8_t {
    kAccepted,
    kCycle,    // `cycle` tells which
    kUnknown,  // the visits allowed were spent first; the edge is not there
  };

  // Nodes 0 .. n-1 for n = order.size(), in the order given; no edges.
  explicit IncrementalOrder(std::span<const uint32_t> order = {});
  void reserve(size_t nodes, size_t edges);

  uint32_t num_nodes() const { return static_cast<uint32_t>(nodes_.size()); }
  bool is_before(uint32_t a, uint32_t b) const { return nodes_[a].label < nodes_[b].label; }
  std::vector<uint32_t> order() const;       // all nodes
  uint32_t first() const { return first_; }  // kNone: there are no nodes
  uint32_t next(uint32_t node) const { return nodes_[node].next; }

  // A new node (its id is num_nodes() before the call), after all of `inputs` and, where these come
  // before all of `readers`, before those: edges from inputs and to readers then need no search.
  uint32_t insert(std::span<const uint32_t> inputs, std::span<const uint32_t> readers);
  // Removes the newest node, which has no edges.
  void pop_node();

  // Adds from -> to. A search visits at most `*visits` nodes and takes what it visited off it
  // (kUnlimited: any number). If accepted and `edge` is given, it is set to the edge's id.
  // Parallel edges are fine.
  Verdict add_edge(uint32_t from, uint32_t to, uint32_t* visits, uint32_t* edge = nullptr);
  // Ids of removed edges may be given to later ones. O(1).
  void remove_edge(uint32_t edge);
  uint32_t num_edge_ids() const { return static_cast<uint32_t>(edges_.size()); }

  // After kCycle of add_edge(from, to): to, ..., from, each with an edge to the next.
  const std::vector<uint32_t>& cycle() const { return cycle_; }

  // Every edge agrees with the labels and these with the list; linear, throws InternalError.
  void verify() const;

 private:
  struct alignas(32) Node {  // never in two lines of cache
    uint64_t label;
    uint32_t previous, next;  // in the order
    uint32_t first_out, first_in;
    uint32_t visit;  // index in visits_ if that entry is this node's
  };
  struct Edge {
    uint32_t from, to;  // from kNone: removed; `to` then says which lists it is still in
    uint32_t next_out, next_in;
  };
  struct Visit {
    uint32_t node;
    uint32_t parent;  // index in visits_
    uint32_t edge;    // the next to follow
    bool forward;
  };

  bool visited(uint32_t node) const;
  void visit(uint32_t node, uint32_t parent, bool forward);
  bool step(bool forward, uint64_t limit);
  Verdict search(uint32_t from, uint32_t to, uint32_t* visits);
  void keep_cycle(uint32_t forward_end, uint32_t backward_end);
  void move_visited(uint32_t from);
  void link(uint32_t node, uint32_t previous, uint64_t label);
  void unlink(uint32_t node);
  void place_after(uint32_t node, uint32_t previous);
  void make_room(uint32_t node);
  uint64_t label_after(uint32_t previous) const;

  std::vector<Node> nodes_;
  std::vector<Edge> edges_;
  uint32_t first_ = kNone, last_ = kNone;  // of the order
  // Of the last search, kept for their memory.
  std::vector<Visit> visits_;
  std::vector<uint32_t> forward_, backward_;  // heaps of visits with edges to follow
  std::vector<uint32_t> moved_;
  std::vector<uint32_t> cycle_;
};

}  // namespace gcomp
