#pragma once
// Random cases for one rule: graphs in which it should apply, and values for their inputs.

#include <memory>
#include <span>
#include <vector>

#include "gcomp/interp/tensor.h"
#include "gcomp/rewrite/generate.h"

namespace gcomp::truth {

struct Case {
  Context context;
  std::unique_ptr<Graph> graph;
};

// Nothing when the draw does not fit.
std::unique_ptr<Case> make_case(const rewrite::Rule& rule, uint64_t seed);

// A graph grown from that many cases of random rules, each standing on values of those before, with ops
// between them that keep values of ordinary size. Up to four outputs.
std::unique_ptr<Case> grow_graph(std::span<const rewrite::Rule> rules, uint64_t seed, int cases);

enum class Values {
  kOrdinary,  // multiples of 1/16 up to 4, small integers: sums and products of them are exact
  kEdges,     // the same, with infinities, NaN, zeros of both signs, extremes
  kWide,    // all magnitudes; neighbourhoods of points where functions cancel or overflow; operands
            // equal, opposite or close to each other
  kFinite,  // the same without infinities and NaN
};

// For every input; symbols get one size each, 0 and 1 among them.
std::vector<interp::Tensor> random_inputs(const Graph& g, rewrite::CaseMaker& make, Values values);

}  // namespace gcomp::truth
