// Compile time of CUDA kernels: 500 different elementwise kernels of 12 ops for one architecture.

#include <chrono>
#include <cstdio>
#include <ctime>
#include <thread>

#include "gcomp/codegen/cuda.h"
#include "gcomp/ir/op.h"
#include "gcomp/kernel/builder.h"

using namespace gcomp;
using namespace gcomp::kernel;

namespace {

constexpr int kKernels = 500;

// Six functions chosen by `number`, each followed by a multiply and an add.
Kernel some_kernel(int number) {
  constexpr Op kOps[] = {Op::exp,     Op::tanh, Op::neg, Op::sin,
                         Op::sigmoid, Op::sqrt, Op::abs, Op::log1p};
  Builder b;
  const Buffer x = b.parameter(DType::kFloat32, Role::kIn);
  const Buffer row = b.parameter(DType::kFloat32, Role::kIn);
  const Buffer y = b.parameter(DType::kFloat32, Role::kOut);
  b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value i) {
    Value v = b.load(x, i);
    const Value w = b.load(row, b.index_rem(i, b.index(100 + number)));
    int choice = number * 7919;
    for (int k = 0; k < 6; ++k, choice /= 3) {
      v = b.op(kOps[choice % 8], {v});
      v = b.add(v, b.mul(w, b.f32(0.5f + static_cast<float>(number))));
    }
    b.store(y, i, v);
  });
  return b.finish();
}

double processor_seconds() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

int main() {
  std::vector<Kernel> kernels;
  std::vector<const Kernel*> pointers;
  std::vector<std::string> names;
  for (int i = 0; i < kKernels; ++i) kernels.push_back(some_kernel(i));
  for (const Kernel& k : kernels) {
    names.push_back("k" + std::to_string(pointers.size()));
    pointers.push_back(&k);
  }
  const std::vector<int64_t> most(kernels.size(), 1 << 20);
  const auto threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  std::printf("| step | clock, s | processor, s |\n|---|---|---|\n");
  double clock = now(), processor = processor_seconds();
  const auto report = [&](const char* step) {
    std::printf("| %s | %.2f | %.2f |\n", step, now() - clock, processor_seconds() - processor);
    clock = now(), processor = processor_seconds();
  };
  const auto modules = codegen::print_cuda(pointers, names, {.most_iterations = most});
  report("print 500 kernels");
  const auto images = codegen::compile_cuda(modules, {.archs = {{80, false}}, .threads = threads});
  report("compile them for sm_80");
  size_t bytes = 0;
  for (const codegen::CudaImage& i : images) bytes += i.bytes.size();
  std::printf("\n%d threads; %zu images, %zu bytes.\n", threads, images.size(), bytes);
  return 0;
}
