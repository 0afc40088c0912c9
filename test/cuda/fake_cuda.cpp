// A libcuda.so.1 for machines without a GPU: the part of the driver's interface that the runtime uses, on memory
// of the host. Work is done as late as it may be (when somebody waits for it), so that results which nobody waited
// for are not there. Memory of the "device" cannot be touched but by the driver's own work, with unreachable pages
// around each piece. Kernels run by gcomp_emulate() of the libraries that GCOMP_FAKE_CUDA_KERNELS names
// (separated by colons).
//
// Faults on request, through the environment (fake_cuda.h lists them).

#include "fake_cuda.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace {

using Result = int;
constexpr Result kSuccess = 0, kInvalidValue = 1, kOutOfMemory = 2, kNoDevice = 100,
                 kInvalidDevice = 101, kInvalidContext = 201, kInvalidImage = 200,
                 kNoBinaryForGpu = 209, kUnsupportedPtx = 222, kNotFound = 500, kLaunchFailed = 719;

using Emulate = int (*)(const char*, uint32_t, uint32_t, uint32_t, const uint64_t*);
using Work = std::function<void()>;

struct Function {
  std::string name;
  const std::vector<Emulate>* kernels;
};
struct Module {
  std::vector<Emulate> kernels;  // as the environment says when it is loaded
  std::map<std::string, std::unique_ptr<Function>> functions;
};
struct Graph {
  std::vector<Work> work;
};
struct Stream {
  std::deque<Work> queue;
  uint64_t issued = 0, done = 0;
  bool blocking = true;  // it waits for the null stream, and that for it
  std::unique_ptr<Graph> capture;
};
struct Event {
  Stream* stream = nullptr;
  uint64_t at = 0;
};

struct Memory {
  char* pages;
  size_t page_bytes, offset, bytes;
  bool on_device;
};

int setting(const char* name, int otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr || *text == 0 ? otherwise : std::atoi(text);
}

struct Driver {
  std::recursive_mutex mutex;
  bool lost = false;
  int opened = 0;                      // of memory: nested work
  std::map<uintptr_t, Memory> memory;  // by first byte
  Stream null_stream;
  std::vector<Stream*> streams;
  std::map<std::string, uint64_t> counts;
  int64_t live = 0;

  uint64_t count(const char* what, uint64_t n = 1) { return counts[what] += n; }
};

Driver& driver() {
  static auto* const made = new Driver;  // outlives everything that may call at exit
  return *made;
}

thread_local std::vector<void*> contexts;

const size_t kPage = static_cast<size_t>(sysconf(_SC_PAGESIZE));

// While one lives, device memory can be read and written.
class Access {
 public:
  Access() {
    if (driver().opened++ == 0) protect(PROT_READ | PROT_WRITE);
  }
  ~Access() {
    if (--driver().opened == 0) protect(PROT_NONE);
  }
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;

 private:
  static void protect(int how) {
    for (const auto& [begin, m] : driver().memory) {
      if (m.on_device) mprotect(m.pages + kPage, m.page_bytes - 2 * kPage, how);
    }
  }
};

