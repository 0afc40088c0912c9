// The parity table (lib/rules/parity.tsv): every rewrite of Theano 1.0.5 and PyTensor 2.38.3 has a row, and
// what a row names exists. For elementwise mathematics also the forms themselves: what such a rewrite
// changes and what it should become are two outputs of one graph, and our pipeline makes them one value.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <sstream>

#include "gcomp/ir/builder.h"
#include "gcomp/ir/text.h"
#include "gcomp/pass/pass.h"
#include "gcomp/passes/passes.h"
#include "gcomp/rules/rules.h"
#include "gcomp/support/files.h"

using namespace gcomp;
using namespace gcomp::rewrite;  // NOLINT: forms are written as rows are

namespace {

const std::string kRoot = GCOMP_SOURCE_DIR;

std::vector<std::string> split(const std::string& text, char by) {
  std::vector<std::string> parts(1);
  for (char c : text) {
    if (c == by) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

std::vector<std::string> lines_of(const std::string& path) {
  std::vector<std::string> lines = split(read_file(path), '\n');
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

struct Row {
  std::string section, rewrite, in, doc, status, ours, test, note;
  // "a, b" -> a, b
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (std::string& part : split(ours, ',')) {
      const size_t at = part.find_first_not_of(' ');
      if (at != std::string::npos) names.push_back(part.substr(at));
    }
    return names;
  }
};

std::vector<Row> table() {
  std::vector<Row> rows;
  const std::vector<std::string> lines = lines_of(kRoot + "/lib/rules/parity.tsv");
  for (size_t i = 1; i < lines.size(); ++i) {
    const std::vector<std::string> f = split(lines[i], '\t');
    REQUIRE_MESSAGE(f.size() == 8,
                    "line " << i + 1 << " has " << f.size() << " fields, expected 8");
    rows.push_back({f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7]});
  }
  return rows;
}

// Name -> "theano", "pytensor" or "both".
std::map<std::string, std::string> registered() {
  std::map<std::string, std::string> names;
  std::string source;
  for (const std::string& line : lines_of(kRoot + "/test/rules/theano_rewrites.txt")) {
    if (line.starts_with("#")) continue;
    if (line.starts_with("[")) {
      source = line.starts_with("[theano") ? "theano" : "pytensor";
      continue;
    }
    std::string& in = names[line];
    in = in.empty() ? source : "both";
  }
  return names;
}

// Rules, passes, and files of the source (for what is no pass: scheduling, code generation).
bool exists(const std::string& name) {
  for (const Rule& r : rules::all()) {
    if (r.name == name) return true;
  }
  for (const pass::Pass& p : passes::table()) {
    if (p.name == name) return true;
  }
  return name.find('/') != std::string::npos && std::filesystem::exists(kRoot + "/" + name);
}

// "FILE: TEXT": the file is there and holds the text.
std::string fault_of_test(const std::string& test) {
  const size_t colon = test.find(": ");
  if (colon == std::string::npos) return "is not of the form FILE: NAME";
  const std::string path = kRoot + "/" + test.substr(0, colon);
  if (!std::filesystem::exists(path)) return "names no file of the source";
  if (read_file(path).find(test.substr(colon + 2)) == std::string::npos) {
    return "names a test that the file does not hold";
  }
  return "";
}

// ---- forms ----

class FormBuilder {
 public:
  explicit FormBuilder(GraphBuilder& builder) : builder_(builder) {
    for (const char* name : {"x", "y", "z"}) add(name, DType::kFloat64);
    for (const char* name : {"i", "j"}) add(name, DType::kInt32);
    for (const char* name : {"p", "q"}) add(name, DType::kBool);
  }

  GraphBuilder& graph() { return builder_; }
  ValueId operator[](const std::string& input) const { return inputs_.at(input); }
  ValueId build(const Pattern& p) { return build(p, DType::kFloat64); }

 private:
  // NOLINTNEXTLINE(misc-no-recursion): forms are a few levels deep
  ValueId build(const Pattern& p, DType splats) {
    switch (p.kind) {
      case Pattern::Kind::kVariable: return inputs_.at(p.name);
      case Pattern::Kind::kSplat: return builder_.full({splats, shape()}, p.value);
      case Pattern::Kind::kOp: break;
      default: FAIL("forms have no such pattern");
    }
    // Numbers take the dtype of what stands beside them.
    std::vector<ValueId> operands(p.operands.size());
    for (size_t k = 0; k < operands.size(); ++k) {
      if (p.operands[k].kind == Pattern::Kind::kSplat) continue;
      operands[k] = build(p.operands[k], splats);
      if (p.ops[0] != Op::where || k > 0) splats = builder_.type(operands[k]).dtype;
    }
    for (size_t k = 0; k < operands.size(); ++k) {
      if (!operands[k].valid()) operands[k] = build(p.operands[k], splats);
    }
    return builder_.value(p.ops[0], operands);
  }
  std::vector<DimId> shape() { return {builder_.dims().constant(3)}; }
  void add(const std::string& name, DType t) { inputs_[name] = builder_.input(name, {t, shape()}); }

  GraphBuilder& builder_;
  std::map<std::string, ValueId> inputs_;
};

using Side = std::function<ValueId(FormBuilder&)>;

struct Form {
  std::string rewrite, text;
  Side before, after;
  bool fast_math = false;
};

// Where patterns say all.
Form form(std::string rewrite, const Pattern& before, const Pattern& after) {
  return {std::move(rewrite), to_string(before) + " -> " + to_string(after),
          [before](FormBuilder& f) { return f.build(before); },
          [after](FormBuilder& f) { return f.build(after); }};
}
Form fast_math(Form form) {
  form.fast_math = true;
  return form;
}

// Whether both sides are one value at that level.
bool same_at(const Form& form, const std::string& level, std::string* text = nullptr) {
  Context context;
  GraphBuilder builder(context, GraphBuilder::Mode::kRaw);
  FormBuilder forms(builder);
  builder.output("before", form.before(forms));
  builder.output("after", form.after(forms));
  const pass::Pipeline pipeline{passes::table(), passes::order(), rules::all()};
  pass::Options options;
  options.level = level;
  options.fast_math = form.fast_math;
  const auto graph = pass::run(builder.finish(), pipeline, options);
  if (text != nullptr) *text = print(*graph);
  return graph->outputs()[0].value == graph->outputs()[1].value;
}

const Pattern x = real("x"), y = real("y"), z = real("z");
const Pattern i = integer("i"), j = integer("j");
const Pattern p = boolean("p"), q = boolean("q");

const double kInf = INFINITY;
const Pattern kNaN(NAN);

std::vector<Form> forms() {
  const Pattern most = max(max(x, y), z), largest = where(is_inf(most), 0, most);
  const Pattern low = min(x, 0);
  const Pattern gauss_over_erfc = where(x > 0, 1 / erfcx(max(x, 0)), exp(-(low * low)) / erfc(low));
  return {
      form("local_add_canonizer", ((x + y) + x) + y, x * 2 + y * 2),
      form("local_add_canonizer", (i + j) - i, j),
      form("local_add_canonizer", ((x + 3) + y) + 4, (x + y) + 7),
      form("local_mul_canonizer", ((x * y) * x) * y, (x * x) * (y * y)),
      form("local_mul_canonizer", ((x * 3) * y) * 4, (x * y) * 12),
      form("local_mul_canonizer", (x / y) / z, x / (y * z)),
      fast_math(form("local_mul_canonizer", x / abs(x), sign(x))),
      form("local_abs_merge", abs(x) * abs(y), abs(x * y)),
      form("local_abs_merge", abs(x) / abs(y), abs(x / y)),
      form("local_div_switch_sink", where(p, x, 0) / y, where(p, x / y, 0)),
      form("local_div_switch_sink", where(p, 0, x) / y, where(p, 0, x / y)),
      form("local_div_switch_sink", floor_div(where(p, i, 0), j), where(p, floor_div(i, j), 0)),
      form("local_mul_switch_sink", y * where(p, x, 0), where(p, x * y, 0)),
      form("local_mul_switch_sink", where(p, 0, x) * y, where(p, 0, x * y)),
      form("local_merge_switch_same_cond", where(p, x, y) + where(p, y, z), where(p, x + y, y + z)),
      form("local_merge_switch_same_cond", where(p, x, y) < where(p, y, z), where(p, x < y, y < z)),
      form("local_exp_log", log(exp(x)), x),
      form("local_exp_log", log1p(expm1(x)), x),
      form("local_exp_log", exp(softplus(x)), 1 + exp(x)),
      form("local_exp_log", expm1(softplus(x)), exp(x)),
      form("local_exp_log_nan_switch", exp(log(x)), where(x < 0, kNaN, x)),
      form("local_exp_log_nan_switch", exp(log1p(x)), where(x < -1, kNaN, x + 1)),
      form("local_exp_log_nan_switch", expm1(log(x)), where(x < 0, kNaN, x - 1)),
      form("local_exp_log_nan_switch", expm1(log1p(x)), where(x < -1, kNaN, x)),
      form("local_exp_log_nan_switch", exp(log1mexp(x)), where(x > 0, kNaN, 1 - exp(x))),
      form("local_exp_log_nan_switch", expm1(log1mexp(x)), where(x > 0, kNaN, -exp(x))),
      form("local_exp_log_nan_switch", softplus(log(x)), where(x < 0, kNaN, log1p(x))),
      form("local_exp_log_nan_switch", log1mexp(log(x)), where(x < 0, kNaN, log1p(-x))),
      form("local_exp_log_nan_switch", log1mexp(log1mexp(x)), where(x > 0, kNaN, x)),
      form("local_func_inv", -(-x), x),
      form("local_func_inv", 1 / (1 / x), x),
      form("local_func_inv", cosh(acosh(x)), where(x < 1, kNaN, x)),
      form("local_func_inv", acosh(cosh(x)), abs(x)),
      form("local_func_inv", sinh(asinh(x)), x),
      form("local_func_inv", asinh(sinh(x)), x),
      form("local_func_inv", tanh(atanh(x)), where(abs(x) > 1, kNaN, x)),
      form("local_func_inv", atanh(tanh(x)), x),
      form("useless_Cosh_of_Arccosh", cosh(acosh(x)), where(x < 1, kNaN, x)),
      form("useless_Arccosh_of_Cosh", acosh(cosh(x)), abs(x)),
      form("useless_Sinh_of_Arcsinh", sinh(asinh(x)), x),
      form("useless_Arcsinh_of_Sinh", asinh(sinh(x)), x),
      form("useless_Tanh_of_Arctanh", tanh(atanh(x)), where(abs(x) > 1, kNaN, x)),
      form("useless_Arctanh_of_Tanh", atanh(tanh(x)), x),
      form("useless_Reciprocal_of_Reciprocal", 1 / (1 / x), x),
      form("useless_Deg2rad_of_Rad2deg", (x * (180 / M_PI)) * (M_PI / 180), x),
      form("useless_Rad2deg_of_Deg2rad", (x * (M_PI / 180)) * (180 / M_PI), x),
      form("local_grad_log_erfc_neg", exp(-(x * x)) / erfc(x), gauss_over_erfc),
      form("local_grad_log_erfc_neg", (3 * exp(-(x * x))) / erfc(x), gauss_over_erfc * 3),
      form("local_grad_log_erfc_neg", (3 / erfc(x)) * exp((x * x) * -1), gauss_over_erfc * 3),
      fast_math(form("local_greedy_distributor", (y / x + z) * x, z * x + y)),
      form("local_log_erfc", log(erfc(x)),
           where(x > 1, log(erfcx(max(x, 1))) - x * x, log(erfc(min(x, 1))))),
      form("local_log_add", log(exp(x) + exp(y)),
           where(x == y, y + M_LN2, max(x, y) + softplus(-abs(y - x)))),
      form("local_log_add_exp", log((exp(x) + exp(y)) + exp(z)),
           log((exp(x - largest) + exp(y - largest)) + exp(z - largest)) + largest),
      form("local_logit_sigmoid", log(sigmoid(x) / (1 - sigmoid(x))), x),
      form("local_sigmoid_logit", sigmoid(log(x / (1 - x))), where((x < 0) | (x > 1), kNaN, x)),
      form("local_mul_exp_to_exp_add", exp(x) * exp(y), exp(x + y)),
      form("local_mul_exp_to_exp_add", exp(x) / exp(y), exp(x - y)),
      form("local_mul_pow_to_pow_add", pow(x, 7) * pow(x, 5), pow(x, 12)),
      form("local_mul_pow_to_pow_add", pow(abs(x), 0.75) * pow(abs(x), 0.5), pow(abs(x), 1.25)),
      form("local_mul_pow_to_pow_add", pow(3, x) * pow(3, y), pow(3, x + y)),
      form("local_mul_pow_to_pow_add", pow(3, x) / pow(3, y), pow(3, x - y)),
      form("local_mul_specialize", x * 1, x),
      form("local_mul_specialize", x * -1, -x),
      form("local_mul_specialize", (-x) * (-y), x * y),
      form("local_mul_specialize", (-x) * y, -(x * y)),
      form("local_pow_specialize_device", pow(x, 5), ((x * x) * (x * x)) * x),
      form("local_pow_to_nested_squaring", pow(x, 6), ((x * x) * (x * x)) * (x * x)),
      form("local_pow_to_nested_squaring", pow(x, -3), 1 / ((x * x) * x)),
      form("local_pow_to_nested_squaring", pow(i, 6), ((i * i) * (i * i)) * (i * i)),
      form("local_sqrt_sqr", sqrt(x * x), abs(x)),
      form("local_sqrt_sqr", pow(sqrt(x), 2), where(x < 0, kNaN, x)),
      form("local_useless_elemwise", where(i == i, x, y), x),
      form("local_useless_elemwise", where(i != i, x, y), y),
      form("local_useless_elemwise", p & 1, p),
      form("local_useless_elemwise", p | 0, p),
      form("local_useless_elemwise", p ^ 0, p),
      form("local_useless_elemwise", (p & q) & (p & q), p & q),
      form("local_useless_elemwise_comparison", where(x < x, x, y), y),
      form("local_useless_elemwise_comparison", where(i <= i, x, y), x),
      form("local_useless_elemwise_comparison", min(x, x), x),
      form("local_useless_elemwise_comparison", max(x, x), x),
      form("local_useless_switch", where(p, x, x), x),
      form("local_useless_switch", where(p, where(p, x, y), z), where(p, x, z)),
      form("local_useless_switch", where(i <= 0, 0, i), max(i, 0)),
      form("local_zero_div", 0 / i, i * 0),
      form("local_zero_div", floor_div(0, i), i * 0),
      fast_math(form("local_zero_div", 0.0 / x, x - x)),
      form("logdiffexp_to_log1mexpdiff", log(exp(x) - exp(y)),
           where(y == -kInf, x, x + log1mexp(y - x))),

      form("local_1msigmoid", 1 - sigmoid(x), sigmoid(-x)),
      form("local_add_neg_to_sub", -x + y, y - x),
      form("local_add_remove_zeros", x + -0.0, x),
      form("local_add_remove_zeros", abs(x) + 0.0, abs(x)),
      form("local_add_specialize", i + 0, i),
      form("local_elemwise_sub_zeros", i - i, i * 0),
      fast_math(form("local_elemwise_sub_zeros", x - x, x * 0.0)),
      form("local_erf_minus_one", erf(x) - 1, -erfc(x)),
      form("local_erf_neg_minus_one", erfc(-x) - 1, erf(x)),
      form("local_erf_neg_minus_one2", erfc(x * -1) + -1, erf(x)),
      form("local_exp_over_1_plus_exp", exp(x) / (1 + exp(x)), sigmoid(x)),
      form("local_expm1", exp(x) - 1, expm1(x)),
      form("local_intdiv_by_one", floor_div(i, 1), i),
      form("local_inv_1_plus_exp", 1 / (1 + exp(x)), sigmoid(-x)),
      form("local_reciprocal_1_plus_exp", 1 / (1 + exp(-x)), sigmoid(x)),
      form("local_log1p", log(1 + x), log1p(x)),
      form("local_log1p", log(1 - x), log1p(-x)),
      form("local_log1p_plusminus_exp", log1p(exp(x)), softplus(x)),
      form("local_log1p_plusminus_exp", log1p(-exp(x)), log1mexp(x)),
      form("local_log_sqrt", log(sqrt(x)), log(x) * 0.5),
      form("local_mul_zero", i * 0, i - i),
      fast_math(form("local_mul_zero", x * 0.0, x - x)),
      form("local_neg_neg", -(-x), x),
      form("useless_Neg_of_Neg", -(-i), i),
      form("local_neg_div_neg", -(-x / y), x / y),
      form("local_one_minus_erf", 1 - erf(x), erfc(x)),
      form("local_one_minus_erf2", 1 + erf(x) * -1, erfc(x)),
      form("local_one_minus_erfc", 1 - erfc(x), erf(x)),
      form("local_one_minus_erfc2", 1 + (-erfc(x)), erf(x)),
      form("local_one_minus_erfc3", 1 + erfc(x) * -1, erf(x)),
      form("local_one_add_neg_erfc", 1 + (-erfc(x)), erf(x)),
      form("local_one_plus_erf", 1 + erf(x), erfc(-x)),
      form("local_one_plus_neg_erf", 1 + (-erf(x)), erfc(x)),
      form("local_pow_canonicalize", pow(x, 0), Pattern(1)),
      form("local_pow_canonicalize", pow(x, 1), x),
      form("local_pow_canonicalize", pow(1, x), Pattern(1)),
      form("local_pow_specialize", pow(x, 2), x * x),
      form("local_pow_specialize", pow(x, -1), 1 / x),
      form("local_pow_specialize", pow(x, -2), 1 / (x * x)),
      form("local_pow_specialize", pow(abs(x), 0.5), sqrt(abs(x))),
      form("local_sigm_times_exp", exp(x) * sigmoid(-x), sigmoid(x)),
      form("local_sigm_times_exp", exp(-x) * sigmoid(x), sigmoid(-x)),
      form("local_sub_neg_to_add", x - (-y), x + y),
      form("log1msigm_to_softplus", log(1 - sigmoid(x)), -softplus(x)),
      form("log1p_neg_sigmoid", log1p(-sigmoid(x)), -softplus(x)),
      form("log1pexp_to_softplus", log1p(exp(x)), softplus(x)),
      form("logmexpm1_to_log1mexp", log(-expm1(x)), log1mexp(x)),
      form("logsigm_to_softplus", log(sigmoid(x)), -softplus(-x)),
  };
}

// Reductions, casts: what patterns of elementwise ops do not say.
ValueId along_rows(FormBuilder& f, Op op, ValueId v) {
  return f.graph().value(op, {v}, {{AttrKey::axes, std::vector<int64_t>{0}}});
}
ValueId spread(FormBuilder& f, ValueId scalar) {
  return f.graph().broadcast(scalar, {f.graph().dims().constant(3)}, {});
}
// log(sum(exp(x - max(x)))), its maximum not yet added.
ValueId shifted_log_sum(FormBuilder& f, ValueId v, ValueId max) {
  const ValueId shifted = f.graph().value(Op::sub, {v, spread(f, max)});
  const ValueId sum = along_rows(f, Op::reduce_sum, f.graph().value(Op::exp, {shifted}));
  return f.graph().value(Op::log, {sum});
}
ValueId finite_max(FormBuilder& f, ValueId v) {
  const ValueId max = along_rows(f, Op::reduce_max, v);
  const ValueId infinite = f.graph().value(Op::is_inf, {max});
  return f.graph().value(Op::where, {infinite, f.graph().scalar(DType::kFloat64, 0), max});
}
ValueId softmax(FormBuilder& f, ValueId v) {
  const ValueId e = f.graph().value(Op::exp, {v});
  return f.graph().value(Op::div, {e, spread(f, along_rows(f, Op::reduce_sum, e))});
}

ValueId along(FormBuilder& f, Op op, ValueId v) {
  return f.graph().value(op, {v}, {{AttrKey::axis, int64_t{0}}});
}
// v at the places i; zeros but for v there.
ValueId at(FormBuilder& f, ValueId v) {
  return f.graph().value(Op::gather_elements, {v, f["i"]}, {{AttrKey::axis, int64_t{0}}});
}
ValueId put(FormBuilder& f, ValueId v) {
  return f.graph().value(Op::scatter_elements, {f.graph().full_like(v, 0), f["i"], v},
                         {{AttrKey::axis, int64_t{0}}, {AttrKey::reduction, std::string("add")}});
}
// The gradient of -log(softmax(x)[i]), as softmax's gradient multiplies it.
ValueId scattered_gradient(FormBuilder& f) {
  const ValueId s = softmax(f, f["x"]);
  const ValueId chosen = at(f, s);
  const ValueId g = f.graph().value(Op::div, {f.graph().full_like(chosen, -1), chosen});
  return f.graph().value(Op::mul, {put(f, g), s});
}

std::vector<Form> larger_forms() {
  return {
      {"local_argmax_pushdown", "argmax(softmax(x)) -> argmax(x)",
       [](FormBuilder& f) {
         const ValueId max = spread(f, along_rows(f, Op::reduce_max, f["x"]));
         return along(f, Op::argmax, softmax(f, f.graph().value(Op::sub, {f["x"], max})));
       },
       [](FormBuilder& f) { return along(f, Op::argmax, f["x"]); }},
      {"crossentropy_to_crossentropy_with_softmax_with_bias",
       "log(softmax(x + y)[i]) -> log_softmax(x + y)[i]",
       [](FormBuilder& f) { return f.graph().value(Op::log, {at(f, softmax(f, f.build(x + y)))}); },
       [](FormBuilder& f) {
         return at(f, f.graph().value(Op::log, {softmax(f, f.build(x + y))}));
       }},
      {"local_advanced_indexing_crossentropy_onehot", "log(softmax(x)[i]) -> log_softmax(x)[i]",
       [](FormBuilder& f) { return f.graph().value(Op::log, {at(f, softmax(f, f["x"]))}); },
       [](FormBuilder& f) { return at(f, f.graph().value(Op::log, {softmax(f, f["x"])})); }},
      {"local_advanced_indexing_crossentropy_onehot_grad",
       "scatter(0, i, -1 / softmax(x)[i]) * softmax(x) -> scatter(0, i, -1)", scattered_gradient,
       [](FormBuilder& f) { return put(f, f.graph().full_like(f["x"], -1)); }},
      {"local_softmax_grad_to_crossentropy_with_softmax_grad",
       "scatter(0, i, -1 / softmax(x)[i]) * softmax(x) -> scatter(0, i, -1)", scattered_gradient,
       [](FormBuilder& f) { return put(f, f.graph().full_like(f["x"], -1)); }},
      {"local_logsoftmax_grad", "(y / softmax(x)) * softmax(x) -> y",
       [](FormBuilder& f) {
         const ValueId s = softmax(f, f["x"]);
         return f.graph().value(Op::mul, {f.graph().value(Op::div, {f["y"], s}), s});
       },
       [](FormBuilder& f) { return f["y"]; }},
      {"local_max_to_min", "-max(-x) -> min(x)",
       [](FormBuilder& f) {
         return f.graph().value(Op::neg, {along_rows(f, Op::reduce_max, f.build(-x))});
       },
       [](FormBuilder& f) { return along_rows(f, Op::reduce_min, f["x"]); }},
      {"local_log_prod_to_sum_log", "log(prod(|x|)) -> sum(log(|x|))",
       [](FormBuilder& f) {
         return f.graph().value(Op::log, {along_rows(f, Op::reduce_prod, f.build(abs(x)))});
       },
       [](FormBuilder& f) { return along_rows(f, Op::reduce_sum, f.build(log(abs(x)))); }},
      {"local_cast_cast", "cast(cast(i, int64), int32) -> i",
       [](FormBuilder& f) {
         return f.graph().cast(f.graph().cast(f["i"], DType::kInt64), DType::kInt32);
       },
       [](FormBuilder& f) { return f["i"]; }},
      {"local_log_sum_exp", "log(sum(exp(x))) -> log(sum(exp(x - max(x)))) + max(x)",
       [](FormBuilder& f) {
         return f.graph().value(Op::log, {along_rows(f, Op::reduce_sum, f.build(exp(x)))});
       },
       [](FormBuilder& f) {
         const ValueId max = finite_max(f, f["x"]);
         return f.graph().value(Op::add, {shifted_log_sum(f, f["x"], max), max});
       }},
      {"local_logsoftmax", "log(softmax(x)) -> x - max - log(sum(exp(x - max)))",
       [](FormBuilder& f) { return f.graph().value(Op::log, {softmax(f, f["x"])}); },
       [](FormBuilder& f) {
         const ValueId max = finite_max(f, f["x"]);
         const ValueId shifted = f.graph().value(Op::sub, {f["x"], spread(f, max)});
         return f.graph().value(Op::sub, {shifted, spread(f, shifted_log_sum(f, f["x"], max))});
       }},
  };
}

}  // namespace

TEST_CASE("the parity table has a row for each registered rewrite, once, in order") {
  const auto names = registered();
  const std::vector<std::string> sections = {"elementwise", "structure", "blas", "fusion",
                                             "loops",       "linalg",    "other"};
  std::set<std::string> seen;
  std::pair<size_t, std::string> last;
  for (const Row& row : table()) {
    INFO(row.rewrite);
    CHECK_MESSAGE(seen.insert(row.rewrite).second, "two rows");
    const auto it = names.find(row.rewrite);
    REQUIRE_MESSAGE(it != names.end(), "is not registered by Theano or PyTensor");
    CHECK(row.in == it->second);
    CHECK(!row.doc.empty());
    const auto section = std::find(sections.begin(), sections.end(), row.section);
    CHECK(section != sections.end());
    const std::pair<size_t, std::string> key{section - sections.begin(), row.rewrite};
    CHECK_MESSAGE(last < key, "rows are sorted by section and name");
    last = key;
  }
  for (const auto& [name, in] : names) CHECK_MESSAGE(seen.contains(name), name << " has no row");
}

TEST_CASE("what the parity table names exists") {
  std::set<std::string> ops;
  for (int o = 0; o < kNumOps; ++o) ops.emplace(name(static_cast<Op>(o)));
  size_t cannot = 0, rows = 0;
  for (const Row& row : table()) {
    INFO(row.rewrite);
    ++rows;
    if (row.status == "rule") {
      CHECK(!row.names().empty());
      for (const std::string& n : row.names()) {
        CHECK_MESSAGE(exists(n), "'" << n << "' is no rule, pass or file");
      }
      CHECK_MESSAGE(fault_of_test(row.test) == "", row.test << " " << fault_of_test(row.test));
    } else if (row.status == "unnecessary") {
      CHECK_MESSAGE(!row.ours.empty(), "what makes it so?");
    } else if (row.status == "waits") {
      CHECK(!row.ours.empty());
      for (const std::string& n : row.names()) {
        CHECK_MESSAGE(!ops.contains(n), "waits for '" << n << "', which is there");
      }
    } else if (row.status == "cannot") {
      ++cannot;
      CHECK_MESSAGE(!row.ours.empty(), "why?");
    } else {
      FAIL_CHECK("unknown status " << row.status);
    }
    if (!row.test.empty()) {
      CHECK_MESSAGE(fault_of_test(row.test) == "", row.test << " " << fault_of_test(row.test));
    }
  }
  CHECK_MESSAGE(cannot * 10 <= rows, cannot << " of " << rows << " rows say cannot");
}

TEST_CASE("what a rewrite of Theano or PyTensor changes becomes what it should") {
  std::vector<Form> all = forms();
  for (Form& form : larger_forms()) all.push_back(std::move(form));
  for (const Form& form : all) {
    INFO(form.rewrite, ": ", form.text);
    CHECK_MESSAGE(!same_at(form, "merge"), "the two sides are the same to begin with");
    std::string text;
    const bool same = same_at(form, "fast_run", &text);
    CHECK_MESSAGE(same, text);
  }
}
