#pragma once
// The truth about a graph: every float value as a real number in multiprecision, never rounded to its
// dtype. Bodies of cond and loop run as their integers and comparisons say.

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
  // What takes the place of inputs, each with a number of its own, drawn from input_seed.
  uint64_t input_seed = 0;
  int limit_bits =
      0;  // of infinities: about 2^bits, of zeros 2^(-8 bits), of the same sign; 0: none
  bool numbers_for_nan = false;  // of NaN: numbers of both signs and ordinary size
  bool unsigned_zeros = false;   // of -0.0: 0.0
};

// Nothing where something unknown decides (a comparison, an order, an index), or an op is not covered: `why`
// tells. All ops of today are covered.
std::optional<std::vector<Output>> evaluate(const Graph& graph,
                                            std::span<const interp::Tensor> inputs,
                                            const Options& options = {},
                                            std::string* why = nullptr);

}  // namespace gcomp::truth
