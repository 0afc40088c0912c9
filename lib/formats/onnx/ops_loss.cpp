// Classification losses.

#include "onnx/node.h"

namespace gcomp::formats::onnx {
namespace {

// -weight[target] * scores[n, target, ...], reduced as the attribute says. scores: [N, C, d...],
// target: [N, d...].
ValueId negative_log_likelihood(NodeImport& n, ValueId scores, ValueId target, ValueId weight) {
  if (n.rank(scores) < 2 || n.rank(target) != n.rank(scores) - 1) {
    n.fail("scores must be [N, C, ...] and labels [N, ...]");
  }
  const std::string reduction = n.text("reduction", "mean");
  if (reduction != "mean" && reduction != "sum" && reduction != "none") {
    n.unsupported("reduction '" + reduction + "'");
  }
  const DType t = n.dtype(scores);
  ValueId counts;  // bool: the label is not the one to ignore
  if (n.has_attribute("ignore_index")) {
    const ValueId ignored = n.b.scalar_int(n.dtype(target), n.integer("ignore_index", 0));
    counts = n.binary(Op::ne, target, ignored);
    target = n.where(counts, target, n.like(target, 0));
  }
  const ValueId picked =
      n.squeeze(n.b.value(Op::gather_elements, {scores, n.unsqueeze(target, {1})},
                          {{AttrKey::axis, int64_t{1}}}),
                {1});
  ValueId w;  // of each label
  if (weight.valid()) w = n.gather(n.widen(weight), target, 0);
  if (counts.valid()) w = w.valid() ? n.where(counts, w, n.like(w, 0)) : n.cast(counts, t);
  ValueId loss = n.unary(Op::neg, picked);
  if (counts.valid()) loss = n.where(counts, loss, n.like(loss, 0));
  if (w.valid()) loss = n.mul(loss, w);
  if (reduction == "none") return loss;
  Ints axes;
  for (int a = 0; a < n.rank(loss); ++a) axes.push_back(a);
  if (reduction == "mean" && !w.valid()) return n.mean(loss, axes, false);
  const ValueId sum = n.reduce(Op::reduce_sum, loss, axes, false);
  return reduction == "sum" ? sum : n.div(sum, n.reduce(Op::reduce_sum, w, axes, false));
}

void import_nll(NodeImport& n) {
  const ValueId loss =
      negative_log_likelihood(n, n.widen(n.in(0)), n.in(1), n.has(2) ? n.in(2) : ValueId());
  n.out(n.cast(loss, n.dtype(n.in(0))));
}

void import_cross_entropy(NodeImport& n) {
  const DType t = n.dtype(n.in(0));
  if (n.rank(n.in(0)) < 2) n.fail("scores must be [N, C, ...]");
  const ValueId log_probability = n.log_softmax(n.widen(n.in(0)), {1});
  const ValueId loss =
      negative_log_likelihood(n, log_probability, n.in(1), n.has(2) ? n.in(2) : ValueId());
  n.out(0, n.cast(loss, t));
  if (n.wants(1)) n.out(1, n.cast(log_probability, t));
}

constexpr OpRow kRows[] = {
    {"NegativeLogLikelihoodLoss", import_nll, "ignore_index reduction"},
    {"SoftmaxCrossEntropyLoss", import_cross_entropy, "ignore_index reduction"},
};

}  // namespace

std::span<const OpRow> loss_rows() { return kRows; }

}  // namespace gcomp::formats::onnx
