#pragma once
// A kernel being lowered: the kernel IR builder together with what each parameter stands for.

#include <map>
#include <string>
#include <vector>

#include "gcomp/ir/graph.h"
#include "gcomp/kernel/builder.h"
#include "gcomp/lower/lower.h"

namespace gcomp::lower {

// What a lowering may assume of the CPU, and how it writes extents into kernels.
struct Target {
  int vector_bytes = 32;
  int vector_registers = 16;
  bool fma = true;
  // Extents known when compiling become numbers in the kernel (quicker code) or parameters (kernels
  // of different shapes are one kernel).
  bool static_extents = true;
  // An iteration of the parallel range is what one thread does: one element of a map, one row of a
  // reduction. Vectors have one lane, but for neighbours in memory that one access takes.
  bool cuda = false;
  bool cuda_blocks = false;   // an iteration may be done by a block of threads that work together
  bool matrix_units = false;  // blocks may use warp_mma for half formats
  bool tf32 = false;          // and for float32
};

class KernelSpec {
 public:
  KernelSpec(const Graph& graph, const Target& target) : graph_(graph), target_(target) {}

  kernel::Builder& b() { return builder_; }
  const Graph& graph() const { return graph_; }
  DimTable& dims() { return graph_.context().dims; }
  const Target& target() const { return target_; }

  // An extent or any expression of extents as a kernel value (int64, one lane).
  kernel::Value dim(DimId d);
  // Where in a tensor a kernel begins: a parameter, so that slices at different places share a kernel.
  kernel::Value offset(DimId d);
  // A literal of the graph: a parameter, or an immediate where codegen gains from knowing it.
  kernel::Value literal(DType dtype, uint64_t bits);
  // The tensor's memory as a parameter; asking twice gives the same one.
  kernel::Buffer input(ValueId v);
  kernel::Buffer output(ValueId v);
  // A constant that is no value of the graph (weights in another layout).
  kernel::Buffer constant(ConstantId id, DType dtype);
  // Memory of the plan that no value of the graph names: `elements` of `dtype`. Those with the same
  // `key` in the calls of one group are the same memory.
  kernel::Buffer temporary(int key, DType dtype, DimId elements, kernel::Role role);
  // The output may lie in the input's memory: no element is written before all reads of it.
  void may_overwrite(ValueId output, ValueId input);
  // Reports `message` when the kernel is run and `bad` is true.
  void fail_if(kernel::Value bad, const std::string& message);

  // Ends the kernel; `extent` iterations of its parallel range, at least `grain` a task (0: all on
  // one thread).
  LoweredCall finish(DimId extent, uint32_t grain);

 private:
  const Graph& graph_;
  Target target_;
  kernel::Builder builder_;
  LoweredCall call_;
  int num_offsets_ = 0;
  std::map<uint32_t, kernel::Value> dims_;
  std::map<std::pair<int, uint64_t>, kernel::Value> literals_;
  std::map<std::pair<int, uint32_t>, kernel::Buffer> buffers_;  // (kind, value or key)
};

}  // namespace gcomp::lower
