#pragma once
// What the lowerings of matmul and convolution share: the group's epilogue, and a convolution's shape.

#include "contract_kernel.h"
#include "nest_emitter.h"
#include "plan_writer.h"

namespace gcomp::lower {

// Size of a known extent, or -1.
inline int64_t known(const DimTable& dims, DimId d) { return dims.constant_value(d).value_or(-1); }

// One contraction being lowered: rows and columns of the whole result, and its epilogue.
class Contraction {
 public:
  Contraction(PlanWriter& w, uint32_t group, DimId rows, DimId columns)
      : w_(w),
        graph_(w.graph()),
        group_(w.groups().groups[group]),
        spec_(w.graph(), w.target()),
        epilogue_(w.graph(), w.groups(), group, spec_, {rows, columns}, {false, false}),
        result_(graph_.result(group_.nodes[0])) {}

  KernelSpec& spec() { return spec_; }
  kernel::Builder& b() { return spec_.b(); }
  ContractLoops& loops() { return loops_; }
  // Of the result's features: a column each, or a row each.
  void set_bias(ValueId bias, bool of_rows = false) { bias_ = bias, bias_of_rows_ = of_rows; }

  // Adds the bias of `feature` on, rounds, runs the epilogue, stores `lanes` elements from (row, column) on.
  // `sum` is of the accumulators' dtype.
  void finish_piece(kernel::Value row, kernel::Value column, kernel::Value feature,
                    kernel::Value sum, int lanes) {
    if (bias_.valid()) {
      const kernel::Value bias = b().load(bias_buffer_, feature, bias_of_rows_ ? 1 : lanes);
      sum = b().add(sum, b().cast(bias, b().type(sum).dtype));
    }
    epilogue_.emit_epilogue(row, column, b().cast(sum, graph_.type(result_).dtype), lanes);
  }
  void finish_piece(kernel::Value row, kernel::Value column, kernel::Value sum, int lanes) {
    finish_piece(row, column, column, sum, lanes);
  }
  void begin() {
    if (bias_.valid()) bias_buffer_ = spec_.input(w_.groups().storage[bias_.index]);
    epilogue_.begin_epilogue(result_);
  }
  void call(DimId extent, uint32_t grain) {
    // What is multiplied is read again and again; what the epilogue reads is read once, with its piece.
    const auto is_factor = [&](ValueId root) {
      return std::ranges::any_of(graph_.operands(group_.nodes[0]),
                                 [&](ValueId v) { return w_.groups().storage[v.index] == root; });
    };
    for (const auto& [output, input] : epilogue_.overwrites()) {
      if (!is_factor(input)) spec_.may_overwrite(output, input);
    }
    w_.call(spec_.finish(extent, grain));
  }

 private:
  PlanWriter& w_;
  const Graph& graph_;
  const schedule::Group& group_;
  KernelSpec spec_;
  NestEmitter epilogue_;
  ValueId result_;
  ValueId bias_;
  bool bias_of_rows_ = false;
  kernel::Buffer bias_buffer_;
  ContractLoops loops_;
};

struct ConvShape {
  size_t spatial = 0;
  bool channels_last = true;
  DimId batch, channels, features;     // N, C, O
  std::vector<DimId> in, out, window;  // spatial extents; `in` after padding
  std::vector<DimId> low, high;
  std::vector<int64_t> strides, dilations;
  int64_t groups = 1;
  bool padded = false;
};

ConvShape conv_shape(const Graph& graph, const Node& node);

// Any dtype and layout, by plain loops.
void lower_plain_contraction(PlanWriter& w, uint32_t group);
void lower_plain_conv_transpose(PlanWriter& w, uint32_t group);

}  // namespace gcomp::lower
