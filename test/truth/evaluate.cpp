#include "evaluate.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <random>

#include "call.h"
#include "functions.h"
#include "symbols.h"

namespace gcomp::truth {
namespace {

using interp::Call;
using interp::Shape;
using interp::Tensor;

// A value of the graph: floats as an int64 tensor of ids into the pool of elements.
struct Value {
  Tensor tensor;
  bool real = false;
};

struct NotCovered {
  std::string what;
};

class Evaluator {
 public:
  Evaluator(const Graph& graph, const Options& options)
      : graph_(graph),
        options_(options),
        symbols_(graph.context().dims),
        extent_([this](DimId d) { return symbols_.evaluate(d); }),
        rng_(options.noise_seed.value_or(0)) {}

  std::vector<Output> run(std::span<const Tensor> inputs) {
    std::vector<const Tensor*> tensors;
    for (const Tensor& t : inputs) tensors.push_back(&t);
    symbols_.bind_inputs(graph_, tensors);
    values_.resize(graph_.num_values());
    for (size_t i = 0; i < inputs.size(); ++i) {
      values_[graph_.inputs()[i].value.index] = import_input(inputs[i]);
    }
    for (size_t i = 0; i < graph_.num_nodes(); ++i) {
      const Node& n = graph_.nodes()[i];
      if (n.op == Op::input) continue;
      if (n.op == Op::sort || n.op == Op::top_k) {
        order(n);
      } else {
        if (n.num_results != 1) throw NotCovered{std::string(name(n.op))};
        values_[n.first_result.index] = apply(n);
      }
    }
    std::vector<Output> outputs;
    for (const Port& p : graph_.outputs()) outputs.push_back(export_value(values_[p.value.index]));
    return outputs;
  }

 private:
  // ---- In and out ----

  int64_t add(Element e) {
    pool_.push_back(std::move(e));
    return static_cast<int64_t>(pool_.size()) - 1;
  }

  Value import(const Tensor& t) {
    if (!is_float(t.dtype)) return {t, false};
    const Constant c = interp::to_constant(t);
    Value v{interp::make_tensor(DType::kInt64, t.shape), true};
    for (int64_t i = 0; i < t.num_elements(); ++i) {
      Element e{Real(c.as_double(i))};
      e.ordinary = ordinary(e.value, t.dtype);
      v.tensor.data<int64_t>()[i] = add(std::move(e));
    }
    return v;
  }

  Value import_input(const Tensor& t) {
    Value v = import(t);
    if (!v.real) return v;
    for (int64_t i = 0; i < t.num_elements(); ++i) {
      Element& e = element(v, i);
      if (options_.limit_bits > 0 && (e.value.is_inf() || e.value.is_zero())) {
        const long bits = e.value.is_inf() ? options_.limit_bits : -8 * options_.limit_bits;
        e.value = scaled(Real(e.value.is_negative() ? -1 : 1), bits);
      }
      if (options_.unsigned_zeros && e.value.is_zero()) e.value = Real(0);
      if (options_.nan && e.value.is_nan()) e.value = Real(*options_.nan);
      disturb(e.value, t.dtype);
    }
    return v;
  }

  Output export_value(const Value& v) {
    Output out{v.tensor, {}};
    if (!v.real) return out;
    for (int64_t i = 0; i < v.tensor.num_elements(); ++i) out.elements.push_back(element(v, i));
    return out;
  }

  Element& element(const Value& v, int64_t i) {
    return pool_[static_cast<size_t>(v.tensor.data<int64_t>()[i])];
  }

  // ---- Properties of elements ----

  // Of the middle half of the dtype's exponents; or 0, infinite or NaN, which never surprise.
  static bool ordinary(const Real& x, DType t) {
    if (!x.is_finite() || x.is_zero()) return true;
    const Format f = format(t);
    return 2 * x.exponent() <= f.max_exponent && 2 * x.exponent() >= f.min_exponent;
  }

