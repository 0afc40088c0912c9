// Asynchronous copies to shared memory, matrices loaded from it, and aligned accesses: in the emulator, which notices
// what is read too early, and as PTX.

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <functional>

#include "emulated.h"
#include "gcomp/kernel/builder.h"

namespace gcomp::test {
namespace {

using kernel::Buffer;
using kernel::Builder;
using kernel::Kernel;
using kernel::Role;
using kernel::Value;

constexpr uint32_t kThreads = 64;
constexpr int kElements = kThreads * 8;  // of a block: 4 matrices a warp
constexpr size_t kLeftOut = 5;           // a thread whose row is zeros

struct Mistakes {
  bool no_wait = false, no_barrier = false, no_commit = false, waits_for_less = false;
  bool overwrites = false, reads_unaligned_row = false;
};

// Two blocks' worth of x go through shared memory, a row of 8 a thread and a group a block's worth. The first ones are
// loaded as matrices, from the rows that the block's last thread brought on, and written to y, thread by thread; then
// the second ones are.
Kernel through_matrices(bool transposed, const Mistakes& wrong) {
  Builder b;
  const Buffer x = b.parameter(DType::kFloat16, Role::kIn);
  const Buffer y = b.parameter(DType::kUInt32, Role::kOut);
  b.set_block(kThreads);
  const Buffer s = b.shared(DType::kFloat16, 2 * kElements);
  const Value thread = b.thread(), row = b.mul(thread, b.index(8));
  const Value inside = b.ne(thread, b.index(kLeftOut));
  for (int part = 0; part < 2; ++part) {
    const Value at = b.add(row, b.index(part * kElements));
    b.copy_async(s, at, x, at, inside);
    if (!wrong.no_commit || part == 0) b.commit_copies();
  }
  for (int part = 0; part < 2; ++part) {
    if (!wrong.no_wait) b.wait_copies(wrong.waits_for_less ? 1 : 1 - part);
    if (wrong.overwrites) b.store(s, b.index(0), b.constant({DType::kFloat16, 1}, 1));
    if (!wrong.no_barrier) b.barrier();
    const Value other = b.sub(b.index(part * kElements + kElements - 8), row);
    const Value from = wrong.reads_unaligned_row ? b.add(other, b.index(-4)) : other;
    const Value words = b.warp_load(s, from, transposed);
    for (int m = 0; m < 4; ++m) {
      const Value place =
          b.add(b.mul(thread, b.index(4)), b.index(m + part * 4 * static_cast<int>(kThreads)));
      b.store(y, place, b.extract(words, m));
    }
  }
  b.wait_copies(0);
  return b.finish();
}

// Whether each of 8 elements is aligned.
Kernel alignment() {
  Builder b;
  const Buffer x = b.parameter(DType::kFloat32, Role::kIn);
  const Buffer aligned = b.parameter(DType::kBool, Role::kOut);
  b.set_block(32);
  const Value thread = b.thread();
  b.if_then(b.lt(thread, b.index(8)), [&] { b.store(aligned, thread, b.is_aligned(x, thread)); });
  return b.finish();
}

// What the parts of x are as matrices, computed from the definition.
std::vector<uint32_t> expected(const std::vector<uint16_t>& x, bool transposed) {
  std::vector<uint32_t> words;
  for (size_t part = 0; part < 2; ++part) {
    for (size_t thread = 0; thread < kThreads; ++thread) {
      const size_t warp = thread / 32, g = thread % 32 / 4, t = thread % 4;
      for (size_t m = 0; m < 4; ++m) {
        const auto element = [&](size_t row, size_t column) -> uint32_t {
          const size_t from = kThreads - 1 - (warp * 32 + m * 8 + row);
          return from == kLeftOut ? 0 : x[part * size_t{kElements} + from * 8 + column];
        };
        const uint32_t low = transposed ? element(2 * t, g) : element(g, 2 * t);
        const uint32_t high = transposed ? element(2 * t + 1, g) : element(g, 2 * t + 1);
        words.push_back(low | high << 16);
      }
    }
  }
  return words;
}

}  // namespace

TEST_CASE("copies to shared memory are done when they were waited for; mistakes are noticed") {
  const std::vector<std::pair<std::string, Kernel>> kernels = [] {
    std::vector<std::pair<std::string, Kernel>> list;
    list.emplace_back("plain", through_matrices(false, {}));
    list.emplace_back("transposed", through_matrices(true, {}));
    list.emplace_back("no_wait", through_matrices(false, {.no_wait = true}));
    list.emplace_back("no_barrier", through_matrices(false, {.no_barrier = true}));
    list.emplace_back("no_commit", through_matrices(false, {.no_commit = true}));
    list.emplace_back("waits_for_less", through_matrices(false, {.waits_for_less = true}));
    list.emplace_back("overwrites", through_matrices(false, {.overwrites = true}));
    list.emplace_back("unaligned_row", through_matrices(false, {.reads_unaligned_row = true}));
    return list;
  }();
  std::vector<const Kernel*> pointers;
  std::vector<std::string> names;
  for (const auto& [name, k] : kernels) pointers.push_back(&k), names.push_back(name);
  const Emulated emulated(pointers, names);
  alignas(16) static uint16_t memory[2 * kElements + 8];
  std::vector<uint16_t> x(size_t{2 * kElements});
  for (size_t i = 0; i < x.size(); ++i) memory[i] = x[i] = static_cast<uint16_t>(i * 40503);
  std::vector<uint32_t> y(2 * kThreads * 4);
  uint64_t words[] = {std::bit_cast<uint64_t>(&memory[0]), std::bit_cast<uint64_t>(y.data()), 1};
  for (const bool transposed : {false, true}) {
    emulated.run(transposed ? "transposed" : "plain", words, {.threads = kThreads}, 1);
    CHECK(y == expected(x, transposed));
  }
  for (size_t i = 2; i < names.size(); ++i) {
    CAPTURE(names[i]);
    CHECK_THROWS(emulated.run(names[i], words, {.threads = kThreads}, 1));
  }
  words[0] += sizeof(uint16_t);  // no multiple of 16 bytes
  CHECK_THROWS(emulated.run("plain", words, {.threads = kThreads}, 1));
  const std::vector<const Kernel*> both = {pointers[0], pointers[1]};
  const std::string ptx =
      compile_cuda(codegen::print_cuda(both, std::span(names).first(2)), {.archs = {{80, true}}})[0]
          .bytes;
  for (const char* text :
       {"cp.async.cg.shared.global", "cp.async.commit_group", "cp.async.wait_group 1",
        "ldmatrix.sync.aligned.m8n8.x4.shared.b16", "m8n8.x4.trans.shared.b16"}) {
    CAPTURE(text);
    CHECK(ptx.find(text) != std::string::npos);
  }
}

TEST_CASE("a kernel may ask whether an address is aligned") {
  const Kernel k = alignment();
  const Kernel* const pointers[] = {&k};
  const std::string names[] = {"alignment"};
  const Emulated emulated(pointers, names);
  alignas(16) float x[12] = {};
  for (const size_t shift : {size_t{0}, size_t{3}, size_t{4}}) {
    std::array<bool, 8> aligned = {};
    const uint64_t words[] = {std::bit_cast<uint64_t>(x + shift),
                              std::bit_cast<uint64_t>(aligned.data()), 1};
    emulated.run("alignment", words, {.threads = 32}, 1);
    for (size_t i = 0; i < 8; ++i) CHECK(aligned[i] == ((i + shift) % 4 == 0));
  }
  CHECK(print(k).find("is_aligned b0") != std::string::npos);
}

TEST_CASE("the verifier knows copies and loads of matrices") {
  const Kernel good = through_matrices(true, {});
  CHECK(verify(good).empty());
  const auto broken = [&](kernel::Code code, const std::function<void(Kernel&, kernel::Inst&)>& f) {
    Kernel k = good;
    f(k, *std::ranges::find(k.insts, code, &kernel::Inst::code));
    return verify(k).size();
  };
  using kernel::Code;
  CHECK(broken(Code::kCopyAsync, [](Kernel&, kernel::Inst& i) { i.imm = 9; }) == 1);
  CHECK(broken(Code::kCopyAsync, [](Kernel&, kernel::Inst& i) { i.imm = 1; }) == 1);
  CHECK(broken(Code::kCopyAsync, [](Kernel&, kernel::Inst& i) { i.num_operands = 2; }) == 1);
  CHECK(broken(Code::kWarpLoad, [](Kernel&, kernel::Inst& i) { i.imm = 9; }) == 1);
  CHECK(broken(Code::kWarpLoad, [](Kernel&, kernel::Inst& i) { i.imm = 0; }) == 1);
  const Kernel asks = alignment();
  Kernel k = asks;
  std::ranges::find(k.insts, Code::kIsAligned, &kernel::Inst::code)->imm = 9;
  CHECK(verify(k).size() == 1);
}

}  // namespace gcomp::test
