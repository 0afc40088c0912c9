// Measurements, not checks: run with `test_codegen -ns -tc="measure*"`.

#include <doctest/doctest.h>

#include <chrono>
#include <cstdio>
#include <ctime>

#include "kernels.h"

using namespace gcomp;
using namespace gcomp::test;

namespace {

double cpu_ms() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) * 1e-6;
}

// `ops` arithmetic ops on 4 inputs with 8 live values, every tenth an exp if `with_exp`.
Kernel fused(int ops, bool with_exp, int seed) {
  return map_kernel({DType::kFloat32, DType::kFloat32, DType::kFloat32, DType::kFloat32},
                    DType::kFloat32, 8, [&](Builder& b, const Values& in) {
                      Values live = in;
                      for (int i = 0; i < ops; ++i) {
                        Value x = live[static_cast<size_t>(i * 7 + seed) % live.size()];
                        Value y = live[static_cast<size_t>(i * 3 + 1) % live.size()];
                        Value r = with_exp && i % 10 == 9 ? b.op(Op::exp, {x})
                                  : i % 2                 ? b.mul(x, y)
                                                          : b.sub(x, y);
                        if (live.size() < 8) {
                          live.push_back(r);
                        } else {
                          live[static_cast<size_t>(i) % 8] = r;
                        }
                      }
                      Value sum = live[0];
                      for (size_t i = 1; i < live.size(); ++i) sum = b.add(sum, live[i]);
                      return sum;
                    });
}

}  // namespace

TEST_CASE("measure: compile time a kernel" * doctest::skip()) {
  double start = cpu_ms();
  {
    Kernel k = fused(8, false, 0);
    const Kernel* one[] = {&k};
    const std::string name[] = {"k"};
    codegen::compile_kernels(one, name, {});
    std::printf("first object: %.1f ms of CPU\n", cpu_ms() - start);
  }
  for (int ops : {1, 8, 32, 128}) {
    for (bool with_exp : {false, true}) {
      std::vector<Kernel> kernels;
      std::vector<const Kernel*> pointers;
      std::vector<std::string> names;
      for (int i = 0; i < 100; ++i) kernels.push_back(fused(ops, with_exp, i));
      for (int i = 0; i < 100; ++i) {
        pointers.push_back(&kernels[static_cast<size_t>(i)]);
        names.push_back("k" + std::to_string(i));
      }
      for (Effort e : {Effort::kFast, Effort::kDefault, Effort::kFull}) {
        double t = cpu_ms();
        codegen::compile_kernels(pointers, names, options_for(CpuLevel::kV3, e));
        std::printf("%3d ops%s effort %d: %.2f ms\n", ops, with_exp ? " with exp" : "",
                    static_cast<int>(e), (cpu_ms() - t) / 100);
      }
    }
  }
}

TEST_CASE("measure: register-tiled inner product, 6 x 16" * doctest::skip()) {
  // C[6][16] += A[k][6] * B[k][16], packed, k = 256: the inner kernel of a matrix product.
  Builder b;
  Buffer a = b.parameter(DType::kFloat32, Role::kIn), w = b.parameter(DType::kFloat32, Role::kIn);
  Buffer c = b.parameter(DType::kFloat32, Role::kInOut);
  Values init(12, b.constant({DType::kFloat32, 8}, 0));
  Values sums =
      b.for_loop(b.index(0), b.scalar(DType::kInt64), b.index(1), init,
                 [&](Value k, std::span<const Value> acc) {
                   Value at = b.mul(k, b.index(16));
                   Value low = b.load(w, at, 8), high = b.load(w, b.add(at, b.index(8)), 8);
                   Values next;
                   for (int r = 0; r < 6; ++r) {
                     Value x = b.load_splat(a, b.add(b.mul(k, b.index(6)), b.index(r)), 8);
                     next.push_back(b.mul_add(x, low, acc[static_cast<size_t>(2 * r)]));
                     next.push_back(b.mul_add(x, high, acc[static_cast<size_t>(2 * r + 1)]));
                   }
                   return next;
                 });
  for (int i = 0; i < 12; ++i) b.store(c, b.index(i * 8), sums[static_cast<size_t>(i)]);
  Kernel k = b.finish();
  for (Effort e : {Effort::kFast, Effort::kDefault, Effort::kFull}) {
    Jit jit(k, options_for(CpuLevel::kV3, e));
    std::vector<float> x(6 * 256, 1), y(16 * 256, 1), z(96);
    double best = 1e30;
    for (int turn = 0; turn < 50; ++turn) {
      auto start = std::chrono::steady_clock::now();
      for (int i = 0; i < 100; ++i) jit.run({x.data(), y.data(), z.data()}, {256}, 0, 0);
      std::chrono::duration<double, std::nano> d = std::chrono::steady_clock::now() - start;
      best = std::min(best, d.count() / 100);
    }
    std::printf("effort %d: %.1f GFLOP/s\n", static_cast<int>(e), 2.0 * 6 * 16 * 256 / best);
  }
  codegen::CompileOptions options = options_for(CpuLevel::kV3);
  options.emit = codegen::Emit::kAssembly;
  const Kernel* one[] = {&k};
  const std::string name[] = {"k"};
  std::printf("%s\n", codegen::compile_kernels(one, name, options)[0].c_str());
}
