// The estimate of the time left, on made-up work of known length.
#include "gcomp/driver/progress.h"

#include <doctest/doctest.h>

using gcomp::driver::WorkEstimate;

namespace {

// Runs stages of these expected lengths at `slowness` times that, and returns the estimate `share` into the
// stage `stop`, told of the share in steps.
double estimate(double slowness, size_t stop, double share) {
  const std::vector<std::pair<const char*, double>> stages = {{"a", 2}, {"b", 5}, {"c", 3}};
  WorkEstimate work;
  for (const auto& [name, seconds] : stages) work.expect(name, seconds);
  double now = 1;  // what came before is not part of it
  for (size_t i = 0; i <= stop; ++i) {
    work.begin(stages[i].first, now);
    if (i < stop) now += slowness * stages[i].second;
  }
  for (double s = 0.1; s < share; s += 0.1) work.reach(s, now + slowness * s * stages[stop].second);
  now += slowness * share * stages[stop].second;
  work.reach(share, now);
  return *work.left(now);
}

}  // namespace

TEST_CASE("the time left is right when stages take what was expected, and when all are slower") {
  for (double slowness : {0.25, 1.0, 7.0}) {
    CHECK(estimate(slowness, 0, 0.5) == doctest::Approx(slowness * 9));
    CHECK(estimate(slowness, 1, 0.2) == doctest::Approx(slowness * 7));
    CHECK(estimate(slowness, 2, 0.5) == doctest::Approx(slowness * 1.5));
    CHECK(estimate(slowness, 2, 1.0) == doctest::Approx(0));
  }
}

TEST_CASE("a stage that tells no share counts down, and is never over before it is") {
  WorkEstimate work;
  CHECK(!work.left(0));
  work.expect("a", 2);
  work.expect("b", 6);
  CHECK(*work.left(0) == doctest::Approx(8));
  work.begin("a", 0);
  CHECK(*work.left(1) == doctest::Approx(7));
  work.begin("b", 4);  // twice what was expected, so b will be, too
  CHECK(*work.left(4) == doctest::Approx(12));
  CHECK(*work.left(10) == doctest::Approx(6));
  CHECK(*work.left(20) > 0);
}

TEST_CASE(
    "what is learned on the way corrects the estimate; unexpected stages have no part in it") {
  WorkEstimate work;
  work.begin("read", 0);
  CHECK(!work.left(1));
  work.expect("a", 2);
  work.expect("b", 1);
  work.begin("a", 1);
  work.expect("b", 10);
  CHECK(*work.left(1) == doctest::Approx(12));
  work.begin("b", 3);
  work.begin("tidy up", 13);
  CHECK(*work.left(14) == doctest::Approx(0));
}
