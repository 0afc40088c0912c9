#include "judge.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "gcomp/interp/evaluate.h"

namespace gcomp::truth {
namespace {

using interp::Tensor;
using rewrite::Contract;

constexpr int kNoiseSamples = 6;
constexpr uint64_t kPaths = 3;  // to a limit
constexpr uint64_t kDraws = 4;  // of numbers for NaN

double element(const Tensor& t, int64_t i) { return interp::to_constant(t).as_double(i); }

bool same_bytes(const Tensor& a, const Tensor& b, int64_t i) {
  const auto n = static_cast<ptrdiff_t>(byte_size(a.dtype));
  return std::equal(a.bytes.begin() + i * n, a.bytes.begin() + (i + 1) * n,
                    b.bytes.begin() + i * n);
}

// Ops whose result for signed zeros the op table leaves open: then -0.0 and 0.0 are the same.
bool open_about_zeros(const Graph& g) {
  return std::any_of(g.nodes().begin(), g.nodes().end(), [](const Node& n) {
    return n.op == Op::min || n.op == Op::max || n.op == Op::sign || n.op == Op::reduce_max ||
           n.op == Op::reduce_min || n.op == Op::reduce_sum || n.op == Op::window_max ||
           n.op == Op::window_sum || n.op == Op::floor_div;
  });
}

std::string text(double v) {
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, "%.17g", v);
  return buffer;
}

// The unit in the last place of a result of that size, as an exponent.
long ulp_exponent(const Real& x, const Format& f) {
  const long least = f.least();
  if (x.is_zero()) return least;
  return std::max<long>(x.exponent() - f.bits, least);
}

class Judge {
 public:
  Judge(Contract contract, const Graph& original, const Graph& rewritten,
        std::span<const Tensor> inputs)
      : contract_(contract), original_(original), inputs_(inputs) {
    before_ = interp::evaluate(original, inputs);
    after_ = interp::evaluate(rewritten, inputs);
  }

  Judgement run() {
    for (size_t k = 0; k < before_.size() && result_.fault.empty(); ++k) {
      if (before_[k].dtype != after_[k].dtype || before_[k].shape != after_[k].shape) {
        result_.fault = "another type";
      } else if (contract_ == Contract::kExact) {
        compare_exactly(k);
      } else if (!is_float(before_[k].dtype)) {
        compare_decisions(k);
      } else {
        compare_with_truth(k);
      }
    }
    return std::move(result_);
  }

 private:
  void compare_exactly(size_t k) {
    const Tensor &a = before_[k], &b = after_[k];
    const bool zeros = open_about_zeros(original_);
    for (int64_t i = 0; i < a.num_elements(); ++i) {
      ++result_.judged;
      if (same_bytes(a, b, i)) continue;
      const double x = element(a, i), y = element(b, i);
      if (is_float(a.dtype) && std::isnan(x) && std::isnan(y)) continue;
      if (is_float(a.dtype) && zeros && x == y) continue;
      result_.fault = place(i) + text(x) + " became " + text(y);
      return;
    }
  }

  // Integers and bools that follow from floats: as before, or as the truth decides.
  void compare_decisions(size_t k) {
    const Tensor &a = before_[k], &b = after_[k];
    find_truth();
    if (!truth_ || !inputs_finite()) return;
    for (int64_t i = 0; i < a.num_elements(); ++i) {
      ++result_.judged;
      if (same_bytes(a, b, i) || same_bytes((*truth_)[k].tensor, b, i)) continue;
      result_.fault = place(i) + text(element(a, i)) + " became " + text(element(b, i));
      return;
    }
  }