  // Adds between half an ulp and one, in either direction.
  void disturb(Real& x, DType t) {
    if (!options_.noise_seed || !x.is_finite() || x.is_zero()) return;  // rounding does not move 0
    const Format f = format(t);
    const long ulp = std::max<long>(x.exponent() - f.bits, static_cast<long>(f.least()));
    const double direction = static_cast<double>(rng_() >> 11) * 0x1p-53 - 0.5;
    x = x + scaled(Real(direction < 0 ? direction - 0.5 : direction + 0.5), ulp);
  }

  // What is known of a result: `from` holds the flags of all it was computed from, MPFR's those of
  // the computation. A zero or infinity that came out of rounded numbers may be the rounding's work.
  Element finish(Real r, DType t, const Element& from, bool cancels = true) {
    Element e{std::move(r)};
    e.exact = from.exact && !mpfr_inexflag_p();
    const bool singular = cancels && (e.value.is_zero() || e.value.is_inf());
    const bool out_of_range = mpfr_overflow_p() || mpfr_underflow_p();
    e.known = from.known && !out_of_range && (from.exact || !singular);
    if (e.known && (e.value.is_zero() || e.value.is_inf())) e.exact = true;
    e.ordinary = from.ordinary && ordinary(e.value, t);
    mpfr_clear_flags();
    disturb(e.value, t);
    mpfr_clear_flags();
    return e;
  }

  // An exact zero makes an exact zero of any number, however that was rounded.
  static Element product(const Element& x, const Element& y) {
    Element e{x.value * y.value};
    const bool zero = e.value.is_zero();
    e.exact = zero ? (x.exact && x.value.is_zero()) || (y.exact && y.value.is_zero())
                   : x.exact && y.exact && !mpfr_inexflag_p();
    e.known = x.known && y.known;
    e.ordinary = x.ordinary && y.ordinary;
    return e;
  }

  // Whether a zero or an infinity may come out of rounded operands that are neither.
  static bool cancels(Op op) {
    switch (op) {
      case Op::mul:
      case Op::div:
      case Op::min:
      case Op::max:
      case Op::neg:
      case Op::abs:
      case Op::sqrt:
      case Op::cast: return false;
      default: return true;
    }
  }

  static void join(Element* flags, const Element& other) {
    flags->exact = flags->exact && other.exact;
    flags->known = flags->known && other.known;
    flags->ordinary = flags->ordinary && other.ordinary;
  }

  // ---- Ops ----

  Value apply(const Node& n) {
    const ValueId result = n.first_result;
    const DType t = graph_.type(result).dtype;
    std::vector<const Value*> operands;
    for (ValueId v : graph_.operands(n)) operands.push_back(&values_[v.index]);
    const bool real_operand =
        std::any_of(operands.begin(), operands.end(), [](const Value* v) { return v->real; });
    if (n.op == Op::constant) {
      return import(interp::from_constant(*graph_.constant(result)));
    }
    if (!real_operand) return import(interpret(n, operands));  // integers, bools; iota too
    if (moves_elements(n)) return {interpret(n, operands), is_float(t)};
    if (n.op == Op::cast) return cast(n, *operands[0], t);
    if (has_trait(n.op, kPredicate)) return predicate(n, operands);
    if (has_trait(n.op, kElementwise)) return elementwise(n, operands, t);
    switch (n.op) {
      case Op::reduce_sum:
      case Op::reduce_prod:
      case Op::reduce_max:
      case Op::reduce_min: return reduce(n, *operands[0], t);
      case Op::cumsum:
      case Op::cumprod: return scan(n, *operands[0], t);
      case Op::argmax:
      case Op::argmin: return {interpret(n, {&ranked(*operands[0], n.op == Op::argmin)}), false};
      case Op::matmul:
      case Op::conv:
      case Op::conv_transpose: return contraction(n, operands, t);
      case Op::scatter_elements:
      case Op::scatter_nd: return scatter_sum(n, operands, t);
      default: throw NotCovered{std::string(name(n.op))};
    }
  }

