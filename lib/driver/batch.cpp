// The batch itself: which job is next, what runs, what becomes of it.

#include "gcomp/driver/batch.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <deque>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <tuple>

#include "batch_jobs.h"
#include "batch_progress.h"
#include "batch_results.h"
#include "batch_summary.h"
#include "batch_worker.h"
#include "gcomp/driver/compile.h"
#include "gcomp/driver/progress.h"
#include "gcomp/support/error.h"
#include "gcomp/support/files.h"
#include "gcomp/support/hash.h"
#include "if_changed.h"

namespace gcomp::driver {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr double kGrace = 2;     // seconds beyond --time-limit in which a worker may end itself
constexpr int kFarewell = 2000;  // milliseconds that workers have when the batch is interrupted
constexpr size_t kUniqueDigits = 24;    // of unique_name()
constexpr int kProgressInterval = 200;  // milliseconds

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// What an earlier run found out is still so: of failures, too, that would only happen again.
bool is_settled(const BatchResult& recorded, const std::string& key, const BatchOptions& options) {
  if (recorded.key != key) return false;
  const Ending ending = recorded.ending();
  if (ending == Ending::kFiles || ending == Ending::kKilled) return false;
  return ending != Ending::kOk || (recorded.artifact == recorded.name + options.suffix &&
                                   is_current(recorded, options.output));
}

// SIGINT, SIGTERM and SIGHUP become readable instead of ending the process.
class Interruption {
 public:
  Interruption() {
    sigset_t wanted;
    ::sigemptyset(&wanted);
    for (int number : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&wanted, number);
    ::sigprocmask(SIG_BLOCK, &wanted, &before_);
    descriptor_ = ::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
  }
  ~Interruption() {
    ::close(descriptor_);
    ::sigprocmask(SIG_SETMASK, &before_, nullptr);
  }
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  int descriptor() const { return descriptor_; }
  int number() const {  // 0: none came
    signalfd_siginfo info{};
    return ::read(descriptor_, &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo)
                                                                  : 0;
  }
  void pass_on(int number) const {  // ends the process
    ::sigprocmask(SIG_SETMASK, &before_, nullptr);
    ::raise(number);
  }

 private:
  sigset_t before_;
  int descriptor_;
};

Path results_path(const BatchOptions& options) {
  if (!options.results.empty()) return options.results;
  if (options.shards == 1) return options.output / "results.jsonl";
  return options.output / ("results-" + std::to_string(options.shard) + "-of-" +
                           std::to_string(options.shards) + ".jsonl");
}

// Groups of equal jobs: for every job the first one like it. Only files of one size are read.
std::vector<size_t> find_leaders(const std::vector<BatchJob>& jobs) {
  std::vector<size_t> leaders(jobs.size());
  using Like = std::tuple<uint64_t, uint64_t, const std::vector<std::string>*>;
  const auto less = [](const Like& a, const Like& b) {
    return std::tie(std::get<0>(a), std::get<1>(a), *std::get<2>(a)) <
           std::tie(std::get<0>(b), std::get<1>(b), *std::get<2>(b));
  };
  std::vector<uint32_t> by_size(jobs.size());
  for (size_t i = 0; i < jobs.size(); ++i) by_size[i] = static_cast<uint32_t>(i);
  std::ranges::sort(by_size, {}, [&](uint32_t i) { return std::pair(jobs[i].bytes, i); });
  for (size_t begin = 0, end; begin < jobs.size(); begin = end) {
    const uint64_t bytes = jobs[by_size[begin]].bytes;
    for (end = begin + 1; end < jobs.size() && jobs[by_size[end]].bytes == bytes;) ++end;
    std::map<Like, size_t, decltype(less)> first(less);
    for (size_t i = begin; i < end; ++i) {
      const BatchJob& job = jobs[by_size[i]];
      leaders[by_size[i]] = by_size[i];
      if (end - begin == 1 || bytes == 0) continue;
      try {
        const Like like(hash_bytes(map_file(job.graph).bytes), bytes, &job.options);
        leaders[by_size[i]] = first.emplace(like, by_size[i]).first->second;
      } catch (const UserError&) {  // its worker will say so
      }
    }
  }
  return leaders;
}

class Batch {
 public:
  Batch(const BatchOptions& options, std::vector<BatchJob> jobs)
      : options_(options),
        jobs_(std::move(jobs)),
        results_(results_path(options), options.resume),
        estimate_(options.workers),
        progress_(stderr_is_terminal(), jobs_.size()) {
    const std::vector<size_t> leaders = find_leaders(jobs_);
    for (size_t i = 0; i < jobs_.size(); ++i) {
      leaders[i] == i ? ready_.push_back(i) : followers_[leaders[i]].push_back(i);
      estimate_.expect(leaders[i] == i ? jobs_[i].expected : 0);
    }
    if (options.resume) remove_leftovers();
  }

