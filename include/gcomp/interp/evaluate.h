#pragma once
// The reference evaluator: what a graph means, written from the op table's documents. Slow and clear;
// shares nothing with lowering and code generation, whose results it judges. float16 and bfloat16 are
// computed in float32 and rounded, everything else in its own dtype (functions and sums internally in
// a wider one, so results are nearly correctly rounded).

#include <span>
#include <vector>

#include "gcomp/interp/tensor.h"
#include "gcomp/ir/graph.h"

namespace gcomp::interp {

// Evaluates a verified graph. `inputs` in the order of graph.inputs(); the results in that of
// graph.outputs(). Nodes that no output needs are not evaluated. Throws UserError(kRun) where the
// run fails: wrong inputs, contradicting extents, an index out of range, a failed check. Nested graphs
// need no host stack, and values are freed after their last use.
std::vector<Tensor> evaluate(const Graph& graph, std::span<const Tensor> inputs);

// One node on known operands, for folding constants. All extents in `attrs` must be numbers and the
// op must not be input, constant, bind_dims, cond or loop (InternalError). Throws UserError(kRun) as
// above.
std::vector<Tensor> evaluate_op(const Context& context, Op op, Attrs attrs,
                                std::span<const Tensor* const> operands);

}  // namespace gcomp::interp
