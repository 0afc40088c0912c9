#pragma once
// Random graphs in which a rule should apply, for fuzzing every row without a test of its own.

#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "gcomp/ir/builder.h"
#include "gcomp/rewrite/rule.h"

namespace gcomp::rewrite {

// What a generator draws from. Shapes are small: rank 0 to 3, extents 0 to 4, 1 more often; symbolic
// ones belong to inputs. The graph's inputs are made on demand. Once values are offered, dtypes and shapes
// are mostly theirs and inputs mostly they, so that several cases grow into one graph.
class CaseMaker {
 public:
  CaseMaker(GraphBuilder& builder, uint64_t seed) : builder_(builder), rng_(seed) {}

  GraphBuilder& builder() { return builder_; }
  DimTable& dims() { return builder_.dims(); }

  int64_t pick(int64_t lo, int64_t hi);  // uniform in [lo, hi]
  bool chance(double p);
  template <class T>
  const T& one_of(const std::vector<T>& from) {
    return from[static_cast<size_t>(pick(0, static_cast<int64_t>(from.size()) - 1))];
  }
  DType dtype(DTypeMask mask);
  DimId extent();  // 0 to 4, or a symbol
  DimId static_extent(int64_t lo = 0);
  std::vector<DimId> shape(int min_rank = 0, int max_rank = 3);
  std::vector<DimId> static_shape(int min_rank = 0, int max_rank = 3, int64_t lo = 0);
  std::vector<int64_t> permutation(int rank);
  std::vector<int64_t> axes(int rank);                 // a sorted subset
  std::vector<int64_t> axes_of_size(int rank, int n);  // n of them
  void offer(ValueId v) { offered_.push_back(v); }
  ValueId input(const Type& t);
  ValueId input(DType t, std::vector<DimId> shape) { return input(Type{t, std::move(shape)}); }
  // A dense constant with a few elements of ordinary size, never 0; or of one value.
  ValueId constant(const Type& t);         // static type
  ValueId splat(const Type& t, double v);  // dense or a broadcast scalar
  double small_number(DType t);            // exact in every dtype, not 0

 private:
  // The dims of an offered value that suit, mostly; nullopt: draw.
  std::optional<std::vector<DimId>> offered_shape(int min_rank, int max_rank, bool fixed,
                                                  int64_t lo);

  GraphBuilder& builder_;
  std::mt19937_64 rng_;
  std::vector<ValueId> offered_;
};

// True when every node of the pattern is elementwise: then `from_pattern` makes cases.
bool can_generate(const Pattern& p);
// One attempt; nullopt when the drawn dtypes do not fit together.
std::optional<ValueId> from_pattern(const Pattern& p, CaseMaker& make);
// A case of the rule, by its generator or from its pattern; nullopt when the draw does not fit.
std::optional<ValueId> make_case(const Rule& rule, CaseMaker& make);
// The same as a graph whose outputs are all results of that node.
std::unique_ptr<Graph> make_case(const Rule& rule, Context& context, uint64_t seed);

}  // namespace gcomp::rewrite
