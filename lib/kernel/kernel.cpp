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

class Bytes {
 public:
  void add(uint64_t word) { text_.append(reinterpret_cast<const char*>(&word), sizeof word); }
  void add(Type t) { add(static_cast<uint64_t>(t.dtype) << 16 | t.lanes); }
  void add(const BufferInfo& b) {
    for (const uint64_t word : {static_cast<uint64_t>(b.dtype), static_cast<uint64_t>(b.role),
                                uint64_t{b.slot}, uint64_t{b.size}}) {
      add(word);
    }
  }
  void add(const ValueInfo& v) {
    add(v.type);
    add(static_cast<uint64_t>(v.kind));
    add(v.bits);
  }
  void add(const Inst& i) {
    add(i.type);
    for (const uint64_t word :
         {static_cast<uint64_t>(i.code), uint64_t{i.flags}, static_cast<uint64_t>(i.op),
          uint64_t{i.imm}, uint64_t{i.first_operand}, uint64_t{i.first_value},
          uint64_t{i.num_operands}, uint64_t{i.num_values}}) {
      add(word);
    }
  }
  void add(DType t) { add(static_cast<uint64_t>(t)); }
  template <class T>
  void add_list(const std::vector<T>& list) {
    add(list.size());
    for (const T& element : list) add(element);
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

}  // namespace

size_t Kernel::num_parameters() const {
  return static_cast<size_t>(
      std::ranges::count_if(buffers, [](const BufferInfo& b) { return is_parameter(b.role); }));
}

std::string to_bytes(const Kernel& kernel) {
  // All fields by name, so that a new one does not compile before somebody thought of it here.
  const auto& [buffers, scalars, values, insts, operands, lane_lists, table_words, block_threads] =
      kernel;
  Bytes bytes;
  bytes.add_list(buffers);
  bytes.add_list(scalars);
  bytes.add_list(values);
  bytes.add_list(insts);
  bytes.add_list(operands);
  bytes.add_list(lane_lists);
  bytes.add_list(table_words);
  bytes.add(uint64_t{block_threads});
  return bytes.take();
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
