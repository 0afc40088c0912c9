// Comparisons, boolean algebra, selection. NaN compares false with everything but by `!=`.
#include <cmath>

#include "tables.h"

namespace gcomp::rules {
namespace {

const Pattern x = any("x"), y = any("y"), z = any("z");
const Pattern fx = real("x"), ix = any("x", kInts | kBools), iy = any("y", kInts | kBools);
const Pattern nx = number("x"), ux = any("x", kUnsignedInts);
const Pattern p = boolean("p"), q = boolean("q");
const Pattern bits = any("x", kBools | kInts), bits_y = any("y", kBools | kInts);
const Pattern c = constant("c");
const Pattern nc = scalar("c", kNumbers);
const Pattern no = Pattern(0), yes = Pattern(1);

bool only_first_constant(const Match& m) {
  return !m.facts().is_constant(m["x"]) && m.facts().is_constant(m["c"]);
}
bool no_constant(const Match& m) {
  return !m.facts().is_constant(m["x"]) && !m.facts().is_constant(m["y"]);
}

bool from_whole_number(const Match& m) {
  const Node& n = m.graph().producer_node(m["x"]);
  return n.op == Op::cast && !is_float(m.graph().type(m.graph().operands(n)[0]).dtype);
}

bool positive_and_negative(const Match& m) {
  return m.scalar("c") < 0 && never_negative(m, m["x"]);
}

Generator positive_against_negative(Op comparison) {
  return [comparison](CaseMaker& make) {
    const Type t{make.dtype(kFloats), make.shape()};
    const ValueId positive = make.builder().value(Op::abs, {make.input(t)});
    const double bound = -std::fabs(make.small_number(t.dtype));
    return make.builder().value(comparison, {positive, make.splat(t, bound)});
  };
}

bool bound_is_number(const Match& m) { return !std::isnan(m.scalar("c")); }

// Not dearer twice than the selection that goes.
const std::vector<Op> kCheap = {Op::add, Op::sub,     Op::mul,    Op::min,
                                Op::max, Op::bit_and, Op::bit_or, Op::bit_xor};
const std::vector<Op> kComparisons = {Op::eq, Op::ne, Op::lt, Op::le, Op::gt, Op::ge};

// A cast of a bool to numbers.
Pattern number_of(const Pattern& truth) { return one_of({Op::cast}, "n", {truth}); }

bool number_type(const Match& m) { return m.root_type().dtype != DType::kBool; }

// check(x, not is_inf(2)), which no rule but folding sees through.
ValueId check_that_holds(CaseMaker& make) {
  GraphBuilder& g = make.builder();
  const Type t{DType::kFloat32, make.shape()};
  const ValueId v = make.input(t);
  const ValueId truth = g.value(Op::bit_not, {g.value(Op::is_inf, {g.full(t, 2)})});
  return g.value(Op::check, {v, truth}, {{AttrKey::message, std::string("never")}});
}

}  // namespace

std::vector<Rule> compare_rules() {
  return everywhere({
      // One direction, constants second.
      rule("constant_lt", c<x, x> c).when(only_first_constant),
      rule("constant_le", c <= x, x >= c).when(only_first_constant),
      rule("constant_gt", c > x, x < c).when(only_first_constant),
      rule("constant_ge", c >= x, x <= c).when(only_first_constant),
      rule("gt_to_lt", x > y, y < x).when(no_constant),
      rule("ge_to_le", x >= y, y <= x).when(no_constant),
      rule("eq_self_int", ix == ix, yes),
      rule("eq_self", fx == fx, ~is_nan(fx)),
      rule("ne_self_int", ix != ix, no),
      rule("ne_self", fx != fx, is_nan(fx)),
      rule("lt_self", x < x, no),
      rule("le_self_int", ix <= ix, yes),
      rule("le_self", fx <= fx, ~is_nan(fx)),
      rule("unsigned_lt_zero", ux < 0, no),
      rule("unsigned_ge_zero", ux >= 0, yes),
      rule("positive_lt_zero", nx < 0, no).when([](const Match& m) {
        return never_negative(m, m["x"]);
      }),
      rule("positive_ge_zero", nx >= 0, yes).when([](const Match& m) {
        return never_negative(m, m["x"]) && !is_float(m.type("x").dtype);
      }),
      rule("positive_eq_negative", nx == nc, no)
          .when(positive_and_negative)
          .cases(positive_against_negative(Op::eq)),
      rule("positive_ne_negative", nx != nc, yes)
          .when(positive_and_negative)
          .cases(positive_against_negative(Op::ne)),
      rule("positive_lt_negative", nx < nc, no)
          .when(positive_and_negative)
          .cases(positive_against_negative(Op::lt)),
      rule("positive_le_negative", nx <= nc, no)
          .when(positive_and_negative)
          .cases(positive_against_negative(Op::le)),
      rule("neg_lt_neg", -fx < -real("y"), real("y") < fx),
      rule("neg_le_neg", -fx <= -real("y"), real("y") <= fx),
      rule("neg_eq_neg", -fx == -real("y"), fx == real("y")),
      rule("neg_gt_constant", -fx > nc, fx < -nc),
      rule("neg_ge_constant", -fx >= nc, fx <= -nc),
      rule("neg_lt_constant", -fx<nc, fx> - nc),
      rule("neg_le_constant", -fx <= nc, fx >= -nc),
      rule("eq_true", p == 1, p),
      rule("eq_false", p == 0, ~p),
      rule("ne_true", p != 1, ~p),
      rule("ne_false", p != 0, p),
      rule("truth_ne_zero", number_of(p) != 0, p),
      rule("truth_eq_zero", number_of(p) == 0, ~p),
      rule("truth_eq_one", number_of(p) == 1, p),
      rule("truth_gt_zero", number_of(p) > 0, p),
      rule("is_nan_of_integer", is_nan(fx), no).when(from_whole_number).cases([](CaseMaker& make) {
        const ValueId v = make.input(make.dtype(kInts | kBools), make.shape());
        return make.builder().value(Op::is_nan, {make.builder().cast(v, make.dtype(kFloats))});
      }),
      rule("is_nan_of_neg", is_nan(-fx), is_nan(fx)),
      rule("is_nan_of_abs", is_nan(abs(fx)), is_nan(fx)),
      rule("is_inf_of_neg", is_inf(-fx), is_inf(fx)),
      rule("is_inf_of_abs", is_inf(abs(fx)), is_inf(fx)),
  });
}

// What is not chosen is not multiplied: an infinite or NaN factor there does no harm. Gradients of `where`
// need it.
std::vector<Rule> masked_products() {
  const Pattern a = number("x"), b = number("y");
  const std::vector<Op> quotients = {Op::div, Op::floor_div};
  std::vector<Rule> rules = only_in(
      "stabilize", {
                       rule("mul_where_else_zero", where(p, a, 0) * b, where(p, a * b, 0)),
                       rule("mul_where_then_zero", where(p, 0, a) * b, where(p, 0, a * b)),
                       rule("div_where_else_zero", one_of(quotients, "f", {where(p, a, 0), b}),
                            where(p, like("f", {a, b}), 0)),
                       rule("div_where_then_zero", one_of(quotients, "f", {where(p, 0, a), b}),
                            where(p, 0, like("f", {a, b}))),
                   });
  for (Rule& r : rules) r.contract = Contract::kExtendsDomain;
  return rules;
}

std::vector<Rule> logic_rules() {
  std::vector<Rule> rules = everywhere({
      rule("not_not", ~(~bits), bits),
      rule("and_self", bits & bits, bits),
      rule("or_self", bits | bits, bits),
      rule("xor_self", bits ^ bits, no),
      rule("and_zero", bits & 0, no),
      rule("or_zero", bits | 0, bits),
      rule("xor_zero", bits ^ 0, bits),
      rule("and_true", p & 1, p),
      rule("or_true", p | 1, yes),
      rule("xor_true", p ^ 1, ~p),
      rule("and_not_self", bits & ~bits, no),
      rule("or_not_self", p | ~p, yes),
      rule("xor_not", ~bits ^ ~bits_y, bits ^ bits_y),
      rule("and_absorbs_or", bits & (bits | bits_y), bits),
      rule("or_absorbs_and", bits | (bits & bits_y), bits),
      rule("and_and", (bits & bits_y) & bits_y, bits & bits_y),
      rule("or_or", (bits | bits_y) | bits_y, bits | bits_y),
      rule("de_morgan_and", ~bits & ~bits_y, ~(bits | bits_y)),
      rule("de_morgan_or", ~bits | ~bits_y, ~(bits & bits_y)),
      rule("not_eq", ~(x == y), x != y),
      rule("not_ne", ~(x != y), x == y),
      rule("not_lt_int", ~(ix < iy), iy <= ix),
      rule("not_le_int", ~(ix <= iy), iy < ix),
      rule("not_gt_int", ~(ix > iy), ix <= iy),
      rule("not_ge_int", ~(ix >= iy), ix < iy),
      rule("check_true", "check(x, true) -> x", op(Op::check, {x, yes}),
           [](const Match& m, Emitter&) -> Replacement { return m["x"]; })
          .cases([](CaseMaker& make) {
            GraphBuilder& g = make.builder();
            const Type t{DType::kFloat32, make.shape()};
            return g.value(Op::check, {make.input(t), make.splat({DType::kBool, {}}, 1)},
                           {{AttrKey::message, std::string("never")}});
          }),
      rule("check_twice", "check(check(x, p), p) -> check(x, p)",
           op(Op::check, {one_of({Op::check}, "inner", {x, any("p")}), any("p")}),
           [](const Match& m, Emitter&) -> Replacement { return m["inner"]; })
          .cases([](CaseMaker& make) {
            const ValueId once = check_that_holds(make);
            const Graph& g = make.builder().graph();
            return make.builder().value(Op::check, {once, g.operands(g.producer(once))[1]},
                                        {{AttrKey::message, std::string("never")}});
          }),
  });
  // Whatever it checks: for those who know that their inputs are right.
  for (Rule& r : tagged({"canonicalize", "unsafe"},
                        {rule("drop_check", "check(x, p) -> x", op(Op::check, {x, any("p")}),
                              [](const Match& m, Emitter&) -> Replacement { return m["x"]; })
                             .cases(check_that_holds)})) {
    rules.push_back(std::move(r));
  }
  std::vector<Rule> selects = everywhere({
      rule("where_true", where(1, x, y), x),
      rule("where_false", where(0, x, y), y),
      rule("where_same", where(p, x, x), x),
      rule("where_not", where(~p, x, y), where(p, y, x)),
      rule("where_where_then", where(p, where(p, x, y), z), where(p, x, z)),
      rule("where_where_else", where(p, x, where(p, y, z)), where(p, x, z)),
      rule("where_and", where(p, where(q, x, y), y), where(p & q, x, y)),
      rule("where_or", where(p, x, where(q, x, y)), where(p | q, x, y)),
      rule("where_bool", where(p, 1, 0), p).when([](const Match& m) { return !number_type(m); }),
      rule("where_bool_not", where(p, 0, 1), ~p).when([](const Match& m) {
        return !number_type(m);
      }),
      rule("where_else_false", where(p, q, 0), p & q),
      rule("where_then_true", where(p, 1, q), p | q),
      rule("where_then_false", where(p, 0, q), ~p & q),
      rule("where_else_true", where(p, q, 1), ~p | q),
      rule("where_one_zero", "where(p, 1, 0) -> cast(p)", where(p, 1, 0),
           [](const Match& m, Emitter& e) -> Replacement {
             return e.cast(m["p"], m.root_type().dtype);
           })
          .when(number_type),
      rule("where_zero_one", "where(p, 0, 1) -> cast(~p)", where(p, 0, 1),
           [](const Match& m, Emitter& e) -> Replacement {
             return e.cast(e.value(Op::bit_not, {m["p"]}), m.root_type().dtype);
           })
          .when(number_type),
      rule("where_eq", where(integer("x") == integer("y"), integer("x"), integer("y")),
           integer("y")),
      // What is chosen from by the comparison that chooses. A NaN is kept as the second of min and max.
      rule("where_lt_min", where(ix < iy, ix, iy), min(ix, iy)).when(number_type),
      rule("where_lt_max", where(ix < iy, iy, ix), max(ix, iy)).when(number_type),
      rule("where_le_min", where(ix <= iy, ix, iy), min(ix, iy)).when(number_type),
      rule("where_le_max", where(ix <= iy, iy, ix), max(ix, iy)).when(number_type),
      rule("where_gt_min", where(nx > nc, nc, nx), min(nx, nc))
          .when(bound_is_number)
          .reassociates(),
      rule("where_ge_min", where(nx >= nc, nc, nx), min(nx, nc))
          .when(bound_is_number)
          .reassociates(),
      rule("where_lt_bound", where(nx < nc, nc, nx), max(nx, nc))
          .when(bound_is_number)
          .reassociates(),
      rule("where_le_bound", where(nx <= nc, nc, nx), max(nx, nc))
          .when(bound_is_number)
          .reassociates(),
      rule("merge_wheres", one_of(kCheap, "f", {where(p, x, y), where(p, any("u"), any("v"))}),
           where(p, like("f", {x, any("u")}), like("f", {y, any("v")}))),
      rule("merge_compared_wheres",
           one_of(kComparisons, "f", {where(p, x, y), where(p, any("u"), any("v"))}),
           where(p, like("f", {x, any("u")}), like("f", {y, any("v")}))),
      rule("where_of_neg", where(p, -number("x"), -number("y")),
           -where(p, number("x"), number("y"))),
      // A bool as a factor selects.
      rule("mul_truth_truth", "cast(p) * cast(q) -> cast(p & q)",
           one_of({Op::cast}, "n", {p}) * one_of({Op::cast}, "k", {q}),
           [](const Match& m, Emitter& e) -> Replacement {
             return e.cast(e.value(Op::bit_and, {m["p"], m["q"]}), m.root_type().dtype);
           })
          .when(number_type),
      rule("mul_truth_int", "x * cast(p) -> where(p, x, 0)", integer("x") * number_of(p),
           [](const Match& m, Emitter& e) -> Replacement {
             return e.value(Op::where, {m["p"], m["x"], splat_like(e, m["x"], 0)});
           }),
      rule("mul_truth", "x * cast(p) -> where(p, x, 0)", fx * number_of(p),
           [](const Match& m, Emitter& e) -> Replacement {
             return e.value(Op::where, {m["p"], m["x"], splat_like(e, m["x"], 0)});
           })
          .assumes_finite(),
  });
  for (Rule& s : selects) rules.push_back(std::move(s));
  for (Rule& s : masked_products()) rules.push_back(std::move(s));
  return rules;
}

}  // namespace gcomp::rules
