// Every rule, on random graphs in which it should apply: the reference evaluator runs the graph with and
// without the rule, and the rule's contract judges the difference. Rules that extend the domain are only
// checked to apply, to keep the type and to fire once: their truth would need more precision.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "gcomp/interp/evaluate.h"
#include "gcomp/rewrite/generate.h"
#include "gcomp/rewrite/sweep.h"
#include "gcomp/rules/rules.h"
#include "gcomp/support/error.h"

using namespace gcomp;
using namespace gcomp::rewrite;
using interp::Tensor;

namespace {

constexpr int kWantedApplications = 25;  // a rule
constexpr int kMaxAttempts = 1500;

// Small integers and their halves are exact in every float; edge values come now and then.
double random_real(CaseMaker& make, bool edges) {
  static const double kEdges[] = {0.0,    -0.0,      INFINITY, -INFINITY, NAN,  1e-30, -1e-30,
                                  3e4,    -3e4,      709.0,    -745.0,    30.0, -30.0, 1e-8,
                                  5e-324, 1.797e308, 0.5,      1.0,       -1.0, 40.0,  0.999};
  if (edges && make.chance(0.35)) {
    return kEdges[make.pick(0, static_cast<int64_t>(std::size(kEdges)) - 1)];
  }
  return static_cast<double>(make.pick(-64, 64)) / 16;
}

int64_t random_integer(CaseMaker& make, DType t, bool edges) {
  const int bits = static_cast<int>(byte_size(t)) * 8;
  if (edges && make.chance(0.25)) {
    const auto least = static_cast<int64_t>(~uint64_t{0} << (bits - 1));
    const int64_t choices[] = {least, ~least, -1, 0, 1};
    return choices[make.pick(0, 4)];
  }
  return make.pick(-9, 9);
}

Tensor random_tensor(CaseMaker& make, DType t, std::vector<int64_t> shape, bool edges) {
  Tensor out{t, std::move(shape), {}};
  int64_t n = 1;
  for (int64_t d : out.shape) n *= d;
  for (int64_t i = 0; i < n; ++i) {
    Constant one = t == DType::kBool ? make_scalar_int(t, make.pick(0, 1))
                   : is_float(t)     ? make_splat(t, {}, random_real(make, edges))
                                     : make_scalar_int(t, random_integer(make, t, edges));
    out.bytes.insert(out.bytes.end(), one.bytes.begin(), one.bytes.end());
  }
  return out;
}

// Values for every input; symbols get one size each, 0 and 1 among them.
std::vector<Tensor> random_inputs(const Graph& g, CaseMaker& make, bool edges) {
  std::vector<int64_t> sizes(g.context().dims.num_symbols());
  for (int64_t& s : sizes) s = make.chance(0.3) ? 1 : make.pick(0, 4);
  std::vector<Tensor> inputs;
  for (const Port& p : g.inputs()) {
    const Type& t = g.type(p.value);
    std::vector<int64_t> shape;
    for (DimId d : t.dims) shape.push_back(g.context().dims.evaluate(d, sizes));
    inputs.push_back(random_tensor(make, t.dtype, std::move(shape), edges));
  }
  return inputs;
}

double element(const Tensor& t, int64_t i) { return interp::to_constant(t).as_double(i); }

double epsilon(DType t) {
  switch (t) {
    case DType::kFloat16: return 0x1p-11;
    case DType::kBFloat16: return 0x1p-8;
    case DType::kFloat32: return 0x1p-24;
    default: return 0x1p-53;
  }
}

// Largest magnitude among inputs: what errors of a sum are relative to.
double scale_of(const std::vector<Tensor>& inputs) {
  double scale = 1;
  for (const Tensor& t : inputs) {
    if (!is_float(t.dtype)) continue;
    for (int64_t i = 0; i < t.num_elements(); ++i) {
      const double v = std::fabs(element(t, i));
      if (std::isfinite(v)) scale = std::max(scale, v);
    }
  }
  return scale;
}

// "" or what differs. `loose`: rounding may differ; infinities and NaN may not, unless `finite_only`.
std::string difference(const Tensor& a, const Tensor& b, Contract contract, double scale) {
  if (a.dtype != b.dtype || a.shape != b.shape) return "another type";
  const bool exact = contract == Contract::kExact;
  for (int64_t i = 0; i < a.num_elements(); ++i) {
    if (!is_float(a.dtype)) {
      const auto n = byte_size(a.dtype);
      if (!std::equal(a.bytes.begin() + i * n, a.bytes.begin() + (i + 1) * n,
                      b.bytes.begin() + i * n)) {
        return "element " + std::to_string(i) + ": " + std::to_string(element(a, i)) + " and " +
               std::to_string(element(b, i));
      }
      continue;
    }
    const double x = element(a, i), y = element(b, i);
    if (std::isnan(x) && std::isnan(y)) continue;
    if (exact ? std::bit_cast<uint64_t>(x) == std::bit_cast<uint64_t>(y) : x == y) continue;
    if (contract == Contract::kAssumesFinite && (!std::isfinite(x) || !std::isfinite(y))) continue;
    if (contract == Contract::kAssumesFinite && x == y) continue;
    const double allowed = 64 * epsilon(a.dtype) * scale * std::max(1.0, std::fabs(x));
    if (!exact && std::fabs(x - y) <= allowed) continue;
    char text[200];
    std::snprintf(text, sizeof text, "element %lld: %.17g and %.17g", static_cast<long long>(i), x,
                  y);
    return text;
  }
  return "";
}

// Ops whose result for signed zeros the op table leaves open: then -0.0 and 0.0 are the same.
bool open_about_zeros(const Graph& g) {
  return std::any_of(g.nodes().begin(), g.nodes().end(), [](const Node& n) {
    return n.op == Op::min || n.op == Op::max || n.op == Op::sign || n.op == Op::reduce_max ||
           n.op == Op::reduce_min || n.op == Op::reduce_sum || n.op == Op::window_max ||
           n.op == Op::window_sum || n.op == Op::floor_div;
  });
}

struct Case {
  Context context;
  std::unique_ptr<Graph> graph;
};

// One random graph for the rule, or nothing when the draw does not fit.
std::unique_ptr<Case> make_case(const Rule& rule, uint64_t seed) {
  auto c = std::make_unique<Case>();
  GraphBuilder b(c->context, GraphBuilder::Mode::kRaw);
  CaseMaker make(b, seed);
  std::optional<ValueId> v;
  try {
    v = rule.generate ? std::optional(rule.generate(make)) : from_pattern(rule.pattern, make);
  } catch (const UserError&) {
    return nullptr;
  }
  if (!v) return nullptr;
  b.output("y", *v);
  c->graph = b.finish();
  return c;
}

struct Verdict {
  int applied = 0;
  int compared = 0;
  std::string fault;
};

// float16 and bfloat16 intermediates that were rounded away differ in more than rounding.
bool narrow(const Graph& g) {
  for (size_t v = 0; v < g.num_values(); ++v) {
    const DType t = g.type(ValueId(v)).dtype;
    if (t == DType::kFloat16 || t == DType::kBFloat16) return true;
  }
  return false;
}

Verdict check_rule(const Rule& rule) {
  Verdict verdict;
  const RuleSet set({&rule});
  SweepOptions options;
  options.fold = false;
  options.fast_math = true;
  for (int attempt = 0; attempt < kMaxAttempts && verdict.applied < kWantedApplications;
       ++attempt) {
    const uint64_t seed = 1000003ull * static_cast<uint64_t>(attempt) + 17;
    const auto c = make_case(rule, seed);
    if (!c) continue;
    SweepStats stats, again;
    const auto swept = sweep(*c->graph, set, options, &stats);
    if (stats.refused > 0) {
      verdict.fault = "changed the type of its root";
      return verdict;
    }
    if (stats.applied == 0) continue;
    ++verdict.applied;
    sweep(*swept, set, options, &again);
    if (again.applied != 0) {
      verdict.fault = "fires again in a second sweep";
      return verdict;
    }
    if (!stats.chases.empty()) {
      verdict.fault = stats.chases[0];
      return verdict;
    }
    if (rule.contract == Contract::kExtendsDomain) continue;  // needs multiprecision truth
    GraphBuilder unused(c->context, GraphBuilder::Mode::kRaw);
    CaseMaker make(unused, seed + 1);
    const bool rounds = rule.contract != Contract::kExact;
    if (rounds && narrow(*c->graph)) continue;
    for (int round = 0; round < 3; ++round) {
      const bool edges = round > 0;
      const std::vector<Tensor> inputs = random_inputs(*c->graph, make, edges);
      std::vector<Tensor> expected;
      try {
        expected = interp::evaluate(*c->graph, inputs);
      } catch (const UserError&) {
        continue;  // the original fails on these inputs
      }
      const std::vector<Tensor> actual = interp::evaluate(*swept, inputs);
      ++verdict.compared;
      const bool zeros = open_about_zeros(*c->graph);
      Contract contract = rule.contract;
      if (contract == Contract::kExact && zeros) contract = Contract::kReassociates;
      const double scale = rounds ? scale_of(inputs) : 0;
      // Near overflow another order of rounding decides about infinity.
      if (rounds && edges && scale > 1e5) continue;
      verdict.fault = difference(expected[0], actual[0], contract, scale);
      if (!verdict.fault.empty()) {
        verdict.fault += " (seed " + std::to_string(seed) + ")";
        return verdict;
      }
    }
  }
  return verdict;
}

}  // namespace

TEST_CASE("every rule keeps its contract") {
  for (const Rule& rule : rules::all()) {
    const Verdict verdict = check_rule(rule);
    INFO(rule.name, ": ", rule.doc);
    CHECK_MESSAGE(verdict.fault.empty(), rule.name << ": " << verdict.fault);
    CHECK_MESSAGE(verdict.applied >= 3,
                  rule.name << ": applied only " << verdict.applied << " times");
  }
}