// The end at the end of a page (but for alignment), pages without access before and behind.
Result make_memory(size_t bytes, bool on_device, void** made) {
  constexpr size_t kAlignment = 256;
  const size_t rounded = (std::max<size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  const size_t inner = (rounded + kPage - 1) / kPage * kPage, all = inner + 2 * kPage;
  void* const pages =
      mmap(nullptr, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) return kOutOfMemory;
  Driver& d = driver();
  const size_t offset = kPage + inner - rounded;
  if (!on_device || d.opened != 0)
    mprotect(static_cast<char*>(pages) + kPage, inner, PROT_READ | PROT_WRITE);
  if (on_device) {  // nobody may count on zeros
    mprotect(static_cast<char*>(pages) + kPage, inner, PROT_READ | PROT_WRITE);
    std::memset(static_cast<char*>(pages) + kPage, 0xa5, inner);
    if (d.opened == 0) mprotect(static_cast<char*>(pages) + kPage, inner, PROT_NONE);
  }
  *made = static_cast<char*>(pages) + offset;
  d.memory[reinterpret_cast<uintptr_t>(*made)] = {static_cast<char*>(pages), all, offset, bytes,
                                                  on_device};
  ++d.live;
  return kSuccess;
}

Result free_memory(const void* memory, bool on_device) {
  Driver& d = driver();
  const auto found = d.memory.find(reinterpret_cast<uintptr_t>(memory));
  if (found == d.memory.end() || found->second.on_device != on_device) return kInvalidValue;
  munmap(found->second.pages, found->second.page_bytes);
  d.memory.erase(found);
  --d.live;
  return kSuccess;
}

// What holds all of [at, at + bytes), or null.
const Memory* find_memory(uintptr_t at, size_t bytes) {
  auto after = driver().memory.upper_bound(at);
  if (after == driver().memory.begin()) return nullptr;
  --after;
  return at + bytes <= after->first + std::max<size_t>(after->second.bytes, 1) ? &after->second
                                                                               : nullptr;
}
bool on_device(uintptr_t at, size_t bytes) {
  const Memory* const m = find_memory(at, bytes);
  return m != nullptr && m->on_device;
}
bool is_pinned(const void* at, size_t bytes) {
  const Memory* const m = find_memory(reinterpret_cast<uintptr_t>(at), bytes);
  return m != nullptr && !m->on_device;
}

void run_until(Stream& s, uint64_t number) {
  while (s.done < number && !driver().lost) {
    const Work work = std::move(s.queue.front());
    s.queue.pop_front();
    ++s.done;
    const Access access;
    work();
  }
  if (driver().lost) {
    s.queue.clear();
    s.done = s.issued;
  }
}
void drain(Stream& s) { run_until(s, s.issued); }

// What was issued to the null stream comes before this, and the other way round.
void order_with_null(Stream& s) {
  Driver& d = driver();
  if (&s != &d.null_stream) {
    if (s.blocking) drain(d.null_stream);
    return;
  }
  for (Stream* other : d.streams) {
    if (other->blocking) drain(*other);
  }
}

Result put(Stream& s, Work work) {
  if (s.capture != nullptr) {
    s.capture->work.push_back(std::move(work));
    return kSuccess;
  }
  order_with_null(s);
  s.queue.push_back(std::move(work));
  ++s.issued;
  return kSuccess;
}

Stream& stream_of(void* handle) {
  return handle == nullptr ? driver().null_stream : *static_cast<Stream*>(handle);
}

std::vector<Emulate> load_kernels() {
  std::vector<Emulate> kernels;
  const char* const text = std::getenv("GCOMP_FAKE_CUDA_KERNELS");
  const std::string list = text == nullptr ? "" : text;
  for (size_t begin = 0; begin < list.size();) {
    const size_t end = std::min(list.find(':', begin), list.size());
    const std::string path = list.substr(begin, end - begin);
    void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    void* const found = library == nullptr ? nullptr : dlsym(library, "gcomp_emulate");
    if (found != nullptr) kernels.push_back(reinterpret_cast<Emulate>(found));
    begin = end + 1;
  }
  return kernels;
}

void run_kernel(const Function& function, uint32_t grid, uint32_t block, uint32_t shared,
                const std::vector<uint64_t>& words) {
  Driver& d = driver();
  const auto fatal = static_cast<uint64_t>(setting("GCOMP_FAKE_CUDA_LOST_AT", 0));
  if (d.count("kernels") == fatal) {
    d.lost = true;
    return;
  }
  for (const Emulate emulate : *function.kernels) {
    if (emulate(function.name.c_str(), grid, block, shared, words.data()) == 0) return;
  }
  d.lost = true;  // no such kernel, or it failed
}

struct Entry {
  std::lock_guard<std::recursive_mutex> lock{driver().mutex};
};

// Every call but the first few needs a current context.
#define GCOMP_FAKE_ENTER                   \
  const Entry entry;                       \
  if (driver().lost) return kLaunchFailed; \
  if (contexts.empty()) return kInvalidContext

// Giving back works on a lost device too, but is an error.
#define GCOMP_FAKE_RELEASE                                        \
  const Entry entry;                                              \
  if (!driver().lost && contexts.empty()) return kInvalidContext; \
  const Result given_back = driver().lost ? kLaunchFailed : kSuccess

}  // namespace