  void run() {
    for (;;) {
      while (may_begin()) begin_next();
      if (running_.empty()) break;
      wait();
      advance();
      show_progress();
    }
  }

  const BatchSummary& summary() const { return summary_; }
  size_t left() const { return jobs_.size() - summary_.graphs(); }
  double seconds() const { return seconds_since(begin_); }

 private:
  struct Running {
    size_t job;
    BatchResult result;
    size_t next_fallback = 0;
    std::unique_ptr<BatchWorker> worker = nullptr;
    Clock::time_point begin = Clock::now();
  };

  bool may_begin() const {
    return !ready_.empty() && !stopped_ && running_.size() < static_cast<size_t>(options_.workers);
  }

  Path artifact(const BatchJob& job) const {
    return options_.output / (job.name + options_.suffix);
  }

  // Temporary files of workers that were killed with the batch before. Other shards may be at work in this folder:
  // what may be theirs stays.
  void remove_leftovers() const {
    const auto is_new = [this](const std::string& file) {  // of a worker with a cache
      return options_.shards == 1 && file.starts_with(".new") && file.ends_with(options_.suffix) &&
             file.size() == 4 + kUniqueDigits + options_.suffix.size();
    };
    std::set<std::string> ours;
    for (const BatchJob& job : jobs_) ours.insert(artifact(job).string());
    std::error_code error;
    for (fs::recursive_directory_iterator at(options_.output, error), end; at != end && !error;
         at.increment(error)) {
      const std::string path = at->path().string();
      if (is_new(at->path().filename().string())) fs::remove(path, error);
      const size_t mark = path.rfind(".tmp");
      if (mark == std::string::npos ||
          path.find_first_not_of("0123456789", mark + 4) != std::string::npos)
        continue;
      if (ours.contains(path.substr(0, mark))) fs::remove(path, error);
    }
  }

  void begin_next() {
    const size_t job = ready_.front();
    ready_.pop_front();
    BatchResult result = blank_result(job);
    if (const auto recorded = keep_recorded(job, result.key)) {
      estimate_.skip(jobs_[job].expected);
      return settle_followers(job, *recorded);
    }
    if (take_from_cache(job, result)) {
      estimate_.skip(jobs_[job].expected);
      return settle_followers(job, result);
    }
    estimate_.begin(jobs_[job].expected);
    running_.push_back({job, std::move(result)});
    start(running_.back(), "");
  }

  BatchResult blank_result(size_t job) const {
    BatchResult result;
    result.name = jobs_[job].name;
    result.graph = jobs_[job].graph.string();
    result.graph_bytes = jobs_[job].bytes;
    result.key = job_key(options_, jobs_[job]);
    return result;
  }

  // What an earlier run found out of it, if that still holds.
  std::optional<BatchResult> keep_recorded(size_t job, const std::string& key) {
    if (!options_.resume) return std::nullopt;
    auto recorded = results_.recorded(jobs_[job].name);
    if (!recorded || !is_settled(*recorded, key, options_)) return std::nullopt;
    summary_.add(*recorded, BatchSummary::From::kKept);
    return recorded;
  }

  // Without a process. What the cache cannot do is the worker's to do, or to tell.
  bool take_from_cache(size_t job, BatchResult& result) {
    const Clock::time_point begin = Clock::now();
    CompileOptions o = parsed(jobs_[job]);
    if (o.cache.folder.empty()) return false;
    o.input = jobs_[job].graph;
    o.output = artifact(jobs_[job]);
    o.tell = nullptr;
    try {
      fs::create_directories(o.output.parent_path());
      const auto files = restore_from_cache(o);
      if (!files) return false;
      result.cached = true;
      Attempt& attempt = result.attempts.emplace_back();
      attempt.seconds = seconds_since(begin);
      describe_artifact(result, *files);
    } catch (const UserError&) {
      return false;
    } catch (const fs::filesystem_error&) {
      return false;
    }
    settle(result);
    return true;
  }

  // Most jobs have the options of the one before.
  const CompileOptions& parsed(const BatchJob& job) {
    if (!parsed_ || parsed_->first != job.options) {
      parsed_.emplace(job.options, options_.parse(arguments(job, "")));
    }
    return parsed_->second;
  }

