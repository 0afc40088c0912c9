// Problem: results change; which of thousands of rewrites did it?
// Method: changes are counted in an order that never changes (pass::RewriteLimit), so with N allowed the
// graph is right and with N + 1 it is wrong; N is found by bisection, each step judged by the reference
// evaluator. If no rewrite is to blame the generated code is compared, stage by stage.

#include "gcomp/driver/bisect.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "gcomp/driver/specialize.h"
#include "gcomp/support/error.h"
#include "reduce.h"

namespace gcomp::driver {
namespace {

using interp::Tensor;

// What a run gave: tensors, or the message with which it failed.
struct Outcome {
  std::vector<Tensor> outputs;
  std::string error;
};

template <class Run>
Outcome outcome_of(Run run) {
  try {
    return {run(), ""};
  } catch (const UserError& e) {
    if (e.code() != ExitCode::kRun) throw;
    return {{}, e.what()};
  }
}

// The root of the dtype's epsilon: far above rounding, far below faults.
double default_tolerance(DType t) {
  switch (t) {
    case DType::kFloat16: return 0x1p-5;
    case DType::kBFloat16: return 0x1p-4;
    case DType::kFloat32: return 0x1p-12;
    default: return 0x1p-26;
  }
}

std::string number(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", v);
  return text;
}

struct Difference {
  size_t output = 0;
  std::string text;
};

class Comparison {
 public:
  Comparison(const Graph& graph, std::optional<double> tolerance) : tolerance_(tolerance) {
    for (const Port& p : graph.outputs()) names_.push_back(p.name);
  }

  std::optional<Difference> operator()(const Outcome& expected, const Outcome& got) const {
    if (expected.error != got.error) {
      return Difference{0, "the run " + end_of(expected) + ", and now it " + end_of(got)};
    }
    for (size_t i = 0; i < expected.outputs.size(); ++i) {
      const std::string text = compare(expected.outputs[i], got.outputs[i]);
      if (!text.empty()) return Difference{i, "output '" + names_[i] + "'" + text};
    }
    return std::nullopt;
  }

 private:
  static std::string end_of(const Outcome& o) {
    return o.error.empty() ? "succeeded" : "failed (" + o.error + ")";
  }

  std::string compare(const Tensor& expected, const Tensor& got) const {
    if (expected.shape != got.shape || expected.dtype != got.dtype) {
      return ": " + to_string(expected) + " became " + to_string(got);
    }
    if (expected.bytes == got.bytes) return "";
    const Constant a = interp::to_constant(expected), b = interp::to_constant(got);
    const double mean = is_float(a.dtype) ? mean_magnitude(a) : 0;
    for (int64_t i = 0; i < a.num_elements(); ++i) {
      if (is_near(a, b, i, mean)) continue;
      return ", element " + std::to_string(i) + ": " + number(a.as_double(i)) + " became " +
             number(b.as_double(i));
    }
    return "";
  }

  static double mean_magnitude(const Constant& c) {
    double sum = 0;
    int64_t finite = 0;
    for (int64_t i = 0; i < c.num_elements(); ++i) {
      const double v = std::fabs(c.as_double(i));
      if (!std::isfinite(v)) continue;
      sum += v;
      ++finite;
    }
    return finite > 0 ? sum / static_cast<double>(finite) : 0;
  }

  bool is_near(const Constant& a, const Constant& b, int64_t i, double mean) const {
    if (!is_float(a.dtype)) return a.as_int(i) == b.as_int(i);
    const double x = a.as_double(i), y = b.as_double(i);
    if (std::isnan(x) || std::isnan(y)) return std::isnan(x) == std::isnan(y);
    if (x == y) return true;
    const double tolerance = tolerance_.value_or(default_tolerance(a.dtype));
    return std::isfinite(x) && std::isfinite(y) &&
           std::fabs(x - y) <= tolerance * std::max(std::fabs(x), mean);
  }

  std::optional<double> tolerance_;
  std::vector<std::string> names_;
};

// Notes whether one rule was applied.
class Watch : public pass::Observer {
 public:
  explicit Watch(const rewrite::Rule* rule) : rule_(rule) {}
  void applied(const rewrite::Rewrite& r) override { seen_ = seen_ || r.rule == rule_; }
  bool seen() const { return rule_ == nullptr || seen_; }

 private:
  const rewrite::Rule* rule_;
  bool seen_ = false;
};

class Bisection {
 public:
  Bisection(const Graph& graph, std::span<const Tensor> inputs, const pass::Pipeline& pipeline,
            const BisectOptions& options)
      : graph_(graph),
        inputs_(inputs),
        pipeline_(pipeline),
        options_(options),
        compare_(graph, options.tolerance) {}

  BisectResult run() {
    truth_ = evaluated(graph_, inputs_);
    pass::RewriteLimit all;
    const auto rewritten = rewrite(graph_, all);
    result_.num_changes = all.made();
    if (const auto difference = compare_(truth_, evaluated(*rewritten, inputs_))) {
      note(BisectResult::Kind::kRewrite, *difference);
      find_change();
    } else if (options_.run_compiled) {
      look_at_code(*rewritten);
    }
    return std::move(result_);
  }