  bool moves_elements(const Node& n) const {
    switch (n.op) {
      case Op::where:
      case Op::gather:
      case Op::gather_elements:
      case Op::gather_nd:
      case Op::check:
      case Op::iota:  // a float among the operands is a carrier
      case Op::dims: return true;
      case Op::scatter_elements:
      case Op::scatter_nd: return graph_.attrs(n).string_or(AttrKey::reduction, "none") == "none";
      default: return has_trait(n.op, kLayout);
    }
  }

  // On ids, which the evaluator takes for integers.
  std::vector<Tensor> interpret_all(const Node& n, const std::vector<const Value*>& operands) {
    const interp::Function function = interp::function_of(n.op);
    if (function == nullptr || has_trait(n.op, kHasBody | kDefinesDims)) {
      throw NotCovered{std::string(name(n.op))};
    }
    std::vector<const Tensor*> tensors;
    for (const Value* v : operands) tensors.push_back(&v->tensor);
    return function(Call{graph_.context(), n.op, graph_.attrs(n), tensors, extent_});
  }

  Tensor interpret(const Node& n, const std::vector<const Value*>& operands) {
    return std::move(interpret_all(n, operands)[0]);
  }

  // The graph's floats are compared by their true values.
  const Value& ranked(const Value& v, bool nan_first) {
    const int64_t n = v.tensor.num_elements();
    std::vector<int64_t> order(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) order[static_cast<size_t>(i)] = i;
    const auto before = [&](int64_t i, int64_t j) {
      const Real &x = element(v, i).value, &y = element(v, j).value;
      if (x.is_nan() || y.is_nan())
        return nan_first ? x.is_nan() && !y.is_nan() : y.is_nan() && !x.is_nan();
      return x < y;
    };
    std::stable_sort(order.begin(), order.end(), before);
    ranks_ = {interp::make_tensor(DType::kInt64, v.tensor.shape), false};
    id_of_rank_.clear();
    for (size_t k = 0; k < order.size(); ++k) {
      if (!element(v, order[k]).known) throw NotCovered{"an order"};
      if (k == 0 || before(order[k - 1], order[k])) {
        id_of_rank_.push_back(v.tensor.data<int64_t>()[order[k]]);
      }
      ranks_.tensor.data<int64_t>()[order[k]] = static_cast<int64_t>(id_of_rank_.size()) - 1;
    }
    return ranks_;
  }

  // sort and top_k: the elements' ranks are ordered instead.
  void order(const Node& n) {
    std::vector<const Value*> operands;
    for (ValueId v : graph_.operands(n)) operands.push_back(&values_[v.index]);
    const bool real = operands[0]->real;
    if (real) operands[0] = &ranked(*operands[0], false);
    std::vector<Tensor> results = interpret_all(n, operands);
    if (real) {
      for (int64_t i = 0; i < results[0].num_elements(); ++i) {
        int64_t& element = results[0].data<int64_t>()[i];
        element = id_of_rank_[static_cast<size_t>(element)];
      }
    }
    values_[n.first_result.index] = {std::move(results[0]), real};
    values_[n.first_result.index + 1] = {std::move(results[1]), false};
  }

  Value fresh(Shape shape) { return {interp::make_tensor(DType::kInt64, std::move(shape)), true}; }

  // The id of the smaller or larger of two elements, which keeps its identity: x - max(x) is exactly 0
  // where x is the maximum. A new element where one is NaN, or unknown or extreme itself.
  int64_t extreme(bool max, int64_t a, int64_t b) {
    const Element &x = pool_[static_cast<size_t>(a)], &y = pool_[static_cast<size_t>(b)];
    const bool plain = x.known && y.known && x.ordinary && y.ordinary;
    if (plain && !x.value.is_nan() && !y.value.is_nan()) {
      return (max ? x.value < y.value : y.value < x.value) ? b : a;
    }
    Element e{*binary(max ? Op::max : Op::min, x.value, y.value)};
    join(&e, x);
    join(&e, y);
    return add(std::move(e));
  }

