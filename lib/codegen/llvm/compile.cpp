// Kernels to modules to objects, in parallel. Modules are cut by position and weight alone, so the bytes
// do not depend on the number of threads.

#include <llvm/ADT/STLExtras.h>  // thread.h lacks an include
#include <llvm/Support/Threading.h>
#include <llvm/Support/thread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <numeric>

#include "gcomp/support/error.h"
#include "math_policy.h"
#include "module.h"
#include "target.h"

namespace gcomp::codegen {
namespace {

// How long a free token may lie before another thread begins; modules take about 30 ms.
constexpr std::chrono::milliseconds kTokenWait(5);
constexpr unsigned kCompileStackBytes = 16u << 20;  // LLVM recurses; `ulimit -s` must not matter
// Of one module: about 30 ms, so that threads end together; a module costs 1 ms.
constexpr uint64_t kModuleWeight = 1500;
// From this weight on (about 1 s of one core; PP-OCRv4's detector has half of it) large maps are compiled
// with Effort::kFast, in a third of the time.
constexpr uint64_t kHurryWeight = 40000;
constexpr size_t kLargeMapInsts = 60;
constexpr uint64_t kFastFactor = 3;
// Cold kernels: how much longer a run may take for them, and what Effort::kFast adds to a kernel's time.
constexpr double kColdLoss = 0.5;
constexpr double kFastMapLoss = 1, kFastLoopLoss = 4;

// Jobs of a stage, each done once by one of its threads; the error of the lowest job wins.
class ModuleJobs {
 public:
  using Job = std::function<void(ModuleCompiler&, size_t)>;

  ModuleJobs(size_t count, const CompileOptions& options, const Job& job)
      : count_(count), options_(options), job_(job), errors_(count + 1) {}

  // With more threads where there are tokens for them, which end, and give theirs back, when no job is left.
  void run() {
    const auto most = static_cast<size_t>(std::max(options_.threads, 1));
    const size_t width = std::clamp<size_t>(most, 1, count_);
    std::vector<llvm::thread> threads;
    while (threads.size() < width && (threads.empty() || has_more())) {
      std::optional<JobServer::Token> token;
      if (!threads.empty() && options_.jobs != nullptr && !(token = options_.jobs->take())) {
        wait_a_little();
        continue;
      }
      if (!start(threads, std::move(token))) break;
    }
    for (llvm::thread& t : threads) t.join();
    for (const std::exception_ptr& e : errors_) {
      if (e) std::rethrow_exception(e);
    }
  }

 private:
  // False: there is no memory for another one, and those there are do.
  bool start(std::vector<llvm::thread>& threads, std::optional<JobServer::Token> token) {
    try {
      threads.emplace_back(std::optional<unsigned>(kCompileStackBytes),
                           [this, held = std::move(token)]() mutable {
                             work();
                             held.reset();
                           });
      return true;
    } catch (const std::exception&) {
      if (threads.empty()) throw;
      return false;
    }
  }

  bool has_more() const { return next_ < count_; }

  // Until another job may have set a token free, or the last one here is begun.
  void wait_a_little() {
    std::unique_lock lock(mutex_);
    last_begun_.wait_for(lock, kTokenWait, [this] { return !has_more(); });
  }

  void work() {
    size_t i = count_;  // errors_[count_]: before any job
    llvm::set_thread_name("gcomp codegen");
    try {
      ModuleCompiler compiler(options_);
      while ((i = next_.fetch_add(1)) < count_) {
        try {
          job_(compiler, i);
        } catch (...) {
          errors_[i] = std::current_exception();
        }
      }
    } catch (...) {
      errors_[count_] = std::current_exception();
    }
    const std::scoped_lock lock(mutex_);
    last_begun_.notify_all();
  }

