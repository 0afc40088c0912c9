#include "gcomp/support/jobserver.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <string>
#include <utility>

namespace gcomp {
namespace {

constexpr int kSlots = 1024;
constexpr int kFree = -1, kReserved = -2;  // else the token's byte, which goes back as it came

// Global, since a signal handler has no other way to know.
struct Held {
  std::atomic<int> read_end = -1, write_end = -1;
  std::atomic<int> changing = 0;  // threads between the pipe and a slot
  std::atomic<bool> closing = false;
  std::atomic<int> slots[kSlots];
  Held() {
    for (auto& slot : slots) slot = kFree;
  }
};
Held held;  // NOLINT(readability-identifier-naming)

// While one lives, no handler runs on this thread, and those on others wait: a token is in the pipe or in a slot.
class Changing {
 public:
  Changing() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, &before_);
    ++held.changing;
  }
  ~Changing() {
    --held.changing;
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  Changing(const Changing&) = delete;
  Changing& operator=(const Changing&) = delete;

 private:
  sigset_t before_;
};

void give_back(std::atomic<int>& slot) {
  const int token = slot.exchange(kFree);
  if (token < 0) return;
  const auto byte = static_cast<char>(token);
  while (::write(held.write_end, &byte, 1) < 0 && errno == EINTR) {
  }
}

// The value of the last --jobserver-auth in what precedes make's variables.
std::string_view find_auth(std::string_view flags) {
  flags = flags.substr(0, flags.find(" -- "));
  std::string_view found;
  for (const std::string_view option :
       {"--jobserver-fds=", "--jobserver-auth="}) {  // make 4.1, since
    const size_t at = flags.rfind(option);
    if (at == std::string_view::npos) continue;
    found = flags.substr(at + option.size());
    found = found.substr(0, found.find(' '));
  }
  return found;
}

// The two ends, if the numbers are those of one pipe: another file may have them by now.
bool is_pipe(int read_end, int write_end) {
  struct stat a{}, b{};
  if (::fstat(read_end, &a) != 0 || ::fstat(write_end, &b) != 0) return false;
  const int reading = ::fcntl(read_end, F_GETFL) & O_ACCMODE;
  const int writing = ::fcntl(write_end, F_GETFL) & O_ACCMODE;
  return S_ISFIFO(a.st_mode) && S_ISFIFO(b.st_mode) && a.st_dev == b.st_dev &&
         a.st_ino == b.st_ino && reading != O_WRONLY && writing != O_RDONLY;
}

std::pair<int, int> open_pipe(std::string_view auth) {
  const size_t comma = auth.find(',');
  int numbers[2] = {-1, -1};
  const auto parse = [](std::string_view text, int* number) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
    return error == std::errc() && end == text.data() + text.size() && *number >= 0;
  };
  if (comma == std::string_view::npos || !parse(auth.substr(0, comma), &numbers[0]) ||
      !parse(auth.substr(comma + 1), &numbers[1]) || !is_pipe(numbers[0], numbers[1])) {
    return {-1, -1};
  }
  // Opened anew: not waiting is a property of the opened file, which make and others share.
  const std::string again = "/proc/self/fd/" + std::to_string(numbers[0]);
  return {::open(again.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC),
          ::fcntl(numbers[1], F_DUPFD_CLOEXEC, 0)};
}

std::pair<int, int> open_fifo(std::string_view path) {
  const int fifo = ::open(std::string(path).c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fifo < 0) return {-1, -1};
  return {fifo, ::fcntl(fifo, F_DUPFD_CLOEXEC, 0)};
}

}  // namespace

std::unique_ptr<JobServer> JobServer::open(std::string_view makeflags) {
  constexpr std::string_view kFifo = "fifo:";
  const std::string_view auth = find_auth(makeflags);
  if (auth.empty()) return nullptr;
  const bool fifo = auth.starts_with(kFifo);
  const auto [read_end, write_end] = fifo ? open_fifo(auth.substr(kFifo.size())) : open_pipe(auth);
  if (read_end >= 0 && write_end >= 0 && is_pipe(read_end, write_end)) {
    return std::unique_ptr<JobServer>(new JobServer(read_end, write_end));
  }
  for (const int end : {read_end, write_end}) {
    if (end >= 0) ::close(end);
  }
  return nullptr;
}

JobServer::JobServer(int read_end, int write_end) {
  held.read_end = read_end;
  held.write_end = write_end;
}

JobServer::~JobServer() {
  ::close(held.read_end.exchange(-1));
  ::close(held.write_end.exchange(-1));
}

std::optional<JobServer::Token> JobServer::take() {
  const Changing changing;
  if (held.closing) return std::nullopt;
  for (int i = 0; i < kSlots; ++i) {
    int expected = kFree;
    if (!held.slots[i].compare_exchange_strong(expected, kReserved)) continue;
    unsigned char byte = 0;
    const bool taken = ::read(held.read_end, &byte, 1) == 1;
    held.slots[i] = taken ? int{byte} : kFree;
    return taken ? std::optional(Token(i)) : std::nullopt;
  }
  return std::nullopt;
}

JobServer::Token::Token(Token&& other) noexcept : slot_(std::exchange(other.slot_, -1)) {}

JobServer::Token& JobServer::Token::operator=(Token&& other) noexcept {
  std::swap(slot_, other.slot_);
  return *this;
}

JobServer::Token::~Token() {
  if (slot_ < 0) return;
  const Changing changing;
  give_back(held.slots[slot_]);
}

void give_back_tokens() noexcept {
  held.closing = true;
  // Others are there for a system call; a second is for one that crashed in between.
  for (int i = 0; i < 1000 && held.changing > 0; ++i) {
    const timespec millisecond{0, 1'000'000};
    ::nanosleep(&millisecond, nullptr);
  }
  for (auto& slot : held.slots) give_back(slot);
}

}  // namespace gcomp
