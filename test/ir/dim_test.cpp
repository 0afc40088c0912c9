#include "gcomp/ir/dim.h"

#include <doctest/doctest.h>

#include <random>

#include "gcomp/support/error.h"

using namespace gcomp;

TEST_CASE("equal polynomials are equal ids") {
  DimTable d;
  const auto same = [&](const char* a, const char* b) { return d.parse(a) == d.parse(b); };
  CHECK(same("N + M", "M + N"));
  CHECK(same("2*N - N", "N"));
  CHECK(same("(N + 1)*(N - 1)", "N*N - 1"));
  CHECK(same("(4*N + 6) // 4", "N + 1"));
  CHECK(same("(N - 1) // 2 + 1", "(N + 1) // 2"));
  CHECK(same("N // 2 // 3", "N // 6"));
  CHECK(same("(3*N*M) // N", "3*M"));
  CHECK(same("max(N, 0)", "N"));
  CHECK(same("min(N, N + 3)", "N"));
  CHECK(same("min(N, M)", "min(M, N)"));
  CHECK(same("max(-1, N)", "N"));
  CHECK_FALSE(same("max(N, 1)", "N"));
  CHECK_FALSE(same("N // 2 * 2", "N"));
}

TEST_CASE("text round-trips and evaluation agrees with plain arithmetic") {
  // Random expressions, evaluated beside their construction: the oracle is int64 arithmetic.
  std::mt19937 random(7);
  DimTable d;
  const std::vector<int64_t> values = {5, 2, 9};
  const char* names[] = {"a", "b", "c"};
  std::vector<std::pair<DimId, int64_t>> pool;
  for (int i = 0; i < 3; ++i) pool.emplace_back(d.symbol(names[i]), values[i]);
  for (int64_t v = -3; v <= 7; ++v) pool.emplace_back(d.constant(v), v);
  const auto floor_div = [](int64_t a, int64_t b) {
    const int64_t q = a / b;
    return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
  };
  for (int i = 0; i < 4000; ++i) {
    const auto [x, vx] = pool[random() % pool.size()];
    const auto [y, vy] = pool[random() % pool.size()];
    if (std::abs(vx) > 100000 || std::abs(vy) > 100000) continue;
    DimId z;
    int64_t vz = 0;
    switch (random() % 6) {
      case 0: z = d.add(x, y), vz = vx + vy; break;
      case 1: z = d.sub(x, y), vz = vx - vy; break;
      case 2: z = d.mul(x, y), vz = vx * vy; break;
      case 3: z = d.min(x, y), vz = std::min(vx, vy); break;
      case 4: z = d.max(x, y), vz = std::max(vx, vy); break;
      default:
        if (vy <= 0) continue;
        z = d.floor_div(x, y), vz = floor_div(vx, vy);
    }
    REQUIRE_MESSAGE(d.evaluate(z, values) == vz, d.to_string(z));
    if (d.lower_bound(z)) REQUIRE(*d.lower_bound(z) <= vz);
    if (d.upper_bound(z)) REQUIRE(*d.upper_bound(z) >= vz);
    REQUIRE_MESSAGE(d.parse(d.to_string(z)) == z, d.to_string(z));
    if (pool.size() < 400) pool.emplace_back(z, vz);
  }
}

TEST_CASE("substitution specialises") {
  DimTable d;
  const DimId e = d.parse("(2*N + M) // 3");
  std::vector<DimId> to(d.num_symbols());
  to[d.as_symbol(d.symbol("N"))->index] = d.constant(4);
  CHECK(d.substitute(e, to) == d.parse("(M + 8) // 3"));
}

TEST_CASE("bad extents are refused") {
  DimTable d;
  for (const char* text : {"", "N +", "(N", "min(N)", "3N4x-", "N ** 2", "1e3", "N)"}) {
    CHECK_THROWS_AS(d.parse(text), UserError);
  }
  CHECK_THROWS_AS(d.parse(std::string(10000, '(')), UserError);
  CHECK_THROWS_AS(d.parse("99999999999999999999"), UserError);
}
