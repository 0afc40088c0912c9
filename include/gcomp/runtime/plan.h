#pragma once
// The call plan: what a run of an artifact does, as data. The compiler writes it
// (artifact/plan_builder.h), the runtime linked into the artifact executes it. Plain structs,
// little-endian, position independent: a Plan is the start of one 64-byte aligned block, and every
// table is an offset from that start. Freestanding: no library used.
//
// Kernels are called through a table of function pointers that lies outside the block (the linker
// relocates it):
//   void kernel(void* const* buffers, const int64_t* scalars, int64_t begin, int64_t end)
//
// VALUES. All integers that depend on extents live in one array of int64 per context, `values`:
//   [0, num_symbols)                 the symbols: extents of inputs, or bound during the run
//   [num_symbols, + num_constants)   integer constants
//   [.., + num_instructions)         results of dim instructions, in order: value = op(value a,
//   value b)
// Overflow and division by zero in a dim instruction end the run with GCOMP_ERROR_SHAPE.
//
// SEGMENTS. Segment 0 is what follows from the inputs' extents; each bind step opens one further
// segment (k >= 1) holding what also depends on the symbols it binds. A segment owns a range of the
// instructions, a range of the scalar pool, the arena buffers whose size (or view offset) it
// decides, and the outputs whose extents it decides. It is evaluated when its symbols are known,
// and remembered for the last few sets of extents.
//
// SCALARS. A step's scalars are consecutive int64 in the scalar pool. Pool entries [0,
// num_static_scalars) are immediate (int64 or bit patterns); the others are copied from `values`
// (pool_sources) when their segment is evaluated.
//
// STATES live between runs. State s has two pieces of memory, numbered 2 * s (its value) and 2 * s + 1 (where
// a run writes the new one); after a run that succeeded they trade places as `state_swaps` says. A context
// begins with the initial values, which stay where they are in the artifact until they are replaced. Of an
// overwritten state only the first piece is used; its initial value is copied before the first run.
//
// DEVICES. A plan may place buffers and calls on a GPU (only artifacts that carry a device runtime have such a
// plan, beside one without). The addresses of device buffers stand in the same table as those of the host's. An
// input, state, output or constant may have a buffer on each side; the runtime moves their contents, for the others
// there are kTransfer steps. Device steps are put in a queue, in order; kWait lets the host see what earlier
// transfers brought to it. Each call on the device that may fail has a status of its own, read at the end.
//
// STEPS are 32-bit words, variable length; jump targets are word offsets, so nested bodies (cond,
// loop) need no recursion. Lifetimes count steps, not words.

#include <stddef.h>
#include <stdint.h>

