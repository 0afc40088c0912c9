#include "gcomp/pass/pass.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "gcomp/ir/builder.h"
#include "gcomp/passes/passes.h"
#include "gcomp/rules/rules.h"
#include "gcomp/support/error.h"

using namespace gcomp;
using namespace gcomp::pass;

namespace {

Pipeline pipeline() { return {passes::table(), passes::order(), rules::all()}; }

std::vector<std::string> names(const std::vector<const Pass*>& passes) {
  std::vector<std::string> out;
  for (const Pass* p : passes) out.push_back(p->name);
  return out;
}

// y = log(1 + exp(x)) * 1
std::unique_ptr<Graph> sample(Context& context) {
  GraphBuilder b(context, GraphBuilder::Mode::kRaw);
  const Type t{DType::kFloat64, {context.dims.symbol("N")}};
  const ValueId x = b.input("x", t);
  const ValueId sum = b.value(Op::add, {b.full(t, 1), b.value(Op::exp, {x})});
  b.output("y", b.value(Op::mul, {b.value(Op::log, {sum}), b.full(t, 1)}));
  return b.finish();
}

std::string ops_of(const Graph& g) {
  std::string s;
  for (const Node& n : g.nodes()) s += (s.empty() ? "" : " ") + std::string(name(n.op));
  return s;
}

std::string usage_message(const Options& options) {
  try {
    pass::select(pipeline(), options);
  } catch (const UserError& e) {
    CHECK(e.code() == ExitCode::kUsage);
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("the table agrees with its order pairs; a table that does not is refused") {
  Pipeline p = pipeline();
  check_pipeline(p);
  std::reverse(p.passes.begin(), p.passes.end());
  CHECK_THROWS_AS(check_pipeline(p), InternalError);
  p = pipeline();
  p.passes.push_back(p.passes[0]);
  CHECK_THROWS_AS(check_pipeline(p), InternalError);
  p = pipeline();
  p.order.push_back({"merge", "nonsense", "no reason"});
  CHECK_THROWS_AS(check_pipeline(p), InternalError);
}

TEST_CASE("levels choose passes and stages, each at least those of the one before but for merge") {
  const auto at = [](const char* level) {
    Options o;
    o.level = level;
    return names(pass::select(pipeline(), o));
  };
  const auto has = [](const std::vector<std::string>& all, const std::string& name) {
    return std::ranges::find(all, name) != all.end();
  };
  CHECK(at("none").empty());
  CHECK(at("merge") == std::vector<std::string>{"merge"});
  const char* const rising[] = {"o1", "o2", "o3", "o4"};
  for (size_t i = 1; i < std::size(rising); ++i) {
    const auto more = at(rising[i]);
    for (const std::string& name : at(rising[i - 1])) CHECK_MESSAGE(has(more, name), name);
  }
  CHECK(at("o1") == at("fast_compile"));
  CHECK(at("o4") == at("fast_run"));
  CHECK(has(at("o1"), "canonicalize"));
  CHECK_FALSE(has(at("o1"), "stabilize"));
  CHECK_FALSE(has(at("o1"), "fusion"));
  CHECK(has(at("o2"), "fusion"));
  CHECK_FALSE(has(at("o2"), "stabilize"));
  CHECK(has(at("stabilize"), "stabilize"));
  CHECK_FALSE(has(at("stabilize"), "specialize"));
  CHECK_FALSE(has(at("stabilize"), "fusion"));
}

TEST_CASE("stages are selected like passes, by name and by tag, and leave the graph alone") {
  Context context;
  Options o;
  CHECK(selects(pipeline(), o, passes::kFusion));
  o.excluding = {"fusion"};
  CHECK_FALSE(selects(pipeline(), o, passes::kFusion));
  o.level = "none";
  o.excluding = {};
  o.including = {"fusion"};
  CHECK(selects(pipeline(), o, passes::kFusion));
  CHECK(run(sample(context), pipeline(), o)->num_nodes() == sample(context)->num_nodes());
}

TEST_CASE("only unsafe drops the graph's own checks") {
  const auto rules = [](const char* level) {
    std::vector<std::string> all;
    Options o;
    o.level = level;
    const Pipeline rows = pipeline();
    for (const Pass* p : pass::select(rows, o)) {
      for (const rewrite::Rule* r : select_rules(rows, *p, o)) all.push_back(r->name);
    }
    return all;
  };
  for (const char* level : {"none", "o1", "o2", "stabilize", "o3", "o4"}) {
    CHECK(std::ranges::count(rules(level), "drop_check") == 0);
  }
  CHECK(std::ranges::count(rules("unsafe"), "drop_check") > 0);
}

TEST_CASE("including, excluding and requiring take tags, pass names and rule names") {
  Context context;
  Options o;
  CHECK(ops_of(*run(sample(context), pipeline(), o)) == "input softplus");
  o.excluding = {"softplus"};  // the rule
  CHECK(ops_of(*run(sample(context), pipeline(), o)) == "input exp log1p");
  o.excluding = {"stabilize"};  // the pass
  CHECK(ops_of(*run(sample(context), pipeline(), o)) == "input constant broadcast exp add log");
  o.excluding = {};
  o.requiring = {"log1p"};  // one rule alone
  CHECK(ops_of(*run(sample(context), pipeline(), o)).find("log1p") != std::string::npos);
  o.requiring = {};
  o.level = "none";
  o.including = {"canonicalize"};
  CHECK(ops_of(*run(sample(context), pipeline(), o)) == "input constant broadcast exp add log");
  o = {};
  o.passes = {"stabilize", "canonicalize"};
  CHECK(names(pass::select(pipeline(), o)) == o.passes);
}

TEST_CASE("an unknown word is a usage error with a suggestion") {
  Options o;
  o.excluding = {"stabilise"};
  CHECK(usage_message(o).find("did you mean 'stabilize'") != std::string::npos);
  o = {};
  o.level = "fastrun";
  CHECK(usage_message(o).find("did you mean 'fast_run'") != std::string::npos);
  o = {};
  o.dump_after = {"canonicalise"};
  CHECK(usage_message(o).find("did you mean 'canonicalize'") != std::string::npos);
}

TEST_CASE("lists are split at commas and colons") {
  CHECK(split_list("a,b:c,,d") == std::vector<std::string>{"a", "b", "c", "d"});
  CHECK(split_list("").empty());
}

TEST_CASE("dumps and verification happen where asked, faults name the pass") {
  Context context;
  std::vector<std::string> dumped;
  int verified = 0;
  Options o;
  o.dump_after = {"canonicalize", "specialize"};
  o.dump = [&](const std::string& pass, const Graph&) { dumped.push_back(pass); };
  o.verify_each = true;
  o.verify = [&](const Graph&) { ++verified; };
  run(sample(context), pipeline(), o);
  CHECK(dumped == o.dump_after);
  const auto passes = std::ranges::count_if(pass::select(pipeline(), o),
                                            [](const Pass* p) { return p->run != nullptr; });
  CHECK(verified == passes + 1);

  Pipeline broken = pipeline();
  broken.passes.push_back(
      {"breaker",
       [](const Graph&, PassContext&) -> std::unique_ptr<Graph> { throw InternalError("oops"); },
       true,
       {},
       "fails",
       ""});
  CHECK_THROWS_WITH_AS(run(sample(context), broken, o), "in pass breaker: oops", InternalError);
}

TEST_CASE("the profile is a table and JSON with every pass and rule") {
  Context context;
  Profile profile;
  run(sample(context), pipeline(), {}, &profile);
  const auto json = nlohmann::json::parse(to_json(profile));
  bool log1p = false;
  for (const auto& p : json["passes"]) {
    for (const auto& s : p["sweeps"]) {
      for (const auto& r : s["rules"]) log1p = log1p || (r["name"] == "log1p" && r["applied"] == 1);
    }
  }
  CHECK(log1p);
  // What must add up: a pattern that matched was applied or refused; parts are no more than the whole.
  double passes_seconds = 0;
  for (const auto& p : json["passes"]) {
    double sweeps_seconds = 0;
    for (const auto& s : p["sweeps"]) {
      size_t applied = 0, created = 0;
      double rule_seconds = 0;
      for (const auto& r : s["rules"]) {
        size_t refused = 0;
        for (const auto& [cause, count] : r["refused"].items()) refused += count.get<size_t>();
        CHECK(r["matched"] == r["applied"].get<size_t>() + refused);
        CHECK(r["tried"] >= r["matched"]);
        if (r["tried"] == 0) CHECK(r["seconds"] == 0);
        applied += r["applied"].get<size_t>();
        created += r["nodes_created"].get<size_t>();
        rule_seconds += r["seconds"].get<double>();
      }
      CHECK(s["applied"] == applied);
      CHECK(s["nodes_built"] >= created);
      CHECK(s["rule_seconds"].get<double>() == doctest::Approx(rule_seconds));
      CHECK(rule_seconds + s["fold_seconds"].get<double>() <= s["seconds"].get<double>() * 1.1);
      CHECK(s["visited"].get<size_t>() >= s["nodes_after"].get<size_t>() - 1);  // not the input
      sweeps_seconds += s["seconds"].get<double>();
    }
    CHECK(sweeps_seconds <= p["seconds"]);
    CHECK(p["peak_bytes"] > p["graph_bytes"]);
    passes_seconds += p["seconds"].get<double>();
  }
  CHECK(passes_seconds <= json["seconds"]);
  const std::string table = to_table(profile);
  CHECK(table.find("stabilize") != std::string::npos);
  CHECK(table.find("log1p") != std::string::npos);
  CHECK(table.find("never fired") != std::string::npos);
}
