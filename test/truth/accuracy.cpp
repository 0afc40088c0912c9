#include "accuracy.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <sstream>

#include "check.h"

namespace gcomp::truth {
namespace {

using rewrite::Contract;
using rewrite::Rule;

constexpr size_t kWantedElements = 250;  // a dtype
constexpr int kMaxAttempts = 1500;

// Floats of the results of the rule's graphs, by dtype.
std::map<DType, std::vector<Errors>> draw(const Rule& rule) {
  std::map<DType, std::vector<Errors>> errors;
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    const auto a = apply(rule, attempt);
    if (!a) continue;
    const Graph& g = *a->original->graph;
    const DType t = g.type(g.outputs()[0].value).dtype;
    if (!is_float(t) || errors[t].size() >= kWantedElements) continue;
    judge_values(rule, *a, [&](const Judgement& j) {
      for (const Errors& e : j.errors) errors[e.dtype].push_back(e);
      return true;
    });
  }
  return errors;
}

Spread spread(std::vector<double> errors) {
  if (errors.empty()) return {};
  std::sort(errors.begin(), errors.end());
  const auto at = [&](double share) {
    return errors[static_cast<size_t>(std::ceil(share * static_cast<double>(errors.size()))) - 1];
  };
  return {at(0.5), at(0.99), errors.back()};
}

Accuracy summary(const Rule& rule, DType t, const std::vector<Errors>& errors) {
  Accuracy a{rule.name, t};
  std::vector<double> before, after;
  for (const Errors& e : errors) {
    if (!e.defined) {
      a.undefined += std::isnan(e.was);
      a.limits += std::isnan(e.was) && !std::isnan(e.is);
    } else if (std::isnan(e.was) || (std::isinf(e.was) && e.in_range)) {
      ++a.overflowed;
      a.recovered += std::isfinite(e.is) || (std::isinf(e.is) && !e.in_range);
    } else {
      before.push_back(e.before);
      after.push_back(e.after);
    }
  }
  a.compared = static_cast<int64_t>(before.size());
  a.before = spread(std::move(before));
  a.after = spread(std::move(after));
  return a;
}

// Two digits; nothing below a thousandth of an ulp is told apart.
std::string text(double ulp) {
  if (ulp < 1e-3) return "0";
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.2g", ulp);
  return buffer;
}

// The columns of numbers, as names of them and as text.
constexpr const char* kHeader =
    "| rule | dtype | compared | before: median | 99 % | max | after: median | 99 % | max | "
    "overflowed | "
    "right now | undefined | limit now |\n"
    "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n";

std::string row(const Accuracy& a) {
  std::string line = "| [" + a.rule + "](#" + a.rule + ") | " + std::string(name(a.dtype));
  line += " | " + std::to_string(a.compared);
  for (const Spread& s : {a.before, a.after}) {
    for (double ulp : {s.median, s.most, s.max}) line += " | " + text(ulp);
  }
  for (int64_t n : {a.overflowed, a.recovered, a.undefined, a.limits}) {
    line += " | " + std::to_string(n);
  }
  return line + " |\n";
}

constexpr const char* kIntroduction =
    R"(# What the stabilizing rules do for accuracy

Made by a test, which also keeps it true: `GCOMP_WRITE_ACCURACY_MD=1 build/test_rules -tc="ACCURACY.md*"` writes it.
A new rule that extends the domain, or one that changed, needs no more than that.

Each row is a rule whose contract is *extends-domain*, on random graphs of that dtype in which it applies: the graph
before and after the rule, both by the reference evaluator (whose operations are right to about half an ulp), on
ordinary values, edge values (zeros, infinities, NaN, extremes) and all magnitudes, against the original graph in
1280-bit arithmetic. So a row tells what the rule does, not how well kernels compute `log1p`.

- *before*, *after*: error in units in the last place of the true value, over the *compared* elements: those whose true
  value is a number that the original reaches somehow. Where the original loses all digits (`1 - erf(x)` far out) its
  error in ulp has no bound.
- *overflowed*: further elements, whose true value is a number but the original's result infinite or NaN;
  *right now*: those of them for which the rule's result is a number and right, as its contract asks (README.md).
- *undefined*: elements that have no true value (`inf / inf`) and are NaN in the original; *limit now*: those of them
  for which the rule gives what the expression tends to.

Rules that only decide (comparisons) are judged by the same truth, but have no error to tell.

)";

