// What a call costs, what a step costs, how long linking and packing take. Prints one line each; no pass or fail.

#include <chrono>
#include <cstdio>
#include <random>

#include "../artifact/model.h"
#include "gcomp/runtime/pack.h"

namespace gcomp {
namespace {

template <class F>
double seconds(F f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void report(const char* what, double value, const char* unit) {
  std::printf("%-64s %10.2f %s\n", what, value, unit);
}

// Ten tensors of a few elements: the cost of a call beside its kernels.
void bench_call(const test::Folder& folder, bool symbolic) {
  PlanBuilder b;
  const PlanValue n = symbolic ? b.symbol("n") : b.constant(4);
  std::vector<PlanBufferId> in, out;
  for (int i = 0; i < 8; ++i) {
    in.push_back(b.input("x" + std::to_string(i), DType::kFloat64, {{n, "n"}}));
  }
  for (int i = 0; i < 2; ++i) {
    out.push_back(b.output("y" + std::to_string(i), DType::kFloat64, {{n, "n"}}));
  }
  const PlanKernelId add = b.kernel("k_add");
  b.call({.kernel = add, .buffers = {in[0], in[7], out[0]}, .extent = n});
  b.call({.kernel = add, .buffers = {in[1], in[6], out[1]}, .extent = n});
  test::write_so(b.finish(), folder / "call.so");
  const Artifact artifact(folder / "call.so");
  Context context(artifact);
  std::vector<std::vector<double>> data(10, std::vector<double>(4, 1.0));
  std::vector<std::vector<int64_t>> shapes(10, {4});
  std::vector<gcomp_tensor> inputs, outputs;
  for (size_t i = 0; i < 8; ++i) inputs.push_back(tensor(data[i], shapes[i]));
  for (size_t i = 8; i < 10; ++i) outputs.push_back(tensor(data[i], shapes[i]));
  constexpr int kCalls = 1000000;
  const double t = seconds([&] {
    for (int i = 0; i < kCalls; ++i) context.run(inputs, outputs);
  });
  report(
      symbolic ? "call with 10 tensors, symbolic extents" : "call with 10 tensors, static extents",
      t / kCalls * 1e9, "ns");
}

// A chain of a million steps over 16 elements, each with its own scalar.
void bench_steps(const test::Folder& folder, int64_t steps) {
  PlanBuilder b;
  const PlanValue n = b.constant(16), bytes = b.constant(128);
  PlanBufferId x = b.input("x", DType::kFloat64, {{n, "16"}});
  const PlanBufferId y = b.output("y", DType::kFloat64, {{n, "16"}});
  const PlanKernelId k = b.kernel("k_scale");
  PlanImage image;
  const double build = seconds([&] {
    for (int64_t i = 0; i < steps; ++i) {
      const PlanBufferId next = i + 1 == steps ? y : b.temporary(bytes);
      b.call({.kernel = k,
              .buffers = {x, next},
              .scalars = {1.0 + 1e-9 * static_cast<double>(i % 7)},
              .extent = 16});
      x = next;
    }
    image = b.finish();
  });
  report("steps", static_cast<double>(steps), "");
  report("  plan built and packed", build, "s");
  report("  plan", static_cast<double>(image.block.size()) / static_cast<double>(steps),
         "bytes a step");
  report("  arena over lower bound",
         static_cast<double>(image.arena_bytes) / static_cast<double>(image.max_live_bytes), "");
  report("  linked and written", seconds([&] { test::write_so(image, folder / "steps.so"); }), "s");
  const Artifact artifact(folder / "steps.so");
  double create = seconds([&] { Context context(artifact); });
  report("  context created", create * 1e3, "ms");
  Context context(artifact);
  const std::vector<double> in(16, 1.0);
  test::run_vector(context, in);
  double best = 1e9;
  for (int i = 0; i < 10; ++i)
    best = std::min(best, seconds([&] { test::run_vector(context, in); }));
  report("  a step, kernel of 16 elements included", best / static_cast<double>(steps) * 1e9, "ns");
}

void bench_pack(uint32_t n) {
  std::mt19937 random(5);
  std::vector<rt::PackItem> items;
  for (uint32_t i = 0; i < n; ++i) {
    const uint32_t length = random() % 16 == 0 ? random() % 1000 : random() % 6;
    items.push_back({64 + random() % 100000, i, std::min(n - 1, i + length)});
  }
  std::vector<uint64_t> scratch(rt::pack_scratch_bytes(n) / 8 + 1), offsets(n);
  uint64_t bytes = 0;
  const double t = seconds([&] {
    bytes = rt::pack(items.data(), n, offsets.data(), scratch.data(), rt::kPackCompilerEffort);
  });
  const uint64_t bound = rt::max_live_bytes(items.data(), n, scratch.data());
  std::printf("pack %u irregular buffers: %.3f s, %.3f of the lower bound\n", n, t,
              static_cast<double>(bytes) / static_cast<double>(bound));
}

void bench_parallel(const test::Folder& folder) {
  test::write_so(test::scale_plan(1.0, -1, 1000).finish(), folder / "parallel.so");
  const Artifact artifact(folder / "parallel.so");
  for (const uint32_t threads : {1u, 2u}) {
    gcomp_options options = {};
    options.threads = threads;
    Context context(artifact, options);
    const std::vector<double> x(8000, 1.0);
    test::run_vector(context, x);
    constexpr int kCalls = 20000;
    const double t = seconds([&] {
      for (int i = 0; i < kCalls; ++i) test::run_vector(context, x);
    });
    report(threads == 1 ? "two kernels over 8000 elements, one thread" : "  two threads",
           t / kCalls * 1e6, "us");
  }
}

}  // namespace
}  // namespace gcomp

int main() {
  const gcomp::test::Folder folder;
  gcomp::bench_call(folder, false);
  gcomp::bench_call(folder, true);
  gcomp::bench_parallel(folder);
  gcomp::bench_steps(folder, 1000);
  gcomp::bench_steps(folder, 1000000);
  for (const uint32_t n : {1000u, 4000u, 100000u, 1000000u}) gcomp::bench_pack(n);
}
