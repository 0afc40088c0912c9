#include <algorithm>
#include <chrono>
#include <map>

#include "gcomp/pass/pass.h"
#include "gcomp/support/error.h"
#include "gcomp/support/memory.h"

namespace gcomp::pass {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Of its arrays.
size_t bytes_of(const Graph& g) {
  size_t operands = 0;
  for (const Node& n : g.nodes()) operands += n.num_operands;
  return g.num_nodes() * sizeof(Node) + operands * sizeof(ValueId) +
         g.num_values() * (sizeof(TypeId) + sizeof(NodeId));
}

bool wants_dump(const Options& options, const std::string& pass) {
  return std::any_of(options.dump_after.begin(), options.dump_after.end(),
                     [&](const std::string& name) { return name == "all" || name == pass; });
}

// A fault found after a pass is that pass's: the message says so.
void verify_after(const Options& options, const std::string& pass, const Graph& graph) {
  try {
    options.verify(graph);
  } catch (const std::exception& e) {
    throw InternalError("the graph is wrong after pass " + pass + ": " + e.what());
  }
}

std::unique_ptr<Graph> run_one(const Graph& graph, const Pass& pass, PassContext& context) {
  try {
    return pass.run(graph, context);
  } catch (const InternalError& e) {
    throw InternalError("in pass " + pass.name + ": " + e.what());
  }
}

}  // namespace

void check_pipeline(const Pipeline& pipeline) {
  std::map<std::string, size_t> at;
  for (size_t i = 0; i < pipeline.passes.size(); ++i) {
    const std::string& name = pipeline.passes[i].name;
    GCOMP_CHECK(at.emplace(name, i).second, "two passes are called " + name);
  }
  for (const OrderPair& pair : pipeline.order) {
    for (const std::string& name : {pair.before, pair.after}) {
      GCOMP_CHECK(at.contains(name), "an order pair names the unknown pass " + name);
    }
    GCOMP_CHECK(at[pair.before] < at[pair.after], "passes " + pair.before + " and " + pair.after +
                                                      " are out of order: " + pair.because);
  }
}

std::unique_ptr<Graph> run(std::unique_ptr<Graph> graph, const Pipeline& pipeline,
                           const Options& options, Profile* profile) {
  const auto start = Clock::now();
  const bool verify = options.verify_each && options.verify;
  if (verify) options.verify(*graph);
  for (const Pass* pass : select(pipeline, options)) {
    if (!pass->run) continue;  // a stage: the driver's
    PassProfile record;
    record.name = pass->name;
    record.nodes_before = graph->num_nodes();
    PassContext context{select_rules(pipeline, *pass, options),
                        options.fast_math,
                        &record,
                        profile != nullptr,
                        {options.observers.begin(), options.observers.end()}};
    for (Observer* o : options.observers) o->begin_pass(*pass, *graph);
    record.begin = seconds_since(start);
    const auto begin = Clock::now();
    auto changed = run_one(*graph, *pass, context);
    record.seconds = seconds_since(begin);
    std::shared_ptr<const Graph> before;
    if (changed) {
      before = std::move(graph);
      graph = std::move(changed);
    }
    for (Observer* o : options.observers) o->end_pass(*pass, *graph, before);
    record.nodes_after = graph->num_nodes();
    if (profile != nullptr) {
      record.graph_bytes = bytes_of(*graph);
      record.peak_bytes = memory_use().peak;
    }
    if (verify) {
      const auto verifying = Clock::now();
      verify_after(options, pass->name, *graph);
      record.verify_seconds = seconds_since(verifying);
    }
    if (options.dump && wants_dump(options, pass->name)) options.dump(pass->name, *graph);
    if (profile == nullptr) continue;
    profile->verify_seconds += record.verify_seconds;
    profile->passes.push_back(std::move(record));
  }
  if (profile != nullptr) profile->seconds += seconds_since(start);
  return graph;
}

}  // namespace gcomp::pass