  std::vector<std::string> arguments(const BatchJob& job, const std::string& level) const {
    std::vector<std::string> all = options_.arguments;
    all.insert(all.end(), job.options.begin(), job.options.end());
    if (!level.empty()) all.insert(all.end(), {"-O", level});
    return all;
  }

  void start(Running& running, const std::string& level) {
    const BatchJob& job = jobs_[running.job];
    const double limit = options_.time_limit;
    std::error_code error;  // the worker will say so
    fs::create_directories(artifact(job).parent_path(), error);
    running.worker = std::make_unique<BatchWorker>(job.graph, artifact(job), arguments(job, level),
                                                   limit > 0 ? limit + kGrace : 0);
    running.result.attempts.push_back({level});
  }

  void wait() {
    std::vector<pollfd> all{{interruption_.descriptor(), POLLIN, 0}};
    double seconds = progress_.enabled() ? 1e-3 * kProgressInterval : HUGE_VAL;
    for (const Running& running : running_) {
      running.worker->wait_on(all);
      seconds = std::min(seconds, running.worker->seconds_to_kill());
    }
    const int timeout = std::isinf(seconds)
                            ? -1
                            : static_cast<int>(std::ceil(1e3 * std::clamp(seconds, 0.0, 3600.0)));
    if (::poll(all.data(), all.size(), timeout) < 0 && errno != EINTR) {
      file_error(Code::kNoWorker, std::strerror(errno), "");
    }
    if (const int number = interruption_.number()) end_interrupted(number);
  }

  void end_interrupted(int number) {
    for (const Running& running : running_) running.worker->interrupt();
    const Clock::time_point begin = Clock::now();
    while (!running_.empty() && seconds_since(begin) < 1e-3 * kFarewell) {
      std::erase_if(running_, [](Running& running) { return running.worker->advance(); });
      ::usleep(5000);
    }
    running_.clear();
    progress_.say("interrupted; the same command with --resume goes on");
    interruption_.pass_on(number);
  }

