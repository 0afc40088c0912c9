#pragma once
// The truth about a graph: every float value as a real number in multiprecision, never rounded to its
// dtype. Ops that only move elements run in the reference evaluator on the elements' numbers (ids), so
// only arithmetic is written here.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "gcomp/interp/tensor.h"
#include "gcomp/ir/graph.h"
#include "real.h"

namespace gcomp::truth {

// Precision and range of a float dtype.
struct Format {
  int bits;          // of the significand
  int max_exponent;  // finite values are below 2^max_exponent
  int min_exponent;  // normal values are at least 2^min_exponent
  int least() const { return min_exponent - bits + 1; }  // subnormals are multiples of 2^least
};
Format format(DType t);

struct Element {
  Real value;
  // Not rounded anywhere, even in multiprecision.
  bool exact = true;
  // False: the evaluation itself left its range or precision, so nothing is known.
  bool known = true;
  // This and all it was computed from is 0, infinite, NaN, or far from overflow and underflow.
  bool ordinary = true;
};

struct Output {
  interp::Tensor tensor;          // integers and bools; of floats only the shape counts
  std::vector<Element> elements;  // floats
};

struct Options {
  // Every result (and input) is moved by up to one ulp of its dtype, in directions drawn from the seed: what
  // such an evaluation differs from the true one is the rounding noise of the graph.
  std::optional<uint64_t> noise_seed = std::nullopt;
  // For limits: infinite inputs are replaced by 2^bits, zeros by 2^(-8 bits), of the same sign. 0: they stay.
  int limit_bits = 0;
  bool unsigned_zeros = false;               // inputs -0.0 are taken for 0.0
  std::optional<double> nan = std::nullopt;  // NaN inputs are taken for this number
  bool zero_wins = false;  // 0 times, and 0 over, anything is 0: of what is masked out
};

// Nothing when the graph has an op that is not covered, or decides by something unknown: `why` names it.
std::optional<std::vector<Output>> evaluate(const Graph& graph,
                                            std::span<const interp::Tensor> inputs,
                                            const Options& options = {},
                                            std::string* why = nullptr);

}  // namespace gcomp::truth