  Value elementwise(const Node& n, const std::vector<const Value*>& operands, DType t) {
    Value out = fresh(operands[0]->tensor.shape);
    for (int64_t i = 0; i < out.tensor.num_elements(); ++i) {
      const int64_t first = operands[0]->tensor.data<int64_t>()[i];
      const int64_t second = operands.back()->tensor.data<int64_t>()[i];
      if (n.op == Op::max || n.op == Op::min) {
        out.tensor.data<int64_t>()[i] = extreme(n.op == Op::max, first, second);
        continue;
      }
      Element from = element(*operands[0], i);
      std::optional<Real> r;
      if (n.op == Op::sub && first == second && from.value.is_finite()) {
        from.value = Real(0);
        from.exact = true;
        out.tensor.data<int64_t>()[i] = add(std::move(from));
        continue;
      }
      if (n.op == Op::mul) {
        const Element p = product(from, element(*operands[1], i));
        out.tensor.data<int64_t>()[i] = add(finish(p.value, t, p, false));
        continue;
      }
      if (operands.size() == 1) {
        r = unary(n.op, from.value);
      } else {
        const Element& y = element(*operands[1], i);
        r = binary(n.op, from.value, y.value);
        join(&from, y);
        const bool product = n.op == Op::mul || n.op == Op::div || n.op == Op::floor_div;
        const bool zero = from.value.is_zero() || (n.op == Op::mul && y.value.is_zero());
        if (options_.zero_wins && product && zero) r = Real(0);
      }
      if (!r) throw NotCovered{std::string(name(n.op))};
      out.tensor.data<int64_t>()[i] = add(finish(std::move(*r), t, from, cancels(n.op)));
    }
    return out;
  }

  Value predicate(const Node& n, const std::vector<const Value*>& operands) {
    Value out{interp::make_tensor(DType::kBool, operands[0]->tensor.shape), false};
    for (int64_t i = 0; i < out.tensor.num_elements(); ++i) {
      const Element& x = element(*operands[0], i);
      std::optional<bool> holds;
      bool known = x.known;
      if (n.op == Op::is_nan) holds = x.value.is_nan();
      if (n.op == Op::is_inf) holds = x.value.is_inf();
      if (operands.size() == 2) {
        const Element& y = element(*operands[1], i);
        holds = compare(n.op, x.value, y.value);
        known = known && y.known;
      }
      if (!holds || !known) throw NotCovered{"a comparison"};
      out.tensor.data<bool>()[i] = *holds;
    }
    return out;
  }

  // To a float: the same number. To an integer: as the reference evaluator converts the double below.
  Value cast(const Node& n, const Value& from, DType t) {
    if (is_float(t)) {
      Value out = fresh(from.tensor.shape);
      for (int64_t i = 0; i < out.tensor.num_elements(); ++i) {
        const Element x = element(from, i);
        out.tensor.data<int64_t>()[i] = add(finish(x.value, t, x, false));
      }
      return out;
    }
    Value doubles{interp::make_tensor(DType::kFloat64, from.tensor.shape), false};
    for (int64_t i = 0; i < from.tensor.num_elements(); ++i) {
      const Element& x = element(from, i);
      if (!x.known) throw NotCovered{"a conversion"};
      doubles.tensor.data<double>()[i] = mpfr_get_d(x.value.get(), MPFR_RNDZ);
    }
    return {interpret(n, {&doubles}), false};
  }

  static Element starting(Op op) {
    Element e;
    switch (op) {
      case Op::reduce_prod:
      case Op::cumprod: e.value = Real(1); break;
      default: break;
    }
    return e;
  }

  static void accumulate(Op op, Element* total, const Element& x) {
    switch (op) {
      case Op::reduce_sum:
      case Op::cumsum: total->value = total->value + x.value; break;
      case Op::reduce_prod:
      case Op::cumprod: *total = product(*total, x); return;
      default: throw NotCovered{std::string(name(op))};
    }
    join(total, x);
    total->exact = total->exact && !mpfr_inexflag_p();
  }

