// The incremental order alone, against brute force: reachability in an adjacency matrix.
#include "gcomp/support/incremental_order.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <random>

using gcomp::IncrementalOrder;
using Verdict = IncrementalOrder::Verdict;

namespace {

std::vector<uint32_t> identity(uint32_t n) {
  std::vector<uint32_t> ids(n);
  std::iota(ids.begin(), ids.end(), 0u);
  return ids;
}

struct Edge {
  uint32_t from, to, id;
};

// The same graph twice: as an order, and as a list of edges that is searched from scratch.
struct Both {
  explicit Both(uint32_t nodes, std::mt19937& random) {
    std::vector<uint32_t> ids = identity(nodes);
    std::shuffle(ids.begin(), ids.end(), random);
    order = IncrementalOrder(ids);
  }

  bool reaches(uint32_t from, uint32_t to) const {
    std::vector<bool> seen(order.num_nodes(), false);
    std::vector<uint32_t> open{from};
    seen[from] = true;
    while (!open.empty()) {
      const uint32_t n = open.back();
      open.pop_back();
      for (const Edge& e : edges) {
        if (e.from == n && !seen[e.to]) seen[e.to] = true, open.push_back(e.to);
      }
    }
    return seen[to];
  }

  bool has_edge(uint32_t from, uint32_t to) const {
    return std::ranges::any_of(edges, [&](const Edge& e) { return e.from == from && e.to == to; });
  }

  Verdict add(uint32_t from, uint32_t to, uint32_t visits = IncrementalOrder::kUnlimited) {
    const bool limited = visits != IncrementalOrder::kUnlimited;
    const bool closes = reaches(to, from);
    uint32_t left = visits, id = 0;
    const Verdict verdict = order.add_edge(from, to, &left, &id);
    if (verdict == Verdict::kAccepted) edges.push_back({from, to, id});
    CHECK(left <= visits);
    if (verdict == Verdict::kUnknown) {
      CHECK(limited);
    } else {
      CHECK((verdict == Verdict::kCycle) == closes);
    }
    if (verdict == Verdict::kCycle) check_cycle(from, to);
    order.verify();
    return verdict;
  }

  void check_cycle(uint32_t from, uint32_t to) const {
    const std::vector<uint32_t>& path = order.cycle();
    REQUIRE(!path.empty());
    CHECK(path.front() == to);
    CHECK(path.back() == from);
    for (size_t i = 1; i < path.size(); ++i) CHECK(has_edge(path[i - 1], path[i]));
  }

  void remove(size_t index) {
    order.remove_edge(edges[index].id);
    edges.erase(edges.begin() + static_cast<ptrdiff_t>(index));
  }

  IncrementalOrder order;
  std::vector<Edge> edges;
};

uint32_t pick(std::mt19937& random, uint32_t n) { return static_cast<uint32_t>(random() % n); }

}  // namespace

TEST_CASE("verdicts and paths are those of brute force, whatever comes and goes") {
  std::mt19937 random(7);
  size_t cycles = 0, accepted = 0, unknown = 0;
  for (int round = 0; round < 300; ++round) {
    Both g(2 + pick(random, 30), random);
    for (int step = 0; step < 80; ++step) {
      const uint32_t n = g.order.num_nodes(), what = pick(random, 20);
      if (what == 0 && !g.edges.empty()) {
        g.remove(pick(random, static_cast<uint32_t>(g.edges.size())));
      } else if (what == 1) {
        const std::vector<uint32_t> in{pick(random, n)}, out{pick(random, n)};
        const uint32_t node = g.order.insert(in, out);
        if (g.order.is_before(in[0], out[0])) {
          CHECK(g.order.is_before(in[0], node));
          CHECK(g.order.is_before(node, out[0]));
        }
        g.order.verify();
      } else {
        const uint32_t visits = what < 6 ? 2 + pick(random, 8) : IncrementalOrder::kUnlimited;
        const Verdict v = g.add(pick(random, n), pick(random, n), visits);
        ++(v == Verdict::kCycle ? cycles : v == Verdict::kAccepted ? accepted : unknown);
      }
    }
  }
  CHECK(cycles > 1000);
  CHECK(accepted > 1000);
  CHECK(unknown > 100);
}

TEST_CASE("edges taken back last in, first out leave nothing behind") {
  std::mt19937 random(3);
  Both g(40, random);
  for (int i = 0; i < 40; ++i) g.add(pick(random, 40), pick(random, 40));
  const size_t kept = g.edges.size();
  const uint32_t ids = g.order.num_edge_ids();
  for (int round = 0; round < 50; ++round) {
    for (int i = 0; i < 10; ++i) g.add(pick(random, 40), pick(random, 40));
    while (g.edges.size() > kept) g.remove(g.edges.size() - 1);
    CHECK(g.order.num_edge_ids() == ids);
    const uint32_t node = g.order.insert({}, {});
    g.order.pop_node();
    CHECK(g.order.num_nodes() == node);
    g.order.verify();
  }
}

TEST_CASE("a loop of one node and a loop of two") {
  std::mt19937 random(1);
  Both g(2, random);
  CHECK(g.add(0, 0) == Verdict::kCycle);
  CHECK(g.order.cycle() == std::vector<uint32_t>{0});
  CHECK(g.add(0, 1) == Verdict::kAccepted);
  CHECK(g.add(1, 0) == Verdict::kCycle);
  CHECK(g.order.cycle() == std::vector<uint32_t>{0, 1});
}

TEST_CASE("any number of nodes fits at one place") {
  IncrementalOrder order(identity(1000));
  const std::vector<uint32_t> in{499}, out{500};
  for (int i = 0; i < 100000; ++i) {
    const uint32_t node = order.insert(in, out);
    CHECK(order.is_before(499, node));
    CHECK(order.is_before(node, 500));
  }
  // Before all others, and after all others.
  for (int i = 0; i < 1000; ++i) {
    const std::vector<uint32_t> first{order.order().front()};
    CHECK(order.is_before(order.insert({}, first), first[0]));
    order.insert({}, {});
  }
  order.verify();
}

TEST_CASE("a search follows a limited number of edges of a node that has very many") {
  constexpr uint32_t kReaders = 100000;
  // Node 0 comes first and everybody reads it; the last node is to come before it.
  IncrementalOrder order(identity(kReaders + 2));
  uint32_t visits = IncrementalOrder::kUnlimited;
  for (uint32_t i = 1; i <= kReaders; ++i) order.add_edge(0, i, &visits);
  for (uint32_t i = 1; i <= kReaders; ++i) order.add_edge(i, kReaders + 1, &visits);
  visits = 64;
  CHECK(order.add_edge(kReaders + 1, 0, &visits) != Verdict::kAccepted);
  CHECK(visits <= 64);
  visits = IncrementalOrder::kUnlimited;
  CHECK(order.add_edge(kReaders + 1, 0, &visits) == Verdict::kCycle);
  CHECK(order.cycle().size() == 3);
}

TEST_CASE("a search from the far end of a long chain ends where the other side ends") {
  constexpr uint32_t kLength = 100000;
  IncrementalOrder order(identity(kLength + 1));
  uint32_t visits = IncrementalOrder::kUnlimited;
  for (uint32_t i = 1; i < kLength; ++i) order.add_edge(i - 1, i, &visits);
  // The last node stands alone: nothing is before it, so the backward side is done at once.
  visits = 64;
  CHECK(order.add_edge(kLength, 0, &visits) == Verdict::kAccepted);
  CHECK(visits >= 56);
  order.verify();
}
