// Everything here may run in a signal handler of a process whose heap is broken: fixed buffers made
// ready beforehand, system calls, and no allocation.

#include "gcomp/driver/crash.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "gcomp/support/error.h"
#include "gcomp/support/jobserver.h"
#include "gcomp/support/temporaries.h"
#include "last_words.h"

namespace gcomp::driver {
namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
constexpr size_t kPathBytes = 4096;
constexpr size_t kStageBytes = 64;
constexpr size_t kHandlerStackBytes = 64 << 10;  // the crash may be of a full stack

// The one thing that is global: a signal handler has no other way to know.
struct Report {
  bool ready = false;
  char folder[kPathBytes];
  char command_file[kPathBytes + 16];
  char message_file[kPathBytes + 16];
  char graph_copy[kPathBytes + 64];
  char graph[kPathBytes];
  char advice[kPathBytes + 64];
  char command[4 * kPathBytes];
  char stage[kStageBytes] = "start";
};
Report report;  // NOLINT(readability-identifier-naming)
alignas(64) char handler_stack[kHandlerStackBytes];

void write_all(int file, const char* text, size_t size) {
  while (size > 0) {
    const ssize_t n = ::write(file, text, size);
    if (n <= 0) return;
    text += n;
    size -= static_cast<size_t>(n);
  }
}

void write_text_file(const char* path, std::initializer_list<const char*> parts) {
  const int file = ::open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return;
  for (const char* part : parts) write_all(file, part, std::strlen(part));
  ::close(file);
}

void copy_file(const char* from, const char* to) {
  const int source = ::open(from, O_RDONLY | O_CLOEXEC);
  if (source < 0) return;
  const int target = ::open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  char block[16384];
  for (ssize_t n; target >= 0 && (n = ::read(source, block, sizeof block)) > 0;) {
    write_all(target, block, static_cast<size_t>(n));
  }
  ::close(source);
  if (target >= 0) ::close(target);
}

bool write_folder(const char* message) {
  if (!report.ready) return false;
  if (::mkdir(report.folder, 0755) != 0 && errno != EEXIST) return false;
  write_text_file(report.command_file, {report.command, "\n"});
  write_text_file(report.message_file, {"while: ", report.stage, "\n", message, "\n"});
  copy_file(report.graph, report.graph_copy);
  return true;
}

void on_end(int number) {  // the default action, restored by SA_RESETHAND, follows
  leave_nothing();
  ::raise(number);
}

void on_fatal_signal(int number) {
  leave_nothing();
  const char* what = sigabbrev_np(number);
  char message[128];
  std::snprintf(message, sizeof message, "internal error: signal SIG%s",
                what != nullptr ? what : "?");
  const bool written = write_folder(message + std::strlen("internal error: "));
  say_last_words(static_cast<int>(Code::kCrash), message, written ? report.advice : "");
  ::_exit(static_cast<int>(ExitCode::kInternal));
}

void copy_text(char* to, size_t size, const std::string& text) {
  std::snprintf(to, size, "%s", text.c_str());
}

}  // namespace

std::string shell_command(const std::vector<std::string>& arguments) {
  std::string text = "gcomp";
  for (const std::string& a : arguments) {
    text += " '";
    for (char c : a) text += c == '\'' ? "'\\''" : std::string(1, c);
    text += "'";
  }
  return text;
}

void prepare_reproducer(const std::string& command) {
  copy_text(report.command, sizeof report.command, command);
  set_crash_graph({}, {});
  report.ready = true;
  const stack_t stack{handler_stack, 0, sizeof handler_stack};
  ::sigaltstack(&stack, nullptr);
  struct sigaction action{};
  action.sa_handler = on_fatal_signal;
  action.sa_flags = SA_ONSTACK | SA_RESETHAND;
  for (int number : kSignals) ::sigaction(number, &action, nullptr);
}

void set_crash_graph(const std::filesystem::path& graph, const std::filesystem::path& output) {
  const std::string name = "gcomp-reproducer-" + std::to_string(::getpid());
  const std::string place = (output.parent_path() / name).string();
  copy_text(report.folder, sizeof report.folder, place);
  copy_text(report.advice, sizeof report.advice,
            "a reproducer is in " + place + "; please report it");
  copy_text(report.command_file, sizeof report.command_file, place + "/command");
  copy_text(report.message_file, sizeof report.message_file, place + "/message");
  copy_text(report.graph_copy, sizeof report.graph_copy,
            place + "/graph" + graph.extension().string());
  copy_text(report.graph, sizeof report.graph, graph.string());
}

void set_crash_stage(const std::string& name) {
  copy_text(report.stage, sizeof report.stage, name);
}

void leave_nothing() noexcept {
  remove_temporaries();
  give_back_tokens();
}

const char* crash_stage() { return report.stage; }

void end_cleanly_on_signals() {
  // A file that reaches the limit of `ulimit -f` is then an error of writing, as a full disk is.
  ::signal(SIGXFSZ, SIG_IGN);
  for (int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action{};
    ::sigaction(number, nullptr, &action);
    if (action.sa_handler == SIG_IGN) continue;  // as under nohup
    action.sa_handler = on_end;
    action.sa_flags = SA_ONSTACK | SA_RESETHAND;
    ::sigaction(number, &action, nullptr);
  }
}

std::string write_reproducer(const std::string& message) {
  return write_folder(message.c_str()) ? report.folder : "";
}

}  // namespace gcomp::driver