  Value reduce(const Node& n, const Value& x, DType t) {
    const std::vector<int64_t> axes = graph_.attrs(n).ints(AttrKey::axes);
    Shape kept;
    std::vector<bool> gone(x.tensor.shape.size());
    for (int64_t a : axes) gone[static_cast<size_t>(a)] = true;
    for (size_t a = 0; a < gone.size(); ++a) {
      if (!gone[a]) kept.push_back(x.tensor.shape[a]);
    }
    std::vector<int64_t> kept_strides = interp::strides_of(kept), strides;
    size_t next = 0;
    for (bool g : gone) strides.push_back(g ? 0 : kept_strides[next++]);
    Value out = fresh(kept);
    if (n.op == Op::reduce_max || n.op == Op::reduce_min) {
      const bool max = n.op == Op::reduce_max;
      const int64_t none = add(Element{Real(max ? -INFINITY : INFINITY)});
      std::fill_n(out.tensor.data<int64_t>(), out.tensor.num_elements(), none);
      int64_t i = 0;
      for (interp::Odometer at(x.tensor.shape); at.valid(); at.next()) {
        int64_t& best = out.tensor.data<int64_t>()[at.offset(strides)];
        best = extreme(max, x.tensor.data<int64_t>()[i++], best);
      }
      return out;
    }
    std::vector<Element> totals(static_cast<size_t>(out.tensor.num_elements()), starting(n.op));
    int64_t i = 0;
    for (interp::Odometer at(x.tensor.shape); at.valid(); at.next()) {
      accumulate(n.op, &totals[static_cast<size_t>(at.offset(strides))], element(x, i++));
    }
    for (size_t e = 0; e < totals.size(); ++e) {
      out.tensor.data<int64_t>()[e] = add(finish(totals[e].value, t, totals[e]));
    }
    return out;
  }

  Value scan(const Node& n, const Value& x, DType t) {
    const Attrs attrs = graph_.attrs(n);
    const auto axis = static_cast<size_t>(attrs.integer(AttrKey::axis));
    const Shape& shape = x.tensor.shape;
    const int64_t extent = shape[axis];
    const int64_t inner = interp::strides_of(shape)[axis];
    const bool exclusive = attrs.integer_or(AttrKey::exclusive, 0) != 0;
    const bool reverse = attrs.integer_or(AttrKey::reverse, 0) != 0;
    Value out = fresh(shape);
    const int64_t lanes = extent == 0 ? 0 : x.tensor.num_elements() / extent;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      const int64_t base = lane / inner * extent * inner + lane % inner;
      Element total = starting(n.op);
      for (int64_t step = 0; step < extent; ++step) {
        const int64_t i = base + (reverse ? extent - 1 - step : step) * inner;
        const Element before = total;
        accumulate(n.op, &total, element(x, i));
        const Element& chosen = exclusive ? before : total;
        out.tensor.data<int64_t>()[i] = add(finish(chosen.value, t, chosen));
      }
    }
    return out;
  }

  // matmul and convolutions: sums of products. Of an operand of numbered elements (from 1) and one that
  // is 0 but for a single 1, the evaluator computes which element meets that place in which sum.
  Value contraction(const Node& n, const std::vector<const Value*>& operands, DType t) {
    Value numbers{operands[0]->tensor, false}, places{operands[1]->tensor, false};
    for (int64_t i = 0; i < numbers.tensor.num_elements(); ++i) ++numbers.tensor.data<int64_t>()[i];
    std::fill_n(places.tensor.data<int64_t>(), places.tensor.num_elements(), 0);
    Value out{interpret(n, {&numbers, &places}), true};
    std::vector<Element> totals(static_cast<size_t>(out.tensor.num_elements()));
    for (int64_t p = 0; p < places.tensor.num_elements(); ++p) {
      const Element& w = element(*operands[1], p);
      places.tensor.data<int64_t>()[p] = 1;
      const Tensor met = interpret(n, {&numbers, &places});
      places.tensor.data<int64_t>()[p] = 0;
      for (size_t i = 0; i < totals.size(); ++i) {
        const int64_t number = met.data<int64_t>()[i];
        if (number == 0) continue;
        const Element& x = pool_[static_cast<size_t>(number) - 1];
        const Element p = product(x, w);
        totals[i].value = totals[i].value + p.value;
        join(&totals[i], p);
      }
    }
    if (operands.size() > 2) add_bias(n, &numbers, &places, *operands[2], &totals);
    for (size_t i = 0; i < totals.size(); ++i) {
      totals[i].exact = totals[i].exact && !mpfr_inexflag_p();
      out.tensor.data<int64_t>()[i] = add(finish(totals[i].value, t, totals[i]));
    }
    return out;
  }

