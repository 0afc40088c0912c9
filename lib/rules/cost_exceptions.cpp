// Rows that make the graph itself costlier, by the model of gcomp/rewrite/cost.h, for the sake of what follows.
#include "gcomp/rules/rules.h"

namespace gcomp::rules {

std::span<const rewrite::CostException> cost_exceptions() {
  const auto* algebra = "boolean algebra has more rules than where";
  const auto* batch =
      "one product of more rows runs faster than a batch, which the model does not see";
  const auto* stack = "elementwise ops fuse with what they read; a stack has to be written first";
  const auto* epilogue = "factors and signs meet after the product, whose kernel applies them";
  static const std::vector<rewrite::CostException> kExceptions = {
      {"sub_constant",
       "one form for adding constants, so that they meet; -c folds unless it is large"},
      {"eq_self", "one form for asking after NaN"},
      {"le_self", "one form for asking after NaN"},
      {"where_then_false", algebra},
      {"where_else_true", algebra},
      {"where_zero_one", "a cast of a bool folds into comparisons and sums"},
      {"broadcast_drop_ones", "broadcasts of one form meet; both nodes are index maps"},
      {"concat_of_fill", "padding is known to be 0 in what reads it"},
      {"add_rows", "gathers at constants become slices; scatters are copies of the whole"},
      {"max_of_stack", stack},
      {"sum_of_stack", stack},
      {"matmul_scale_a", epilogue},
      {"matmul_scale_b", epilogue},
      {"matmul_neg_a", epilogue},
      {"matmul_neg_b", epilogue},
      {"matmul_factor_a", epilogue},
      {"matmul_factor_b", epilogue},
      {"matmul_of_one_matrix", batch},
      {"matmul_of_shared_matrix", batch},
  };
  return kExceptions;
}

}  // namespace gcomp::rules
