#pragma once
// Whether a rewritten graph keeps a rule's contract on given inputs, and how far results are from the
// truth.

#include <span>
#include <string>
#include <vector>

#include "evaluate.h"
#include "gcomp/rewrite/rule.h"

namespace gcomp::truth {

// Distance of `y`, a value of dtype `t`, from `truth` in units in the last place of the truth; 0 where the
// truth is beyond the dtype's range and `y` infinite; infinite where one is NaN, or infinite, and the other
// is not.
double ulp_error(double y, const Real& truth, DType t);

// One float of the results before and after a rule.
struct Errors {
  DType dtype = DType::kFloat64;
  double was = 0, is = 0;        // its values
  double before = 0, after = 0;  // ulp_error of them
  bool defined = false;          // the truth is a number
  bool in_range = false;         // one that the dtype can hold
};

struct Judgement {
  std::string fault;      // "" or what is wrong
  std::string uncovered;  // why there is no truth, if there is none
  int judged = 0;         // elements
  int unknown = 0;      // elements whose truth is beyond the range or the digits of the evaluation
  int independent = 0;  // elements that were right because they do not depend on NaN inputs
  std::vector<Errors> errors;  // of all that were judged and are right
};

// What a result may be off beside the rounding noise of the original graph.
inline constexpr double kAllowedUlps = 4;
inline constexpr double kAllowedNoise = 4;  // times the largest of a few samples

// The contracts:
// exact: the same bits, any NaN for a NaN, either zero where `original` holds an op whose document leaves
//   it open.
// The others are judged by the truth of `original`. A result passes if it is at most kAllowedUlps farther
// from it than that of the original; or within kAllowedUlps plus kAllowedNoise times the noise: how far an
// evaluation of the original is off in which every input and intermediate result has a rounding error. So
// a rewritten graph must be as good as the original in the sense of mixed stability.
// Integer results must be those of the original or of its truth, unless an input is not finite.
// reassociates: not judged where an intermediate result is near overflow or underflow.
// assumes-finite: nor where an input or the truth is not finite.
// extends-domain: judged everywhere; where infinite or zero inputs make the original infinite or NaN, what it
//   tends to as they grow or shrink, in several ratios, is right too, as is what 0.0 in the place of -0.0 gives.
//   Where it is NaN, so is what it gives for numbers in the place of NaN inputs, if that is one value for several
//   draws: it does not depend on them, but for a mask or a factor that cancels. Such elements are counted, and the
//   test of the rules names the rules that may have any.
// `inputs` must be such that the original can be evaluated (UserError otherwise).
Judgement judge(rewrite::Contract contract, const Graph& original, const Graph& rewritten,
                std::span<const interp::Tensor> inputs);

}  // namespace gcomp::truth
