#pragma once
// Index expressions: what a kernel computes to find an element. A Linear is a constant plus a sum of
// coefficient * term, where constant and coefficients are extents (DimId: numbers or expressions known
// when the kernel is called) and a term is a loop variable, a quotient or remainder of another Linear
// (left over from reshapes that do not line up with the loops), or an integer computed by the kernel (a
// gather's index). Layout ops are maps of Linears, so they cost nothing where they stay linear.

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "gcomp/ir/dim.h"

namespace gcomp::lower {

struct LinearTerm {
  uint32_t term;
  DimId coefficient;
  friend bool operator==(const LinearTerm&, const LinearTerm&) = default;
};

struct Linear {
  DimId constant;
  std::vector<LinearTerm> terms;  // by increasing term, no coefficient 0
  friend bool operator==(const Linear&, const Linear&) = default;
};

using Index = std::vector<Linear>;  // one for each axis of a tensor
using AxisMask = uint64_t;          // loop axes an expression depends on

enum class TermKind : uint8_t {
  kLoop,
  kDiv,   // inner // divisor
  kMod,   // inner % divisor
  kItem,  // the integer an item of the emitter computes
};

struct IndexTerm {
  TermKind kind;
  DimId extent;  // the term's values are in [0, extent)
  AxisMask axes = 0;
  uint32_t number = 0;  // kLoop: axis; kItem: item
  Linear inner;         // kDiv, kMod
  DimId divisor;
};

class IndexTable {
 public:
  explicit IndexTable(DimTable& dims) : dims_(dims) {}

  DimTable& dims() { return dims_; }
  uint32_t add_loop(DimId extent);  // axes are numbered from 0 as they are added
  size_t num_loops() const { return loops_.size(); }
  DimId loop_extent(uint32_t axis) const { return terms_[loops_[axis]].extent; }
  uint32_t loop_term(uint32_t axis) const { return loops_[axis]; }
  uint32_t item_term(uint32_t item, DimId extent, AxisMask axes);
  const IndexTerm& term(uint32_t t) const { return terms_[t]; }
  size_t num_terms() const { return terms_.size(); }

  Linear constant(DimId value) const { return {value, {}}; }
  Linear constant(int64_t value) { return {dims_.constant(value), {}}; }
  Linear of_term(uint32_t term) { return {dims_.constant(0), {{term, dims_.constant(1)}}}; }
  Linear loop(uint32_t axis) { return of_term(loops_[axis]); }
  Linear add(const Linear& a, const Linear& b);
  Linear add(const Linear& a, DimId b);
  Linear scale(const Linear& a, DimId factor);
  Linear div(const Linear& a, DimId divisor) { return div_mod(a, divisor, true); }
  Linear mod(const Linear& a, DimId divisor) { return div_mod(a, divisor, false); }

  // Row-major offset of `index` in a dense tensor.
  Linear flatten(std::span<const Linear> index, std::span<const DimId> shape);
  // The index of an element of a tensor of shape `to`, given its index in shape `from`; both have the
  // same number of elements.
  Index reshape(std::span<const Linear> index, std::span<const DimId> from,
                std::span<const DimId> to);

  AxisMask axes(const Linear& a) const;
  // The coefficient of loop `axis` and whether it occurs only linearly (not in quotients or items).
  DimId coefficient(const Linear& a, uint32_t axis);
  bool only_linear(const Linear& a, uint32_t axis) const;

 private:
  Linear div_mod(const Linear& a, DimId divisor, bool quotient);
  Linear normalise(Linear a);
  bool exact_quotient(DimId a, DimId b, DimId* quotient);
  uint32_t intern(IndexTerm t);

  DimTable& dims_;
  std::vector<IndexTerm> terms_;
  std::vector<uint32_t> loops_;
};

// Row-major strides of a dense tensor, in elements.
std::vector<DimId> dense_strides(DimTable& dims, std::span<const DimId> shape);

}  // namespace gcomp::lower
