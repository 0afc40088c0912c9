#pragma once
// The pool of real numbers behind the float tensors of one evaluation, and what is known of each.

#include <deque>
#include <random>
#include <string>

#include "evaluate.h"

namespace gcomp::truth {

// A value of the graph: floats as an int64 tensor of ids into the pool.
struct Value {
  interp::Tensor tensor;
  bool real = false;
};

struct NotCovered {
  std::string what;
};

class Elements {
 public:
  explicit Elements(const Options& options)
      : options_(options), noise_(options.noise_seed.value_or(0)), inputs_(options.input_seed) {}

  int64_t add(Element e) {
    pool_.push_back(std::move(e));
    return static_cast<int64_t>(pool_.size()) - 1;
  }
  Element& operator[](int64_t id) { return pool_[static_cast<size_t>(id)]; }
  Element& at(const Value& v, int64_t i) { return (*this)[v.tensor.data<int64_t>()[i]]; }

  Value import(const interp::Tensor& t);        // integers and bools stay what they are
  Value import_input(const interp::Tensor& t);  // with what the options do to inputs
  Output output(const Value& v);

  // A result computed by MPFR since its flags were cleared, from elements whose flags `from` has. `cancels`: a zero or an infinity
  // may come out of rounded operands that are neither.
  Element finish(Real r, DType t, const Element& from, bool cancels = true);
  // finish() into the pool.
  int64_t add(Real r, DType t, const Element& from, bool cancels = true) {
    return add(finish(std::move(r), t, from, cancels));
  }

  // The id of the smaller or larger of two elements, which keeps its identity: x - max(x) is exactly 0
  // where x is the maximum. A new element where one is NaN, or unknown or extreme itself.
  int64_t extreme(bool max, int64_t a, int64_t b);

  // An exact zero makes an exact zero of any number, however that was rounded.
  static Element product(const Element& x, const Element& y);
  // The flags of what both went into.
  static void join(Element* flags, const Element& other);

 private:
  void disturb(Real& x, DType t);
  void replace(Real& x);

  const Options& options_;
  std::mt19937_64 noise_, inputs_;
  std::deque<Element> pool_;
};

}  // namespace gcomp::truth
