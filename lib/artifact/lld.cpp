// lld reads and writes files by name. Inputs are memory files named through /proc/self/fd; the output is a pipe, which lld
// fills in one go from its buffer (--no-mmap-output-file) while a thread here empties it. So nothing is ever created in a
// folder, whatever happens.

#include "lld.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <new>
#include <thread>

#include "gcomp/support/error.h"
#include "lld/Common/Driver.h"
#include "llvm/Support/raw_ostream.h"

LLD_HAS_DRIVER(elf)

// lld 19 forgets to clear these between links: after a -shared link, a -r link writes through the stale pointers. Its
// headers are not installed, so the class is declared here as far as the names of its members go.
// NOLINTBEGIN(readability-identifier-naming)
namespace lld::elf {
class Defined;
struct ElfSym {
  static Defined *bss, *edata1, *edata2, *end1, *end2, *etext1, *etext2;
  static Defined *globalOffsetTable, *relaIpltStart, *relaIpltEnd, *tlsModuleBase;
};
}  // namespace lld::elf
// NOLINTEND(readability-identifier-naming)

namespace gcomp::artifact {
namespace {

constexpr int kPipeBytes = 1 << 20;
constexpr size_t kReadBytes = 1 << 20;

[[noreturn]] void system_error(const char* what) {
  const char* const hint =
      errno == EFBIG ? "the limit on the size of files (ulimit -f) counts for files in memory too"
                     : "";
  throw UserError(ExitCode::kFiles,
                  Diagnostic{std::string("cannot link: ") + what + ": " + std::strerror(errno), "",
                             hint, Code::kCannotWrite});
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() { close(); }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  int get() const { return fd_; }
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

Descriptor memory_file(const LldFile& file) {
  Descriptor fd(::memfd_create(file.name.c_str(), MFD_CLOEXEC));
  if (fd.get() < 0) system_error("memory file");
  for (size_t done = 0; done < file.bytes.size();) {
    const ssize_t n = ::write(fd.get(), file.bytes.data() + done, file.bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) system_error("memory file");
    done += static_cast<size_t>(n);
  }
  return fd;
}

void drain(int fd, std::vector<std::byte>& to) {
  size_t size = 0;
  for (;;) {
    to.resize(size + kReadBytes);
    const ssize_t n = ::read(fd, to.data() + size, kReadBytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    size += static_cast<size_t>(n);
    if (to.capacity() - size < kReadBytes) to.reserve(2 * to.capacity());
  }
  to.resize(size);
}

// lld's messages speak of /proc/self/fd/N.
std::string with_names(std::string text, const std::vector<LldFile>& files,
                       const std::vector<Descriptor>& inputs) {
  for (size_t i = files.size(); i-- > 0;) {
    const std::string path = inputs[i].path();
    for (size_t at = text.find(path); at != std::string::npos; at = text.find(path, at)) {
      text.replace(at, path.size(), files[i].name);
      at += files[i].name.size();
    }
  }
  return text;
}

void clear_stale_symbols() {
  using S = lld::elf::ElfSym;
  for (auto** symbol :
       {&S::bss, &S::edata1, &S::edata2, &S::end1, &S::end2, &S::etext1, &S::etext2,
        &S::globalOffsetTable, &S::relaIpltStart, &S::relaIpltEnd, &S::tlsModuleBase}) {
    *symbol = nullptr;
  }
}

bool call_lld(const std::vector<std::string>& arguments, std::string& messages) {
  static std::mutex one_at_a_time;
  static bool broken = false;  // after a crash inside, lld must not be called again
  std::vector<const char*> pointers;
  for (const std::string& argument : arguments) pointers.push_back(argument.c_str());
  llvm::raw_string_ostream stream(messages);
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  if (broken) return false;
  clear_stale_symbols();
  const lld::Result result = lld::lldMain(pointers, stream, stream, {{lld::Gnu, &lld::elf::link}});
  broken = !result.canRunAgain;
  return result.retCode == 0;
}

}  // namespace

std::vector<std::byte> run_lld(const std::vector<std::string>& options,
                               const std::vector<LldFile>& files) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) system_error("pipe");
  Descriptor read_end(ends[0]), write_end(ends[1]);
  ::fcntl(write_end.get(), F_SETPIPE_SZ, kPipeBytes);  // only for speed
  if (::access(write_end.path().c_str(), F_OK) != 0) {
    throw UserError(ExitCode::kFiles,
                    Diagnostic{"cannot link: the linker's files are named through /proc/self/fd",
                               "", "mount /proc", Code::kCannotWrite});
  }

  std::vector<std::string> arguments = {"ld.lld", "--no-mmap-output-file", "--threads=1", "-o",
                                        write_end.path()};
  arguments.insert(arguments.end(), options.begin(), options.end());
  std::vector<Descriptor> inputs;
  for (const LldFile& file : files) {
    inputs.push_back(memory_file(file));
    const std::string path = inputs.back().path();
    arguments.push_back(file.name == "--version-script" ? file.name + "=" + path : path);
  }

  std::vector<std::byte> image;
  std::thread reader([&] { drain(read_end.get(), image); });
  std::string messages;
  const bool done = call_lld(arguments, messages);
  write_end.close();
  reader.join();
  if (!done && messages.find(std::strerror(ENOMEM)) != std::string::npos) throw std::bad_alloc();
  GCOMP_CHECK(done && !image.empty(), "lld failed: " + with_names(messages, files, inputs));
  return image;
}

}  // namespace gcomp::artifact
