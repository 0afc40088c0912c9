#pragma once
// Fusion: which nodes become one kernel. Linear in the graph; the groups are convex, so there is an
// order of groups in which each comes after those it reads (lib/schedule/README.md has the method).

#include <cstdint>
#include <string_view>
#include <vector>

#include "gcomp/ir/device.h"
#include "gcomp/ir/graph.h"

namespace gcomp::schedule {

inline constexpr uint32_t kNoGroup = 0xffffffffu;

enum class GroupKind : uint8_t {
  kNest,      // elementwise nodes and reductions over one iteration space
  kContract,  // nodes[0] is matmul or conv; the others are an elementwise epilogue of its result
  kSingle,    // one node with a lowering of its own (sort, scatter, cond, ...)
};

struct Group {
  GroupKind kind = GroupKind::kNest;
  std::vector<NodeId> nodes;     // in topological order; each is in one group only
  std::vector<ValueId> outputs;  // values of `nodes` that get memory, in topological order
  // kNest and kContract: the extents iterated over, extents 1 left out. A node's value has an element
  // for each point of the space, or (below a reduction) for each point of its axes not reduced.
  std::vector<DimId> space;
  std::vector<bool> reduced;  // one an axis of `space`
  // A reduction of very many elements to few: done in fixed blocks, which a second kernel combines.
  // Such a group has one stage: nothing in it reads a reduction's result.
  bool split = false;
};

// Why a node is not in the kernel that computes what it reads.
enum class Unfused : uint8_t {
  kOff,        // fusion is switched off
  kOwnKernel,  // one of the two has a kernel of its own (sort, scatter, matmul, loop, ...)
  kIndexMap,   // it is read through an index map that moves elements, or copied by one
  kSpace,      // they iterate over different extents
  kReduction,  // other axes are reduced, or the reduction is done in blocks
  kFull,       // the kernel would be too large or read too many tensors
  kPath,       // another kernel has to run between the two
  kTurns,      // one of them is the same in every turn of the loop
  kDevice,     // they are computed on different devices
};
inline constexpr size_t kNumUnfused = 9;
std::string_view name(Unfused u);    // "space", for tables
std::string_view reason(Unfused u);  // "they iterate over different extents"

struct UnfusedEdge {
  NodeId reader;
  NodeId producer;  // of what it reads, seen through index maps
  Unfused why;
};

struct FusionOptions {
  // A kernel of vector code grows linearly in time to compile up to about this weight (an arithmetic
  // op weighs 1, an expanded function about as many as its instructions; see op_weight).
  uint32_t max_weight = 512;
  // Straight-line scalar code (no axis at all) stays linear for longer.
  uint32_t max_scalar_weight = 1500;
  // Tensors a kernel reads and writes: each needs a register for its address.
  uint32_t max_tensors = 48;
  bool fuse = true;  // false: every node by itself (shared per-op kernels)
  // Per node, or empty: computed before the others (once for all turns of a loop), so in no group with
  // any of them.
  std::vector<bool> early = {};
  // Per node, or empty (all alike): no group has nodes of both. Index maps are computed on their readers'
  // device, or written to memory on their own where a reader is on the other.
  std::vector<Device> devices = {};
  bool explain = false;  // fill in Groups::unfused
};

struct Groups {
  std::vector<Group> groups;       // operands first
  std::vector<uint32_t> group_of;  // per node; kNoGroup: inlined into its readers, or a source
  // Per value: it has memory when it is read (an input, a constant, an output of a group, or another
  // name for such memory). The others are computed in the kernels that read them.
  std::vector<bool> stored;
  // Per value: the value whose memory it shares (itself if none): reshape and specify_shape of a
  // stored value.
  std::vector<ValueId> storage;
  // With FusionOptions::explain: readers and what they read in another kernel, in the readers' order.
  std::vector<UnfusedEdge> unfused = {};
};

Groups fuse(const Graph& graph, const FusionOptions& options);

// Rough number of vector instructions an elementwise op takes.
uint32_t op_weight(Op op, DType dtype);

// A constant of one element: written into kernels, not read from memory.
bool is_literal(const Graph& graph, ValueId v);

}  // namespace gcomp::schedule
