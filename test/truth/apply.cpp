#include "apply.h"

#include <algorithm>
#include <cmath>

#include "call.h"
#include "functions.h"

namespace gcomp::truth {
namespace {

using interp::Call;
using interp::Shape;
using interp::Tensor;

std::vector<Value> one(Value v) {
  std::vector<Value> all;
  all.push_back(std::move(v));
  return all;
}

NotCovered not_covered(Op op) { return NotCovered{std::string(name(op))}; }

// The node in the reference evaluator, on integers that stand for its operands.
std::vector<Tensor> interpret(const Task& task, std::span<const Tensor* const> operands) {
  const interp::Function function = interp::function_of(task.node.op);
  if (function == nullptr) throw not_covered(task.node.op);
  return function(Call{task.graph.context(), task.node.op, task.attrs(), operands, task.extent});
}

std::vector<Tensor> interpret(const Task& task) {
  std::vector<const Tensor*> tensors;
  for (const Value* v : task.operands) tensors.push_back(&v->tensor);
  return interpret(task, tensors);
}

Tensor interpret(const Task& task, std::initializer_list<const Tensor*> operands) {
  return std::move(interpret(task, std::span(operands.begin(), operands.size()))[0]);
}

Value fresh(Shape shape) { return {interp::make_tensor(DType::kInt64, std::move(shape)), true}; }

void fill(Tensor* t, int64_t v) { std::fill_n(t->data<int64_t>(), t->num_elements(), v); }

// ---- Element by element ----

// Whether a zero or an infinity may come out of rounded operands that are neither.
bool cancels(Op op) {
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

int64_t unary_element(const Task& task, const Element& x) {
  mpfr_clear_flags();
  std::optional<Real> r = unary(task.node.op, x.value);
  if (!r) throw not_covered(task.node.op);
  return task.pool.add(std::move(*r), task.dtype(), x, cancels(task.node.op));
}

int64_t binary_element(const Task& task, int64_t first, int64_t second) {
  const Op op = task.node.op;
  if (op == Op::max || op == Op::min) return task.pool.extreme(op == Op::max, first, second);
  const Element &x = task.pool[first], &y = task.pool[second];
  if (op == Op::sub && first == second && x.value.is_finite()) {  // however it was rounded
    Element zero = x;
    zero.value = Real(0);
    zero.exact = true;
    return task.pool.add(std::move(zero));
  }
  if (op == Op::mul) {
    const Element p = Elements::product(x, y);
    return task.pool.add(p.value, task.dtype(), p, false);
  }
  mpfr_clear_flags();
  std::optional<Real> r = binary(op, x.value, y.value);
  if (!r) throw not_covered(op);
  Element from = x;
  Elements::join(&from, y);
  return task.pool.add(std::move(*r), task.dtype(), from, cancels(op));
}

Value elementwise(const Task& task) {
  const Tensor &x = task.operands[0]->tensor, &y = task.operands.back()->tensor;
  Value out = fresh(x.shape);
  for (int64_t i = 0; i < x.num_elements(); ++i) {
    out.tensor.data<int64_t>()[i] =
        task.operands.size() == 1
            ? unary_element(task, task.pool.at(*task.operands[0], i))
            : binary_element(task, x.data<int64_t>()[i], y.data<int64_t>()[i]);
  }
  return out;
}

bool holds(const Task& task, int64_t i) {
  const Element& x = task.pool.at(*task.operands[0], i);
  std::optional<bool> holds;
  bool known = x.known;
  if (task.node.op == Op::is_nan) holds = x.value.is_nan();
  if (task.node.op == Op::is_inf) holds = x.value.is_inf();
  if (task.operands.size() == 2) {
    const Element& y = task.pool.at(*task.operands[1], i);
    holds = compare(task.node.op, x.value, y.value);
    known = known && y.known;
  }
  if (!holds || !known) throw NotCovered{"a comparison of what is not known"};
  return *holds;
}

Value predicate(const Task& task) {
  Value out{interp::make_tensor(DType::kBool, task.operands[0]->tensor.shape), false};
  for (int64_t i = 0; i < out.tensor.num_elements(); ++i) {
    out.tensor.data<bool>()[i] = holds(task, i);
  }
  return out;
}

// To a float: the same number. To an integer: as the reference evaluator converts the double below.
Value cast(const Task& task) {
  const Value& from = *task.operands[0];
  const int64_t n = from.tensor.num_elements();
  if (is_float(task.dtype())) {
    Value out = fresh(from.tensor.shape);
    for (int64_t i = 0; i < n; ++i) {
      const Element& x = task.pool.at(from, i);
      mpfr_clear_flags();
      out.tensor.data<int64_t>()[i] = task.pool.add(x.value, task.dtype(), x, false);
    }
    return out;
  }
  Tensor doubles = interp::make_tensor(DType::kFloat64, from.tensor.shape);
  for (int64_t i = 0; i < n; ++i) {
    const Element& x = task.pool.at(from, i);
    if (!x.known) throw NotCovered{"a conversion of what is not known"};
    doubles.data<double>()[i] = mpfr_get_d(x.value.get(), MPFR_RNDZ);
  }
  return {interpret(task, {&doubles}), false};
}

std::vector<Value> nonzero(const Task& task) {
  const Value& x = *task.operands[0];
  Tensor flags = interp::make_tensor(DType::kBool, x.tensor.shape);
  for (int64_t i = 0; i < flags.num_elements(); ++i) {
    const Element& e = task.pool.at(x, i);
    if (!e.known) throw NotCovered{"a comparison of what is not known"};
    flags.data<bool>()[i] = !e.value.is_zero();
  }
  return one({interpret(task, {&flags}), false});
}

// ---- Elements that move ----

bool moves_elements(const Task& task) {
  switch (task.node.op) {
    case Op::where:
    case Op::gather:
    case Op::gather_elements:
    case Op::gather_nd:
    case Op::check:
    case Op::iota:  // a float among the operands is a carrier
    case Op::dims: return true;
    case Op::scatter_elements:
    case Op::scatter_nd: return task.attrs().string_or(AttrKey::reduction, "none") == "none";
    default: return has_trait(task.node.op, kLayout);
  }
}

// ---- Orders ----

// Floats by the order of their true values: ranks, and the id of one element of each.
struct Ranks {
  Tensor ranks;
  std::vector<int64_t> ids;
};

Ranks rank(const Task& task, bool nan_first) {
  const Value& v = *task.operands[0];
  const int64_t n = v.tensor.num_elements();
  std::vector<int64_t> order(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) order[static_cast<size_t>(i)] = i;
  const auto before = [&](int64_t i, int64_t j) {
    const Real &x = task.pool.at(v, i).value, &y = task.pool.at(v, j).value;
    if (x.is_nan() || y.is_nan())
      return nan_first ? x.is_nan() && !y.is_nan() : y.is_nan() && !x.is_nan();
    return x < y;
  };
  std::stable_sort(order.begin(), order.end(), before);
  Ranks result{interp::make_tensor(DType::kInt64, v.tensor.shape), {}};
  for (size_t k = 0; k < order.size(); ++k) {
    if (!task.pool.at(v, order[k]).known) throw NotCovered{"an order of what is not known"};
    if (k == 0 || before(order[k - 1], order[k])) {
      result.ids.push_back(v.tensor.data<int64_t>()[order[k]]);
    }
    result.ranks.data<int64_t>()[order[k]] = static_cast<int64_t>(result.ids.size()) - 1;
  }
  return result;
}

// argmax, argmin, window_argmax: of the ranks.
Value place(const Task& task) {
  const Ranks r = rank(task, task.node.op == Op::argmin);
  return {interpret(task, {&r.ranks}), false};
}

// sort and top_k: the ranks are ordered instead.
std::vector<Value> order(const Task& task) {
  const Ranks r = rank(task, false);
  std::vector<const Tensor*> operands{&r.ranks};
  for (size_t i = 1; i < task.operands.size(); ++i) operands.push_back(&task.operands[i]->tensor);
  std::vector<Tensor> results = interpret(task, operands);
  for (int64_t i = 0; i < results[0].num_elements(); ++i) {
    int64_t& element = results[0].data<int64_t>()[i];
    element = r.ids[static_cast<size_t>(element)];
  }
  std::vector<Value> all = one({std::move(results[0]), true});
  all.push_back({std::move(results[1]), false});
  return all;
}

// ---- Totals: sums, products, extremes ----

enum class Fold { kSum, kProduct, kMax, kMin };

Fold fold_of(const Task& task) {
  switch (task.node.op) {
    case Op::reduce_prod:
    case Op::cumprod: return Fold::kProduct;
    case Op::reduce_max:
    case Op::window_max: return Fold::kMax;
    case Op::reduce_min: return Fold::kMin;
    default: return Fold::kSum;
  }
}

// Accumulates elements one after the other.
class Total {
 public:
  Total(Elements& pool, Fold fold) : pool_(&pool), fold_(fold) {
    if (fold == Fold::kProduct) element_.value = Real(1);
    if (is_extreme()) id_ = pool.add(Element{Real(fold == Fold::kMax ? -INFINITY : INFINITY)});
  }
  Total(Elements& pool, Fold fold, int64_t start) : Total(pool, fold) {
    if (is_extreme()) id_ = start;
    element_ = pool[start];
  }

  void take(int64_t id) {
    if (is_extreme()) {
      id_ = pool_->extreme(fold_ == Fold::kMax, id, id_);
    } else if (fold_ == Fold::kSum) {
      add((*pool_)[id]);
    } else {
      element_ = Elements::product(element_, (*pool_)[id]);
    }
  }
  void add(const Element& x) {
    mpfr_clear_flags();
    element_.value = element_.value + x.value;
    Elements::join(&element_, x);
    element_.exact = element_.exact && !mpfr_inexflag_p();
    element_.known = element_.known && !mpfr_overflow_p() && !mpfr_underflow_p();
  }

  // The id of what there is so far.
  int64_t result(DType t) const {
    mpfr_clear_flags();
    return is_extreme() ? id_ : pool_->add(element_.value, t, element_);
  }

 private:
  bool is_extreme() const { return fold_ == Fold::kMax || fold_ == Fold::kMin; }

  Elements* pool_;
  Fold fold_;
  Element element_;
  int64_t id_ = -1;
};

Value finished(const Task& task, Shape shape, const std::vector<Total>& totals) {
  Value out = fresh(std::move(shape));
  for (size_t i = 0; i < totals.size(); ++i) {
    out.tensor.data<int64_t>()[i] = totals[i].result(task.dtype());
  }
  return out;
}

Value reduce(const Task& task) {
  const Tensor& x = task.operands[0]->tensor;
  std::vector<bool> gone(x.shape.size());
  for (int64_t a : task.attrs().ints(AttrKey::axes)) gone[static_cast<size_t>(a)] = true;
  Shape kept;
  for (size_t a = 0; a < gone.size(); ++a) {
    if (!gone[a]) kept.push_back(x.shape[a]);
  }
  const std::vector<int64_t> kept_strides = interp::strides_of(kept);
  std::vector<int64_t> strides;
  size_t next = 0;
  for (bool g : gone) strides.push_back(g ? 0 : kept_strides[next++]);
  std::vector<Total> totals(static_cast<size_t>(interp::count(kept)),
                            Total(task.pool, fold_of(task)));
  const int64_t* ids = x.data<int64_t>();
  for (interp::Odometer at(x.shape); at.valid(); at.next()) {
    totals[static_cast<size_t>(at.offset(strides))].take(*ids++);
  }
  return finished(task, kept, totals);
}

Value scan(const Task& task) {
  const Attrs attrs = task.attrs();
  const Tensor& x = task.operands[0]->tensor;
  const auto axis = static_cast<size_t>(attrs.integer(AttrKey::axis));
  const int64_t extent = x.shape[axis];
  const int64_t inner = interp::strides_of(x.shape)[axis];
  const bool exclusive = attrs.integer_or(AttrKey::exclusive, 0) != 0;
  const bool reverse = attrs.integer_or(AttrKey::reverse, 0) != 0;
  Value out = fresh(x.shape);
  const int64_t lanes = extent == 0 ? 0 : x.num_elements() / extent;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const int64_t base = lane / inner * extent * inner + lane % inner;
    Total total(task.pool, fold_of(task));
    for (int64_t step = 0; step < extent; ++step) {
      const int64_t i = base + (reverse ? extent - 1 - step : step) * inner;
      int64_t& result = out.tensor.data<int64_t>()[i];
      if (exclusive) result = total.result(task.dtype());
      total.take(x.data<int64_t>()[i]);
      if (!exclusive) result = total.result(task.dtype());
    }
  }
  return out;
}

// Windows of an operand: the evaluator tells in which windows a single 1 lies.
Value window(const Task& task) {
  const Tensor& x = task.operands[0]->tensor;
  Tensor single = interp::make_tensor(DType::kInt64, x.shape);
  // One window after the other would be clearer, and as slow as their number times that of the elements.
  const Shape shape = interpret(task, {&single}).shape;
  std::vector<Total> totals(static_cast<size_t>(interp::count(shape)),
                            Total(task.pool, fold_of(task)));
  for (int64_t i = 0; i < x.num_elements(); ++i) {
    single.data<int64_t>()[i] = 1;
    const Tensor met = interpret(task, {&single});
    single.data<int64_t>()[i] = 0;
    for (size_t w = 0; w < totals.size(); ++w) {
      if (met.data<int64_t>()[w] == 1) totals[w].take(x.data<int64_t>()[i]);
    }
  }
  return finished(task, shape, totals);
}

// matmul and convolutions: sums of products. Of an operand of numbered elements (from 1) and one that
// is 0 but for a single 1, the evaluator computes which element meets that place in which sum.
Value contraction(const Task& task) {
  Tensor numbers = task.operands[0]->tensor, places = task.operands[1]->tensor;
  for (int64_t i = 0; i < numbers.num_elements(); ++i) ++numbers.data<int64_t>()[i];
  fill(&places, 0);
  const Shape shape = interpret(task, {&numbers, &places}).shape;
  std::vector<Total> totals(static_cast<size_t>(interp::count(shape)),
                            Total(task.pool, Fold::kSum));
  for (int64_t p = 0; p < places.num_elements(); ++p) {
    places.data<int64_t>()[p] = 1;
    const Tensor met = interpret(task, {&numbers, &places});
    places.data<int64_t>()[p] = 0;
    for (size_t i = 0; i < totals.size(); ++i) {
      const int64_t number = met.data<int64_t>()[i];
      if (number == 0) continue;
      totals[i].add(Elements::product(task.pool[number - 1], task.pool.at(*task.operands[1], p)));
    }
  }
  if (task.operands.size() > 2) {  // a bias: what is left where all products are 0
    fill(&numbers, 0);
    const Tensor met = interpret(task, {&numbers, &places, &task.operands[2]->tensor});
    for (size_t i = 0; i < totals.size(); ++i) totals[i].take(met.data<int64_t>()[i]);
  }
  return finished(task, shape, totals);
}

// Scatters that combine: of numbers that change nothing and one that does, the evaluator tells where each
// update goes.
Value scatter(const Task& task) {
  struct Reduction {
    const char* name;
    Fold fold;
    int64_t neutral, marked;
  };
  static constexpr Reduction kReductions[] = {{"add", Fold::kSum, 0, 1},
                                              {"mul", Fold::kProduct, 1, 2},
                                              {"max", Fold::kMax, 0, 1},
                                              {"min", Fold::kMin, 0, -1}};
  const std::string wanted = task.attrs().string_or(AttrKey::reduction, "none");
  const auto* r = std::find_if(std::begin(kReductions), std::end(kReductions),
                               [&](const Reduction& row) { return wanted == row.name; });
  if (r == std::end(kReductions)) throw not_covered(task.node.op);
  const Tensor &x = task.operands[0]->tensor, &updates = task.operands[2]->tensor;
  Tensor neutral = x, single = updates;
  fill(&neutral, r->neutral);
  fill(&single, r->neutral);
  std::vector<Total> totals;
  for (int64_t i = 0; i < x.num_elements(); ++i) {
    totals.emplace_back(task.pool, r->fold, x.data<int64_t>()[i]);
  }
  for (int64_t u = 0; u < updates.num_elements(); ++u) {
    single.data<int64_t>()[u] = r->marked;
    const Tensor where = interpret(task, {&neutral, &task.operands[1]->tensor, &single});
    single.data<int64_t>()[u] = r->neutral;
    const int64_t* begin = where.data<int64_t>();
    const auto at = std::find(begin, begin + where.num_elements(), r->marked) - begin;
    totals[static_cast<size_t>(at)].take(updates.data<int64_t>()[u]);
  }
  return finished(task, x.shape, totals);
}

}  // namespace

std::vector<Value> apply(const Task& task) {
  const Op op = task.node.op;
  if (op == Op::constant) {
    return one(
        task.pool.import(interp::from_constant(*task.graph.constant(task.node.first_result))));
  }
  const bool real_operand = std::any_of(task.operands.begin(), task.operands.end(),
                                        [](const Value* v) { return v->real; });
  if (!real_operand) {  // integers, bools; iota too
    std::vector<Value> results;
    for (const Tensor& t : interpret(task)) results.push_back(task.pool.import(t));
    return results;
  }
  if (moves_elements(task)) return one({std::move(interpret(task)[0]), is_float(task.dtype())});
  if (op == Op::cast) return one(cast(task));
  if (has_trait(op, kPredicate)) return one(predicate(task));
  if (has_trait(op, kElementwise)) return one(elementwise(task));
  switch (op) {
    case Op::reduce_sum:
    case Op::reduce_prod:
    case Op::reduce_max:
    case Op::reduce_min: return one(reduce(task));
    case Op::cumsum:
    case Op::cumprod: return one(scan(task));
    case Op::argmax:
    case Op::argmin:
    case Op::window_argmax: return one(place(task));
    case Op::window_max:
    case Op::window_sum: return one(window(task));
    case Op::matmul:
    case Op::conv:
    case Op::conv_transpose: return one(contraction(task));
    case Op::scatter_elements:
    case Op::scatter_nd: return one(scatter(task));
    case Op::sort:
    case Op::top_k: return order(task);
    case Op::nonzero: return nonzero(task);
    default: throw not_covered(op);
  }
}

}  // namespace gcomp::truth
