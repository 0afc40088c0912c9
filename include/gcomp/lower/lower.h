#pragma once
// Lowering: a graph becomes kernels (kernel IR, deduplicated by structure) and a list of steps that
// call them. Extents stay expressions (DimId); artifact::build_plan writes the steps as a call plan.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "gcomp/ir/device.h"
#include "gcomp/ir/graph.h"
#include "gcomp/kernel/kernel.h"
#include "gcomp/schedule/fusion.h"
#include "gcomp/schedule/inplace.h"
#include "gcomp/schedule/peak.h"

namespace gcomp::lower {

using MemoryId = Id<struct MemoryTag>;

// A piece of memory that steps read and write.
struct Memory {
  enum class Kind : uint8_t {
    kInput,      // index: input of the graph
    kOutput,     // index: output of the graph
    kConstant,   // index: ConstantId of the context
    kTemporary,  // `bytes` of workspace
    kView,       // of memory `index`, from byte `offset`
    kOwned,  // a place that steps decide: its own memory (kReserve, kRow), or another's (kAlias)
  };
  Kind kind = Kind::kTemporary;
  uint32_t index = 0;
  DType dtype = DType::kFloat32;
  DimId bytes = {};
  DimId offset = {};
  // An input, output or constant may be mentioned on both devices: the runtime keeps the two alike. An
  // output is written on one of them only.
  Device device = Device::kHost;
};

// One 64-bit kernel parameter: an expression of extents if `dim` is valid, else bits.
struct ScalarArg {
  DimId dim = {};
  uint64_t bits = 0;
  friend bool operator==(const ScalarArg&, const ScalarArg&) = default;
};

// What one buffer parameter stands for while a group is lowered.
struct BufferArg {
  enum class Kind : uint8_t { kValue, kConstant, kTemporary, kError };
  Kind kind = Kind::kValue;
  ValueId value = {};        // kValue
  ConstantId constant = {};  // kConstant: one that is no value of the graph (packed weights)
  int key = 0;               // kTemporary: those of one group with equal keys are the same memory
  DType dtype = DType::kFloat32;
  DimId elements = {};  // kTemporary
};

// Positions of two buffers of a call: `written` may be the memory of `read`, for the kernel has read all
// it needs of an element before it writes that element.
struct Overwrite {
  uint16_t written = 0, read = 0;
};

struct LoweredCall {
  kernel::Kernel kernel;
  std::vector<BufferArg> buffers;
  std::vector<Overwrite> overwrites = {};
  std::vector<ScalarArg> scalars = {};
  DimId extent = {};
  uint32_t grain = 0;
  std::vector<std::string> messages = {};  // of error codes 0, 1, ...
};

// On GPUs of this compute capability (90: 9.0; 0: any), for products whose size is of these classes: bit
// rt::product_class().
struct ProductChoice {
  uint32_t capability = 0, classes = 0;
};

// A product of matrices of floats that a library could do instead of its call's kernel: result = alpha a b + bias,
// `batch` times side by side, matrices row-major and dense, an element of the bias a column; rounded once. Beside
// the bias it is all that the call does. Or a convolution.
struct LibraryProduct {
  static constexpr uint32_t kNone = 0xffffffffu;
  uint32_t a = 0, b = 0, result = 0, bias = kNone;  // positions in the step's memory
  DType dtype = DType::kFloat32;
  bool trans_a = false, trans_b = false;
  bool relu = false;  // then max(result, 0)
  double alpha = 1;
  DimId batch = {}, rows = {}, columns = {}, depth = {};
  // Of a convolution of two axes with as much padding on either side: the extents of rt::PlanConvolution. It is, for
  // each of `batch` groups, the product of a's windows and b.
  std::vector<DimId> convolution = {};
  bool channels_last = false;
  // Where a library does it (artifact::choose_libraries), and why, or why not.
  std::vector<ProductChoice> choices = {};
  bool tf32 = false;  // its factors may be rounded to 11 bits
  std::string why = {};
};

struct Step {
  enum class Kind : uint8_t {
    kCall,  // kernel, memory, scalars, extent, grain, messages
    kBind,  // symbols = int64 elements of memory[0]
    kCopy,  // memory[0] = memory[1], `extent` bytes; from one device to the other or within one
    kFill,  // `extent` bytes of memory[0] = byte `kernel`
    kStoreDims,       // int64 elements of memory[0] = scalars
    kCheck,           // `extent` bools of memory[0] must be true, else messages[0]
    kRequireLess,     // scalars[0] < scalars[1], else messages[0]
    kReserve,         // memory[0] gets `extent` bytes; grain 1: contents kept
    kAlias,           // memory[0] now means the present place of memory[1]
    kSwap,            // memory[0] and memory[1] exchange places
    kLabel,           // label `kernel` is here
    kJump,            // to label `kernel`
    kJumpUnless,      // to label `kernel` unless the bool in memory[0] is true
    kJumpUnlessLess,  // to label `kernel` unless scalars[0] < scalars[1]
    kBeginLoop,
    kEndLoop,
    kBindValues,  // symbols = scalars, all at once
    // A loop's turn is over: the int64 memory[0] grows by 1; jump to label `kernel` if it is less
    // than the int64 memory[1] and the bool memory[2] (if given) is true.
    kTurn,
    // memory[0] now means row number memory[2] (int64), of `extent` bytes, in memory[1]; grain 1:
    // which is kOwned, gets room for it and keeps its contents.
    kRow,
  };
  Kind kind = Kind::kCall;
  uint32_t kernel = 0;
  std::vector<MemoryId> memory = {};
  std::vector<ScalarArg> scalars = {};
  std::vector<SymbolId> symbols = {};  // kBind, kBindValues
  DimId extent = {};
  uint32_t grain = 0;
  std::vector<std::string> messages = {};
  uint32_t group = 0;                        // index in stats.groups of what this step computes
  std::vector<Overwrite> overwrites = {};    // kCall: positions in `memory`
  uint32_t product = LibraryProduct::kNone;  // kCall on the GPU: in LoweredModule::products
};

struct GroupStats {
  std::string nodes;  // "softmax_1: reduce_max sub exp reduce_sum div"
  uint32_t num_nodes = 0;
  uint32_t calls = 0;  // kernel calls it takes
};

// How a graph was divided, for reports.
struct GraphTrace {
  const Graph* graph = nullptr;  // nested ones as they are in the module, not the copy for one use
  std::vector<uint32_t> group_of;  // per node; schedule::kNoGroup: computed where it is read
  std::vector<uint32_t> stats_of;  // per group: its index in stats.groups
  std::vector<schedule::UnfusedEdge> unfused;
};

// Memory of a run, each piece once however many values share it.
struct Pieces {
  size_t values = 0;      // outputs, and temporaries that hand something from one group to another
  size_t workspaces = 0;  // temporaries of one group (packed factors, partial sums)
};

struct Stats {
  std::vector<GroupStats> groups;
  std::vector<GraphTrace> traces;  // with LowerOptions::trace, one for each use of a graph
  double fusion_seconds = 0;
  size_t kernel_calls = 0;  // steps of kind kCall
  size_t distinct_kernels = 0;
  schedule::InplaceStats inplace = {};  // of all regions; bytes with every symbol 64
  schedule::Peak peak = {};             // of the temporaries outside loops and branches
  Pieces pieces = {};                   // count_pieces, in the end
  size_t saved_copies = 0;              // steps that inplace made unnecessary
};

struct LowerOptions {
  int vector_bytes = 32;
  int vector_registers = 16;
  bool fma = true;
  bool fuse = true;             // false: each op has a kernel, shared by all its nodes
  bool static_extents = true;   // false: extents are parameters, so more nodes share a kernel
  bool update_carried = false;  // what a loop carries and changes in part stays in one place
  bool trace = false;           // keep how graphs were divided, and why
  // More distinct kernels than this and extents become parameters, then groups fall apart into single
  // nodes: compile time follows the number of distinct kernels (1 to 5 ms each).
  uint32_t max_kernels = 4000;
  std::vector<Device> placement = {};  // per node of the graph; empty: all on the host
  BodyDevices body_placement = {};     // of graphs nested in it
  bool cuda_blocks = true;  // kernels for the GPU may have blocks of threads that work together
  bool cuda_matrix_units = true;  // of GPUs from 8.0 on: products of half formats by them
  bool cuda_tf32 = false;         // products of float32 by them too, of factors rounded to 11 bits
  std::function<void(double)> reached =
      {};  // told the share of groups that are written, now and then
};

struct LoweredModule {
  const Graph* graph = nullptr;
  std::vector<kernel::Kernel> kernels;
  std::vector<std::string> names;      // of kernels: "k12_conv_add"
  std::vector<Device> kernel_devices;  // all memory of a call lies on its kernel's device
  std::vector<Memory> memory;
  std::vector<Step> steps;
  std::vector<LibraryProduct> products;
  // Per output: it has no memory. It is a state's new value, which takes another state's memory (StateFlow)
  // or is written over the old value.
  std::vector<bool> unwritten;
  std::vector<bool> overwritten_states;  // per state: by its new value
  Stats stats;
};

Pieces count_pieces(const LoweredModule& module);

// What takes the time of a run, roughly, in register-sized operations: symbols are 64, loops turn 16 times.
struct RunWork {
  std::vector<double> kernels;  // of all calls of each
  double calls = 0;             // to make them
};
RunWork run_work(const LoweredModule& module);

// Throws UserError listing every op it cannot lower, with their places.
LoweredModule lower(const Graph& graph, const LowerOptions& options);

}  // namespace gcomp::lower
