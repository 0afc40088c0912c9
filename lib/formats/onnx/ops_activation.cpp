// Activations. Those of several steps are computed in float32 for half-size floats and rounded once.

#include <cmath>
#include <numbers>
#include <numeric>

#include "gcomp/support/error.h"
#include "onnx/node.h"

namespace gcomp::formats::onnx {
namespace {

// Imports `f(x)` computed on widened x.
template <class F>
void import_widened(NodeImport& n, F f) {
  const ValueId x = n.in(0);
  n.out(n.cast(f(n.widen(x)), n.dtype(x)));
}

ValueId clamp01(NodeImport& n, ValueId x) { return n.min(n.max(x, 0.0), 1.0); }

void import_relu(NodeImport& n) { n.out(n.max(n.in(0), 0.0)); }

void import_sigmoid(NodeImport& n) { n.out(n.unary(Op::sigmoid, n.in(0))); }

void import_softplus(NodeImport& n) { n.out(n.unary(Op::softplus, n.in(0))); }

void import_softsign(NodeImport& n) {
  import_widened(n, [&](ValueId x) { return n.div(x, n.add(n.unary(Op::abs, x), 1.0)); });
}

void import_leaky_relu(NodeImport& n) {
  const double alpha = n.real("alpha", 0.01f);
  import_widened(n,
                 [&](ValueId x) { return n.where(n.compare(Op::lt, x, 0), n.mul(x, alpha), x); });
}

void import_prelu(NodeImport& n) {
  const ValueId x = n.in(0);
  n.out(n.where(n.compare(Op::lt, x, 0), n.mul(x, n.in(1)), x));
}

void import_elu(NodeImport& n) {
  const double alpha = n.real("alpha", 1);
  import_widened(n, [&](ValueId x) {
    return n.where(n.compare(Op::lt, x, 0), n.mul(n.unary(Op::expm1, x), alpha), x);
  });
}

void import_selu(NodeImport& n) {
  const double alpha = n.real("alpha", 1.67326319217681884765625);
  const double gamma = n.real("gamma", 1.05070102214813232421875);
  import_widened(n, [&](ValueId x) {
    const ValueId low = n.mul(n.unary(Op::expm1, x), alpha);
    return n.mul(n.where(n.compare(Op::gt, x, 0), x, low), gamma);
  });
}

void import_celu(NodeImport& n) {
  const double alpha = n.real("alpha", 1);
  import_widened(n, [&](ValueId x) {
    const ValueId low = n.mul(n.unary(Op::expm1, n.div(x, alpha)), alpha);
    return n.add(n.max(x, 0.0), n.min(low, 0.0));
  });
}

void import_hard_sigmoid(NodeImport& n) {
  const double alpha = n.real("alpha", 0.2f), beta = n.real("beta", 0.5);
  import_widened(n, [&](ValueId x) { return clamp01(n, n.add(n.mul(x, alpha), beta)); });
}

void import_hard_swish(NodeImport& n) {
  import_widened(n,
                 [&](ValueId x) { return n.mul(x, clamp01(n, n.add(n.mul(x, 1.0 / 6.0), 0.5))); });
}

void import_gelu(NodeImport& n) {
  const std::string approximate = n.text("approximate", "none");
  if (approximate != "none" && approximate != "tanh") {
    n.unsupported("approximate = '" + approximate + "'");
  }
  import_widened(n, [&](ValueId x) {
    ValueId inner;
    if (approximate == "none") {
      inner = n.unary(Op::erf, n.mul(x, 1 / std::numbers::sqrt2));
    } else {
      const ValueId cube = n.mul(n.mul(n.square(x), x), 0.044715);
      inner = n.unary(Op::tanh, n.mul(n.add(x, cube), std::sqrt(2 / std::numbers::pi)));
    }
    return n.mul(n.mul(x, 0.5), n.add(inner, 1.0));
  });
}

void import_mish(NodeImport& n) {
  import_widened(n,
                 [&](ValueId x) { return n.mul(x, n.unary(Op::tanh, n.unary(Op::softplus, x))); });
}

void import_swish(NodeImport& n) {
  const double alpha = n.real("alpha", 1);
  import_widened(n, [&](ValueId x) { return n.mul(x, n.unary(Op::sigmoid, n.mul(x, alpha))); });
}

void import_thresholded_relu(NodeImport& n) {
  const ValueId x = n.in(0);
  n.out(n.where(n.compare(Op::gt, x, n.real("alpha", 1)), x, n.like(x, 0)));
}

void import_shrink(NodeImport& n) {
  const ValueId x = n.in(0);
  const double lambd = n.real("lambd", 0.5), bias = n.real("bias", 0);
  const ValueId high = n.where(n.compare(Op::gt, x, lambd), n.sub(x, bias), n.like(x, 0));
  n.out(n.where(n.compare(Op::lt, x, -lambd), n.add(x, bias), high));
}

// The axes that a softmax works over: before opset 13 all from `axis` on.
Ints softmax_axes(NodeImport& n) {
  const int rank = n.rank(n.in(0));
  if (rank == 0) n.fail("the input must have at least one axis");
  const int64_t axis =
      n.axis(n.integer("axis", n.opset() < 13 ? 1 : -1), n.opset() < 13 ? rank + 1 : rank);
  if (n.opset() >= 13) return {axis};
  Ints axes(static_cast<size_t>(rank - axis));
  std::iota(axes.begin(), axes.end(), axis);
  return axes;
}

void import_softmax(NodeImport& n) { n.out(n.softmax(n.in(0), softmax_axes(n))); }

void import_log_softmax(NodeImport& n) { n.out(n.log_softmax(n.in(0), softmax_axes(n))); }

void import_hardmax(NodeImport& n) {
  ValueId x = n.in(0);
  const Dims shape = n.shape(x);
  const Ints axes = softmax_axes(n);
  int64_t axis = axes.empty() ? 0 : axes[0];
  if (n.opset() < 13) {  // over the flattened trailing axes
    const Dims outer(shape.begin(), shape.begin() + axis);
    const Dims inner(shape.begin() + axis, shape.end());
    x = n.reshape(x, {n.dims().product(outer), n.dims().product(inner)});
    axis = 1;
  }
  const ValueId best = n.unsqueeze(n.b.value(Op::argmax, {x}, {{AttrKey::axis, axis}}), {axis});
  const ValueId index = n.iota(DType::kInt64, n.shape(x), axis);
  n.out(n.reshape(n.cast(n.binary(Op::eq, index, best), n.dtype(x)), shape));
}

void import_dropout(NodeImport& n) {
  bool training = n.opset() < 7;
  if (n.has(2)) {
    const Constant* mode = n.b.constant_of(n.in(2));
    training = mode == nullptr || mode->num_elements() != 1 || mode->as_int(0) != 0;
  }
  if (training) {
    const auto ratio = n.has(1) ? n.known_reals(n.in(1)) : std::nullopt;
    if (!ratio || ratio->size() != 1 || (*ratio)[0] != 0) {
      n.unsupported("training mode (random numbers)", "export the model for inference");
    }
  }
  n.out(0, n.in(0));
  if (n.wants(1)) n.out(1, n.full(DType::kBool, n.shape(n.in(0)), 1));
}

constexpr OpRow kRows[] = {
    {"Celu", import_celu, "alpha"},
    {"Dropout", import_dropout, "ratio seed"},
    {"Elu", import_elu, "alpha"},
    {"Gelu", import_gelu, "approximate"},
    {"HardSigmoid", import_hard_sigmoid, "alpha beta"},
    {"HardSwish", import_hard_swish, ""},
    {"Hardmax", import_hardmax, "axis"},
    {"LeakyRelu", import_leaky_relu, "alpha"},
    {"LogSoftmax", import_log_softmax, "axis"},
    {"Mish", import_mish, ""},
    {"PRelu", import_prelu, ""},
    {"Relu", import_relu, ""},
    {"Selu", import_selu, "alpha gamma"},
    {"Shrink", import_shrink, "bias lambd"},
    {"Sigmoid", import_sigmoid, ""},
    {"Softmax", import_softmax, "axis"},
    {"Softplus", import_softplus, ""},
    {"Softsign", import_softsign, ""},
    {"Swish", import_swish, "alpha"},
    {"ThresholdedRelu", import_thresholded_relu, "alpha"},
};

}  // namespace

std::span<const OpRow> activation_rows() { return kRows; }

}  // namespace gcomp::formats::onnx
