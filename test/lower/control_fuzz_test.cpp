// Random nested conds and loops against the evaluator. GCOMP_FUZZ_SEEDS: "first count" for longer runs.

#include <doctest/doctest.h>

#include <cstdlib>
#include <sstream>

#include "../sanitized.h"
#include "compare.h"
#include "gcomp/ir/builder.h"
#include "gcomp/ir/verify.h"
#include "gcomp/pass/pass.h"
#include "gcomp/passes/passes.h"
#include "gcomp/rules/rules.h"
#include "gcomp/support/error.h"

using namespace gcomp;

namespace {

using Values = std::vector<ValueId>;

constexpr int kMaxDepth = 3;

class Random {
 public:
  explicit Random(uint32_t seed) : rng_(seed) {}
  int below(int n) { return static_cast<int>(rng_() % static_cast<unsigned>(n)); }
  bool chance(int percent) { return below(100) < percent; }
  template <class T>
  const T& of(const std::vector<T>& list) {
    return list[static_cast<size_t>(below(static_cast<int>(list.size())))];
  }

 private:
  std::mt19937 rng_;
};

// A graph of float32 vectors.
class Writer {
 public:
  Writer(Context& context, Random& random, int depth)
      : b_(context, GraphBuilder::Mode::kInterned), random_(random), depth_(depth) {}

  ValueId input(const Type& type) {
    const ValueId v = b_.input("x" + std::to_string(b_.graph().inputs().size()), type);
    if (type.dtype == DType::kFloat32 && type.rank() == 1) pool_.push_back(v);
    return v;
  }
  void counter(ValueId k) { counter_ = k; }
  void output(ValueId v) { b_.output("y" + std::to_string(b_.graph().outputs().size()), v); }
  GraphBuilder& b() { return b_; }
  ValueId pick() { return random_.of(pool_); }

  void grow(int steps) {
    for (int i = 0; i < steps; ++i) {
      switch (random_.below(depth_ < kMaxDepth ? 12 : 8)) {
        case 0: add(scaled(pick(), 0.7)); break;
        case 1: add(b_.value(Op::tanh, {pick()})); break;
        case 2: add(sum_with(pick())); break;
        case 3: add(shifted(pick(), total(pick()))); break;
        case 4:
          add(b_.value(Op::tanh, {b_.value(Op::cumsum, {pick()}, {{AttrKey::axis, int64_t{0}}})}));
          break;
        case 5: join(); break;
        case 6: add(first_half(pick())); break;
        case 7: add(random_.chance(50) ? positive(pick()) : counted(pick())); break;
        case 8:
        case 9: cond(); break;
        default: loop(); break;
      }
    }
  }

 private:
  DimTable& dims() { return b_.dims(); }
  DimId extent(ValueId v) { return b_.type(v).dims[0]; }
  void add(ValueId v) { pool_.push_back(v); }
  ValueId scaled(ValueId v, double by) { return b_.value(Op::mul, {v, b_.full_like(v, by)}); }
  ValueId total(ValueId v) { return b_.value(Op::tanh, {b_.reduce(Op::reduce_sum, v, {0})}); }
  ValueId shifted(ValueId v, ValueId scalar) {
    return b_.value(Op::add, {v, b_.broadcast(scalar, b_.type(v).dims, {}, Values{v})});
  }
  ValueId sum_with(ValueId v) {
    for (ValueId w : pool_) {
      if (w != v && extent(w) == extent(v)) return b_.value(Op::add, {v, w});
    }
    return b_.value(Op::mul, {v, v});
  }
  void join() {
    if (joined_) return;  // extents at most double
    joined_ = true;
    add(b_.concat(Values{pick(), pick()}, 0));
  }
  ValueId first_half(ValueId v) {
    const DimId half = dims().floor_div(extent(v), dims().constant(2));
    return b_.slice(v, {dims().constant(0)}, {half}, {1});
  }
  ValueId positive(ValueId v) {
    const DimId s = dims().fresh_symbol("found");
    const ValueId mask = b_.value(Op::gt, {v, b_.full_like(v, 0)});
    const ValueId at = b_.value(Op::nonzero, {mask}, {{AttrKey::symbols, std::vector<DimId>{s}}});
    return b_.value(Op::gather, {v, b_.reshape(at, {s})}, {{AttrKey::axis, int64_t{0}}});
  }
  ValueId counted(ValueId v) {
    if (!counter_.valid()) return scaled(v, -1);
    return shifted(v, b_.cast(counter_, DType::kFloat32));
  }
  ValueId condition() {
    return b_.value(Op::gt,
                    {total(pick()), b_.scalar(DType::kFloat32, random_.chance(50) ? 0 : 0.4)});
  }

