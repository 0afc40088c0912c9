#include "gcomp/kernel/kernel.h"

#include <algorithm>

#include "gcomp/support/hash.h"

namespace gcomp::kernel {
namespace {

struct Hasher {
  uint64_t state = 0x6b65726e656c;
  void add(uint64_t word) { state = hash_combine(state, word); }
  void add(Type t) { add(static_cast<uint64_t>(t.dtype) << 16 | t.lanes); }
};

void add_inst(Hasher& h, const Inst& i) {
  h.add(static_cast<uint64_t>(i.code) | static_cast<uint64_t>(i.flags) << 8 |
        static_cast<uint64_t>(i.op) << 16 | static_cast<uint64_t>(i.imm) << 32);
  h.add(i.type);
  h.add(static_cast<uint64_t>(i.num_operands) | static_cast<uint64_t>(i.num_values) << 16);
}

}  // namespace

size_t Kernel::num_parameters() const {
  return static_cast<size_t>(
      std::ranges::count_if(buffers, [](const BufferInfo& b) { return is_parameter(b.role); }));
}

uint64_t hash(const Kernel& kernel) {
  Hasher h;
  for (const BufferInfo& b : kernel.buffers) {
    h.add(static_cast<uint64_t>(b.dtype) | static_cast<uint64_t>(b.role) << 8 |
          static_cast<uint64_t>(b.size) << 32);
  }
  for (DType t : kernel.scalars) h.add(static_cast<uint64_t>(t));
  for (const ValueInfo& v : kernel.values) {
    h.add(v.type);
    h.add(static_cast<uint64_t>(v.kind));
    h.add(v.bits);
  }
  for (const Inst& i : kernel.insts) add_inst(h, i);
  for (uint32_t v : kernel.operands) h.add(v);
  for (uint8_t lane : kernel.lane_lists) h.add(lane);
  for (uint64_t word : kernel.table_words) h.add(word);
  if (kernel.block_threads != 0) h.add(kernel.block_threads);
  return h.state;
}

}  // namespace gcomp::kernel
