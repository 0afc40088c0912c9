#pragma once
// What rules that extend the domain do for accuracy: lib/rules/ACCURACY.md.

#include <span>
#include <string>
#include <vector>

#include "gcomp/rewrite/rule.h"

namespace gcomp::truth {

// Distance from the truth in ulp, over many result elements. Infinite where a number is not reached.
struct Spread {
  double median = 0;
  double most = 0;  // 99 of 100 are at most this
  double max = 0;
};

// One rule on results of one dtype: how many of their elements are what, and how far from the truth.
struct Accuracy {
  std::string rule;
  DType dtype = DType::kFloat64;
  int64_t compared =
      0;  // the truth and the original are numbers (or infinite, the truth being too large)
  Spread before{}, after{};  // of those
  int64_t overflowed =
      0;  // the truth is a number, the original none (or infinite, the truth not too large)
  int64_t recovered = 0;  // of those: the result is a number, and right
  int64_t undefined = 0;  // without a true value, and NaN in the original
  int64_t limits = 0;     // of those: the result is the limit
};

// Of a rule that extends the domain, in the order of dtypes; the same numbers on every machine but for what
// the last bits of the C library's functions change.
std::vector<Accuracy> accuracy(const rewrite::Rule& rule);

// Rules that may add more than a few ulp to the original's error, or leave some overflows, each with the reason.
struct Tradeoff {
  const char* rule;
  const char* reason;
};
std::span<const Tradeoff> tradeoffs();

// The document, and the rows of one.
std::string accuracy_document(std::span<const rewrite::Rule> rules);
std::vector<Accuracy> read_accuracy(const std::string& document);

}  // namespace gcomp::truth
