// What a well-formed kernel is:
//  1. Values are of known dtype and of a power-of-two number of lanes, at most kMaxLanes.
//  2. Every operand is a constant, a parameter, or was defined earlier in a region that is still
//  open
//     (so it dominates the use). Values of a closed region are reachable only through its results.
//  3. Markers match: kFor..kEndFor, kWhile..kWhileTest..kEndWhile, kIf..kElse..kEndIf; the stream
//  ends
//     with none open. A region yields as many values, of the same types, as it carries; the two
//     arms of an if yield equal types, which are the types of its results.
//  4. Loop bounds and indices are int64, one lane (gather and scatter: any lanes); conditions of
//     control flow are bool, one lane; masks are bool with the lanes of what they mask.
//  5. Elementwise operands agree in dtype and lanes (where: bool condition); comparisons give bool.
//     Half formats are only moved, selected, bit-cast and cast to and from float32.
//  6. Memory: the buffer exists, the loaded or stored dtype is the buffer's; kIn and kTable are not
//     written; kError is touched by set_error alone.
//  7. Parameter slots are 0, 1, 2, ... in order; tables lie inside table_words.
//  8. Threads, barriers, exchanges and matrix products of a warp, and shared arrays are in kernels of blocks
//     only. (That all threads of a block reach a barrier is the builder's promise.) A matrix product takes
//     4 and 2 words and 4 sums a thread and gives 4 sums; its format is one of MmaFormat. Matrices are loaded from
//     shared arrays of 16-bit elements. Asynchronous copies go from a parameter to a shared array of its dtype.

#include <algorithm>
#include <bit>

#include "gcomp/ir/op.h"
#include "names.h"

namespace gcomp::kernel {
namespace {

bool is_half(DType t) { return t == DType::kFloat16 || t == DType::kBFloat16; }

class Verifier {
 public:
  explicit Verifier(const Kernel& kernel) : k_(kernel), live_(kernel.values.size(), false) {}

  std::vector<std::string> run();

 private:
  struct Region {
    Code code;
    size_t live_mark;           // values to drop when it closes
    std::vector<Type> carried;  // what it must yield
  };

  void fail(const std::string& message);
  void expect(bool condition, const char* message) {
    if (!condition) fail(message);
  }
  Type operand_type(size_t i) const {
    return k_.values[k_.operands[inst_->first_operand + i]].type;
  }
  std::vector<Type> operand_types(size_t from) const;
  bool is_index(size_t i) const { return operand_type(i) == Type{DType::kInt64, 1}; }

  void check_buffers();
  void check_values();
  bool check_operands();
  void check_inst();
  void check_elementwise();
  void check_cast();
  void check_lanes();
  void check_memory();
  void check_block();
  void check_mma();
  void check_warp_load();
  void check_copy();
  void check_structure();
  void define_values();
  void open(Code code, std::vector<Type> carried);
  void close(Code expected, std::span<const Type> yields);
  void drop_to(size_t mark);