// NOLINTBEGIN(readability-identifier-naming): the driver's names
bool gcomp_fake_cuda_is_current() { return !contexts.empty(); }
bool gcomp_fake_cuda_is_there(const void* memory, size_t bytes) {
  const Entry entry;
  return on_device(reinterpret_cast<uintptr_t>(memory), bytes);
}
int gcomp_fake_cuda_issue(void* stream, std::function<void()> work) {
  GCOMP_FAKE_ENTER;
  return put(stream_of(stream), std::move(work));
}
void gcomp_fake_cuda_add(const char* what, int64_t n) {
  const Entry entry;
  if (std::strcmp(what, "live") == 0) {
    driver().live += n;
  } else {
    driver().count(what, static_cast<uint64_t>(n));
  }
}

extern "C" {

uint64_t gcomp_fake_cuda_count(const char* what) {
  const Entry entry;
  if (std::strcmp(what, "live") == 0) return static_cast<uint64_t>(driver().live);
  return driver().counts[what];
}

void gcomp_fake_cuda_reset() {
  const Entry entry;
  driver().counts.clear();
  driver().lost = false;
}

int cuInit(unsigned) { return setting("GCOMP_FAKE_CUDA_DEVICES", 1) == 0 ? kNoDevice : kSuccess; }
int cuDriverGetVersion(int* version) {
  *version = 12040;
  return kSuccess;
}
int cuGetErrorName(int error, const char** name) {
  switch (error) {
    case kInvalidValue: *name = "CUDA_ERROR_INVALID_VALUE"; break;
    case kOutOfMemory: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case kNoDevice: *name = "CUDA_ERROR_NO_DEVICE"; break;
    case kInvalidImage: *name = "CUDA_ERROR_INVALID_IMAGE"; break;
    case kInvalidContext: *name = "CUDA_ERROR_INVALID_CONTEXT"; break;
    case kNoBinaryForGpu: *name = "CUDA_ERROR_NO_BINARY_FOR_GPU"; break;
    case kUnsupportedPtx: *name = "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"; break;
    case kNotFound: *name = "CUDA_ERROR_NOT_FOUND"; break;
    case kLaunchFailed: *name = "CUDA_ERROR_LAUNCH_FAILED"; break;
    default: return kInvalidValue;
  }
  return kSuccess;
}
int cuDeviceGetCount(int* count) {
  *count = setting("GCOMP_FAKE_CUDA_DEVICES", 1);
  return kSuccess;
}
int cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return ordinal < setting("GCOMP_FAKE_CUDA_DEVICES", 1) ? kSuccess : kInvalidDevice;
}
int cuDeviceGetAttribute(int* value, int attribute, int) {
  const int capability = setting("GCOMP_FAKE_CUDA_CAPABILITY", 90);
  if (attribute == 75) *value = capability / 10;
  if (attribute == 76) *value = capability % 10;
  if (attribute == 16) *value = setting("GCOMP_FAKE_CUDA_MULTIPROCESSORS", 4);
  return kSuccess;
}
int cuDevicePrimaryCtxRetain(void** context, int device) {
  const Entry entry;
  if (driver().lost) return kLaunchFailed;
  ++driver().live;
  *context = reinterpret_cast<void*>(static_cast<uintptr_t>(device) + 1);
  return kSuccess;
}
int cuDevicePrimaryCtxRelease_v2(int) {
  const Entry entry;
  --driver().live;
  return kSuccess;
}
int cuCtxPushCurrent_v2(void* context) {
  contexts.push_back(context);
  return kSuccess;
}
int cuCtxPopCurrent_v2(void** context) {
  if (contexts.empty()) return kInvalidContext;
  *context = contexts.back();
  contexts.pop_back();
  return kSuccess;
}

int cuModuleLoadData(void** module, const void* image) {
  GCOMP_FAKE_ENTER;
  const bool cubin = std::memcmp(image,
                                 "\x7f"
                                 "ELF",
                                 4) == 0;
  if (cubin && setting("GCOMP_FAKE_CUDA_REFUSE_CUBIN", 0) != 0) return kNoBinaryForGpu;
  if (!cubin && setting("GCOMP_FAKE_CUDA_REFUSE_PTX", 0) != 0) return kUnsupportedPtx;
  driver().count(cubin ? "cubins" : "ptx");
  ++driver().live;
  *module = new Module{load_kernels(), {}};
  return kSuccess;
}
int cuModuleUnload(void* module) {
  GCOMP_FAKE_RELEASE;
  --driver().live;
  delete static_cast<Module*>(module);
  return given_back;
}
int cuModuleGetFunction(void** function, void* module, const char* name) {
  GCOMP_FAKE_ENTER;
  auto& m = *static_cast<Module*>(module);
  std::unique_ptr<Function>& made = m.functions[name];
  if (made == nullptr) made = std::make_unique<Function>(Function{name, &m.kernels});
  *function = made.get();
  return kSuccess;
}
int cuFuncSetAttribute(void*, int, int) { return kSuccess; }