  Values captures() {
    Values list;
    const int n = 1 + random_.below(3);
    for (int i = 0; i < n; ++i) list.push_back(pick());
    return list;
  }
  // A body's input for `v`: equal extents of several inputs may be one symbol of it.
  Type inner_type(ValueId v, std::vector<std::pair<DimId, DimId>>* known) {
    for (const auto& [outer, inner] : *known) {
      if (outer == extent(v) && random_.chance(70)) return {DType::kFloat32, {inner}};
    }
    known->emplace_back(extent(v), dims().fresh_symbol("n"));
    return {DType::kFloat32, {known->back().second}};
  }

  void cond() {
    const Values given = captures();
    const int results = 1 + random_.below(2);
    std::vector<GraphId> bodies;
    for (int branch = 0; branch < 2; ++branch) {
      Writer body(b_.context(), random_, depth_ + 1);
      std::vector<std::pair<DimId, DimId>> known;
      for (ValueId v : given) body.input(inner_type(v, &known));
      body.grow(random_.below(4));
      for (int r = 0; r < results; ++r) body.output(body.pick());
      bodies.push_back(b_.context().add_graph(body.b_.finish()));
    }
    std::vector<DimId> names;
    for (int r = 0; r < results; ++r) names.push_back(dims().fresh_symbol("u"));
    Values operands = {condition()};
    operands.insert(operands.end(), given.begin(), given.end());
    const NodeId n =
        b_.node(Op::cond, operands,
                std::vector<Attr>{{AttrKey::bodies, bodies}, {AttrKey::symbols, names}});
    for (int r = 0; r < results; ++r) add(b_.result(n, r));
  }

  // Some carried extents change, some stay; rows to stack are scalars or vectors.
  void loop() {
    const Values carried = captures(), given = captures();
    Writer body(b_.context(), random_, depth_ + 1);
    const ValueId k = body.input({DType::kInt64, {}});
    body.counter(k);
    std::vector<std::pair<DimId, DimId>> known;
    std::vector<ValueId> ins;
    std::vector<bool> varies;
    std::vector<DimId> names = {dims().fresh_symbol("T")};
    for (ValueId v : carried) {
      varies.push_back(random_.chance(50));
      Type t = {DType::kFloat32, {dims().fresh_symbol("c")}};
      if (!varies.back()) t = inner_type(v, &known);
      ins.push_back(body.input(t));
      names.push_back(varies.back() ? dims().fresh_symbol("C") : dims().constant(-1));
    }
    for (ValueId v : given) body.input(inner_type(v, &known));
    body.grow(1 + random_.below(4));
    body.output(random_.chance(50) ? body.b_.constant(make_splat(DType::kBool, {}, 1))
                                   : body.condition());
    for (size_t i = 0; i < carried.size(); ++i) {
      ValueId out = body.pick();
      for (int tries = 0; !varies[i] && body.extent(out) != body.extent(ins[i]); ++tries) {
        out = tries < 4 ? body.pick() : random_.chance(50) ? ins[i] : body.scaled(ins[i], 0.9);
      }
      body.output(out);
    }
    const int stacked = random_.below(3);
    for (int s = 0; s < stacked; ++s) {
      if (random_.chance(40)) {
        body.output(random_.chance(50) ? body.total(body.pick()) : k);
      } else {
        body.output(body.pick());
        names.push_back(dims().fresh_symbol("E"));
      }
    }
    const std::vector<GraphId> bodies = {b_.context().add_graph(body.b_.finish())};
    const ValueId limit = counter_.valid() && random_.chance(30)
                              ? counter_
                              : b_.scalar_int(DType::kInt64, random_.below(4));
    Values operands = {
        limit, random_.chance(70) ? b_.constant(make_splat(DType::kBool, {}, 1)) : condition()};
    operands.insert(operands.end(), carried.begin(), carried.end());
    operands.insert(operands.end(), given.begin(), given.end());
    const NodeId n =
        b_.node(Op::loop, operands,
                std::vector<Attr>{{AttrKey::bodies, bodies},
                                  {AttrKey::index, static_cast<int64_t>(carried.size())},
                                  {AttrKey::symbols, names}});
    for (size_t i = 0; i < carried.size(); ++i) add(b_.result(n, static_cast<int>(i)));
    for (int s = 0; s < stacked; ++s) {
      ValueId v = b_.result(n, static_cast<int>(carried.size()) + s);
      if (b_.type(v).dtype != DType::kFloat32) v = b_.cast(v, DType::kFloat32);
      add(b_.type(v).rank() == 1 ? v : b_.reduce(Op::reduce_sum, v, {0}));
    }
  }