  void compare_with_truth(size_t k) {
    find_truth();
    if (!truth_) return;  // not covered
    const DType t = before_[k].dtype;
    for (int64_t i = 0; i < before_[k].num_elements(); ++i) {
      const Element& e = (*truth_)[k].elements[static_cast<size_t>(i)];
      if (!e.known) ++result_.unknown;
      if (!e.known || !in_contract(e)) continue;
      ++result_.judged;
      const double x = element(before_[k], i), y = element(after_[k], i);
      const Errors errors = errors_of(x, y, e.value, t);
      if (is_right(k, i, y, e, errors)) {
        result_.errors.push_back(errors);
        continue;
      }
      result_.fault = place(i) + text(x) + " became " + text(y) + ", truth " +
                      text(e.value.to_double()) + ": off by " + text(errors.after) + " ulp (" +
                      text(errors.before) + " before, noise " + text(noise(k, i, t)) + ")";
      return;
    }
  }

  static Errors errors_of(double before, double after, const Real& truth, DType t) {
    Errors errors{t, before, after, ulp_error(before, truth, t), ulp_error(after, truth, t)};
    errors.defined = truth.is_finite();
    errors.in_range = errors.defined && abs(truth) < scaled(Real(1), format(t).max_exponent);
    return errors;
  }

  bool is_right(size_t k, int64_t i, double y, const Element& e, const Errors& errors) {
    const DType t = errors.dtype;
    const double x = element(before_[k], i);
    if (errors.after <= kAllowedUlps) return true;
    const bool same = same_bytes(before_[k], after_[k], i) || (std::isnan(x) && std::isnan(y));
    if (contract_ != Contract::kExtendsDomain && same) return true;
    if (std::isfinite(x) && errors.after <= errors.before + kAllowedUlps) return true;
    if (errors.after <= kAllowedUlps + kAllowedNoise * noise(k, i, t)) return true;
    return contract_ == Contract::kExtendsDomain && !e.value.is_finite() &&
           (is_limit(k, i, y, t) || is_for_positive_zeros(k, i, y, t) ||
            is_independent(k, i, y, t));
  }

  void find_truth() {
    if (!truth_) truth_ = truth::evaluate(original_, inputs_, {}, &result_.uncovered);
  }

  bool in_contract(const Element& e) const {
    switch (contract_) {
      case Contract::kAssumesFinite: return e.ordinary && e.value.is_finite() && inputs_finite();
      case Contract::kReassociates: return e.ordinary;
      default: return true;
    }
  }

  bool inputs_finite() const {
    for (const Tensor& t : inputs_) {
      if (!is_float(t.dtype)) continue;
      for (int64_t i = 0; i < t.num_elements(); ++i) {
        if (!std::isfinite(element(t, i))) return false;
      }
    }
    return true;
  }

  // The largest distance from the truth among a few disturbed evaluations, in ulp.
  double noise(size_t k, int64_t i, DType t) {
    if (noise_.empty()) {
      for (uint64_t seed = 0; seed < kNoiseSamples; ++seed) {
        noise_.push_back(truth::evaluate(original_, inputs_, {.noise_seed = seed}));
      }
    }
    const Real& truth = (*truth_)[k].elements[static_cast<size_t>(i)].value;
    double worst = 0;
    for (const auto& sample : noise_) {
      if (!sample || !truth.is_finite()) continue;
      const Real& v = (*sample)[k].elements[static_cast<size_t>(i)].value;
      if (!v.is_finite()) return INFINITY;
      worst = std::max(worst, scaled(abs(v - truth), -ulp_exponent(truth, format(t))).to_double());
    }
    return worst;
  }

  // Where infinite or zero inputs make the original what it is: what it tends to as they grow or shrink, the same
  // in whatever ratio. 2^24 is large enough to tell, and exp of its square within the range of the truth.
  bool is_limit(size_t k, int64_t i, double y, DType t) {
    for (uint64_t path = 0; path < kPaths; ++path) {
      const auto near = truth::evaluate(original_, inputs_, {.input_seed = path, .limit_bits = 12});
      const auto far = truth::evaluate(original_, inputs_, {.input_seed = path, .limit_bits = 24});
      if (!near || !far) return false;
      const Real& a = (*near)[k].elements[static_cast<size_t>(i)].value;
      const Real& b = (*far)[k].elements[static_cast<size_t>(i)].value;
      if (!is_limit(a, b, y, t)) return false;
    }
    return true;
  }

