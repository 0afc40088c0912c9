#include "batch_worker.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "gcomp/driver/batch.h"
#include "gcomp/driver/crash.h"
#include "gcomp/support/files.h"

namespace gcomp::driver {
namespace {

namespace fs = std::filesystem;

constexpr int kReportDescriptor = 3;           // of the worker
constexpr size_t kMostText = size_t{1} << 20;  // kept of what a worker writes

[[noreturn]] void fail(const char* what, int error) {
  file_error(Code::kNoWorker, std::string(what) + ": " + std::strerror(error), "",
             "give -j a smaller number");
}

// A file named like an option or a subcommand is still a file.
std::string as_file(const Path& path) {
  const std::string text = path.string();
  return text.starts_with("-") ? "./" + text : text;
}

struct Pipe {
  Pipe() {
    std::array<int, 2> ends;
    if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) fail("no pipe to a worker", errno);
    read = ends[0];
    write = ends[1];
    ::fcntl(write, F_SETFL, 0);  // only the reader never waits
  }
  ~Pipe() {
    if (read >= 0) ::close(read);
    ::close(write);
  }
  int take_read() { return std::exchange(read, -1); }
  int read, write;
};

// The worker's process group is its own, its signals are as at the begin.
class SpawnSettings {
 public:
  SpawnSettings(int errors, int report) {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&actions_, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions_, errors, STDERR_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions_, report, kReportDescriptor);
    ::posix_spawnattr_init(&attributes_);
    ::posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    ::posix_spawnattr_setpgroup(&attributes_, 0);
    sigset_t none, ends;
    ::sigemptyset(&none);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::sigemptyset(&ends);
    for (int number : {SIGINT, SIGTERM, SIGHUP, SIGALRM, SIGPIPE}) ::sigaddset(&ends, number);
    ::posix_spawnattr_setsigdefault(&attributes_, &ends);
  }
  ~SpawnSettings() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  pid_t spawn(const std::vector<std::string>& words) {
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    pid_t pid = -1;
    const int error =
        ::posix_spawn(&pid, "/proc/self/exe", &actions_, &attributes_, arguments.data(), environ);
    if (error != 0) fail("no worker can be started", error);
    return pid;
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

// What there is; what is too much is thrown away.
void read_some(int descriptor, std::string& text) {
  std::array<char, 16384> block;
  for (;;) {
    const ssize_t n = ::read(descriptor, block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    text.append(block.data(), std::min(static_cast<size_t>(n), kMostText - text.size()));
  }
}

// Of make's rule "out: file file", as compile() writes it.
std::vector<std::string> files_of_rule(const std::string& rule, const std::string& output) {
  std::vector<std::string> files;
  std::string word;
  for (size_t i = 0; i < rule.size(); ++i) {
    const char c = rule[i];
    if (c == '\\' && i + 1 < rule.size() && (rule[i + 1] == ' ' || rule[i + 1] == '#')) {
      word += rule[++i];
    } else if (c == '$' && i + 1 < rule.size() && rule[i + 1] == '$') {
      word += rule[++i];
    } else if (c == ' ' || c == '\n') {
      if (!word.empty() && word != output + ":") files.push_back(word);
      word.clear();
    } else {
      word += c;
    }
  }
  return files;
}

// What a worker says with --diagnostics=json, an object a line; notes are left out. Other lines are of a library that
// ends the process.
std::vector<BatchError> errors_of_text(const std::string& text) {
  std::vector<BatchError> errors;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object()) {
      if (!line.empty()) errors.push_back({"", line, "", ""});
    } else if (json.value("severity", "") == "error") {
      const auto part = [&](const char* key) { return json.value(key, std::string()); };
      errors.push_back(
          {part("code"), part("message"), part("file"), part("place"), part("pass"), part("hint")});
    }
  }
  return errors;
}

bool has_code(const std::vector<BatchError>& errors, Code code) {
  return std::ranges::find(errors, gcomp::to_string(code), &BatchError::code) != errors.end();
}

Ending ending_of(int exit_code, const std::vector<BatchError>& errors) {
  switch (static_cast<ExitCode>(exit_code)) {
    case ExitCode::kDone: return Ending::kOk;
    case ExitCode::kGraph: return Ending::kGraph;
    case ExitCode::kUsage: return Ending::kUsage;
    case ExitCode::kFiles: return Ending::kFiles;
    case ExitCode::kLimit:
      return has_code(errors, Code::kTimeLimit) ? Ending::kTime : Ending::kMemory;
    default: return Ending::kCrash;
  }
}

// A process that is started has the peak of the one that starts it until it has more: what a graph of a gigabyte
// took to compare must not be told of every worker.
void forget_peak() {
  const int file = ::open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  [[maybe_unused]] const ssize_t n =
      ::write(file, "5", 1);  // the peak becomes what is resident now
  ::close(file);
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

}  // namespace

std::string compile_command_line(const Path& graph, const Path& output,
                                 const std::vector<std::string>& arguments) {
  std::vector<std::string> words{as_file(graph), "-o", output.string()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return shell_command(words);
}

BatchWorker::BatchWorker(const Path& graph, const Path& output, std::vector<std::string> arguments,
                         double kill_after)
    : graph_(graph),
      output_(output),
      command_(compile_command_line(graph, output, arguments)),
      kill_after_(kill_after) {
  std::vector<std::string> words{"gcomp",
                                 "--parent=" + std::to_string(::getpid()),
                                 "compile",
                                 as_file(graph),
                                 "-o",
                                 output.string(),
                                 "--depfile",
                                 "/dev/fd/" + std::to_string(kReportDescriptor),
                                 "--diagnostics=json"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  Pipe errors, report;
  forget_peak();
  pid_ = SpawnSettings(errors.write, report.write).spawn(words);
  process_ = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  if (process_ < 0) {
    const int error = errno;
    kill();
    ::waitpid(pid_, nullptr, 0);
    fail("a worker cannot be watched", error);
  }
  ::fcntl(process_, F_SETFD, FD_CLOEXEC);
  errors_ = errors.take_read();
  report_ = report.take_read();
}

BatchWorker::~BatchWorker() {
  if (!ended_) {
    kill();
    ::waitpid(pid_, nullptr, 0);
  }
  for (int descriptor : {process_, errors_, report_}) {
    if (descriptor >= 0) ::close(descriptor);
  }
}

void BatchWorker::wait_on(std::vector<pollfd>& all) const {
  for (int descriptor : {process_, errors_, report_}) {
    if (descriptor >= 0) all.push_back({descriptor, POLLIN, 0});
  }
}

double BatchWorker::seconds_to_kill() const {
  if (kill_after_ <= 0 || killed_) return std::numeric_limits<double>::infinity();
  return kill_after_ - std::chrono::duration<double>(Clock::now() - begin_).count();
}

void BatchWorker::interrupt() const { ::kill(-pid_, SIGTERM); }
void BatchWorker::kill() const { ::kill(-pid_, SIGKILL); }

bool BatchWorker::advance() {
  if (seconds_to_kill() <= 0) {
    killed_ = true;
    kill();
  }
  read_some(errors_, error_text_);
  read_some(report_, report_text_);
  pollfd ended{process_, POLLIN, 0};
  if (::poll(&ended, 1, 0) <= 0) return false;
  reap();
  return true;
}

void BatchWorker::reap() {
  int status = 0;
  rusage usage{};
  while (::wait4(pid_, &status, 0, &usage) < 0 && errno == EINTR) {
  }
  attempt_.seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
  attempt_.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  attempt_.peak_bytes = static_cast<uint64_t>(usage.ru_maxrss) << 10;
  read_some(errors_, error_text_);
  read_some(report_, report_text_);
  describe_end(status);
  std::error_code error;  // what a process leaves that had no time to tidy up
  fs::remove(output_.string() + ".tmp" + std::to_string(pid_), error);
  ended_ = true;
}

void BatchWorker::describe_end(int status) {
  attempt_.errors = errors_of_text(error_text_);
  const auto add = [&](Code code, const std::string& message) {
    attempt_.errors.insert(attempt_.errors.begin(), batch_error(code, message, graph_.string()));
  };
  char text[128];
  if (!WIFSIGNALED(status)) {
    attempt_.ending = ending_of(WEXITSTATUS(status), attempt_.errors);
    if (attempt_.ending == Ending::kOk) {
      attempt_.errors.clear();
      files_ = files_of_rule(report_text_, output_.string());
    } else if (attempt_.errors.empty()) {
      std::snprintf(text, sizeof text, "a worker ended with exit code %d and said nothing",
                    WEXITSTATUS(status));
      add(Code::kWorkerEnded, text);
    }
  } else if (killed_) {
    attempt_.ending = Ending::kHang;
    std::snprintf(text, sizeof text, "did not end at its time limit; killed after %.3g s",
                  attempt_.seconds);
    add(Code::kHang, text);
  } else {
    attempt_.ending = Ending::kKilled;
    const char* name = ::sigabbrev_np(WTERMSIG(status));
    std::snprintf(text, sizeof text, "the worker was ended by SIG%s, not by gcomp",
                  name == nullptr ? "?" : name);
    add(Code::kWorkerEnded, text);
  }
}

std::string BatchWorker::keep_reproducer() const {
  Path folder = output_;
  folder.replace_extension(".reproducer");
  std::error_code error;
  fs::remove_all(folder, error);
  const Path written = output_.parent_path() / ("gcomp-reproducer-" + std::to_string(pid_));
  fs::rename(written, folder, error);
  if (!error) return folder.string();
  fs::create_directories(folder, error);
  try {
    write_file(folder / "command", command_ + "\n");
    write_file(folder / "message", attempt_.errors.front().message + "\n");
  } catch (const UserError&) {  // no room for it: the result tells what happened
    return "";
  }
  fs::copy_file(graph_, folder / ("graph" + graph_.extension().string()), error);
  return folder.string();
}

void end_with_parent(int parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent)
    ::_exit(static_cast<int>(ExitCode::kInternal));  // it has ended already
}

}  // namespace gcomp::driver