  GraphBuilder b_;
  Random& random_;
  int depth_;
  bool joined_ = false;
  Values pool_;
  ValueId counter_;
};

// Rewriting drops rows that nobody reads, and with them the error that they cannot be stacked.
bool rows_cannot_be_stacked(const Graph& g, const std::vector<interp::Tensor>& inputs) {
  try {
    interp::evaluate(g, inputs);
    return false;
  } catch (const UserError& e) {
    return std::string(e.what()).find("the values to stack") != std::string::npos;
  }
}

std::string run_one(uint32_t seed) {
  Random random(seed);
  Context context;
  Writer g(context, random, 0);
  g.input({DType::kFloat32, {context.dims.symbol("N")}});
  g.input({DType::kFloat32, {context.dims.symbol("M")}});
  g.input({DType::kFloat32, {context.dims.constant(5)}});
  g.grow(4 + random.below(6));
  const int outputs = 1 + random.below(4);
  for (int i = 0; i < outputs; ++i) g.output(g.pick());
  const auto graph = g.b().finish();
  const auto errors = verify(*graph);
  if (!errors.empty()) return errors[0];
  std::mt19937 rng(seed);
  const std::vector<interp::Tensor> inputs = {
      test::random_tensor(DType::kFloat32, {random.below(7)}, rng),
      test::random_tensor(DType::kFloat32, {1 + random.below(40)}, rng),
      test::random_tensor(DType::kFloat32, {5}, rng)};
  lower::LowerOptions options;
  options.fuse = seed % 4 != 0;
  if (seed % 2 == 0) return test::compare(*graph, inputs, options, {.relative = 2e-4});
  const pass::Pipeline pipeline{passes::table(), passes::order(), rules::all()};
  auto copy = std::make_unique<Graph>(*graph);
  const auto optimised = pass::run(std::move(copy), pipeline, pass::Options{});
  const auto faults = verify(*optimised);
  if (!faults.empty()) return faults[0];
  const Graph* truth = rows_cannot_be_stacked(*graph, inputs) ? optimised.get() : graph.get();
  return test::compare(*optimised, inputs, options, {.relative = 2e-4}, nullptr, true, truth);
}

}  // namespace

TEST_CASE("random nested conds and loops") {
  uint32_t first = 1, count = test::kSanitized ? 20 : 40;
  if (const char* text = std::getenv("GCOMP_FUZZ_SEEDS"))
    std::istringstream(text) >> first >> count;
  for (uint32_t seed = first; seed < first + count; ++seed) {
    CAPTURE(seed);
    CHECK(run_one(seed) == "");
  }
}

// A loop of one turn becomes part of a graph in which its input's extent is no input's: who mentions it needs a carrier.
TEST_CASE("a seed that found a fault") { CHECK(run_one(505) == ""); }
