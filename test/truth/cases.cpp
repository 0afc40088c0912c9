#include "cases.h"

#include <cmath>

#include "evaluate.h"

namespace gcomp::truth {
namespace {

using interp::Tensor;
using rewrite::CaseMaker;

double ordinary_real(CaseMaker& make) { return static_cast<double>(make.pick(-64, 64)) / 16; }

double edge(CaseMaker& make) {
  static const double kSpecial[] = {0.0, -0.0, INFINITY, -INFINITY, NAN};
  static const double kEdges[] = {1e-30, -1e-30, 3e4,    -3e4,      709.0, -745.0, 30.0, -30.0,
                                  1e-8,  -1e-8,  5e-324, 1.797e308, 0.5,   1.0,    -1.0, 0.999};
  if (make.chance(0.5)) return kSpecial[make.pick(0, 4)];
  return kEdges[make.pick(0, static_cast<int64_t>(std::size(kEdges)) - 1)];
}

double signed_power(CaseMaker& make, int64_t low, int64_t high) {
  const double mantissa = 1 + static_cast<double>(make.pick(0, (int64_t{1} << 52) - 1)) * 0x1p-52;
  const double v = std::ldexp(mantissa, static_cast<int>(make.pick(low, high)));
  return make.chance(0.5) ? -v : v;
}

// Where functions of the rules change their branch, cancel, overflow or underflow, for some dtype.
double critical(CaseMaker& make) {
  static const double kPoints[] = {1,
                                   2,
                                   0.5,
                                   0.6931471805599453,
                                   11.09,
                                   17.33,
                                   16.64,
                                   36.74,
                                   37.43,
                                   87.34,
                                   88.72,
                                   103.9,
                                   709.78,
                                   745.13,
                                   708.4,
                                   9.19,
                                   26.54,
                                   27.23,
                                   4.0,
                                   6.0,
                                   1.5707963267948966};
  const double point = kPoints[make.pick(0, static_cast<int64_t>(std::size(kPoints)) - 1)];
  const double off = make.chance(0.2) ? 0 : signed_power(make, -54, -3);
  const double v = point * (1 + off);
  return make.chance(0.5) ? -v : v;
}

// Squares must stay where multiprecision has room (2^-1074 + 1 still has), hence 2^-500.
double wide_real(CaseMaker& make, DType t) {
  const double choice = static_cast<double>(make.pick(0, 99));
  if (choice < 8) return edge(make);
  if (choice < 35) return critical(make);
  if (choice < 45) {
    const Format f = format(t);
    return signed_power(make, std::max(f.min_exponent, -500), std::min(f.max_exponent - 1, 500));
  }
  if (choice < 75) return signed_power(make, -20, 10);
  return static_cast<double>(make.pick(-(1 << 20), 1 << 20)) / (1 << 16);  // within 16
}

double random_real(CaseMaker& make, DType t, Values values) {
  if (values == Values::kFinite) {
    const double v = wide_real(make, t);
    return std::fabs(v) < std::ldexp(0.99, format(t).max_exponent) ? v : ordinary_real(make);
  }
  if (values == Values::kWide) return wide_real(make, t);
  if (values == Values::kEdges && make.chance(0.35)) return edge(make);
  return ordinary_real(make);
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

class InputMaker {
 public:
  InputMaker(CaseMaker& make, Values values) : make_(make), values_(values) {}

  Tensor tensor(DType t, std::vector<int64_t> shape) {
    Tensor out{t, std::move(shape), {}};
    int64_t n = 1;
    for (int64_t d : out.shape) n *= d;
    for (int64_t i = 0; i < n; ++i) {
      const Constant one =
          t == DType::kBool ? make_scalar_int(t, make_.pick(0, 1))
          : is_float(t)
              ? make_splat(t, {}, real(t))
              : make_scalar_int(t, random_integer(make_, t, values_ != Values::kOrdinary));
      out.bytes.insert(out.bytes.end(), one.bytes.begin(), one.bytes.end());
    }
    return out;
  }

 private:
  // Now and then an earlier value, the opposite of one, or one close to it.
  double real(DType t) {
    double v = random_real(make_, t, values_);
    if (values_ >= Values::kWide && !drawn_.empty() && make_.chance(0.2)) {
      v = make_.one_of(drawn_);
      if (make_.chance(0.3)) v = -v;
      if (make_.chance(0.4)) v *= 1 + signed_power(make_, -53, -4);
    }
    drawn_.push_back(v);
    return v;
  }

  CaseMaker& make_;
  Values values_;
  std::vector<double> drawn_;
};

}  // namespace

std::unique_ptr<Case> make_case(const rewrite::Rule& rule, uint64_t seed) {
  auto c = std::make_unique<Case>();
  // Now and then from the pattern alone: what a generator never makes may match too.
  if (rule.generate && seed % 5 == 0 && rewrite::can_generate(rule.pattern)) {
    rewrite::Rule plain = rule;
    plain.generate = nullptr;
    c->graph = rewrite::make_case(plain, c->context, seed);
    return c->graph ? std::move(c) : nullptr;
  }
  c->graph = rewrite::make_case(rule, c->context, seed);
  return c->graph ? std::move(c) : nullptr;
}

namespace {

// Grows a graph out of cases.
class Grower {
 public:
  Grower(GraphBuilder& b, uint64_t seed) : b_(b), make_(b, seed) {}

