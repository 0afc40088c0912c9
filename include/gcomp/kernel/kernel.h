#pragma once
// The kernel IR: what one compiled function does, after fusion and before LLVM or CUDA text.
//
// A kernel is `void k(void* const* buffers, const int64_t* scalars, int64_t begin, int64_t end)`.
// Its body is ONE linear stream of instructions in program order; loops and branches are bracketed
// by marker instructions (kFor ... kEndFor), so nothing here is a tree and nothing recurses.
// All storage is flat arrays; equal build calls give equal arrays, so structural equality is array
// equality. Build kernels with Builder (gcomp/kernel/builder.h).
//
// Values are typed {dtype, lanes}. A bool value is one bit a lane (a byte 0/1 in memory). Indices
// are int64, count elements, and may be any sign as long as the access is inside the buffer.
// float16 and bfloat16 values can be moved, selected and cast only: Builder widens arithmetic to
// float32.

#include <cstdint>
#include <string>
#include <vector>

#include "gcomp/ir/dtype.h"
#include "gcomp/support/id.h"

namespace gcomp {
enum class Op : uint16_t;  // gcomp/ir/op.h
}

namespace gcomp::kernel {

struct Type {
  DType dtype = DType::kFloat32;
  uint16_t lanes = 1;  // a power of two, 1..kMaxLanes
  friend bool operator==(Type, Type) = default;
};
inline constexpr int kMaxLanes = 64;

struct ValueTag;
struct BufferTag;
using Value = Id<ValueTag>;
using Buffer = Id<BufferTag>;

enum class Role : uint8_t {
  kIn,       // parameter, read only
  kOut,      // parameter, written; may be read back after it was written
  kInOut,    // parameter, read and written
  kScratch,  // parameter, uninitialised workspace private to this call
  kError,    // parameter of set_error: one int64, see Builder::set_error; at most one, int64
  kLocal,    // stack array of `size` elements, uninitialised, 64-byte aligned
  kTable,    // read-only data of the kernel itself: `size` elements from Kernel::table_words
  kShared,   // array of `size` elements of a block of threads, uninitialised
};
constexpr bool is_parameter(Role r) { return r <= Role::kError; }

struct BufferInfo {
  DType dtype = DType::kFloat32;
  Role role = Role::kIn;
  uint32_t slot = 0;  // parameters: position in `buffers`; kTable: first word in table_words
  uint32_t size = 0;  // kLocal, kTable, kShared: elements
  friend bool operator==(const BufferInfo&, const BufferInfo&) = default;
};

// Two parameters may be the same memory only where the plan says so (inplace): a kernel must read
// what it needs of an element before it stores that element; codegen assumes no more than that.

enum class Code : uint8_t {
  kOp,        // elementwise `op` on equal types (comparisons give bool; where(bool, T, T))
  kCast,      // to the result dtype, the cast rules of Op::cast
  kBitcast,   // same lanes, same bit width a lane
  kFma,       // a*b+c rounded once (a libm call on CPUs without FMA)
  kMulAdd,    // a*b+c: fma where the CPU has it, else two roundings
  kIndexDiv,  // int64 a/b for a >= 0, b > 0
  kIndexRem,  // int64 a%b for a >= 0, b > 0
  kLibm,      // scalar call of the C library's function of that name: `op`, float32 or float64
  kSplat,     // {T,1} -> {T,n}
  kExtract,   // {T,n} -> {T,1}, lane imm
  kInsert,    // {T,n}, {T,1} -> {T,n}, lane imm
  kIota,      // 0,1,2,... of an integer or float dtype
  kReduce,    // {T,n} -> {T,1} with `op` in add mul min max bit_and bit_or bit_xor; halving order:
              // lane i with lane i+n/2, then n/4, ... (so a sum is the same bits on every CPU)
  kShuffle,   // two operands of equal type; result lane i = concat(a,b)[lane_lists[imm + i]]
  kLoad,      // buffer imm, operand: index of lane 0; lanes contiguous
  kStore,     // operands: index, value
  kMaskedLoad,   // operands: index, bool mask, value for the lanes that are off (not read)
  kMaskedStore,  // operands: index, bool mask, value
  kGather,       // operands: int64 index vector
  kScatter,      // operands: int64 index vector, value; lanes are stored in lane order
  kSetError,     // operand: int64 code
  // In kernels of blocks (Kernel::block_threads) only. All threads of a block reach a barrier, a kWarpXor,
  // kWarpMma or kWarpLoad together: it stands in no branch or loop that some of them do not take.
  kThread,    // index of the thread in its block, int64
  kBarrier,   // what was stored before in kShared and other buffers is seen after it by the block
  kWarpXor,   // the operand of the thread with this one's index xor imm (1, 2, 4, 8 or 16)
  kWarpMma,   // a*b+c of matrices that a warp holds together, see Builder::warp_mma; imm: MmaFormat
  kWarpLoad,  // four matrices of a shared array, see Builder::warp_load. flags: kTransposed
  kIsAligned,     // see Builder::is_aligned; operand: index; bool
  kCopyAsync,     // see Builder::copy_async; imm: CopyBuffers
  kCommitCopies,  // the copies a thread began since the last one are a group
  kWaitCopies,    // until at most imm groups of the thread are on their way
  // Structure. Each open marker is matched by its end; regions end with the values they yield.
  kFor,  // operands: lo, hi, step, inits...; defines: i, carried... ; step > 0; i < hi. flags: kUnrolled
  kEndFor,     // operands: yields...; defines the results (the carried values after the last turn)
  kWhile,      // operands: inits...; defines carried...; the test region follows
  kWhileTest,  // operand: bool {1}; the body follows and runs while it is true
  kEndWhile,   // operands: yields...; defines the results (the carried values when the test failed)
  kIf,         // operand: bool {1}
  kElse,       // operands: what the then-part yields; always present
  kEndIf,      // operands: what the else-part yields; defines the results
};

// What the words of a warp's factors hold.
enum class MmaFormat : uint8_t {
  kFloat16,   // two a word, neighbours in depth, the first in the low half
  kBFloat16,  // the same
  kTf32,      // a float32 of which the upper 19 bits count; the others are 0
};

enum Flag : uint8_t {
  kUnrolled = 1,  // loop of few turns, known, whose turns are to be one piece of code
  kTransposed = 2,
};

// Of a GPU's widest load, store and copy.
inline constexpr int kAccessBytes = 16;

// The buffers of a kCopyAsync in one number.
struct CopyBuffers {
  uint32_t to, from;
  explicit CopyBuffers(uint32_t imm) : to(imm & 0xffff), from(imm >> 16) {}
};

struct Inst {
  Code code = Code::kOp;
  uint8_t flags = 0;
  Op op{};                     // kOp, kLibm, kReduce
  Type type;                   // of the first defined value, or of the stored value
  uint32_t imm = 0;            // lane, buffer index, offset in lane_lists, ..., by code
  uint32_t first_operand = 0;  // in Kernel::operands
  uint32_t first_value = 0;    // defined values have consecutive ids
  uint16_t num_operands = 0;
  uint16_t num_values = 0;
  friend bool operator==(const Inst&, const Inst&) = default;
};

// Constants, scalar parameters and the range are values outside the stream: usable everywhere.
// kArgument occurs in functions that a back end makes for itself (Builder::argument), not in kernels.
enum class ValueKind : uint8_t { kInst, kConst, kScalar, kBegin, kEnd, kArgument };

struct ValueInfo {
  Type type;
  ValueKind kind = ValueKind::kInst;
  uint64_t bits = 0;  // kInst: instruction; kConst: the bits of every lane (zero-extended);
                      // kScalar: position in `scalars`
  friend bool operator==(const ValueInfo&, const ValueInfo&) = default;
};

struct Kernel {
  std::vector<BufferInfo> buffers;  // parameters, locals and tables, in creation order
  std::vector<DType> scalars;       // one 64-bit word each: int64 or a constant's bits, low end
  std::vector<ValueInfo> values;
  std::vector<Inst> insts;
  std::vector<uint32_t> operands;     // value indices
  std::vector<uint8_t> lane_lists;    // of shuffles
  std::vector<uint64_t> table_words;  // one element's bits a word
  // For GPUs: not 0 (a multiple of 32, at most 1024): an iteration of the parallel range is done by a
  // block of so many threads together. CPU code has none.
  uint32_t block_threads = 0;

  size_t num_parameters() const;  // entries of the `buffers` argument
  Type type(Value v) const { return values[v.index].type; }
  friend bool operator==(const Kernel&, const Kernel&) = default;  // structural: there are no names
};

uint64_t hash(const Kernel& kernel);         // structural; stable across processes
std::string to_bytes(const Kernel& kernel);  // equal for equal kernels, and for no others
std::string print(const Kernel& kernel);
// The invariants broken, one message each; empty when the kernel is well formed
// (lib/kernel/verify.cpp states them in prose).
std::vector<std::string> verify(const Kernel& kernel);

}  // namespace gcomp::kernel
