// The table of interning against std::map, with good hashes and with bad ones.
#include "gcomp/support/intern.h"

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "gcomp/support/hash.h"

using namespace gcomp;

namespace {

// Interns `count` numbers below `range`, hashed by `hash`, and compares each id with a map's.
template <class Hash>
void intern_numbers(size_t count, uint64_t range, size_t room, Hash&& hash) {
  InternTable table;
  table.reserve(room);
  std::map<uint64_t, uint32_t> truth;
  std::vector<uint64_t> contents;
  std::mt19937_64 random(1);
  for (size_t i = 0; i < count; ++i) {
    const uint64_t number = random() % range;
    const auto found =
        table.find(hash(number), [&](uint32_t id) { return contents[id] == number; });
    const auto known = truth.find(number);
    REQUIRE(found.has_value() == (known != truth.end()));
    if (found) {
      REQUIRE(*found == known->second);
      continue;
    }
    const auto id = static_cast<uint32_t>(contents.size());
    contents.push_back(number);
    table.add(hash(number), id);
    truth.emplace(number, id);
  }
}

}  // namespace

TEST_CASE("an interning table finds what is there and nothing else") {
  const auto good = [](uint64_t n) { return hash_combine(0, n); };
  for (size_t room : {size_t{0}, size_t{1}, size_t{5000}}) {
    intern_numbers(20000, 1000, room, good);
    intern_numbers(20000, uint64_t{1} << 60, room, good);
  }
}

TEST_CASE("an interning table stands hashes that collide") {
  intern_numbers(2000, 400, 0, [](uint64_t) { return size_t{0}; });
  intern_numbers(2000, 400, 0, [](uint64_t) { return ~size_t{0}; });  // the last slot: wraps around
  intern_numbers(4000, 4000, 0, [](uint64_t n) { return n; });        // upper half always 0
  intern_numbers(4000, 4000, 0, [](uint64_t n) { return n % 7 << 61; });
}

TEST_CASE("an empty interning table finds nothing") {
  CHECK(!InternTable().find(3, [](uint32_t) { return true; }));
}