constexpr const char* kRoundedArgument =
    "one rounding more before exp, which magnifies it as many times as its argument is large; in "
    "exchange "
    "no intermediate result overflows";
constexpr const char* kCancels =
    "a result near 0 is a difference of numbers that are rounded already; its original rounds "
    "elsewhere";
constexpr Tradeoff kTradeoffs[] = {
    {"log_prod",
     "where a factor has overflowed already (exp(x) in float16), so does its logarithm"},
    {"log_of_moved_softmax", kCancels},
    {"log_exp_mul", kCancels},
    {"exp_times_exp", kRoundedArgument},
    {"power_times_power", kRoundedArgument},
    {"power_over_power", kRoundedArgument},
    {"exp_over_exp", kRoundedArgument},
    {"sigmoid_two", kRoundedArgument},
    {"log_add_exps", kCancels},
    {"softmax", kRoundedArgument},
    {"log_softmax", kCancels},
};

std::string tradeoff_list() {
  std::string text =
      "\n## What is given up\n\nEvery other rule adds at most 4 ulp to the largest error of its "
      "original, "
      "and gives a number for\nevery overflow.\n\n";
  for (const Tradeoff& t : kTradeoffs) text += std::string("- ") + t.rule + ": " + t.reason + ".\n";
  return text;
}

std::string anchors(std::span<const Rule> rules, const std::vector<std::string>& shown) {
  std::string text = "\n## The rules\n\n";
  for (const Rule& r : rules) {
    if (std::find(shown.begin(), shown.end(), r.name) == shown.end()) continue;
    text += "- <a id=\"" + r.name + "\"></a>**" + r.name + "**: `" + r.doc + "`\n";
  }
  return text;
}

std::vector<std::string> cells(const std::string& line) {
  std::vector<std::string> all;
  std::stringstream in(line);
  for (std::string cell; std::getline(in, cell, '|');) {
    const size_t begin = cell.find_first_not_of(' ');
    if (begin == std::string::npos) continue;
    all.push_back(cell.substr(begin, cell.find_last_not_of(' ') - begin + 1));
  }
  return all;
}

}  // namespace

std::vector<Accuracy> accuracy(const Rule& rule) {
  std::vector<Accuracy> rows;
  if (rule.contract != Contract::kExtendsDomain) return rows;
  for (const auto& [dtype, errors] : draw(rule)) rows.push_back(summary(rule, dtype, errors));
  return rows;
}

std::span<const Tradeoff> tradeoffs() { return kTradeoffs; }

std::string accuracy_document(std::span<const Rule> rules) {
  std::string text = std::string(kIntroduction) + kHeader;
  std::vector<std::string> shown;
  for (const Rule& rule : rules) {
    for (const Accuracy& a : accuracy(rule)) {
      text += row(a);
      if (shown.empty() || shown.back() != rule.name) shown.push_back(rule.name);
    }
  }
  return text + tradeoff_list() + anchors(rules, shown);
}

std::vector<Accuracy> read_accuracy(const std::string& document) {
  std::vector<Accuracy> rows;
  std::stringstream in(document);
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("| [", 0) != 0) continue;
    const std::vector<std::string> c = cells(line);
    const auto dtype = c.size() == 13 ? parse_dtype(c[1]) : std::nullopt;
    if (!dtype) continue;
    Accuracy a{c[0].substr(1, c[0].find(']') - 1), *dtype, std::stoll(c[2])};
    a.before = {std::stod(c[3]), std::stod(c[4]), std::stod(c[5])};
    a.after = {std::stod(c[6]), std::stod(c[7]), std::stod(c[8])};
    a.overflowed = std::stoll(c[9]);
    a.recovered = std::stoll(c[10]);
    a.undefined = std::stoll(c[11]);
    a.limits = std::stoll(c[12]);
    rows.push_back(a);
  }
  return rows;
}

}  // namespace gcomp::truth