  void add_bias(const Node& n, Value* numbers, Value* places, const Value& bias,
                std::vector<Element>* totals) {
    std::fill_n(numbers->tensor.data<int64_t>(), numbers->tensor.num_elements(), 0);
    const Value numbered_bias{bias.tensor, false};
    const Tensor met = interpret(n, {numbers, places, &numbered_bias});
    for (size_t i = 0; i < totals->size(); ++i) {
      const Element& x = pool_[static_cast<size_t>(met.data<int64_t>()[i])];
      (*totals)[i].value = (*totals)[i].value + x.value;
      join(&(*totals)[i], x);
    }
  }

  // Scatters that add: the evaluator tells where each update goes.
  Value scatter_sum(const Node& n, const std::vector<const Value*>& operands, DType t) {
    if (graph_.attrs(n).string_or(AttrKey::reduction, "none") != "add") {
      throw NotCovered{std::string(name(n.op))};
    }
    const Value &x = *operands[0], &updates = *operands[2];
    Value zeros{x.tensor, false}, single{updates.tensor, false};
    std::fill_n(zeros.tensor.data<int64_t>(), zeros.tensor.num_elements(), 0);
    std::fill_n(single.tensor.data<int64_t>(), single.tensor.num_elements(), 0);
    std::vector<Element> totals;
    for (int64_t i = 0; i < x.tensor.num_elements(); ++i) totals.push_back(element(x, i));
    for (int64_t u = 0; u < updates.tensor.num_elements(); ++u) {
      single.tensor.data<int64_t>()[u] = 1;
      const Tensor where = interpret(n, {&zeros, operands[1], &single});
      single.tensor.data<int64_t>()[u] = 0;
      const int64_t* begin = where.data<int64_t>();
      const auto at =
          static_cast<size_t>(std::find(begin, begin + where.num_elements(), 1) - begin);
      totals[at].value = totals[at].value + element(updates, u).value;
      join(&totals[at], element(updates, u));
    }
    Value out = fresh(x.tensor.shape);
    for (size_t i = 0; i < totals.size(); ++i) {
      totals[i].exact = totals[i].exact && !mpfr_inexflag_p();
      out.tensor.data<int64_t>()[i] = add(finish(totals[i].value, t, totals[i]));
    }
    return out;
  }

  const Graph& graph_;
  const Options& options_;
  interp::Symbols symbols_;
  std::function<int64_t(DimId)> extent_;
  std::mt19937_64 rng_;
  std::vector<Value> values_;
  std::deque<Element> pool_;
  Value ranks_;
  std::vector<int64_t> id_of_rank_;
};

}  // namespace

Format format(DType t) {
  switch (t) {
    case DType::kFloat16: return {11, 16, -14};
    case DType::kBFloat16: return {8, 128, -126};
    case DType::kFloat32: return {24, 128, -126};
    default: return {53, 1024, -1022};
  }
}

std::optional<std::vector<Output>> evaluate(const Graph& graph, std::span<const Tensor> inputs,
                                            const Options& options, std::string* why) {
  mpfr_set_emin(mpfr_get_emin_min());
  mpfr_set_emax(mpfr_get_emax_max());
  mpfr_clear_flags();
  try {
    return Evaluator(graph, options).run(inputs);
  } catch (const NotCovered& e) {
    if (why != nullptr) *why = e.what;
  } catch (const interp::RunFailure& e) {
    if (why != nullptr) *why = e.what();
  }
  return std::nullopt;
}

}  // namespace gcomp::truth
