// Elements of a stable vector stay where they are, are destroyed once, and are at their index.
#include "gcomp/support/stable_vector.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "gcomp/support/error.h"

using namespace gcomp;

TEST_CASE("a stable vector keeps its elements in place") {
  StableVector<std::string> texts;
  std::vector<const std::string*> places;
  for (size_t i = 0; i < 100000; ++i) places.push_back(&texts.emplace_back(std::to_string(i)));
  REQUIRE(texts.size() == places.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    REQUIRE(&texts[i] == places[i]);
    REQUIRE(texts[i] == std::to_string(i));
  }
}

TEST_CASE("a stable vector destroys each element once") {
  const auto counted = std::make_shared<int>();
  {
    StableVector<std::shared_ptr<int>> owners;
    for (int i = 0; i < 1000; ++i) owners.push_back(counted);
    CHECK(counted.use_count() == 1001);
  }
  CHECK(counted.use_count() == 1);
}

TEST_CASE("what no 32-bit id can name is an error that says so") {
  check_room_for_ids(0, kMaxIds, "nodes");
  check_room_for_ids(kMaxIds - 1, 1, "nodes");
  CHECK_THROWS_WITH_AS(check_room_for_ids(kMaxIds, 1, "nodes"),
                       doctest::Contains("more than 4294967295 nodes"), UserError);
  CHECK_THROWS_AS(check_room_for_ids(5, SIZE_MAX, "nodes"), UserError);
}