 private:
  static Outcome evaluated(const Graph& graph, std::span<const Tensor> inputs) {
    return outcome_of([&] { return interp::evaluate(graph, inputs); });
  }

  std::unique_ptr<Graph> rewrite(const Graph& graph, pass::Observer& observer) const {
    pass::Options options = options_.pipeline;
    options.observers.push_back(&observer);
    return pass::run(std::make_unique<Graph>(graph), pipeline_, options);
  }

  void note(BisectResult::Kind kind, const Difference& difference) {
    result_.kind = kind;
    result_.difference = difference.text;
    output_ = difference.output;
  }

  void find_change() {
    size_t right = 0, wrong = result_.num_changes;
    const auto differs = [&](size_t most) {
      pass::RewriteLimit limit(most);
      const auto rewritten = rewrite(graph_, limit);
      const auto difference = compare_(truth_, evaluated(*rewritten, inputs_));
      if (!difference) return false;
      note(BisectResult::Kind::kRewrite, *difference);
      result_.change = limit.last();
      return true;
    };
    if (differs(0)) return;  // equal nodes as one, or dead nodes gone, is enough
    while (wrong - right > 1) {
      const size_t middle = right + (wrong - right) / 2;
      (differs(middle) ? wrong : right) = middle;
    }
    differs(wrong);  // the texts are those of this change, not of a later one
    reduce_rewrite(right);
  }

  // From the graph just before the change, where the rule's pattern lies bare, or from the original.
  void reduce_rewrite(size_t right) {
    const Shows shows = [&](const Graph& part, std::span<const Tensor> inputs) {
      Watch watch(result_.change.rule);
      const auto rewritten = rewrite(part, watch);
      const Comparison compare(part, options_.tolerance);
      return watch.seen() &&
             compare(evaluated(part, inputs), evaluated(*rewritten, inputs)).has_value();
    };
    pass::RewriteLimit limit(right);
    const auto before = rewrite(graph_, limit);
    reduce_one_of({before.get(), &graph_}, shows);
  }

  void reduce_one_of(const std::vector<const Graph*>& starts, const Shows& shows) {
    for (const Graph* start : starts) {
      // With numbers for symbols values can become inputs wherever the graph is cut.
      if (const auto fixed = with_extents(*start)) {
        result_.reduced = reduce(*fixed, inputs_, output_, shows);
      }
      if (!result_.reduced.graph) result_.reduced = reduce(*start, inputs_, output_, shows);
      if (result_.reduced.graph) return;
    }
  }

  std::unique_ptr<Graph> with_extents(const Graph& graph) const {
    std::map<std::string, int64_t> extents;
    const DimTable& dims = graph.context().dims;
    for (size_t i = 0; i < graph.inputs().size(); ++i) {
      const Type& type = graph.type(graph.inputs()[i].value);
      for (size_t axis = 0; axis < type.dims.size(); ++axis) {
        if (const auto s = dims.as_symbol(type.dims[axis])) {
          extents.emplace(dims.symbol_name(*s), inputs_[i].shape[axis]);
        }
      }
    }
    try {
      return specialize(graph, extents);
    } catch (const UserError&) {  // what rules know of an extent they cannot know of a number
      return nullptr;
    }
  }

  Outcome compiled(const Graph& graph, std::span<const Tensor> inputs,
                   const pass::Options& stages) {
    return outcome_of([&] {
      CompiledRun run = options_.run_compiled(graph, inputs, stages);
      result_.kernels = std::move(run.kernels);
      return std::move(run.outputs);
    });
  }

  void look_at_code(const Graph& rewritten) {
    const Outcome meant = evaluated(rewritten, inputs_);
    const auto difference = compare_(meant, compiled(rewritten, inputs_, options_.pipeline));
    if (!difference) return;
    note(BisectResult::Kind::kCode, *difference);
    for (const pass::Pass* stage : pass::select(pipeline_, options_.pipeline)) {
      if (stage->run) continue;
      pass::Options without = options_.pipeline;
      without.excluding.push_back(stage->name);
      if (!compare_(meant, compiled(rewritten, inputs_, without))) {
        result_.stages.push_back(stage->name);
      }
    }
    const Shows shows = [&](const Graph& part, std::span<const Tensor> inputs) {
      const Comparison compare(part, options_.tolerance);
      return compare(evaluated(part, inputs), compiled(part, inputs, options_.pipeline))
          .has_value();
    };
    reduce_one_of({&rewritten}, shows);
    if (result_.reduced.graph) {
      compiled(*result_.reduced.graph, result_.reduced.inputs, options_.pipeline);
    }
  }

  const Graph& graph_;
  std::span<const Tensor> inputs_;
  const pass::Pipeline& pipeline_;
  const BisectOptions& options_;
  Comparison compare_;
  Outcome truth_;
  size_t output_ = 0;
  BisectResult result_;
};

}  // namespace

BisectResult bisect(const Graph& graph, std::span<const Tensor> inputs,
                    const pass::Pipeline& pipeline, const BisectOptions& options) {
  return Bisection(graph, inputs, pipeline, options).run();
}

}  // namespace gcomp::driver