  // Whether y is what a and then b lead to.
  static bool is_limit(const Real& a, const Real& b, double y, DType t) {
    if (a.is_nan() || b.is_nan()) return a.is_nan() && b.is_nan() && std::isnan(y);
    if (abs(b) > scaled(abs(a), 1) || b.is_inf()) {
      return std::isinf(y) && (y < 0) == b.is_negative();
    }
    if (scaled(abs(b), 1) < abs(a)) return y == 0;
    return ulp_error(y, b, t) <= kAllowedUlps;
  }

  bool is_for_positive_zeros(size_t k, int64_t i, double y, DType t) {
    const auto other = truth::evaluate(original_, inputs_, {.unsigned_zeros = true});
    const Element& e = (*other)[k].elements[static_cast<size_t>(i)];
    return e.known && ulp_error(y, e.value, t) <= kAllowedUlps;
  }

  // NaN in the original because of inputs that the result does not depend on, but for a mask or a factor that
  // cancels: whatever numbers they are, the truth is the same.
  bool is_independent(size_t k, int64_t i, double y, DType t) {
    if (!std::isnan(element(before_[k], i))) return false;
    for (uint64_t draw = 0; draw < kDraws; ++draw) {
      const auto other =
          truth::evaluate(original_, inputs_, {.input_seed = draw, .numbers_for_nan = true});
      if (!other) return false;
      const Element& e = (*other)[k].elements[static_cast<size_t>(i)];
      if (!e.known || ulp_error(y, e.value, t) > kAllowedUlps) return false;
    }
    ++result_.independent;
    return true;
  }

  std::string place(int64_t i) const {
    return "element " + std::to_string(i) + " of " + arguments(i) + ": ";
  }

  // The inputs' elements there, where inputs and result have one shape; else the first few of all.
  std::string arguments(int64_t i) const {
    std::string all;
    for (const Tensor& t : inputs_) {
      all += (all.empty() ? "" : ", ") + std::string(name(t.dtype));
      if (t.shape == before_[0].shape) {
        all += " " + text(element(t, i));
        continue;
      }
      all += "[";
      const int64_t n = std::min<int64_t>(t.num_elements(), 8);
      for (int64_t j = 0; j < n; ++j) all += (j ? " " : "") + text(element(t, j));
      all += n < t.num_elements() ? " ...]" : "]";
    }
    return all;
  }

  Contract contract_;
  const Graph& original_;
  std::span<const Tensor> inputs_;
  std::vector<Tensor> before_, after_;
  std::optional<std::vector<Output>> truth_;
  std::vector<std::optional<std::vector<Output>>> noise_;
  Judgement result_;
};

}  // namespace

double ulp_error(double y, const Real& truth, DType t) {
  const Format f = format(t);
  if (truth.is_nan() || std::isnan(y)) return truth.is_nan() && std::isnan(y) ? 0 : INFINITY;
  const Real limit = scaled(Real(1), f.max_exponent);
  if (truth.is_inf()) {
    return std::isinf(y) && (y < 0) == truth.is_negative() ? 0 : INFINITY;
  }
  // An infinity stands for the first number that is too large.
  const bool beyond = !(abs(truth) < limit);
  const Real reached = beyond ? (truth.is_negative() ? -limit : limit) : truth;
  const Real value = std::isinf(y) ? (y < 0 ? -limit : limit) : Real(y);
  const long ulp = beyond ? f.max_exponent - f.bits : ulp_exponent(truth, f);
  return scaled(abs(value - reached), -ulp).to_double();
}

Judgement judge(Contract contract, const Graph& original, const Graph& rewritten,
                std::span<const Tensor> inputs) {
  return Judge(contract, original, rewritten, inputs).run();
}

}  // namespace gcomp::truth