  const size_t count_;
  const CompileOptions& options_;
  const Job& job_;
  std::atomic<size_t> next_{0};
  std::vector<std::exception_ptr> errors_;
  std::mutex mutex_;
  std::condition_variable last_begun_;
};

// Runs job(0..count), each thread with a deep stack and a compiler of its own.
void for_each_module(size_t count, const CompileOptions& options, const ModuleJobs::Job& job) {
  make_target_machine(options);  // LLVM's lazy tables, before there are threads
  ModuleJobs(count, options, job).run();
}

// What becomes one module.
struct Part {
  bool math = false;  // members are math functions, not kernels
  Effort effort = Effort::kDefault;
  uint64_t weight = 0;
  std::vector<size_t> members = {};
  std::vector<uint64_t> weights = {};  // of members
};

// Without values carried from turn to turn: what it costs to run is loads, stores and calls, which no
// effort makes much cheaper.
bool is_map(const kernel::Kernel& kernel) {
  return std::ranges::all_of(kernel.insts, [](const kernel::Inst& inst) {
    return inst.code != kernel::Code::kWhile &&
           (inst.code != kernel::Code::kFor || inst.num_values == 1);
  });
}

bool is_large_map(const kernel::Kernel& kernel) {
  return kernel.insts.size() >= kLargeMapInsts && is_map(kernel);
}

// The kernels to compile quickly: those that save most time of the compiler for what they add to a run.
std::vector<bool> find_cold(std::span<const kernel::Kernel* const> kernels,
                            const CompileOptions& options, std::span<const uint64_t> weights) {
  std::vector<double> loss;
  const std::span<const double> work = options.work;
  double total = options.other_work;
  for (size_t i = 0; i < kernels.size(); ++i) {
    total += work[i];
    loss.push_back(work[i] * (is_map(*kernels[i]) ? kFastMapLoss : kFastLoopLoss));
  }
  std::vector<size_t> order(kernels.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, [&](size_t a, size_t b) {
    const double x = loss[a] * static_cast<double>(weights[b]);
    const double y = loss[b] * static_cast<double>(weights[a]);
    return x != y ? x < y : a < b;
  });
  std::vector<bool> cold(kernels.size());
  double left = kColdLoss * total;
  for (const size_t i : order) {
    if (loss[i] > left) continue;
    left -= loss[i];
    cold[i] = true;
  }
  return cold;
}

ModuleTime module_time(const Part& part, const ModuleContents& contents, double seconds,
                       size_t bytes) {
  ModuleTime time{.seconds = seconds,
                  .bytes = bytes,
                  .effort = part.effort,
                  .functions = contents.names,
                  .function_seconds = {}};
  for (const MathFunction& f : contents.functions) time.functions.push_back(f.symbol());
  for (const uint64_t weight : part.weights) {
    time.function_seconds.push_back(seconds * static_cast<double>(weight) /
                                    static_cast<double>(std::max<uint64_t>(part.weight, 1)));
  }
  return time;
}

void add_text(std::string& recipe, const std::string& text) {
  recipe += std::to_string(text.size()) + ":" + text;
}

// All that a module's object depends on.
std::string recipe_of(const ModuleContents& contents, const CompileOptions& options) {
  std::string recipe = "object of LLVM\n";
  for (const std::string& feature : cpu_features(options.cpu)) add_text(recipe, feature);
  for (const int number : {static_cast<int>(options.cpu), static_cast<int>(contents.effort),
                           static_cast<int>(options.emit), options.verify ? 1 : 0}) {
    add_text(recipe, std::to_string(number));
  }
  for (size_t i = 0; i < contents.kernels.size(); ++i) {
    add_text(recipe, contents.names[i]);
    add_text(recipe, kernel::to_bytes(*contents.kernels[i]));
  }
  for (const MathFunction& f : contents.functions) add_text(recipe, std::to_string(f.key()));
  add_text(recipe, "called");
  for (const MathFunction& f : contents.called) add_text(recipe, std::to_string(f.key()));
  return recipe;
}

std::string compile_module(ModuleCompiler& compiler, const ModuleContents& contents,
                           const CompileOptions& options) {
  if (options.cache == nullptr) return compiler.compile(contents);
  const std::string recipe = recipe_of(contents, options);
  if (auto found = options.cache->get(recipe)) return std::move(*found);
  std::string object = compiler.compile(contents);
  options.cache->put(recipe, object);
  return object;
}

class Partition {
 public:
  Partition(std::span<const kernel::Kernel* const> kernels, const CompileOptions& options)
      : most_(static_cast<size_t>(std::max(options.kernels_per_module, 1))) {
    const auto width = static_cast<uint64_t>(cpu_traits(options.cpu).vector_bytes);
    const WeightTraits traits{options.effort, width};
    std::vector<uint64_t> weights;
    for (const kernel::Kernel* k : kernels) weights.push_back(compile_weight(*k, traits));
    const uint64_t total = std::accumulate(weights.begin(), weights.end(), uint64_t{0});
    const bool hurry = options.effort == Effort::kDefault && total > kHurryWeight;
    std::vector<bool> cold(kernels.size());
    if (!options.work.empty()) cold = find_cold(kernels, options, weights);
    std::vector<size_t> quick;
    for (size_t i = 0; i < kernels.size(); ++i) {
      if (cold[i] || (hurry && is_large_map(*kernels[i]))) {
        quick.push_back(i);
      } else {
        add(i, false, options.effort, weights[i]);
        add_called_math(*kernels[i], options.effort, math_);
      }
    }
    for (const size_t i : quick) {
      add(i, false, Effort::kFast, weights[i] / kFastFactor);
      add_called_math(*kernels[i], Effort::kFast, math_);
    }
    std::ranges::sort(math_);
    math_.erase(std::ranges::unique(math_).begin(), math_.end());
    for (size_t i = 0; i < math_.size(); ++i) {
      add(i, true, options.effort, compile_weight(math_[i], traits));
    }
  }