  const Kernel& k_;
  const Inst* inst_ = nullptr;
  std::vector<bool> live_;
  std::vector<uint32_t> live_stack_;
  std::vector<Region> regions_;
  std::vector<std::string> errors_;
};

void Verifier::fail(const std::string& message) {
  std::string place;
  if (inst_) {
    place = "instruction " + std::to_string(inst_ - k_.insts.data()) + " (" +
            std::string(code_name(inst_->code)) + "): ";
  }
  errors_.push_back(place + message);
}

std::vector<Type> Verifier::operand_types(size_t from) const {
  std::vector<Type> types;
  for (size_t i = from; i < inst_->num_operands; ++i) types.push_back(operand_type(i));
  return types;
}

void Verifier::check_buffers() {
  uint32_t next_slot = 0, errors = 0;
  for (const BufferInfo& b : k_.buffers) {
    if (is_parameter(b.role)) expect(b.slot == next_slot++, "parameter slots are not consecutive");
    if (b.role == Role::kError)
      expect(b.dtype == DType::kInt64 && ++errors == 1, "one int64 error");
    if (b.role == Role::kTable) {
      expect(uint64_t{b.slot} + b.size <= k_.table_words.size(), "table outside table_words");
    }
    if (!is_parameter(b.role)) expect(b.size > 0, "empty local array or table");
    if (b.role == Role::kShared) expect(k_.block_threads != 0, "shared array without blocks");
  }
}

void Verifier::check_values() {
  expect(k_.block_threads % 32 == 0 && k_.block_threads <= 1024, "not a size of a block");
  for (const ValueInfo& v : k_.values) {
    expect(v.type.lanes >= 1 && v.type.lanes <= kMaxLanes && std::has_single_bit(v.type.lanes),
           "a value's lanes are not a power of two in range");
    if (v.kind == ValueKind::kScalar) {
      expect(v.bits < k_.scalars.size() && v.type == Type{k_.scalars[v.bits], 1},
             "scalar value does not match its parameter");
    }
  }
}

bool Verifier::check_operands() {
  if (uint64_t{inst_->first_operand} + inst_->num_operands > k_.operands.size() ||
      uint64_t{inst_->first_value} + inst_->num_values > k_.values.size()) {
    fail("operands or results outside the arrays");
    return false;
  }
  for (size_t i = 0; i < inst_->num_operands; ++i) {
    uint32_t v = k_.operands[inst_->first_operand + i];
    if (v >= k_.values.size()) {
      fail("operand is not a value");
      return false;
    }
    if (k_.values[v].kind == ValueKind::kInst && !live_[v]) {
      fail("operand %" + std::to_string(v) + " is not defined here");
    }
  }
  return true;
}

void Verifier::check_elementwise() {
  Type t = inst_->type;
  if (inst_->op == Op::where) {
    expect(inst_->num_operands == 3 && operand_type(0) == Type{DType::kBool, t.lanes} &&
               operand_type(1) == t && operand_type(2) == t,
           "where takes (bool, T, T)");
    return;
  }
  Type first = operand_type(0);
  for (Type other : operand_types(1)) expect(other == first, "operand types differ");
  bool predicate = is_comparison(inst_->op) || inst_->op == Op::is_nan || inst_->op == Op::is_inf;
  expect(t == (predicate ? Type{DType::kBool, first.lanes} : first), "wrong result type");
  expect(!is_half(first.dtype), "arithmetic on a half format");
}

void Verifier::check_cast() {
  Type from = operand_type(0), to = inst_->type;
  expect(from.lanes == to.lanes, "cast changes lanes");
  if (inst_->code == Code::kBitcast) {
    expect(byte_size(from.dtype) == byte_size(to.dtype), "bitcast changes size");
    expect(from.dtype != DType::kBool && to.dtype != DType::kBool, "bitcast of bool");
    return;
  }
  expect(!is_half(from.dtype) || to.dtype == DType::kFloat32, "half formats cast to float32 only");
  expect(!is_half(to.dtype) || from.dtype == DType::kFloat32,
         "half formats cast from float32 only");
  expect(to.dtype != DType::kBool, "casts to bool are comparisons");
}

void Verifier::check_lanes() {
  Type t = inst_->type;
  switch (inst_->code) {
    case Code::kSplat: expect(operand_type(0) == Type{t.dtype, 1}, "splat of a vector"); break;
    case Code::kExtract:
    case Code::kReduce:
      expect(t == Type{operand_type(0).dtype, 1}, "wrong result type");
      if (inst_->code == Code::kExtract) expect(inst_->imm < operand_type(0).lanes, "no such lane");
      break;
    case Code::kInsert:
      expect(operand_type(0) == t && operand_type(1) == Type{t.dtype, 1}, "wrong operand types");
      expect(inst_->imm < t.lanes, "no such lane");
      break;
    case Code::kShuffle:
      expect(operand_type(0) == operand_type(1) && operand_type(0).dtype == t.dtype,
             "operand types differ");
      if (uint64_t{inst_->imm} + t.lanes > k_.lane_lists.size()) return fail("no such lane list");
      for (size_t i = 0; i < t.lanes; ++i) {
        expect(k_.lane_lists[inst_->imm + i] < 2 * operand_type(0).lanes, "no such lane");
      }
      break;
    default: break;
  }
}

void Verifier::check_memory() {
  if (inst_->imm >= k_.buffers.size()) return fail("no such buffer");
  const BufferInfo& b = k_.buffers[inst_->imm];
  bool vector_index = inst_->code == Code::kGather || inst_->code == Code::kScatter;
  Type index{DType::kInt64, vector_index ? inst_->type.lanes : uint16_t{1}};
  expect(inst_->num_operands > 0 && operand_type(0) == index, "wrong index type");
  expect(inst_->type.dtype == b.dtype, "the value's dtype is not the buffer's");
  if (inst_->code == Code::kSetError) {
    return expect(b.role == Role::kError, "set_error needs the error parameter");
  }
  expect(b.role != Role::kError, "the error parameter is for set_error");
  bool writes = inst_->code == Code::kStore || inst_->code == Code::kScatter ||
                inst_->code == Code::kMaskedStore;
  expect(!writes || (b.role != Role::kIn && b.role != Role::kTable), "write to a read-only buffer");
  bool masked = inst_->code == Code::kMaskedLoad || inst_->code == Code::kMaskedStore;
  if (masked) {
    expect(operand_type(1) == Type{DType::kBool, inst_->type.lanes}, "wrong mask type");
    expect(operand_type(2) == inst_->type, "wrong value type");
  } else if (writes) {
    expect(operand_type(1) == inst_->type, "wrong value type");
  }
}

void Verifier::check_block() {
  expect(k_.block_threads != 0, "the kernel has no blocks of threads");
  if (inst_->code == Code::kThread) expect(inst_->type == Type{DType::kInt64, 1}, "wrong type");
  if (inst_->code == Code::kWarpMma) return check_mma();
  if (inst_->code == Code::kWarpLoad) return check_warp_load();
  if (inst_->code == Code::kCopyAsync) return check_copy();
  if (inst_->code == Code::kIsAligned) {
    expect(inst_->imm < k_.buffers.size() && is_index(0), "is_aligned takes a buffer and an index");
    expect(inst_->type == Type{DType::kBool, 1}, "wrong type");
  }
  if (inst_->code != Code::kWarpXor) return;
  expect(operand_type(0) == inst_->type && inst_->type.lanes == 1, "wrong operand type");
  expect(std::has_single_bit(inst_->imm) && inst_->imm < 32, "no such thread of the warp");
}

void Verifier::check_mma() {
  const Type sums{DType::kFloat32, 4};
  const std::vector<Type> wanted = {{DType::kUInt32, 4}, {DType::kUInt32, 2}, sums};
  expect(operand_types(0) == wanted && inst_->type == sums,
         "warp_mma takes (uint32x4, uint32x2, float32x4) and gives float32x4");
  expect(inst_->imm <= static_cast<uint32_t>(MmaFormat::kTf32), "no such format");
}

void Verifier::check_warp_load() {
  if (inst_->imm >= k_.buffers.size()) return fail("no such buffer");
  const BufferInfo& b = k_.buffers[inst_->imm];
  expect(b.role == Role::kShared && byte_size(b.dtype) == 2,
         "warp_load is from shared arrays of 16-bit elements");
  expect(inst_->num_operands == 1 && is_index(0) && inst_->type == Type{DType::kUInt32, 4},
         "warp_load takes an index and gives uint32x4");
}

void Verifier::check_copy() {
  const CopyBuffers buffers(inst_->imm);
  if (std::max(buffers.to, buffers.from) >= k_.buffers.size()) return fail("no such buffer");
  const BufferInfo &to = k_.buffers[buffers.to], &from = k_.buffers[buffers.from];
  expect(to.role == Role::kShared && is_parameter(from.role) && to.dtype == from.dtype,
         "copies are from a parameter to a shared array of its dtype");
  expect(inst_->num_operands == 3 && is_index(0) && is_index(1) &&
             operand_type(2) == Type{DType::kBool, 1},
         "copy_async takes two indices and a bool");
}

void Verifier::open(Code code, std::vector<Type> carried) {
  regions_.push_back({code, live_stack_.size(), std::move(carried)});
}

void Verifier::drop_to(size_t mark) {
  for (; live_stack_.size() > mark; live_stack_.pop_back()) live_[live_stack_.back()] = false;
}

void Verifier::close(Code expected, std::span<const Type> yields) {
  if (regions_.empty() || regions_.back().code != expected)
    return fail("marker without its opening");
  const Region& region = regions_.back();
  expect(std::vector<Type>(yields.begin(), yields.end()) == region.carried,
         "yielded types are not the carried types");
  if (inst_->num_values != region.carried.size()) fail("wrong number of results");
  drop_to(region.live_mark);
  regions_.pop_back();
}

void Verifier::check_structure() {
  switch (inst_->code) {
    case Code::kFor:
      if (inst_->num_operands < 3) return fail("missing bounds");
      expect(is_index(0) && is_index(1) && is_index(2), "bounds are int64 values of one lane");
      expect(inst_->num_values == inst_->num_operands - 2, "wrong number of arguments");
      return open(Code::kFor, operand_types(3));
    case Code::kEndFor: return close(Code::kFor, operand_types(0));
    case Code::kWhile:
      expect(inst_->num_values == inst_->num_operands, "wrong number of arguments");
      return open(Code::kWhile, operand_types(0));
    case Code::kWhileTest:
      if (regions_.empty() || regions_.back().code != Code::kWhile)
        return fail("test outside while");
      expect(operand_type(0) == Type{DType::kBool, 1}, "condition is not bool");
      regions_.back().code = Code::kWhileTest;
      return;
    case Code::kEndWhile: return close(Code::kWhileTest, operand_types(0));
    case Code::kIf:
      expect(operand_type(0) == Type{DType::kBool, 1}, "condition is not bool");
      return open(Code::kIf, {});
    case Code::kElse:
      if (regions_.empty() || regions_.back().code != Code::kIf) return fail("else without if");
      drop_to(regions_.back().live_mark);
      regions_.back().code = Code::kElse;
      regions_.back().carried = operand_types(0);
      return;
    default: return close(Code::kElse, operand_types(0));
  }
}

void Verifier::check_inst() {
  switch (inst_->code) {
    case Code::kOp: return check_elementwise();
    case Code::kCast:
    case Code::kBitcast: return check_cast();
    case Code::kFma:
    case Code::kMulAdd:
      for (Type t : operand_types(0)) expect(t == inst_->type, "operand types differ");
      return expect(is_float(inst_->type.dtype) && !is_half(inst_->type.dtype), "floats only");
    case Code::kIndexDiv:
    case Code::kIndexRem:
      for (Type t : operand_types(0)) expect(t == inst_->type, "operand types differ");
      return expect(inst_->type.dtype == DType::kInt64, "int64 only");
    case Code::kLibm:
      for (Type t : operand_types(0)) expect(t == inst_->type, "operand types differ");
      return expect(
          inst_->type.lanes == 1 && is_float(inst_->type.dtype) && !is_half(inst_->type.dtype),
          "one-lane float32 or float64 only");
    case Code::kSplat:
    case Code::kExtract:
    case Code::kInsert:
    case Code::kIota:
    case Code::kReduce:
    case Code::kShuffle: return check_lanes();
    case Code::kLoad:
    case Code::kStore:
    case Code::kMaskedLoad:
    case Code::kMaskedStore:
    case Code::kGather:
    case Code::kScatter:
    case Code::kSetError: return check_memory();
    case Code::kThread:
    case Code::kBarrier:
    case Code::kWarpXor:
    case Code::kWarpMma:
    case Code::kWarpLoad:
    case Code::kIsAligned:
    case Code::kCopyAsync:
    case Code::kCommitCopies:
    case Code::kWaitCopies: return check_block();
    default: return check_structure();
  }
}

void Verifier::define_values() {
  for (uint32_t i = 0; i < inst_->num_values; ++i) {
    uint32_t v = inst_->first_value + i;
    if (k_.values[v].kind != ValueKind::kInst) fail("a constant or parameter is redefined");
    live_[v] = true;
    live_stack_.push_back(v);
  }
}

std::vector<std::string> Verifier::run() {
  check_buffers();
  check_values();
  for (const Inst& inst : k_.insts) {
    inst_ = &inst;
    if (!check_operands()) return std::move(errors_);
    check_inst();
    define_values();
  }
  inst_ = nullptr;
  expect(regions_.empty(), "a loop or branch is still open at the end");
  return std::move(errors_);
}

}  // namespace

std::vector<std::string> verify(const Kernel& kernel) { return Verifier(kernel).run(); }

}  // namespace gcomp::kernel