namespace gcomp::rt {

using KernelFn = void (*)(void* const* buffers, const int64_t* scalars, int64_t begin, int64_t end);

inline constexpr uint32_t kPlanMagic = 0x4e4c5047;  // "GPLN"
inline constexpr uint32_t kPlanVersion = 6;
inline constexpr uint32_t kNone = 0xffffffffu;
inline constexpr uint64_t kBufferAlignment = 64;  // of arena, owned and constant buffers

// Same order and numbers as gcomp::DType.
enum class PlanDType : uint8_t {
  kBool,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kUInt8,
  kUInt16,
  kUInt32,
  kUInt64,
  kFloat16,
  kBFloat16,
  kFloat32,
  kFloat64,
};

// A table inside the block.
struct PlanTable {
  uint64_t offset;  // bytes from the start of the Plan
  uint64_t count;   // elements
};

enum class DimOp : uint32_t {
  kAdd,
  kMul,
  kFloorDiv,  // rounds to -infinity
  kMod,       // the remainder of kFloorDiv
  kMin,
  kMax,
};

struct DimInstruction {
  DimOp op;
  uint32_t a, b;  // values
};

// How one extent of an input or state is checked.
enum class DimMode : uint32_t {
  kConstant,  // must equal the value, a constant
  kDefine,    // defines the symbol `value`
  kCheck,     // must equal the value, known once all inputs and states were read
};

struct PlanDim {
  uint32_t value;
  DimMode mode;   // inputs and states; outputs: unused (0)
  uint32_t text;  // string: the expression, for messages and describe
};

struct PlanTensor {    // an input, output or state
  uint32_t name;       // string
  uint32_t buffer;     // its buffer
  uint32_t first_dim;  // in dims
  uint16_t rank;
  PlanDType dtype;
  uint8_t donated;  // inputs: 1: a run may overwrite the caller's memory
  uint32_t alias;   // outputs: the input whose memory it may share, or kNone
  uint32_t
      device_buffer;  // the one on the device, or kNone. Outputs: steps write this one, if there is one
  uint32_t on_host;  // inputs and states: steps read `buffer`
};

struct PlanState {
  PlanTensor tensor;        // its buffer holds the value before the run
  uint32_t next;            // the buffer for the new value, or kNone: no step writes it
  uint32_t next_on_device;  // 1: that buffer lies on the device
  uint32_t initial;         // the constant buffer of the initial value, or kNone
  uint32_t initial_extent;  // in initial_extents: the first of that value's extents
  uint32_t
      overwritten;  // 1: steps write the new value over the old one, once none can fail; 2: on the device
};

struct PlanSwap {
  uint32_t a, b;  // pieces of states' memory
};

enum class BufferKind : uint8_t {
  kArena,     // in its segment's arena, at `offset` (precomputed when the segment says so)
  kInput,     // index = input
  kOutput,    // index = output
  kConstant,  // index = 0: read-only data of the artifact, 1: mapped weights; at `offset`
  kView,      // of buffer `index` (a smaller number), at byte offset value `offset_value`
  kState,     // index = piece of a state's memory
  kOwned,     // allocated by itself through a reserve step, survives evaluation of segments:
              // loop-carried values
  kStatus,  // one int64, INT64_MAX before a step: a kernel fails by lowering it to a code >= 0 (see
            // kMayFail). On the device: number `index` of an array, kNoCode before the run
};

struct PlanBuffer {
  uint64_t offset;        // arena (precomputed) and constant buffers: bytes
  uint32_t size_value;    // value: its size in bytes (arena, input, output, view)
  uint32_t offset_value;  // views: value: byte offset
  uint32_t first, last;   // lifetime: steps, both ends included
  uint32_t index;
  BufferKind kind;
  uint8_t device;    // 1: its memory lies on the device
  uint16_t segment;  // arena buffers and views of them: the segment that decides size or offset
};

struct PlanArena {
  uint32_t first_buffer, num_buffers;  // in arena_buffers: to be packed, by increasing first step
  uint32_t precomputed, reserved;      // 1: PlanBuffer::offset and `bytes` are final
  uint64_t bytes;
};

struct PlanSegment {
  uint32_t first_instruction, num_instructions;
  uint32_t first_scalar, num_scalars;  // in the scalar pool
  uint32_t first_view, num_views;      // in views: views of arena buffers, bases first
  uint32_t first_output, num_outputs;  // in segment_outputs
  PlanArena arenas[2];                 // of the host, of the device
};

// A constant that steps read on the device: uploaded once, to `to` in the device's memory for constants.
struct PlanDeviceConstant {
  uint64_t from, bytes, to;
  uint32_t space, buffer;  // `from` counts in it, as PlanBuffer::index; the buffer on the device
};

// What a product is beside its matrices' places and extents.
enum ProductFlags : uint8_t {
  kTransA = 1,  // a is [depth, rows], not [rows, depth]
  kTransB = 2,  // b is [columns, depth], not [depth, columns]
  kRelu = 4,    // the result is max(0, alpha a b + bias), finite numbers only
  kTf32 = 8,    // factors of float32 may be rounded to 11 bits
  kConvolution = 16,
  kChannelsLast =
      32,  // of a convolution: a is [images, in.., channels], b [window.., channels / groups, features]
};

// A matrix product that a library may do instead of the launch's kernel, with the same meaning: result = alpha a b +
// bias, `batch` times side by side, all matrices row-major and dense; the bias has an element a column. Its
// batch, rows, columns and depth are the four scalars behind the kernel's.
// A convolution is a product too, of the windows of a with the weights b for each of `batch` groups: a is [images,
// channels, in..], b [features, channels / groups, window..], the result [images, features, out..], the bias has an
// element a feature, as conv of lib/ir/OPS.md means it. Behind the four scalars are those of PlanConvolution.
inline constexpr uint16_t kNoBias = 0xffff;
struct PlanProduct {
  double alpha = 1;
  uint32_t first_choice = 0, num_choices = 0;  // in product_choices
  uint16_t a = 0, b = 0, result = 0;           // among the launch's buffers
  uint16_t bias = kNoBias;                     // the same
  PlanDType dtype = PlanDType::kFloat32;       // of all matrices: a float
  uint8_t flags = 0;                           // ProductFlags
  uint8_t reserved[6] = {};
};

struct PlanConvolution {
  int64_t images, channels, in[2], features, window[2], out[2];
  int64_t padding[2];  // on both sides
  int64_t strides[2], dilations[2];
};
inline constexpr uint32_t kProductExtents = 4, kConvolutionExtents = sizeof(PlanConvolution) / 8;

// The library does the product on GPUs of this compute capability (90: 9.0; 0: any) if its size is of one of these
// classes: bit product_class().
struct PlanProductChoice {
  uint32_t capability, classes;
};

// Sizes whose times behave alike: the lesser of rows and columns says how well tiles are filled, the number of
// multiplications how much there is to do. 3 * (few, narrow, wide) + (small, medium, large).
inline constexpr uint32_t kProductClasses = 9;
inline uint32_t product_class(int64_t batch, int64_t rows, int64_t columns, int64_t depth) {
  const int64_t least = rows < columns ? rows : columns;
  const double work = static_cast<double>(batch) * static_cast<double>(rows) *
                      static_cast<double>(columns) * static_cast<double>(depth);
  return (least < 16 ? 0u : least < 128 ? 3u : 6u) + (work < 0x1p24 ? 0u : work < 0x1p30 ? 1u : 2u);
}

enum class StepKind : uint8_t {
  kCall,        // [kernel, scalars, extent (scalar), grain, (message), buffers...]
  kBind,        // [buffer, first symbol, number, segment]: symbols = its int64 elements (>= 0)
  kBindValue,   // [first symbol, number, scalars, segment]: symbols = the scalars (>= 0), all at
                // once (they may depend on the symbols)
  kCopy,        // [destination, source, bytes (scalar)]
  kFill,        // [destination, bytes (scalar), byte value]
  kStore,       // [destination, scalars, number]: int64 elements = scalars
  kCheck,       // [buffer of bool, number (scalar), message]: all elements must be true
  kReserve,     // [owned buffer, bytes (scalar), 1 to keep its contents]
  kAlias,       // [destination (owned), source]: the destination now means the source's memory
  kSwap,        // [a, b]: two owned buffers exchange their memory
  kJump,        // [target]
  kJumpUnless,  // [buffer of one bool, target]
  kJumpUnlessLess,  // [value a, value b, target]: jump unless a < b
  kFail,            // [message]: the run fails
  kTurn,  // [counter, limit, condition or kNone, target]: the int64 counter grows by 1; jump
          // if it is less than the int64 limit and the bool condition is true
  kRow,   // [row (owned), stack, counter, bytes (scalar)]: row means the place `counter`
          // times bytes behind the stack's begin. kGrows: the stack (owned) gets memory
          // for it, and keeps its contents
  // On the device:
  kLaunch,        // [kernel, scalars, number of scalars, extent (scalar), buffers..., (product)]
  kUpload,        // [input]: its contents are needed now; further ones of a run do nothing
  kTransfer,      // [destination, source, bytes (scalar)]: kToDevice, kFromDevice or both
  kSet,           // [destination, bytes (scalar), byte value]
  kReserveThere,  // as kReserve
  kRowThere,      // as kRow: `row` and `stack` on the device, `counter` on the host
  kWait,          // transfers to the host are done
  kVerify,        // no call on the device has failed
  kEnd,           // last
};

// First word of a step: kind | flags << 8 | number of buffers << 16 (kCall; else 0).
enum StepFlags : uint32_t {
  kGrows = 1,       // kRow, kRowThere
  kToDevice = 1,    // kTransfer
  kFromDevice = 2,  // kTransfer
  kContiguous = 1,  // kCall: only the first buffer is listed, the others follow it in the table (no
                    // copying of pointers)
  kIsProduct = 1,   // kLaunch: word `product` is there: in products
  kMayFail = 2,  // kCall: word `message` is there; a status c other than INT64_MAX after the call
                 // ends the run with messages[message + c]
};
constexpr uint32_t step_word(StepKind kind, uint32_t flags = 0, uint32_t num_buffers = 0) {
  return static_cast<uint32_t>(kind) | flags << 8 | num_buffers << 16;
}
constexpr StepKind step_kind(uint32_t word) { return static_cast<StepKind>(word & 0xff); }
constexpr uint32_t step_flags(uint32_t word) { return word >> 8 & 0xff; }
constexpr uint32_t step_buffers(uint32_t word) { return word >> 16; }

// A code that no kernel uses, made of equal bytes: what statuses on the device begin with.
inline constexpr int64_t kNoCode = 0x7f7f7f7f7f7f7f7f;

// kCall's grain: 0 runs the whole range at once on the calling thread; else the least iterations
// worth a task.

struct Plan {
  uint32_t magic, version;
  uint64_t bytes;  // of the whole block
  uint32_t num_symbols, num_constants;
  uint32_t num_steps, max_call_buffers;
  PlanTable constants;       // int64
  PlanTable instructions;    // DimInstruction
  PlanTable static_scalars;  // int64
  PlanTable pool_sources;    // uint32: value of scalar pool entry static_scalars.count + i
  PlanTable segments;        // PlanSegment
  PlanTable dims;            // PlanDim
  PlanTable inputs;          // PlanTensor
  PlanTable outputs;         // PlanTensor
  PlanTable buffers;         // PlanBuffer
  PlanTable arena_buffers;   // uint32: buffers
  PlanTable views;           // uint32: buffers, views of arena buffers, by segment
  PlanTable
      io_views;  // uint32: buffers, views of inputs, outputs, states and constants, bases first
  PlanTable segment_outputs;  // uint32: outputs
  PlanTable steps;            // uint32: words
  PlanTable messages;         // uint32: strings
  PlanTable symbol_names;     // uint32: strings
  PlanTable strings;      // char: zero-terminated texts; a "string" is the offset of its first byte
  PlanTable states;       // PlanState
  PlanTable state_swaps;  // PlanSwap
  PlanTable initial_extents;   // int64
  PlanTable device_constants;  // PlanDeviceConstant
  PlanTable device_failures;   // uint32: per status on the device: message of code 0
  PlanTable products;          // PlanProduct
  PlanTable product_choices;   // PlanProductChoice
  uint64_t device_constant_bytes;
};

template <class T>
const T* table(const Plan& plan, const PlanTable& t) {
  return reinterpret_cast<const T*>(reinterpret_cast<const char*>(&plan) + t.offset);
}

inline const char* plan_string(const Plan& plan, uint32_t string) {
  return table<char>(plan, plan.strings) + string;
}

}  // namespace gcomp::rt