int cuMemAlloc_v2(unsigned long long* address, size_t bytes) {
  GCOMP_FAKE_ENTER;
  const auto number = driver().count("allocations");
  if (number == static_cast<uint64_t>(setting("GCOMP_FAKE_CUDA_NO_MEMORY_AT", 0)))
    return kOutOfMemory;
  if (bytes == 0) return kInvalidValue;
  if (bytes > static_cast<size_t>(setting("GCOMP_FAKE_CUDA_MOST_MIB", 4096)) << 20)
    return kOutOfMemory;
  void* made = nullptr;
  const Result result = make_memory(bytes, true, &made);
  *address = reinterpret_cast<uintptr_t>(made);
  return result;
}
int cuMemFree_v2(unsigned long long address) {
  GCOMP_FAKE_RELEASE;
  for (Stream* s : driver().streams) drain(*s);
  const Result result = free_memory(reinterpret_cast<void*>(address), true);
  return given_back == kSuccess ? result : given_back;
}
int cuMemHostAlloc(void** memory, size_t bytes, unsigned) {
  GCOMP_FAKE_ENTER;
  return make_memory(bytes, false, memory);
}
int cuMemFreeHost(void* memory) {
  GCOMP_FAKE_RELEASE;
  const Result result = free_memory(memory, false);
  return given_back == kSuccess ? result : given_back;
}
int cuPointerGetAttribute(void* value, int attribute, unsigned long long address) {
  GCOMP_FAKE_ENTER;
  const Memory* const m = find_memory(address, 1);
  if (m == nullptr) return kInvalidValue;
  if (attribute == 2) *static_cast<unsigned*>(value) = m->on_device ? 2 : 1;
  if (attribute == 9) *static_cast<int*>(value) = 0;
  return kSuccess;
}