  const std::vector<Part>& parts() const { return parts_; }
  std::span<const MathFunction> math() const { return math_; }

  // The heaviest first, so that no thread is left alone with one at the end.
  std::vector<size_t> order() const {
    std::vector<size_t> order(parts_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::sort(order, [&](size_t a, size_t b) {
      const uint64_t x = parts_[a].weight, y = parts_[b].weight;
      return x != y ? x > y : a < b;
    });
    return order;
  }

 private:
  void add(size_t member, bool math, Effort effort, uint64_t weight) {
    const bool fits = !parts_.empty() && parts_.back().math == math &&
                      parts_.back().effort == effort && parts_.back().members.size() < most_ &&
                      parts_.back().weight + weight <= kModuleWeight;
    if (!fits) parts_.push_back({.math = math, .effort = effort});
    parts_.back().members.push_back(member);
    parts_.back().weights.push_back(weight);
    parts_.back().weight += weight;
  }

  size_t most_;
  std::vector<Part> parts_;
  std::vector<MathFunction> math_;
};

}  // namespace

std::vector<std::string> compile_kernels(std::span<const kernel::Kernel* const> kernels,
                                         std::span<const std::string> names,
                                         const CompileOptions& options,
                                         std::vector<ModuleTime>* times) {
  GCOMP_CHECK(kernels.size() == names.size(), "compile_kernels: a name for each kernel");
  if (kernels.empty()) return {};
  const Partition partition(kernels, options);
  const std::vector<size_t> order = partition.order();
  std::vector<std::string> objects(order.size());
  if (times != nullptr) times->assign(order.size(), {});
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  for_each_module(order.size(), options, [&](ModuleCompiler& compiler, size_t i) {
    const Part& part = partition.parts()[order[i]];
    ModuleContents contents{.effort = part.effort, .called = partition.math()};
    for (const size_t m : part.members) {
      if (part.math) {
        contents.functions.push_back(partition.math()[m]);
      } else {
        contents.kernels.push_back(kernels[m]);
        contents.names.push_back(names[m]);
      }
    }
    const Clock::time_point begin = Clock::now();
    objects[order[i]] = compile_module(compiler, contents, options);
    if (times == nullptr) return;
    const std::chrono::duration<double> waited = begin - start, taken = Clock::now() - begin;
    ModuleTime& time = (*times)[order[i]];
    time = module_time(part, contents, taken.count(), objects[order[i]].size());
    time.begin = waited.count();
  });
  return objects;
}

std::string compile_straight_line(const StraightLine& code, const std::string& name,
                                  const CompileOptions& options) {
  std::string object;
  for_each_module(1, options, [&](ModuleCompiler& compiler, size_t) {
    object = compiler.compile_straight_line(code, name);
  });
  return object;
}

}  // namespace gcomp::codegen