  void advance() {
    std::vector<Running> ended;
    for (size_t i = 0; i < running_.size();) {
      if (!running_[i].worker->advance()) {
        ++i;
        continue;
      }
      ended.push_back(std::move(running_[i]));
      running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    for (Running& running : ended) finish_attempt(std::move(running));
  }

  void finish_attempt(Running running) {
    Attempt& attempt = running.result.attempts.back();
    const std::string level = attempt.level;
    attempt = running.worker->attempt();
    attempt.level = level;
    const Ending ending = attempt.ending;
    const bool broken =
        ending == Ending::kCrash || ending == Ending::kHang || ending == Ending::kKilled;
    if (broken) attempt.reproducer = running.worker->keep_reproducer();
    const bool again = broken || ending == Ending::kTime || ending == Ending::kMemory;
    if (again && running.next_fallback < options_.fallback.size()) {
      running_.push_back(std::move(running));
      Running& next = running_.back();
      start(next, options_.fallback[next.next_fallback++]);
      return;
    }
    const BatchJob& job = jobs_[running.job];
    if (ending == Ending::kOk) {
      describe_artifact(running.result, running.worker->files());
    } else {
      running.result.command =
          compile_command_line(job.graph, artifact(job), arguments(job, level));
    }
    estimate_.end(job.expected, running.result.seconds());
    settle(running.result);
    settle_followers(running.job, running.result);
  }

  void describe_artifact(BatchResult& result, const std::vector<std::string>& files) const {
    result.artifact = result.name + options_.suffix;
    for (const std::string& file : files) {
      if (file != result.graph && file != "./" + result.graph)
        result.files.push_back(stat_file(file));
    }
    try {
      const Path path = options_.output / result.artifact;
      result.hash = hash_file(path);
      result.artifact_bytes = stat_file(path).bytes;
    } catch (const UserError& error) {
      result.attempts.back().ending = Ending::kFiles;
      const Diagnostic& d = error.diagnostics().front();
      result.attempts.back().errors = {batch_error(d.code, d.message, d.file)};
    }
  }

  void settle(const BatchResult& result) {
    results_.append(result);
    summary_.add(result);
    if (result.ending() == Ending::kOk) return;
    progress_.say(failure_text(result));
    if (!options_.keep_going) stopped_ = true;
  }

  // Jobs equal to one that is done. Where a file beside the graph takes part, it must be equal, too.
  void settle_followers(size_t leader, const BatchResult& done) {
    const auto found = followers_.find(leader);
    if (found == followers_.end()) return;
    for (size_t job : found->second) {
      BatchResult result = blank_result(job);
      if (keep_recorded(job, result.key)) continue;
      if (copy_result(done, leader, job, result)) {
        settle(result);
      } else {
        ready_.push_front(job);
        estimate_.expect(jobs_[job].expected);
      }
    }
    followers_.erase(found);
  }

  bool copy_result(const BatchResult& done, size_t leader, size_t job, BatchResult& result) const {
    const Path &graph = jobs_[leader].graph, other = jobs_[job].graph;
    if (done.ending() != Ending::kOk || done.key != result.key) return false;
    try {
      if (!same_inputs(done, graph, other)) return false;
      const Path to = artifact(jobs_[job]);
      fs::create_directories(to.parent_path());
      AtomicFile file(to);
      file.write(map_file(artifact(jobs_[leader])).bytes);
      file.commit();
      result.hash = hash_file(to);
    } catch (const UserError&) {  // its own worker will say what is wrong
      return false;
    } catch (const fs::filesystem_error&) {
      return false;
    }
    for (const ReadFile& file : done.files) {
      result.files.push_back(stat_file(beside(file.path, graph, other)));
    }
    result.artifact = result.name + options_.suffix;
    result.artifact_bytes = done.artifact_bytes;
    result.same_as = done.name;
    result.attempts.push_back({done.attempts.back().level});
    return result.hash == done.hash;
  }

  // `file`, which lies below the folder of one graph, below that of another.
  static std::string beside(const std::string& file, const Path& graph, const Path& other) {
    std::error_code error;
    const Path folder = fs::weakly_canonical(fs::absolute(graph).parent_path(), error);
    return (fs::absolute(other).parent_path() / Path(file).lexically_relative(folder)).string();
  }

  static bool same_inputs(const BatchResult& done, const Path& graph, const Path& other) {
    return same_bytes(graph, other) && std::ranges::all_of(done.files, [&](const ReadFile& file) {
             return same_bytes(file.path, beside(file.path, graph, other));
           });
  }

  void show_progress() {
    double running = 0;
    for (const Running& one : running_) running += seconds_since(one.begin);
    const double longest = ready_.empty() ? 0 : jobs_[ready_.front()].expected;
    progress_.show(summary_.graphs(), summary_.failures(), estimate_.left(running, longest));
  }

  const BatchOptions& options_;
  std::vector<BatchJob> jobs_;
  ResultsFile results_;
  Interruption interruption_;
  BatchSummary summary_;
  BatchEstimate estimate_;
  BatchProgress progress_;
  Clock::time_point begin_ = Clock::now();
  std::deque<size_t> ready_;                         // in the order of their begin
  std::map<size_t, std::vector<size_t>> followers_;  // of a job, those equal to it
  std::vector<Running> running_;
  std::optional<std::pair<std::vector<std::string>, CompileOptions>> parsed_;
  bool stopped_ = false;  // by a failure
};

void make_folder(const Path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    file_error(Code::kCannotWrite, "cannot create the folder: " + error.message(), folder);
  }
}

}  // namespace

void batch(const BatchOptions& options) {
  make_folder(options.output);
  Batch batch(options, collect_jobs(options));
  batch.run();
  const BatchSummary& summary = batch.summary();
  std::ostream& out = options.results == "-" ? std::cerr : std::cout;
  summary.print(out, batch.seconds(), batch.left());
  if (summary.failures() != 0) {
    const bool stopped = batch.left() != 0;
    const std::string message = std::to_string(summary.failures()) + " of " +
                                std::to_string(summary.graphs() + batch.left()) + " graphs failed";
    throw UserError(ExitCode::kBatch,
                    Diagnostic{.message = message,
                               .hint = stopped ? "--keep-going goes on after a failure" : "",
                               .file = results_path(options)});
  }
}

void plan_batch(const BatchOptions& options, std::ostream& out) {
  make_folder(options.output);
  const std::vector<BatchJob> jobs = collect_jobs(options);
  const ResultsFile results(results_path(options), true);
  out << plan_head(options, results_path(options)) << "\n";
  for (const BatchJob& job : jobs) {
    const std::string key = job_key(options, job);
    const auto recorded = options.resume ? results.recorded(job.name) : std::nullopt;
    if (recorded && is_settled(*recorded, key, options)) continue;
    out << manifest_line(job, key) << "\n";
  }
}

}  // namespace gcomp::driver
