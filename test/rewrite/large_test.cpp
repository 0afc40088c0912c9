// Size: graphs on which naive engines recurse, go quadratic or exponential. Correctness only; speed is
// a benchmark (scripts/bench optimizer).
#include <doctest/doctest.h>
#include <pthread.h>

#include "../sanitized.h"
#include "gcomp/rewrite/sweep.h"

using namespace gcomp;
using namespace gcomp::rewrite;

namespace {

constexpr size_t kMillion =
    test::kSanitized ? 150000 : 1000000;  // stack frames are larger there, too
const Pattern x = any("x"), y = any("y");

std::vector<Rule> rules() {
  std::vector<Rule> r;
  r.push_back(rule("mul_one", x * 1, x));
  r.push_back(rule("neg_neg", -(-x), x));
  r.push_back(rule("log_exp", log(exp(x)), x));
  return r;
}

struct Large {
  Context context;
  GraphBuilder b{context, GraphBuilder::Mode::kRaw};
  ValueId a = b.input("a", Type{DType::kFloat64, {}});

  SweepStats run(ValueId v, size_t* left) {
    b.output("y", v);
    const auto g = b.finish();
    const std::vector<Rule> base = rules();
    const RuleSet set(select(base, {}));
    SweepStats stats, again;
    const auto s = sweep(*g, set, {}, &stats);
    *left = s->num_nodes();
    sweep(*s, set, {}, &again);
    CHECK(again.applied == 0);
    CHECK(again.nodes_after == *left);
    return stats;
  }
};

}  // namespace

TEST_CASE_FIXTURE(Large, "a chain a million deep") {
  ValueId v = a;
  for (size_t i = 0; i < kMillion; ++i) v = b.value(i % 2 ? Op::tanh : Op::sin, {v});
  size_t left = 0;
  run(v, &left);
  CHECK(left == kMillion + 1);
}

TEST_CASE_FIXTURE(Large, "a chain that cancels completely") {
  ValueId v = a;
  for (size_t i = 0; i < kMillion; ++i) v = b.value(Op::neg, {v});
  size_t left = 0;
  const SweepStats stats = run(v, &left);
  CHECK(left == 1);
  CHECK(stats.applied == 1);  // every other neg is the first one, interned
}

TEST_CASE_FIXTURE(Large, "a ladder of diamonds: 2^1000000 paths") {
  ValueId v = a;
  for (size_t i = 0; i < kMillion / 3; ++i) {
    v = b.value(Op::mul, {b.value(Op::sin, {v}), b.value(Op::cos, {v})});
  }
  size_t left = 0;
  run(v, &left);
  CHECK(left == kMillion / 3 * 3 + 1);
}

TEST_CASE_FIXTURE(Large, "a million equal subtrees are one") {
  const ValueId first = b.value(Op::sin, {a});
  ValueId v = first;
  for (size_t i = 0; i < kMillion; ++i) {
    const ValueId copy = b.value(Op::sin, {a});
    v = i % 2 ? b.value(Op::min, {v, copy}) : b.value(Op::max, {v, copy});
  }
  size_t left = 0;
  const SweepStats stats = run(v, &left);
  CHECK(stats.intern_hits >= kMillion);
  CHECK(left == kMillion + 2);
}

TEST_CASE_FIXTURE(Large, "a million readers of one value") {
  ValueId v = b.value(Op::exp, {a});
  const ValueId shared = v;
  for (size_t i = 0; i < kMillion; ++i) v = b.value(Op::atan2, {v, shared});
  size_t left = 0;
  run(v, &left);
  CHECK(left == kMillion + 2);
}

TEST_CASE("a deep chain in a thread with a stack of 256 KB") {
  // What `ulimit -s 256` gives a main thread.
  pthread_attr_t attr;
  REQUIRE(pthread_attr_init(&attr) == 0);
  REQUIRE(pthread_attr_setstacksize(&attr, 256 * 1024) == 0);
  size_t left = 0;
  const auto body = [](void* out) -> void* {
    Context context;
    GraphBuilder b(context, GraphBuilder::Mode::kRaw);
    ValueId v = b.input("a", Type{DType::kFloat64, {}});
    for (size_t i = 0; i < kMillion; ++i) {
      v = b.value(Op::exp, {v});
      if (i % 2) v = b.value(Op::log, {v});
    }
    b.output("y", v);
    const auto g = b.finish();
    const std::vector<Rule> base = rules();
    *static_cast<size_t*>(out) = sweep(*g, RuleSet(select(base, {})))->num_nodes();
    return nullptr;
  };
  pthread_t thread;
  REQUIRE(pthread_create(&thread, &attr, body, &left) == 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attr);
  CHECK(left == kMillion / 2 + 1);
}
