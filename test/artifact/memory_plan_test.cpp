// The memory of a plan from its data alone: against sums by hand, and on damaged data.
#include "gcomp/artifact/memory_plan.h"

#include <doctest/doctest.h>

#include <cstring>

#include "gcomp/artifact/plan_builder.h"

using namespace gcomp;

namespace {

// t0 of 8 n bytes lives through steps 0 and 1, t1 of 4 n (n + 1) through 1 and 2, t2 of 100 through 2 and 3.
std::vector<std::byte> block() {
  PlanBuilder b;
  const PlanValue n = b.symbol("n");
  const PlanBufferId x = b.input("x", DType::kFloat64, {{n, "n"}});
  const PlanBufferId y = b.output("y", DType::kFloat32, {{b.add(n, b.constant(1)), "n + 1"}});
  const PlanBufferId t0 = b.temporary(b.mul(n, b.constant(8)));
  const PlanBufferId t1 = b.temporary(b.mul(b.mul(n, b.add(n, b.constant(1))), b.constant(4)));
  const PlanBufferId t2 = b.temporary(b.constant(100));
  const PlanKernelId k = b.kernel("k");
  b.call({.kernel = k, .buffers = {x, t0}});
  b.call({.kernel = k, .buffers = {t0, t1}});
  b.call({.kernel = k, .buffers = {t1, t2}});
  b.call({.kernel = k, .buffers = {t2, y}});
  return b.finish().block;
}

const rt::Plan& plan(const std::vector<std::byte>& block) {
  return *reinterpret_cast<const rt::Plan*>(block.data());
}

}  // namespace

TEST_CASE("the memory of a plan for given extents") {
  const auto data = block();
  REQUIRE(artifact::fault_of(data) == "");
  CHECK(artifact::symbols(plan(data)) == std::vector<std::string>{"n"});
  const auto memory = artifact::memory_plan(plan(data), {{"n", 100}}, 1);
  REQUIRE(memory.has_value());
  CHECK(memory->buffer_bytes == 832 + 40448 + 128);  // 800, 40400 and 100 bytes, in units of 64
  CHECK(memory->max_live_bytes == 832 + 40448);
  CHECK(memory->arena_bytes == 832 + 40448);
  CHECK(memory->input_bytes == 800);
  CHECK(memory->output_bytes == 404);
  REQUIRE(memory->buffers.size() == 3);
  CHECK(memory->buffers[1].bytes == 40400);
  CHECK(memory->buffers[1].first == 1);
  CHECK(memory->buffers[1].last == 2);
  const auto texts = artifact::expressions(plan(data));
  const auto* const rows = rt::table<rt::PlanBuffer>(plan(data), plan(data).buffers);
  CHECK(texts[rows[memory->buffers[0].buffer].size_value] == "n*8");
  CHECK(texts[rows[memory->buffers[1].buffer].size_value] == "n*(n + 1)*4");
  CHECK(artifact::memory_plan(plan(data), {}, 1)->buffer_bytes == 64 + 64 + 128);
  CHECK(!artifact::memory_plan(plan(data), {{"n", int64_t{1} << 61}}, 1));
  CHECK(!artifact::memory_plan(plan(data), {{"n", -1}}, 1));
}

TEST_CASE("a damaged plan is refused, or harmless") {
  const auto good = block();
  int refused = 0;
  for (size_t at = 0; at + 4 <= good.size(); at += 4) {
    for (const uint32_t value : {0xffffffffu, 0x7fffffffu, 0x10000u, 0u, 1u}) {
      std::vector<std::byte> bad = good;
      std::memcpy(bad.data() + at, &value, 4);
      if (!artifact::fault_of(bad).empty()) {
        ++refused;
        continue;
      }
      artifact::symbols(plan(bad));
      artifact::expressions(plan(bad));
      artifact::memory_plan(plan(bad), {{"n", 3}}, 1);
    }
  }
  CHECK(refused > 100);
  for (size_t bytes = 0; bytes < good.size(); bytes += 8) {
    const std::vector<std::byte> cut(good.begin(), good.begin() + static_cast<ptrdiff_t>(bytes));
    if (artifact::fault_of(cut).empty()) artifact::memory_plan(plan(cut), {}, 1);
  }
}
