// Which GPU a context uses, if any: found, opened, its code loaded. Code and constants are shared by the contexts
// of an artifact on one GPU.

#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace gcomp::rt::cuda {
namespace {

constexpr unsigned kNonBlocking = 1;         // CUstream_flags
constexpr uint32_t kBlocksEach = 32;         // blocks per multiprocessor
constexpr uint32_t kPlainShared = 48 << 10;  // shared memory a kernel gets without asking

// What the caller or the environment wants.
struct Wish {
  bool cpu, insists, asks;
  int ordinal;  // -1: any
};

gcomp_status read_environment(gcomp_context& c, Wish& wish) {
  const char* const text = getenv("GCOMP_DEVICE");
  if (text == nullptr || *text == 0) return GCOMP_OK;
  wish.cpu = strcmp(text, "cpu") == 0;
  wish.asks = memcmp(text, "cuda", strlen(text) < 4 ? strlen(text) : 4) == 0 && strlen(text) >= 4;
  if (wish.cpu || strcmp(text, "cuda") == 0) return GCOMP_OK;
  char* end = nullptr;
  const long number = wish.asks && text[4] == ':' ? strtol(text + 5, &end, 10) : -1;
  if (end != nullptr && end != text + 5 && *end == 0 && number >= 0 && number < 1024) {
    wish.ordinal = static_cast<int>(number);
    return GCOMP_OK;
  }
  return fail(c, GCOMP_ERROR_STRUCT, "GCOMP_DEVICE=%.40s is not cpu, cuda or cuda:N", text);
}

gcomp_status read_wish(gcomp_context& c, const gcomp_options& options, Wish& wish) {
  wish = {false, options.device_type == GCOMP_CUDA, false, -1};
  if (wish.insists) wish.ordinal = options.device_id;
  if (options.device_type == GCOMP_CPU) wish.cpu = true;
  if (options.device_type == 0) return read_environment(c, wish);
  if (wish.cpu || wish.insists) return GCOMP_OK;
  return fail(c, GCOMP_ERROR_DEVICE, "device_type %d is neither the CPU (%d) nor a GPU (%d)",
              options.device_type, GCOMP_CPU, GCOMP_CUDA);
}

const char* error_name(const Driver& driver, Result error) {
  const char* name = nullptr;
  return driver.error_name(error, &name) == kSuccess && name != nullptr ? name : "unknown error";
}

// What contexts share outlives each of them, hence its allocator.
Allocator own_memory() { return make_allocator(gcomp_options{}); }

gcomp_status fail_driver(gcomp_context& c, const Driver& driver, Result error, const char* what,
                         const char* about) {
  const bool memory = error == kOutOfMemory;
  return fail(c, memory ? GCOMP_ERROR_MEMORY : GCOMP_ERROR_CUDA, "%s: %s in %s%s%.200s",
              memory ? "out of memory of the GPU" : "the GPU failed", error_name(driver, error),
              what, about == nullptr ? "" : ", ", about == nullptr ? "" : about);
}

// After these the driver refuses everything in this process.
bool is_lasting(Result error) {
  constexpr Result kDeinitialised = 4, kUnavailable = 46, kInvalidContext = 201, kEcc = 214,
                   kFirst = 700, kOutOfResources = 701, kTimeout = 702, kLast = 721;
  return error == kDeinitialised || error == kUnavailable || error == kInvalidContext ||
         error == kEcc || error == kTimeout ||
         (error >= kFirst && error <= kLast && error != kOutOfResources);
}

// ---- code ----

bool fits(const DeviceImage& image, uint32_t module, uint32_t capability, bool ptx) {
  if (image.module != module || (image.ptx != 0) != ptx || image.arch > capability) return false;
  return ptx || image.arch / 10 == capability / 10;
}

const DeviceImage* best_image(const DeviceData& data, uint32_t module, uint32_t capability,
                              bool ptx) {
  const DeviceImage* best = nullptr;
  for (uint32_t i = 0; i < data.num_images; ++i) {
    const DeviceImage& image = data.images[i];
    if (!fits(image, module, capability, ptx)) continue;
    if (best == nullptr || image.arch > best->arch) best = &image;
  }
  return best;
}

gcomp_status no_image(gcomp_context& c, uint32_t capability) {
  return fail(c, GCOMP_ERROR_DEVICE,
              "\"%.60s\" has no code for a GPU of compute capability %u.%u; compile it with "
              "--cuda-arch=sm_%u",
              c.artifact->info->name, capability / 10, capability % 10, capability);
}

gcomp_status refused(gcomp_context& c, const Driver& driver, Result error) {
  int version = 0;
  driver.driver_version(&version);
  return fail(c, GCOMP_ERROR_DEVICE,
              "the GPU's driver (CUDA %d.%d) refuses the code of \"%.60s\": %s; a newer driver is "
              "needed",
              version / 1000, version % 1000 / 10, c.artifact->info->name,
              error_name(driver, error));
}

// Machine code where there is some and the driver takes it, else PTX, which the driver translates.
gcomp_status load_module(gcomp_context& c, Shared& s, uint32_t module, uint32_t capability) {
  Result error = kSuccess;
  bool found = false;
  constexpr bool kKinds[] = {false, true};
  for (const bool ptx : kKinds) {
    const DeviceImage* const image = best_image(*c.artifact->device, module, capability, ptx);
    if (image == nullptr) continue;
    found = true;
    error = s.driver.module_load(&s.modules[module], image->data);
    if (error == kSuccess) return GCOMP_OK;
    s.modules[module] = nullptr;
    if (error == kOutOfMemory) return fail_driver(c, s.driver, error, "cuModuleLoadData", nullptr);
  }
  return found ? refused(c, s.driver, error) : no_image(c, capability);
}

gcomp_status find_functions(gcomp_context& c, Shared& s) {
  const DeviceData& data = *c.artifact->device;
  for (uint32_t k = 0; k < data.num_device_kernels; ++k) {
    const DeviceKernel& kernel = data.device_kernels[k];
    Result error = s.driver.module_function(&s.functions[k], s.modules[kernel.module], kernel.name);
    if (error == kSuccess && kernel.shared_bytes > kPlainShared) {
      error = s.driver.function_set(s.functions[k], kMaxDynamicShared,
                                    static_cast<int>(kernel.shared_bytes));
    }
    if (error != kSuccess) return fail_driver(c, s.driver, error, "loading a kernel", kernel.name);
  }
  return GCOMP_OK;
}

gcomp_status upload_constants(gcomp_context& c, Shared& s) {
  const Plan& plan = *c.artifact->device->plan;
  if (plan.device_constant_bytes == 0) return GCOMP_OK;
  Result error = s.driver.allocate(&s.constants, plan.device_constant_bytes);
  if (error != kSuccess) {
    return fail_driver(c, s.driver, error, "cuMemAlloc", "the graph's constants");
  }
  const PlanDeviceConstant* const list = table<PlanDeviceConstant>(plan, plan.device_constants);
  for (uint64_t i = 0; i < plan.device_constants.count && error == kSuccess; ++i) {
    const char* const base = list[i].space == 0 ? c.artifact->constants : c.weights;
    if (list[i].bytes == 0) continue;
    error = s.driver.upload(s.constants + list[i].to, base + list[i].from, list[i].bytes, nullptr);
  }
  if (error == kSuccess) error = s.driver.stream_wait(nullptr);
  if (error == kSuccess) return GCOMP_OK;
  return fail_driver(c, s.driver, error, "cuMemcpyHtoD", "the graph's constants");
}

// With the GPU's context current.
gcomp_status fill_shared(gcomp_context& c, Shared& s) {
  const DeviceData& data = *c.artifact->device;
  int major = 0, minor = 0, multiprocessors = 1;
  s.driver.device_attribute(&major, kMajor, s.number);
  s.driver.device_attribute(&minor, kMinor, s.number);
  s.driver.device_attribute(&multiprocessors, kMultiprocessors, s.number);
  s.max_grid = static_cast<uint32_t>(multiprocessors) * kBlocksEach;
  s.modules = own_memory().zeroed<Module>(data.num_modules);
  s.functions = own_memory().zeroed<Function>(data.num_device_kernels);
  if (s.modules == nullptr || s.functions == nullptr) {
    return fail(c, GCOMP_ERROR_MEMORY, "out of memory for a context");
  }
  gcomp_status status = GCOMP_OK;
  const auto capability = static_cast<uint32_t>(10 * major + minor);
  s.capability = capability;
  for (uint32_t m = 0; m < data.num_modules && status == GCOMP_OK; ++m) {
    status = load_module(c, s, m, capability);
  }
  if (status == GCOMP_OK) status = find_functions(c, s);
  if (status == GCOMP_OK) status = upload_constants(c, s);
  return status;
}

// Also one that was filled in part.
void put_shared(const DeviceData& data, Shared* s) {
  if (s->context != nullptr) {
    s->driver.context_push(s->context);
    if (s->constants != 0) s->driver.deallocate(s->constants);
    for (uint32_t m = 0; s->modules != nullptr && m < data.num_modules; ++m) {
      if (s->modules[m] != nullptr) s->driver.module_unload(s->modules[m]);
    }
    Context context;
    s->driver.context_pop(&context);
    s->driver.context_release(s->number);
  }
  own_memory().put(s->modules);
  own_memory().put(s->functions);
  own_memory().put(s);
}

gcomp_status make_shared(gcomp_context& c, const Driver& driver, int ordinal, Shared** made) {
  auto* const s = own_memory().zeroed<Shared>(1);
  if (s == nullptr) return fail(c, GCOMP_ERROR_MEMORY, "out of memory for a context");
  s->driver = driver;
  s->ordinal = ordinal;
  Result error = driver.device_get(&s->number, ordinal);
  if (error == kSuccess) error = driver.context_retain(&s->context, s->number);
  if (error == kSuccess) error = driver.context_push(s->context);
  gcomp_status status = GCOMP_OK;
  if (error == kSuccess) {
    status = fill_shared(c, *s);
    Context context;
    driver.context_pop(&context);
  } else {
    status = fail_driver(c, driver, error, "opening GPU", "");
  }
  if (status == GCOMP_OK) {
    *made = s;
  } else {
    put_shared(*c.artifact->device, s);
  }
  return status;
}

// ---- devices ----

gcomp_status start_driver(gcomp_context& c, Driver& driver, int* count) {
  const char* const missing = load_driver(driver);
  if (missing == nullptr) {
    return fail(c, GCOMP_ERROR_DEVICE, "there is no GPU driver (libcuda.so.1)");
  }
  if (*missing != 0) {
    return fail(c, GCOMP_ERROR_DEVICE, "the GPU's driver is too old: it has no %s", missing);
  }
  Result error = driver.init(0);
  if (error == kSuccess) error = driver.device_count(count);
  if (error == kNoDevice || (error == kSuccess && *count == 0)) {
    return fail(c, GCOMP_ERROR_DEVICE, "there is no GPU");
  }
  if (error == kSuccess) return GCOMP_OK;
  return fail(c, GCOMP_ERROR_DEVICE, "the GPU's driver does not start: %s",
              error_name(driver, error));
}

// The GPU of that number, opened by another context or now.
gcomp_status find_shared(gcomp_context& c, const Driver& driver, int ordinal, Shared** found) {
  DeviceState& state = *c.artifact->device->state;
  for (auto* s = static_cast<Shared*>(state.shared); s != nullptr; s = s->next) {
    if (s->ordinal != ordinal) continue;
    ++s->references;
    *found = s;
    return GCOMP_OK;
  }
  const gcomp_status status = make_shared(c, driver, ordinal, found);
  if (status != GCOMP_OK) return status;
  (*found)->references = 1;
  (*found)->next = static_cast<Shared*>(state.shared);
  state.shared = *found;
  return GCOMP_OK;
}

// The wanted GPU, or the first that does. The message is that of the first one tried.
gcomp_status acquire(gcomp_context& c, const Wish& wish, Shared** found) {
  Driver driver;
  int count = 0;
  gcomp_status status = start_driver(c, driver, &count);
  if (status != GCOMP_OK) return status;
  if (wish.ordinal >= count) {
    return fail(c, GCOMP_ERROR_DEVICE, "there is no GPU number %d, but %d of them", wish.ordinal,
                count);
  }
  DeviceState& state = *c.artifact->device->state;
  lock(state.lock);
  if (wish.ordinal >= 0) {
    status = find_shared(c, driver, wish.ordinal, found);
  } else {
    char first[sizeof c.message] = "";
    for (int ordinal = 0; ordinal < count; ++ordinal) {
      status = find_shared(c, driver, ordinal, found);
      if (status == GCOMP_OK) break;
      if (ordinal == 0) memcpy(first, c.message, sizeof first);
    }
    if (status != GCOMP_OK) memcpy(c.message, first, sizeof first);
  }
  unlock(state.lock);
  return status;
}

void release(const gcomp_context& c, Shared* s) {
  const DeviceData& data = *c.artifact->device;
  lock(data.state->lock);
  if (--s->references == 0) {
    auto* next = static_cast<Shared*>(data.state->shared);
    if (next == s) {
      data.state->shared = s->next;
    } else {
      while (next->next != s) next = next->next;
      next->next = s->next;
    }
    put_shared(data, s);
  }
  unlock(data.state->lock);
}

// Once a process, where the environment asked for a GPU.
void warn(const gcomp_context& c) {
  if (__atomic_exchange_n(&c.artifact->device->state->warned, 1, __ATOMIC_RELAXED) != 0) return;
  char line[sizeof c.message + 64];
  const int n = snprintf(line, sizeof line, "%.60s: %s; it runs on the CPU\n",
                         c.artifact->info->name, c.message);
  if (n > 0) syscall(SYS_write, STDERR_FILENO, line, static_cast<size_t>(n));
}

gcomp_status make_streams(gcomp_context& c) {
  Device& d = *c.device;
  const Driver& driver = *d.driver;
  // One that waits for the legacy stream's work, as DLPack's producers expect it.
  Result error = driver.stream_create(&d.own_stream, 0);
  if (error == kSuccess) error = driver.stream_create(&d.upload_stream, kNonBlocking);
  if (error == kSuccess) error = driver.stream_create(&d.capture_stream, kNonBlocking);
  if (error == kSuccess) error = driver.event_create(&d.uploaded, kEventNoTiming);
  if (d.stream == nullptr) d.stream = d.own_stream;
  return check(c, error, "making streams");
}

void destroy_streams(const Device& d) {
  const Driver& driver = *d.driver;
  if (d.uploaded != nullptr) driver.event_destroy(d.uploaded);
  const Stream streams[] = {d.own_stream, d.upload_stream, d.capture_stream};
  for (Stream stream : streams) {
    if (stream != nullptr) driver.stream_destroy(stream);
  }
}

// The context is one of the CPU again.
void forsake(gcomp_context& c) {
  release(c, c.device->shared);
  c.allocator.put(c.device);
  c.device = nullptr;
  c.plan = c.artifact->plan;
  c.kernels = c.artifact->kernels;
}

// With its streams, and its GPU's context current.
gcomp_status attach(gcomp_context& c, const gcomp_options& options, Shared* shared) {
  Device* const d = c.allocator.zeroed<Device>(1);
  if (d == nullptr) {
    release(c, shared);
    return fail(c, GCOMP_ERROR_MEMORY, "out of memory for a context");
  }
  d->shared = shared;
  d->driver = &shared->driver;
  d->data = c.artifact->device;
  d->stream = static_cast<Stream>(options.cuda_stream);
  const char* const one_by_one = getenv("GCOMP_CUDA_SYNC");
  d->one_by_one = one_by_one != nullptr && strcmp(one_by_one, "1") == 0;
  d->pinned = pinned_memory(*d);
  c.device = d;
  c.device_functions = d->data->functions;
  c.device_allocator = device_memory(*d);
  gcomp_status status = check(c, d->driver->context_push(shared->context), "cuCtxPushCurrent");
  if (status == GCOMP_OK) {
    status = make_streams(c);
    if (status == GCOMP_OK) return GCOMP_OK;
    destroy_streams(*d);
    Context context;
    d->driver->context_pop(&context);
  }
  forsake(c);
  return status;
}

gcomp_status open(gcomp_context& c, const gcomp_options& options) {
  Wish wish;
  gcomp_status status = read_wish(c, options, wish);
  if (status != GCOMP_OK || wish.cpu) return status;
  Shared* shared = nullptr;
  status = acquire(c, wish, &shared);
  if (status == GCOMP_OK) status = attach(c, options, shared);
  if (status == GCOMP_OK) {
    c.plan = c.artifact->device->plan;
    c.kernels = c.artifact->device->kernels;
    return GCOMP_OK;
  }
  if (wish.insists) return status;
  if (wish.asks) warn(c);
  return GCOMP_OK;
}

bool make_tables(gcomp_context& c) {
  Device& d = *c.device;
  const Plan& plan = *c.plan;
  const Allocator& a = c.allocator;
  d.inputs = a.zeroed<InputState>(plan.inputs.count);
  d.outputs = a.zeroed<OutputState>(plan.outputs.count);
  d.pieces = a.zeroed<StatePiece>(2 * plan.states.count);
  return d.inputs != nullptr && d.outputs != nullptr && d.pieces != nullptr && make_tape(c);
}

bool make_statuses(gcomp_context& c) {
  Device& d = *c.device;
  const uint64_t bytes = c.plan->device_failures.count * sizeof(int64_t);
  if (bytes == 0) return true;
  d.statuses = static_cast<int64_t*>(c.device_allocator.get(bytes));
  d.host_statuses = static_cast<int64_t*>(d.pinned.get(bytes));
  if (d.statuses == nullptr || d.host_statuses == nullptr) return false;
  clear_statuses(c);
  return true;
}

void fill_buffers(gcomp_context& c) {
  const Device& d = *c.device;
  const PlanBuffer* const buffers = table<PlanBuffer>(*c.plan, c.plan->buffers);
  for (uint32_t i = 0; i < c.plan->buffers.count; ++i) {
    const PlanBuffer& b = buffers[i];
    if (b.device == 0) continue;
    if (b.kind == BufferKind::kStatus) c.buffers[i] = d.statuses + b.index;
    if (b.kind == BufferKind::kConstant) {
      c.buffers[i] = reinterpret_cast<void*>(d.shared->constants + b.offset);
    }
  }
}

gcomp_status make(gcomp_context& c) {
  if (!make_tables(c)) return fail(c, GCOMP_ERROR_MEMORY, "out of memory for a context");
  if (!make_transfers(c) || !make_statuses(c)) {
    return fail(c, GCOMP_ERROR_MEMORY, "out of memory of the GPU, or pinned memory, for a context");
  }
  fill_buffers(c);
  return GCOMP_OK;
}

void close(gcomp_context& c) {
  Device& d = *c.device;
  const Driver& driver = *d.driver;
  if (d.stream != nullptr) driver.stream_wait(d.stream);
  close_tape(c);
  close_products(c);
  close_ports(c);
  for (uint64_t p = 0; d.pieces != nullptr && p < 2 * c.plan->states.count; ++p) {
    c.device_allocator.put(d.pieces[p].block.data);
  }
  close_transfers(c);
  c.device_allocator.put(d.statuses);
  d.pinned.put(d.host_statuses);
  c.allocator.put(d.pieces);
  destroy_streams(d);
}

gcomp_status enter(gcomp_context& c) {
  const Device& d = *c.device;
  if (d.lost) {
    return fail(c, GCOMP_ERROR_CUDA,
                "the GPU was lost by an earlier error; a new process may find it again");
  }
  return check(c, d.driver->context_push(d.shared->context), "cuCtxPushCurrent");
}

void leave(gcomp_context& c) {
  Context context;
  c.device->driver->context_pop(&context);
}

int32_t number(const gcomp_context& c) { return c.device->shared->ordinal; }

bool owns(const gcomp_context& c, const gcomp_tensor& t) {
  const Device& d = *c.device;
  if (t.device_id != d.shared->ordinal) return false;
  if (t.data == nullptr) return true;
  unsigned kind = 0;
  int ordinal = -1;
  return d.driver->pointer_attribute(&kind, kMemoryType, address(t.data)) == kSuccess &&
         kind == kMemoryOfDevice &&
         d.driver->pointer_attribute(&ordinal, kOrdinal, address(t.data)) == kSuccess &&
         ordinal == d.shared->ordinal;
}

gcomp_status copy(gcomp_context& c, void* to, const void* from, uint64_t bytes, bool to_device,
                  bool from_device) {
  if (bytes == 0) return GCOMP_OK;
  if (!to_device) return download(c, to, from, bytes);
  gcomp_status status = GCOMP_OK;
  if (from_device) {
    status = check(c, c.device->driver->copy(address(to), address(from), bytes, c.device->stream),
                   "cuMemcpyDtoD");
  } else {
    status = upload(c, to, from, bytes, false);
  }
  return status == GCOMP_OK ? wait(c) : status;
}

}  // namespace

gcomp_status fail_cuda(gcomp_context& c, Result error, const char* what, const char* about) {
  c.device->lost = c.device->lost || is_lasting(error);
  return fail_driver(c, *c.device->driver, error, what, about);
}

}  // namespace gcomp::rt::cuda

const gcomp::rt::DeviceFunctions gcomp_rt_cuda = {
    gcomp::rt::cuda::open,        gcomp::rt::cuda::make,          gcomp::rt::cuda::close,
    gcomp::rt::cuda::forsake,     gcomp::rt::cuda::enter,         gcomp::rt::cuda::leave,
    gcomp::rt::cuda::number,      gcomp::rt::cuda::owns,          gcomp::rt::cuda::copy,
    gcomp::rt::cuda::forget,      gcomp::rt::cuda::take_input,    gcomp::rt::cuda::place_output,
    gcomp::rt::cuda::begin,       gcomp::rt::cuda::end,           gcomp::rt::cuda::step,
    gcomp::rt::cuda::flush,       gcomp::rt::cuda::prepare_state, gcomp::rt::cuda::commit_states,
    gcomp::rt::cuda::fetch_state, gcomp::rt::cuda::replace_state};
