// Where new values of states come from: the trades of memory, carried out on numbers, give what the graph says.

#include "gcomp/ir/states.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <utility>

#include "../sanitized.h"
#include "gcomp/ir/builder.h"
#include "gcomp/ir/verify.h"

using namespace gcomp;

namespace {

constexpr uint32_t kComputed = UINT32_MAX, kStays = UINT32_MAX - 1;

// States that become what `becomes` says: the old value of that state, something computed, or no output.
std::unique_ptr<Graph> graph_of(Context& c, const std::vector<uint32_t>& becomes) {
  GraphBuilder b(c, GraphBuilder::Mode::kRaw);
  const Type type{DType::kFloat32, {}};
  const ValueId x = b.input("x", type);
  std::vector<ValueId> old;
  for (size_t s = 0; s < becomes.size(); ++s) old.push_back(b.input("s" + std::to_string(s), type));
  b.output("y", x);
  uint32_t outputs = 1;
  for (uint32_t s = 0; s < becomes.size(); ++s) {
    State state{.input = s + 1};
    if (becomes[s] != kStays) {
      b.output("n", becomes[s] == kComputed ? b.value(Op::neg, {x}) : old[becomes[s]]);
      state.output = outputs++;
    }
    b.state(state);
  }
  return b.finish();
}

// What each state holds after a run: the number of the state whose old value it is, or 1000 + s where the
// run wrote it.
std::vector<uint32_t> after_run(const StateFlow& flow, const std::vector<uint32_t>& becomes) {
  std::vector<uint32_t> pieces(2 * becomes.size());
  for (uint32_t s = 0; s < becomes.size(); ++s) {
    pieces[2 * s] = s;
    // Unwritten memory holds rubbish.
    pieces[2 * s + 1] = 5000 + s;
    if (!flow.written[s]) continue;
    pieces[2 * s + 1] = becomes[s] == kComputed ? 1000 + s : becomes[s];
  }
  for (const auto& [a, b] : flow.swaps) std::swap(pieces[a], pieces[b]);
  std::vector<uint32_t> values;
  for (size_t s = 0; s < becomes.size(); ++s) values.push_back(pieces[2 * s]);
  return values;
}

size_t written(const StateFlow& flow) { return std::ranges::count(flow.written, true); }

}  // namespace

TEST_CASE(
    "any updates: every state holds what it becomes, and each old value is taken by one at most") {
  std::mt19937 random(7);
  for (int round = 0; round < 3000; ++round) {
    const size_t n = 1 + random() % 9;
    std::vector<uint32_t> becomes(n);
    for (uint32_t& b : becomes) {
      const uint32_t kind = random() % 8;
      b = kind == 0 ? kComputed : kind == 1 ? kStays : static_cast<uint32_t>(random() % n);
    }
    Context c;
    const auto g = graph_of(c, becomes);
    REQUIRE(verify(*g).empty());
    const StateFlow flow(*g);
    std::vector<uint32_t> wanted;
    for (uint32_t s = 0; s < n; ++s) {
      wanted.push_back(becomes[s] == kComputed ? 1000 + s : becomes[s] == kStays ? s : becomes[s]);
    }
    REQUIRE(after_run(flow, becomes) == wanted);
    const std::vector<bool> unwritten = unwritten_outputs(*g);
    size_t outputs = 0, skipped = 0;
    for (const bool u : unwritten) skipped += u;
    for (const uint32_t b : becomes) outputs += b != kStays;
    CHECK(skipped + written(flow) == outputs);
  }
}

TEST_CASE("swaps, cycles and delay lines write only what is computed") {
  Context c;
  CHECK(written(StateFlow(*graph_of(c, {1, 0}))) == 0);
  CHECK(written(StateFlow(*graph_of(c, {1, 2, 0}))) == 0);
  CHECK(written(StateFlow(*graph_of(c, {1, 2, 3, kComputed}))) == 1);
  CHECK(written(StateFlow(*graph_of(c, {0, kStays}))) == 0);
  CHECK(written(StateFlow(*graph_of(c, {2, 2, kComputed}))) == 2);  // one of two takes it
  CHECK(written(StateFlow(*graph_of(c, {1, kStays}))) == 1);  // what stays is nobody's to take
  CHECK(written(StateFlow(*graph_of(c, {1, 1}))) == 1);
}

TEST_CASE("a million states in one chain") {
  constexpr uint32_t kMany = test::kSanitized ? 100000 : 1000000;
  std::vector<uint32_t> becomes(kMany);
  for (uint32_t s = 0; s < kMany; ++s) becomes[s] = s + 1;
  becomes.back() = kComputed;
  Context c;
  const StateFlow flow(*graph_of(c, becomes));
  CHECK(flow.swaps.size() == kMany);
  CHECK(after_run(flow, becomes)[kMany / 2] == kMany / 2 + 1);
}

TEST_CASE("calls have the ports that belong to no state; a step has them all") {
  Context c;
  const auto g = graph_of(c, {1, kComputed, kStays});
  const CallPorts call(*g);
  CHECK(call.inputs == std::vector<uint32_t>{0});
  CHECK(call.outputs == std::vector<uint32_t>{0});
  const auto step = without_states(*g);
  CHECK(verify(*step).empty());
  CHECK(step->states().empty());
  CHECK(CallPorts(*step).inputs.size() == 4);
  CHECK(CallPorts(*step).outputs.size() == 3);
}