int cuMemcpyHtoDAsync_v2(unsigned long long to, const void* from, size_t bytes, void* stream) {
  GCOMP_FAKE_ENTER;
  if (!on_device(to, bytes) || on_device(reinterpret_cast<uintptr_t>(from), 1))
    return kInvalidValue;
  driver().count("uploads");
  driver().count("uploaded bytes", bytes);
  void* const target = reinterpret_cast<void*>(to);
  if (is_pinned(from, bytes)) {
    return put(stream_of(stream), [=] { std::memcpy(target, from, bytes); });
  }
  const auto* const first = static_cast<const char*>(from);
  return put(stream_of(stream), [target, copy = std::vector<char>(first, first + bytes)] {
    std::memcpy(target, copy.data(), copy.size());
  });
}
int cuMemcpyDtoHAsync_v2(void* to, unsigned long long from, size_t bytes, void* stream) {
  GCOMP_FAKE_ENTER;
  if (!on_device(from, bytes) || on_device(reinterpret_cast<uintptr_t>(to), 1))
    return kInvalidValue;
  driver().count("downloads");
  const void* const source = reinterpret_cast<const void*>(from);
  const bool deferred = is_pinned(to, bytes);
  const Result result = put(stream_of(stream), [=] { std::memcpy(to, source, bytes); });
  if (!deferred) drain(stream_of(stream));
  return result;
}
int cuMemcpyDtoDAsync_v2(unsigned long long to, unsigned long long from, size_t bytes,
                         void* stream) {
  GCOMP_FAKE_ENTER;
  if (!on_device(to, bytes) || !on_device(from, bytes)) return kInvalidValue;
  return put(stream_of(stream), [=] {
    std::memmove(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
  });
}
int cuMemsetD8Async(unsigned long long to, unsigned char byte, size_t bytes, void* stream) {
  GCOMP_FAKE_ENTER;
  if (!on_device(to, bytes)) return kInvalidValue;
  return put(stream_of(stream), [=] { std::memset(reinterpret_cast<void*>(to), byte, bytes); });
}

int cuStreamCreate(void** stream, unsigned flags) {
  GCOMP_FAKE_ENTER;
  auto* const made = new Stream;
  made->blocking = flags == 0;
  driver().streams.push_back(made);
  ++driver().live;
  *stream = made;
  return kSuccess;
}
int cuStreamDestroy_v2(void* stream) {
  GCOMP_FAKE_RELEASE;
  drain(stream_of(stream));
  std::erase(driver().streams, static_cast<Stream*>(stream));
  --driver().live;
  delete static_cast<Stream*>(stream);
  return given_back;
}
int cuStreamSynchronize(void* stream) {
  GCOMP_FAKE_ENTER;
  driver().count("waits");
  order_with_null(stream_of(stream));
  drain(stream_of(stream));
  return driver().lost ? kLaunchFailed : kSuccess;
}
int cuEventCreate(void** event, unsigned) {
  GCOMP_FAKE_ENTER;
  ++driver().live;
  *event = new Event;
  return kSuccess;
}
int cuEventDestroy_v2(void* event) {
  GCOMP_FAKE_RELEASE;
  --driver().live;
  delete static_cast<Event*>(event);
  return given_back;
}
int cuEventRecord(void* event, void* stream) {
  GCOMP_FAKE_ENTER;
  *static_cast<Event*>(event) = {&stream_of(stream), stream_of(stream).issued};
  return kSuccess;
}
int cuEventSynchronize(void* event) {
  GCOMP_FAKE_ENTER;
  const Event& e = *static_cast<Event*>(event);
  if (e.stream != nullptr) run_until(*e.stream, e.at);
  return driver().lost ? kLaunchFailed : kSuccess;
}
int cuStreamWaitEvent(void* stream, void* event, unsigned) {
  GCOMP_FAKE_ENTER;
  const Event e = *static_cast<Event*>(event);
  if (e.stream == nullptr) return kSuccess;
  return put(stream_of(stream), [e] { run_until(*e.stream, e.at); });
}

int cuLaunchKernel(void* function, unsigned grid, unsigned grid_y, unsigned grid_z, unsigned block,
                   unsigned block_y, unsigned block_z, unsigned shared, void* stream, void**,
                   void** extra) {
  GCOMP_FAKE_ENTER;
  if (grid == 0 || block == 0 || block > 1024 || grid_y * grid_z * block_y * block_z != 1) {
    return kInvalidValue;
  }
  if (extra[0] != reinterpret_cast<void*>(1) || extra[2] != reinterpret_cast<void*>(2))
    return kInvalidValue;
  const auto* const first = static_cast<const uint64_t*>(extra[1]);
  std::vector<uint64_t> words(first, first + *static_cast<const size_t*>(extra[3]) / 8);
  driver().count("launches");
  return put(stream_of(stream),
             [f = static_cast<Function*>(function), grid, block, shared, words = std::move(words)] {
               run_kernel(*f, grid, block, shared, words);
             });
}

int cuStreamBeginCapture_v2(void* stream, unsigned) {
  GCOMP_FAKE_ENTER;
  if (setting("GCOMP_FAKE_CUDA_NO_GRAPHS", 0) != 0 || stream == nullptr) return kInvalidValue;
  stream_of(stream).capture = std::make_unique<Graph>();
  return kSuccess;
}
int cuStreamEndCapture(void* stream, void** graph) {
  GCOMP_FAKE_ENTER;
  if (stream_of(stream).capture == nullptr) return kInvalidValue;
  ++driver().live;
  *graph = stream_of(stream).capture.release();
  return kSuccess;
}
int cuGraphInstantiateWithFlags(void** exec, void* graph, unsigned long long) {
  GCOMP_FAKE_ENTER;
  ++driver().live;
  driver().count("graphs");
  *exec = new Graph(*static_cast<Graph*>(graph));
  return kSuccess;
}
int cuGraphLaunch(void* exec, void* stream) {
  GCOMP_FAKE_ENTER;
  driver().count("graph launches");
  for (const Work& work : static_cast<Graph*>(exec)->work) put(stream_of(stream), work);
  return kSuccess;
}
int cuGraphExecDestroy(void* exec) {
  GCOMP_FAKE_RELEASE;
  --driver().live;
  delete static_cast<Graph*>(exec);
  return given_back;
}
int cuGraphDestroy(void* graph) { return cuGraphExecDestroy(graph); }

}  // extern "C"
// NOLINTEND(readability-identifier-naming)