  void add_case(const rewrite::Rule& rule) {
    const auto v = rewrite::make_case(rule, make_);
    if (!v || b_.type(*v).rank() > 5) return;
    offer(*v);
    if (make_.chance(0.4)) glue();
  }

  void glue() {
    const ValueId v = make_.one_of(pool_);
    const Type t = b_.type(v);
    if (is_float(t.dtype) && make_.chance(0.5)) {
      static const std::vector<Op> kTame = {Op::tanh, Op::sigmoid, Op::sin, Op::abs, Op::neg};
      offer(b_.value(make_.one_of(kTame), {v}));
      return;
    }
    if (t.dtype == DType::kBool) return;
    static const std::vector<Op> kJoin = {Op::add, Op::sub, Op::mul, Op::max};
    const ValueId other = make_.input(t);
    offer(b_.value(make_.one_of(kJoin), {v, other}));
  }

  // Values that nothing reads first.
  void choose_outputs() {
    const Uses uses(b_.graph());
    std::vector<ValueId> ends;
    for (ValueId v : pool_) {
      if (uses.count(v) == 0) ends.push_back(v);
    }
    for (int k = 0; k < 4 && !ends.empty(); ++k) {
      const auto at = static_cast<size_t>(make_.pick(0, static_cast<int64_t>(ends.size()) - 1));
      b_.output("y" + std::to_string(k), ends[at]);
      ends.erase(ends.begin() + static_cast<ptrdiff_t>(at));
    }
  }

  CaseMaker& make() { return make_; }

 private:
  void offer(ValueId v) {
    pool_.push_back(v);
    make_.offer(v);
  }

  GraphBuilder& b_;
  CaseMaker make_;
  std::vector<ValueId> pool_;
};

}  // namespace

std::unique_ptr<Case> grow_graph(std::span<const rewrite::Rule> rules, uint64_t seed, int cases) {
  auto c = std::make_unique<Case>();
  GraphBuilder b(c->context, GraphBuilder::Mode::kRaw);
  DimTable& dims = c->context.dims;
  b.input("sizes", {DType::kFloat64, {dims.symbol("N"), dims.symbol("M")}});
  Grower grower(b, seed);
  for (int i = 0; i < cases; ++i) {
    const auto last = static_cast<int64_t>(rules.size()) - 1;
    grower.add_case(rules[static_cast<size_t>(grower.make().pick(0, last))]);
  }
  grower.choose_outputs();
  c->graph = b.finish();
  return c;
}

std::vector<Tensor> random_inputs(const Graph& g, CaseMaker& make, Values values) {
  std::vector<int64_t> sizes(g.context().dims.num_symbols());
  for (int64_t& s : sizes) s = make.chance(0.3) ? 1 : make.pick(0, 4);
  InputMaker inputs(make, values);
  std::vector<Tensor> tensors;
  for (const Port& p : g.inputs()) {
    const Type& t = g.type(p.value);
    std::vector<int64_t> shape;
    for (DimId d : t.dims) shape.push_back(g.context().dims.evaluate(d, sizes));
    tensors.push_back(inputs.tensor(t.dtype, std::move(shape)));
  }
  return tensors;
}

}  // namespace gcomp::truth
