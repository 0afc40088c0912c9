#include "gcomp/artifact/plan_builder.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "gcomp/runtime/pack.h"
#include "gcomp/support/error.h"
#include "plan_values.h"

namespace gcomp {

using artifact::kUnbound;
using artifact::ScalarTable;
using artifact::ValueTable;
using rt::BufferKind;
using rt::kNone;
using rt::StepKind;

namespace {

constexpr uint64_t kAppendFrom = 1024;  // smaller constants stay in read-only data anyway
constexpr uint32_t kMaxRank = 64;       // as the runtime's
constexpr uint32_t kMaxStepBuffers = 0xffff;
constexpr uint64_t kDeviceAlignment = 256;  // as of what the driver allocates

static_assert(static_cast<int>(rt::PlanDType::kFloat64) == static_cast<int>(DType::kFloat64) &&
              kNumDTypes == 13);

struct Buffer {
  BufferKind kind;
  uint32_t index = 0;     // as PlanBuffer::index
  uint32_t root = 0;      // of a view: the buffer that is no view; else itself
  PlanValue size = {};    // arena
  PlanValue offset = {};  // view
  uint32_t first = kNone, last = 0;
  uint32_t created = 0;          // loops begun before it
  uint32_t last_loop = kNone;    // it lives to the end of this loop
  uint64_t constant_offset = 0;  // from the start of its space
  uint32_t segment = 0;
  uint32_t means = kNone;  // owned: index in State::meanings
  Device device = Device::kHost;
  uint32_t twin = kNone;  // the same value on the other device
  bool uploads = false;   // device inputs: a kUpload step every run comes by was written
  bool is_used() const { return first != kNone; }  // until lifetimes are closed
};

struct Tensor {
  std::string name;
  DType dtype = DType::kFloat32;
  std::vector<PlanExtent> extents;
  PlanBufferId buffer;
  uint32_t alias = kNone;
  bool donated = false;
};

struct PlannedState {
  Tensor tensor;
  PlanBufferId next, initial;
  std::vector<int64_t> initial_extents;
  uint32_t overwritten = 0;
};

struct Loop {
  uint32_t first_step, first_meaning, end_step = kNone;
};

// A word of a step whose final value is known at the end.
struct Patch {
  enum Kind : uint32_t { kRun, kValue, kLabel } kind;
  uint32_t word;
};

class StringPool {
 public:
  uint32_t add(const std::string& s) {
    const auto [at, added] = offsets_.try_emplace(s, static_cast<uint32_t>(text_.size()));
    if (added) text_.append(s).push_back('\0');
    return at->second;
  }
  std::span<const char> text() const { return text_; }

 private:
  std::string text_;
  std::unordered_map<std::string, uint32_t> offsets_;
};

// The block: a Plan, then tables.
class Block {
 public:
  Block() : bytes_(sizeof(rt::Plan)) {}
  template <class T>
  rt::PlanTable add(std::span<const T> items) {
    bytes_.resize((bytes_.size() + 7) / 8 * 8);
    const rt::PlanTable table{bytes_.size(), items.size()};
    const auto bytes = std::as_bytes(items);
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return table;
  }
  template <class T>
  rt::PlanTable add(const std::vector<T>& items) {
    return add(std::span<const T>(items));
  }
  std::vector<std::byte> finish(rt::Plan plan) {
    bytes_.resize((bytes_.size() + 63) / 64 * 64);
    plan.bytes = bytes_.size();
    std::memcpy(bytes_.data(), &plan, sizeof plan);
    return std::move(bytes_);
  }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace

struct PlanBuilder::State {
  ValueTable values;
  ScalarTable scalars;
  std::vector<Buffer> buffers;
  std::vector<Tensor> inputs, outputs;
  std::vector<PlannedState> states;
  std::vector<rt::PlanSwap> state_swaps;
  std::vector<PlanConstant> constants;
  std::vector<uint32_t> constant_buffers;
  std::vector<std::string> kernels, device_kernels;
  std::unordered_map<std::string, uint32_t> kernel_ids, device_kernel_ids;
  std::vector<uint32_t> device_failures;
  std::vector<rt::PlanProduct> products;
  std::vector<rt::PlanProductChoice> product_choices;
  bool downloads_pending = false;  // the host may not look before a kWait
  std::vector<uint32_t> words;
  std::vector<Patch> patches;
  std::vector<uint32_t> labels;  // word, or kNone
  std::vector<Loop> loops;
  std::vector<uint32_t> open_loops;
  std::vector<std::vector<uint32_t>> meanings;       // arena buffers that an owned one may mean
  std::vector<std::pair<uint32_t, uint32_t>> meant;  // in loops: the first may mean the second
  std::vector<uint32_t> messages;
  std::unordered_map<std::string, uint32_t> message_ids;
  StringPool strings;
  PlanBufferId status;
  uint32_t num_steps = 0, num_segments = 1, max_call_buffers = 0;

  PlanBufferId add_buffer(Buffer b) {
    const auto id = static_cast<uint32_t>(buffers.size());
    if (b.kind != BufferKind::kView) b.root = id;
    b.created = static_cast<uint32_t>(loops.size());
    buffers.push_back(b);
    return PlanBufferId(id);
  }

  Buffer& buffer(PlanBufferId id) {
    GCOMP_CHECK(id.index < buffers.size(), "no such plan buffer");
    return buffers[id.index];
  }

  // The current step mentions the buffer.
  void touch(PlanBufferId id) {
    const uint32_t root = buffer(id).root;
    touch_root(root);
    if (buffers[root].means == kNone) return;
    for (uint32_t meant : meanings[buffers[root].means]) touch_root(meant);
  }
  void touch_root(uint32_t root) {
    Buffer& b = buffers[root];
    b.first = std::min(b.first, num_steps);
    b.last = std::max(b.last, num_steps);
    // The outermost open loop begun after the buffer was created: it lives through all of it.
    const auto loop = std::lower_bound(open_loops.begin(), open_loops.end(), b.created);
    if (loop == open_loops.end()) return;
    b.first = std::min(b.first, loops[*loop].first_step);
    b.last_loop = *loop;
  }

  // From here on `to` may mean the memory of `from`, or what that may mean.
  void add_meaning(PlanBufferId to, PlanBufferId from) {
    Buffer& b = buffer(to);
    if (b.means == kNone) {
      b.means = static_cast<uint32_t>(meanings.size());
      meanings.emplace_back();
    }
    const uint32_t root = buffer(from).root;
    if (!open_loops.empty()) meant.emplace_back(to.index, root);
    join_meanings(to.index, root);
  }
  // True if that tells anything new.
  bool join_meanings(uint32_t to, uint32_t from) {
    const Buffer& source = buffers[from];
    std::vector<uint32_t> more;
    if (source.kind == BufferKind::kArena) more.push_back(source.root);
    if (source.means != kNone) more = meanings[source.means];
    std::vector<uint32_t>& known = meanings[buffers[to].means];
    const size_t before = known.size();
    for (uint32_t m : more) {
      if (std::find(known.begin(), known.end(), m) == known.end()) known.push_back(m);
    }
    return known.size() != before;
  }
  // A later turn may find what an earlier one's last steps made a buffer mean. Backwards first: chains
  // are written from their ends.
  void close_meanings(const Loop& loop) {
    for (bool changed = true; changed;) {
      changed = false;
      for (size_t i = meant.size(); i-- > loop.first_meaning;) {
        changed = join_meanings(meant[i].first, meant[i].second) || changed;
      }
    }
  }

  void begin_step(StepKind kind, uint32_t flags = 0, uint32_t num_buffers = 0) {
    words.push_back(rt::step_word(kind, flags, num_buffers));
  }
  // A step whose memory, or whose control, is the host's.
  void begin_host_step(StepKind kind, uint32_t flags = 0, uint32_t num_buffers = 0) {
    wait();
    begin_step(kind, flags, num_buffers);
  }
  void wait() {
    if (!downloads_pending) return;
    begin_step(StepKind::kWait);
    end_step();
    downloads_pending = false;
  }
  // Before a device step that mentions the buffer.
  void upload(PlanBufferId id) {
    Buffer& b = buffers[buffer(id).root];
    if (b.kind != BufferKind::kInput || b.device == Device::kHost || b.uploads) return;
    b.uploads = labels.empty();  // else steps may be jumped over
    begin_step(StepKind::kUpload);
    word(b.index);
    end_step();
  }
  bool is_on(Device device, PlanBufferId id) { return buffer(id).device == device; }
  void word(uint32_t w) { words.push_back(w); }
  void buffer_word(PlanBufferId id) {
    touch(id);
    words.push_back(id.index);
  }
  void patched(Patch::Kind kind, uint32_t w) {
    patches.push_back({kind, static_cast<uint32_t>(words.size())});
    words.push_back(w);
  }
  void scalars_word(std::span<const PlanScalar> run) {
    patched(Patch::kRun, scalars.add(run, values));
  }
  void scalar_word(const PlanScalar& s) { scalars_word({&s, 1}); }
  void value_word(PlanValue v) {
    GCOMP_CHECK(v.valid(), "no such plan value");
    patched(Patch::kValue, v.index);
  }
  void label_word(PlanLabel label) {
    GCOMP_CHECK(label.index < labels.size(), "no such plan label");
    patched(Patch::kLabel, label.index);
  }
  void end_step() { ++num_steps; }

  uint32_t message(const std::vector<std::string>& texts) {
    std::string key;
    for (const std::string& text : texts) key.append(text).push_back('\0');
    const auto [at, added] =
        message_ids.try_emplace(std::move(key), static_cast<uint32_t>(messages.size()));
    if (!added) return at->second;
    for (const std::string& text : texts) messages.push_back(strings.add(text));
    return at->second;
  }

  // Its number; `num_buffers`: of the launch.
  uint32_t product(const PlanProductCall& call, size_t num_buffers) {
    rt::PlanProduct p = call.product;
    GCOMP_CHECK(p.a < num_buffers && p.b < num_buffers && p.result < num_buffers &&
                    (p.bias == rt::kNoBias || p.bias < num_buffers),
                "a product of no buffers of its launch");
    const bool is_convolution = (p.flags & rt::kConvolution) != 0;
    GCOMP_CHECK(call.convolution.size() == (is_convolution ? rt::kConvolutionExtents : 0),
                "a product with other extents than its own");
    p.first_choice = static_cast<uint32_t>(product_choices.size());
    p.num_choices = static_cast<uint32_t>(call.choices.size());
    product_choices.insert(product_choices.end(), call.choices.begin(), call.choices.end());
    products.push_back(p);
    return static_cast<uint32_t>(products.size() - 1);
  }

  // The segment that these symbols open, or have opened at an earlier bind of the same ones.
  uint32_t bind(std::span<const PlanValue> symbols) {
    GCOMP_CHECK(!symbols.empty(), "a bind step without symbols");
    const uint32_t known = values.symbol_segment(symbols[0]);
    const uint32_t segment = known == kUnbound ? num_segments++ : known;
    GCOMP_CHECK(segment != 0, "a bind step for an extent of an input");
    for (const PlanValue symbol : symbols) {
      if (known == kUnbound) values.bind(symbol, segment);
      GCOMP_CHECK(values.symbol_segment(symbol) == segment, "symbols bound in different groups");
    }
    return segment;
  }
};

PlanBuilder::PlanBuilder() : state_(std::make_unique<State>()) {}
PlanBuilder::~PlanBuilder() = default;
PlanBuilder::PlanBuilder(PlanBuilder&&) noexcept = default;
PlanBuilder& PlanBuilder::operator=(PlanBuilder&&) noexcept = default;

PlanValue PlanBuilder::constant(int64_t v) { return state_->values.constant(v); }
PlanValue PlanBuilder::symbol(std::string name) { return state_->values.symbol(std::move(name)); }
PlanValue PlanBuilder::op(rt::DimOp op, PlanValue a, PlanValue b) {
  return state_->values.op(op, a, b);
}

PlanBufferId PlanBuilder::input(std::string name, DType dtype, std::vector<PlanExtent> extents,
                                bool donated) {
  GCOMP_CHECK(state_->outputs.empty() && state_->num_steps == 0, "plan inputs come first");
  GCOMP_CHECK(extents.size() <= kMaxRank, "rank above 64");
  const auto index = static_cast<uint32_t>(state_->inputs.size());
  const PlanBufferId id = state_->add_buffer({.kind = BufferKind::kInput, .index = index});
  state_->inputs.push_back({std::move(name), dtype, std::move(extents), id, kNone, donated});
  return id;
}

PlanBufferId PlanBuilder::state(uint32_t number, std::string name, DType dtype,
                                std::vector<PlanExtent> extents) {
  GCOMP_CHECK(state_->outputs.empty() && state_->num_steps == 0, "plan states come first");
  GCOMP_CHECK(extents.size() <= kMaxRank, "rank above 64");
  const PlanBufferId id = state_->add_buffer({.kind = BufferKind::kState, .index = 2 * number});
  if (number >= state_->states.size()) state_->states.resize(number + 1);
  state_->states[number].tensor = {std::move(name), dtype, std::move(extents), id};
  return id;
}

PlanBufferId PlanBuilder::next_state(uint32_t state) {
  GCOMP_CHECK(state_->num_steps == 0, "new states come before steps");
  PlanBufferId& next = state_->states.at(state).next;
  GCOMP_CHECK(!next.valid(), "a state has two new values");
  next = state_->add_buffer({.kind = BufferKind::kState, .index = 2 * state + 1});
  return next;
}

void PlanBuilder::initial_state(uint32_t state, PlanBufferId constant,
                                std::span<const int64_t> extents) {
  PlannedState& s = state_->states.at(state);
  GCOMP_CHECK(state_->buffer(constant).kind == BufferKind::kConstant &&
                  extents.size() == s.tensor.extents.size(),
              "an initial value that is no constant of the state's rank");
  s.initial = constant;
  s.initial_extents.assign(extents.begin(), extents.end());
}

void PlanBuilder::swap_states(uint32_t piece, uint32_t other) {
  state_->state_swaps.push_back({piece, other});
}

void PlanBuilder::overwrite_state(uint32_t state, Device device) {
  state_->states.at(state).overwritten = device == Device::kHost ? 1 : 2;
}

PlanBufferId PlanBuilder::output(std::string name, DType dtype, std::vector<PlanExtent> extents,
                                 uint32_t alias) {
  GCOMP_CHECK(state_->num_steps == 0, "plan outputs come before steps");
  GCOMP_CHECK(extents.size() <= kMaxRank, "rank above 64");
  GCOMP_CHECK(alias == kNone || alias < state_->inputs.size(), "an output aliases no input");
  const auto index = static_cast<uint32_t>(state_->outputs.size());
  const PlanBufferId id = state_->add_buffer({.kind = BufferKind::kOutput, .index = index});
  state_->outputs.push_back({std::move(name), dtype, std::move(extents), id, alias});
  return id;
}

PlanBufferId PlanBuilder::constant(std::span<const std::byte> data) {
  const PlanBufferId id = state_->add_buffer({.kind = BufferKind::kConstant});
  state_->constant_buffers.push_back(id.index);
  state_->constants.push_back({data, false, 0});
  return id;
}

PlanBufferId PlanBuilder::temporary(PlanValue bytes, Device device) {
  GCOMP_CHECK(bytes.valid(), "no such plan value");
  return state_->add_buffer({.kind = BufferKind::kArena, .size = bytes, .device = device});
}

PlanBufferId PlanBuilder::view(PlanBufferId base, PlanValue byte_offset) {
  const Buffer& b = state_->buffer(base);
  GCOMP_CHECK(b.kind != BufferKind::kOwned && b.kind != BufferKind::kStatus,
              "a view of a buffer whose memory changes during the run");
  return state_->add_buffer({.kind = BufferKind::kView,
                             .index = base.index,
                             .root = b.root,
                             .offset = byte_offset,
                             .device = b.device});
}

PlanBufferId PlanBuilder::owned(Device device) {
  return state_->add_buffer({.kind = BufferKind::kOwned, .device = device});
}

PlanBufferId PlanBuilder::on_device(PlanBufferId id) {
  const Buffer b = state_->buffer(id);
  const bool has_two = b.kind == BufferKind::kInput || b.kind == BufferKind::kOutput ||
                       b.kind == BufferKind::kConstant || b.kind == BufferKind::kState;
  GCOMP_CHECK(has_two && b.device == Device::kHost, "on_device() of no input, output or constant");
  if (b.twin != kNone) return PlanBufferId(b.twin);
  const PlanBufferId made = state_->add_buffer(
      {.kind = b.kind, .index = b.index, .device = Device::kCuda, .twin = id.index});
  state_->buffer(id).twin = made.index;
  return made;
}

PlanBufferId PlanBuilder::status() {
  if (!state_->status.valid()) state_->status = state_->add_buffer({.kind = BufferKind::kStatus});
  return state_->status;
}

PlanKernelId PlanBuilder::kernel(std::string symbol) {
  const auto next = static_cast<uint32_t>(state_->kernels.size());
  const auto [at, added] = state_->kernel_ids.try_emplace(symbol, next);
  if (added) state_->kernels.push_back(std::move(symbol));
  return PlanKernelId(at->second);
}

PlanKernelId PlanBuilder::device_kernel(std::string name) {
  const auto next = static_cast<uint32_t>(state_->device_kernels.size());
  const auto [at, added] = state_->device_kernel_ids.try_emplace(name, next);
  if (added) state_->device_kernels.push_back(std::move(name));
  return PlanKernelId(at->second);
}

void PlanBuilder::launch(const PlanCall& call) {
  State& s = *state_;
  GCOMP_CHECK(call.kernel.index < s.device_kernels.size(), "no such plan kernel of the device");
  GCOMP_CHECK(call.buffers.size() <= kMaxStepBuffers, "a kernel with more than 65535 buffers");
  std::vector<PlanBufferId> buffers = call.buffers;
  for (PlanBufferId& b : buffers) {
    if (b.valid()) {
      GCOMP_CHECK(s.is_on(Device::kCuda, b), "a kernel of the device with memory of the host");
      s.upload(b);
      continue;
    }
    GCOMP_CHECK(!call.messages.empty(), "a status without messages");
    const auto number = static_cast<uint32_t>(s.device_failures.size());
    s.device_failures.push_back(s.message(call.messages));
    b = s.add_buffer({.kind = BufferKind::kStatus, .index = number, .device = Device::kCuda});
  }
  const uint32_t flags = call.product ? uint32_t{rt::kIsProduct} : 0;
  s.begin_step(StepKind::kLaunch, flags, static_cast<uint32_t>(buffers.size()));
  s.word(call.kernel.index);
  std::vector<PlanScalar> scalars = call.scalars;
  if (call.product) {
    const PlanProductCall& p = *call.product;
    scalars.insert(scalars.end(), {p.batch, p.rows, p.columns, p.depth});
    scalars.insert(scalars.end(), p.convolution.begin(), p.convolution.end());
  }
  s.scalars_word(scalars);
  s.word(static_cast<uint32_t>(call.scalars.size()));
  s.scalar_word(call.extent);
  for (const PlanBufferId b : buffers) s.buffer_word(b);
  if (call.product) s.word(s.product(*call.product, buffers.size()));
  s.end_step();
}

void PlanBuilder::call(const PlanCall& call) {
  State& s = *state_;
  GCOMP_CHECK(call.kernel.index < s.kernels.size(), "no such plan kernel");
  for (const PlanBufferId b : call.buffers) {
    GCOMP_CHECK(s.is_on(Device::kHost, b), "a kernel of the host with memory of the device");
  }
  GCOMP_CHECK(call.buffers.size() <= kMaxStepBuffers, "a kernel with more than 65535 buffers");
  bool contiguous = !call.buffers.empty();
  for (size_t i = 1; i < call.buffers.size(); ++i) {
    contiguous = contiguous && call.buffers[i].index == call.buffers[i - 1].index + 1;
  }
  const uint32_t flags =
      (contiguous ? rt::kContiguous : 0u) | (call.messages.empty() ? 0u : rt::kMayFail);
  const auto n = static_cast<uint32_t>(call.buffers.size());
  s.begin_host_step(StepKind::kCall, flags, n);
  s.word(call.kernel.index);
  s.scalars_word(call.scalars);
  s.scalar_word(call.extent);
  s.word(call.grain);
  if (!call.messages.empty()) s.word(s.message(call.messages));
  for (const PlanBufferId b : call.buffers) s.touch(b);
  if (contiguous) {
    s.word(call.buffers[0].index);
  } else {
    for (const PlanBufferId b : call.buffers) s.word(b.index);
    s.max_call_buffers = std::max(s.max_call_buffers, n);
  }
  s.end_step();
}

void PlanBuilder::bind(PlanBufferId int64s, std::span<const PlanValue> symbols) {
  State& s = *state_;
  const uint32_t segment = s.bind(symbols);
  GCOMP_CHECK(s.is_on(Device::kHost, int64s), "symbols in memory of the device");
  s.begin_host_step(StepKind::kBind);
  s.buffer_word(int64s);
  s.value_word(symbols[0]);
  s.word(static_cast<uint32_t>(symbols.size()));
  s.word(segment);
  s.end_step();
}

void PlanBuilder::bind_values(std::span<const PlanValue> symbols,
                              std::span<const PlanScalar> values) {
  State& s = *state_;
  GCOMP_CHECK(symbols.size() == values.size(), "bind_values: a value for each symbol");
  const uint32_t segment = s.bind(symbols);
  s.begin_host_step(StepKind::kBindValue);
  s.value_word(symbols[0]);
  s.word(static_cast<uint32_t>(symbols.size()));
  s.scalars_word(values);
  s.word(segment);
  s.end_step();
}

void PlanBuilder::copy(PlanBufferId to, PlanBufferId from, PlanScalar bytes) {
  State& s = *state_;
  const bool to_device = s.is_on(Device::kCuda, to), from_device = s.is_on(Device::kCuda, from);
  if (!to_device && !from_device) {
    s.begin_host_step(StepKind::kCopy);
  } else {
    if (from_device) s.upload(from);
    if (!from_device) s.wait();
    s.begin_step(StepKind::kTransfer, (to_device ? uint32_t{rt::kToDevice} : 0) |
                                          (from_device ? uint32_t{rt::kFromDevice} : 0));
    s.downloads_pending = s.downloads_pending || !to_device;
  }
  s.buffer_word(to);
  s.buffer_word(from);
  s.scalar_word(bytes);
  s.end_step();
}

void PlanBuilder::fill(PlanBufferId to, PlanScalar bytes, uint8_t byte) {
  if (state_->is_on(Device::kCuda, to)) {
    state_->begin_step(StepKind::kSet);
  } else {
    state_->begin_host_step(StepKind::kFill);
  }
  state_->buffer_word(to);
  state_->scalar_word(bytes);
  state_->word(byte);
  state_->end_step();
}

void PlanBuilder::store(PlanBufferId to, std::span<const PlanScalar> int64s) {
  GCOMP_CHECK(state_->is_on(Device::kHost, to), "extents are stored in memory of the host");
  state_->begin_host_step(StepKind::kStore);
  state_->buffer_word(to);
  state_->scalars_word(int64s);
  state_->word(static_cast<uint32_t>(int64s.size()));
  state_->end_step();
}

void PlanBuilder::check(PlanBufferId bools, PlanScalar number, std::string message) {
  GCOMP_CHECK(state_->is_on(Device::kHost, bools), "a check of memory of the device");
  state_->begin_host_step(StepKind::kCheck);
  state_->buffer_word(bools);
  state_->scalar_word(number);
  state_->word(state_->message({std::move(message)}));
  state_->end_step();
}

void PlanBuilder::reserve(PlanBufferId owned, PlanScalar bytes, bool keep_contents) {
  GCOMP_CHECK(state_->buffer(owned).kind == BufferKind::kOwned, "reserve() of no owned() buffer");
  if (state_->is_on(Device::kCuda, owned)) {
    state_->begin_step(StepKind::kReserveThere);
  } else {
    state_->begin_host_step(StepKind::kReserve);
  }
  state_->buffer_word(owned);
  state_->scalar_word(bytes);
  state_->word(keep_contents ? 1 : 0);
  state_->end_step();
}

void PlanBuilder::alias(PlanBufferId to, PlanBufferId from) {
  GCOMP_CHECK(state_->buffer(to).kind == BufferKind::kOwned, "alias() onto no owned() buffer");
  GCOMP_CHECK(state_->buffer(to).device == state_->buffer(from).device,
              "alias() of memory of the other device");
  state_->upload(from);
  state_->add_meaning(to, from);
  state_->begin_step(StepKind::kAlias);
  state_->buffer_word(to);
  state_->buffer_word(from);
  state_->end_step();
}

void PlanBuilder::swap(PlanBufferId a, PlanBufferId b) {
  GCOMP_CHECK(
      state_->buffer(a).kind == BufferKind::kOwned && state_->buffer(b).kind == BufferKind::kOwned,
      "swap() of buffers that are not owned()");
  state_->add_meaning(a, b);
  state_->add_meaning(b, a);
  GCOMP_CHECK(state_->buffer(a).device == state_->buffer(b).device,
              "swap() of memory of two devices");
  state_->begin_step(StepKind::kSwap);
  state_->buffer_word(a);
  state_->buffer_word(b);
  state_->end_step();
}

void PlanBuilder::fail(std::string message) {
  state_->begin_host_step(StepKind::kFail);
  state_->word(state_->message({std::move(message)}));
  state_->end_step();
}

void PlanBuilder::verify_launches() {
  state_->begin_host_step(StepKind::kVerify);
  state_->end_step();
}

void PlanBuilder::mention(PlanBufferId buffer) {
  GCOMP_CHECK(state_->num_steps != 0, "mention() before any step");
  --state_->num_steps;
  state_->touch(buffer);
  ++state_->num_steps;
}

PlanLabel PlanBuilder::label() {
  state_->labels.push_back(kNone);
  return PlanLabel(state_->labels.size() - 1);
}

void PlanBuilder::place(PlanLabel label) {
  GCOMP_CHECK(label.index < state_->labels.size() && state_->labels[label.index] == kNone,
              "a plan label placed twice");
  state_->wait();
  state_->labels[label.index] = static_cast<uint32_t>(state_->words.size());
}

void PlanBuilder::jump(PlanLabel target) {
  state_->begin_host_step(StepKind::kJump);
  state_->label_word(target);
  state_->end_step();
}

void PlanBuilder::jump_unless(PlanBufferId one_bool, PlanLabel target) {
  GCOMP_CHECK(state_->is_on(Device::kHost, one_bool), "a jump by memory of the device");
  state_->begin_host_step(StepKind::kJumpUnless);
  state_->buffer_word(one_bool);
  state_->label_word(target);
  state_->end_step();
}

void PlanBuilder::jump_unless_less(PlanValue a, PlanValue b, PlanLabel target) {
  state_->begin_host_step(StepKind::kJumpUnlessLess);
  state_->value_word(a);
  state_->value_word(b);
  state_->label_word(target);
  state_->end_step();
}

void PlanBuilder::turn(PlanBufferId counter, PlanBufferId limit, PlanBufferId condition,
                       PlanLabel target) {
  state_->begin_host_step(StepKind::kTurn);
  state_->buffer_word(counter);
  state_->buffer_word(limit);
  if (condition.valid()) {
    state_->buffer_word(condition);
  } else {
    state_->word(kNone);
  }
  state_->label_word(target);
  state_->end_step();
}

void PlanBuilder::row(PlanBufferId row, PlanBufferId stack, PlanBufferId counter, PlanScalar bytes,
                      bool grows) {
  const auto is_owned = [&](PlanBufferId b) {
    return state_->buffer(b).kind == BufferKind::kOwned;
  };
  GCOMP_CHECK(is_owned(row) && (!grows || is_owned(stack)), "row() of no owned() buffer");
  GCOMP_CHECK(state_->buffer(row).device == state_->buffer(stack).device &&
                  state_->is_on(Device::kHost, counter),
              "row() of memory of two devices");
  state_->add_meaning(row, stack);
  state_->upload(stack);
  state_->begin_host_step(state_->is_on(Device::kCuda, row) ? StepKind::kRowThere : StepKind::kRow,
                          grows ? uint32_t{rt::kGrows} : 0);
  state_->buffer_word(row);
  state_->buffer_word(stack);
  state_->buffer_word(counter);
  state_->scalar_word(bytes);
  state_->end_step();
}

void PlanBuilder::begin_loop() {
  state_->open_loops.push_back(static_cast<uint32_t>(state_->loops.size()));
  state_->loops.push_back({state_->num_steps, static_cast<uint32_t>(state_->meant.size())});
}

void PlanBuilder::end_loop() {
  GCOMP_CHECK(!state_->open_loops.empty(), "end_loop() without begin_loop()");
  Loop& loop = state_->loops[state_->open_loops.back()];
  loop.end_step = state_->num_steps;
  state_->close_meanings(loop);
  state_->open_loops.pop_back();
}

uint64_t PlanBuilder::num_steps() const { return state_->num_steps; }

namespace {

// Everything finish() derives; the tables of the plan in the making.
class Finisher {
 public:
  template <class State>
  PlanImage run(State& s, const PlanOptions& options) {
    GCOMP_CHECK(s.open_loops.empty(), "begin_loop() without end_loop()");
    define_input_symbols(s);
    s.values.number(s.num_segments);
    s.scalars.place(s.values, s.num_segments);
    place_constants(s, options);
    place_device_constants(s);
    assign_segments(s);
    close_lifetimes(s);
    segments_.resize(s.num_segments);
    list_members(s);
    image_.arena_bytes = pack_static(s, Device::kHost, &image_.max_live_bytes);
    image_.device_arena_bytes = pack_static(s, Device::kCuda, nullptr);
    for (const Tensor& t : s.inputs) input_rows_.push_back(tensor_row(s, t, true));
    write_states(s);
    for (const Tensor& t : s.outputs) output_rows_.push_back(tensor_row(s, t, false));
    write_buffers(s);
    patch(s);
    return assemble(s);
  }

 private:
  // A symbol alone as an input's or state's extent is defined there.
  template <class State>
  void define_input_symbols(State& s) {
    for (const Tensor& t : s.inputs) define_symbols(s, t);
    for (const PlannedState& state : s.states) {
      GCOMP_CHECK(state.tensor.buffer.valid(), "a plan state is missing");
      define_symbols(s, state.tensor);
    }
  }

  template <class State>
  void define_symbols(State& s, const Tensor& t) {
    for (const PlanExtent& e : t.extents) {
      GCOMP_CHECK(e.value.valid(), "an input's extent has no value");
      const bool defines =
          s.values.is_symbol(e.value) && s.values.symbol_segment(e.value) == kUnbound;
      modes_.push_back(s.values.is_constant(e.value) ? rt::DimMode::kConstant
                       : defines                     ? rt::DimMode::kDefine
                                                     : rt::DimMode::kCheck);
      if (defines) s.values.bind(e.value, 0);
    }
  }

  template <class State>
  void place_constants(State& s, const PlanOptions& options) {
    std::unordered_map<const void*, size_t> placed;  // by address: constants of the graph
    uint64_t total = 0;
    if (options.shared != nullptr) {
      const PlanImage& other = *options.shared;
      image_.constants = other.constants;
      image_.inline_bytes = other.inline_bytes;
      image_.appended_bytes = other.appended_bytes;
      for (size_t i = 0; i < other.constants.size(); ++i) {
        placed.emplace(other.constants[i].data.data(), i);
        total += other.constants[i].data.size();
      }
    }
    const auto is_placed = [&](const PlanConstant& c) {
      const auto found = placed.find(c.data.data());
      return found != placed.end() && image_.constants[found->second].data.size() == c.data.size();
    };
    for (const PlanConstant& c : s.constants) total += is_placed(c) ? 0 : c.data.size();
    for (size_t i = 0; i < s.constants.size(); ++i) {
      PlanConstant& c = s.constants[i];
      if (is_placed(c)) {
        c = image_.constants[placed.at(c.data.data())];
      } else {
        c.appended = total > options.inline_constants && c.data.size() >= kAppendFrom;
        uint64_t& end = c.appended ? image_.appended_bytes : image_.inline_bytes;
        c.offset = rt::pack_round(end);
        end = c.offset + c.data.size();
        image_.constants.push_back(c);
      }
      Buffer& b = s.buffers[s.constant_buffers[i]];
      b.index = c.appended ? 1 : 0;
      b.constant_offset = c.offset;
    }
  }

  template <class State>
  void place_device_constants(State& s) {
    for (size_t i = 0; i < s.constants.size(); ++i) {
      const Buffer& from = s.buffers[s.constant_buffers[i]];
      if (from.twin == kNone) continue;
      Buffer& to = s.buffers[from.twin];
      to.constant_offset = device_constant_bytes_;
      const uint64_t bytes = s.constants[i].data.size();
      device_constants_.push_back(
          {from.constant_offset, bytes, to.constant_offset, from.index, from.twin});
      device_constant_bytes_ +=
          (bytes + kDeviceAlignment - 1) / kDeviceAlignment * kDeviceAlignment;
    }
  }

  template <class State>
  uint32_t segment_of(State& s, PlanValue v) {
    s.values.number_of(v);  // checks that it is bound
    return s.values.segment(v);
  }

  template <class State>
  void assign_segments(State& s) {
    for (const Tensor& t : s.outputs) {
      Buffer& b = s.buffers[t.buffer.index];
      for (const PlanExtent& e : t.extents) b.segment = std::max(b.segment, segment_of(s, e.value));
      if (b.twin != kNone) s.buffers[b.twin].segment = b.segment;
    }
    for (Buffer& b : s.buffers) {  // bases of views come first
      if (b.kind == BufferKind::kArena) b.segment = segment_of(s, b.size);
      if (b.kind == BufferKind::kView) {
        b.segment = std::max(s.buffers[b.index].segment, segment_of(s, b.offset));
      }
    }
    GCOMP_CHECK(s.num_segments <= 0xffff, "more than 65535 bind steps");
  }

  template <class State>
  void close_lifetimes(State& s) {
    for (Buffer& b : s.buffers) {
      used_.push_back(b.is_used());
      if (b.last_loop != kNone) b.last = std::max(b.last, s.loops[b.last_loop].end_step);
      if (b.first == kNone) b.first = b.last = 0;
    }
  }

  // Sorts `members` (pairs of segment and item, in order within a segment) into a table.
  static std::vector<uint32_t> by_segment(const std::vector<std::pair<uint32_t, uint32_t>>& members,
                                          std::vector<uint32_t>& ends) {
    std::vector<uint32_t> items(members.size()), next(ends.size() + 1);
    for (const auto& [segment, item] : members) ++next[segment + 1];
    for (size_t k = 0; k < ends.size(); ++k) next[k + 1] += next[k];
    std::copy(next.begin() + 1, next.end(), ends.begin());
    for (const auto& [segment, item] : members) items[next[segment]++] = item;
    return items;
  }

  template <class State>
  void list_members(State& s) {
    std::vector<std::pair<uint32_t, uint32_t>> arena[2], views, outputs;
    for (uint32_t i = 0; i < s.buffers.size(); ++i) {
      const Buffer& b = s.buffers[i];
      if (b.kind == BufferKind::kArena)
        arena[static_cast<int>(b.device)].emplace_back(b.segment, i);
      if (b.kind != BufferKind::kView) continue;
      const Buffer& root = s.buffers[b.root];
      if (root.kind != BufferKind::kArena && root.segment == b.segment) {
        io_views_.push_back(i);
      } else {
        views.emplace_back(b.segment, i);
      }
    }
    for (uint32_t o = 0; o < s.outputs.size(); ++o) {
      outputs.emplace_back(s.buffers[s.outputs[o].buffer.index].segment, o);
    }
    std::vector<uint32_t> ends(segments_.size());
    for (int device = 0; device < 2; ++device) {
      std::sort(arena[device].begin(), arena[device].end(), [&](const auto& x, const auto& y) {
        return std::pair(s.buffers[x.second].first, x.second) <
               std::pair(s.buffers[y.second].first, y.second);
      });
      const auto before = static_cast<uint32_t>(arena_.size());
      const std::vector<uint32_t> members = by_segment(arena[device], ends);
      arena_.insert(arena_.end(), members.begin(), members.end());
      for (size_t k = 0, begin = 0; k < segments_.size(); begin = ends[k++]) {
        rt::PlanArena& a = segments_[k].arenas[device];
        a.first_buffer = before + static_cast<uint32_t>(begin);
        a.num_buffers = ends[k] - static_cast<uint32_t>(begin);
      }
    }
    views_ = by_segment(views, ends);
    set_ranges(ends, &rt::PlanSegment::first_view, &rt::PlanSegment::num_views);
    outputs_ = by_segment(outputs, ends);
    set_ranges(ends, &rt::PlanSegment::first_output, &rt::PlanSegment::num_outputs);
    set_ranges(s.values.segment_ends(), &rt::PlanSegment::first_instruction,
               &rt::PlanSegment::num_instructions);
    set_ranges(s.scalars.segment_ends(), &rt::PlanSegment::first_scalar,
               &rt::PlanSegment::num_scalars);
    const auto num_static = static_cast<uint32_t>(s.scalars.static_scalars().size());
    for (rt::PlanSegment& segment : segments_) segment.first_scalar += num_static;
  }

  void set_ranges(const std::vector<uint32_t>& ends, uint32_t rt::PlanSegment::* first,
                  uint32_t rt::PlanSegment::* number) {
    uint32_t begin = 0;
    for (size_t k = 0; k < segments_.size(); ++k) {
      segments_[k].*first = begin;
      segments_[k].*number = ends[k] - begin;
      begin = ends[k];
    }
  }

  // Segment 0 with constant sizes only: offsets are decided here. The bytes of the arena.
  template <class State>
  uint64_t pack_static(State& s, Device device, uint64_t* max_live_bytes) {
    rt::PlanArena& arena = segments_[0].arenas[static_cast<int>(device)];
    std::vector<rt::PackItem> items;
    for (uint32_t i = 0; i < arena.num_buffers; ++i) {
      const Buffer& b = s.buffers[arena_[arena.first_buffer + i]];
      if (!s.values.is_constant(b.size)) return 0;
      GCOMP_CHECK(s.values.constant_of(b.size) >= 0, "a plan buffer of negative size");
      items.push_back({static_cast<uint64_t>(s.values.constant_of(b.size)), b.first, b.last});
    }
    const auto n = static_cast<uint32_t>(items.size());
    std::vector<uint64_t> scratch(rt::pack_scratch_bytes(n) / 8 + 1), offsets(n);
    arena.precomputed = 1;
    arena.bytes =
        rt::pack(items.data(), n, offsets.data(), scratch.data(), rt::kPackCompilerEffort);
    if (max_live_bytes != nullptr) {
      *max_live_bytes = rt::max_live_bytes(items.data(), n, scratch.data());
    }
    for (uint32_t i = 0; i < n; ++i) {
      s.buffers[arena_[arena.first_buffer + i]].constant_offset = offsets[i];
    }
    return arena.bytes;
  }

  template <class State>
  rt::PlanTensor tensor_row(State& s, const Tensor& t, bool given) {
    const rt::PlanTensor row{s.strings.add(t.name),
                             t.buffer.index,
                             static_cast<uint32_t>(dims_.size()),
                             static_cast<uint16_t>(t.extents.size()),
                             static_cast<rt::PlanDType>(t.dtype),
                             t.donated,
                             t.alias,
                             s.buffers[t.buffer.index].twin,
                             used_[t.buffer.index] ? 1u : 0u};
    for (const PlanExtent& e : t.extents) {
      const rt::DimMode mode = given ? modes_[dims_.size()] : rt::DimMode::kConstant;
      dims_.push_back({s.values.number_of(e.value), mode, s.strings.add(e.text)});
    }
    return row;
  }

  template <class State>
  void write_states(State& s) {
    for (const PlannedState& state : s.states) {
      rt::PlanState row{};
      row.tensor = tensor_row(s, state.tensor, true);
      row.next = state.next.valid() ? state.next.index : kNone;
      if (state.next.valid() && s.buffers[state.next.index].twin != kNone) {
        row.next = s.buffers[state.next.index].twin;
        row.next_on_device = 1;
      }
      row.overwritten = state.overwritten;
      row.initial = state.initial.valid() ? state.initial.index : kNone;
      row.initial_extent = static_cast<uint32_t>(initial_extents_.size());
      state_rows_.push_back(row);
      initial_extents_.insert(initial_extents_.end(), state.initial_extents.begin(),
                              state.initial_extents.end());
    }
  }

  template <class State>
  void write_buffers(State& s) {
    buffer_rows_.reserve(s.buffers.size());
    for (const Buffer& b : s.buffers) {
      rt::PlanBuffer row{};
      row.offset = b.constant_offset;
      row.size_value = b.size.valid() ? s.values.number_of(b.size) : kNone;
      row.offset_value = b.offset.valid() ? s.values.number_of(b.offset) : kNone;
      row.first = b.first;
      row.last = b.last;
      row.index = b.index;
      row.kind = b.kind;
      row.device = b.device == Device::kHost ? 0 : 1;
      row.segment = static_cast<uint16_t>(b.segment);
      buffer_rows_.push_back(row);
    }
  }

  template <class State>
  void patch(State& s) {
    s.begin_step(StepKind::kEnd);
    for (const Patch& p : s.patches) {
      uint32_t& word = s.words[p.word];
      switch (p.kind) {
        case Patch::kRun: word = s.scalars.offset(word); break;
        case Patch::kValue: word = s.values.number_of(PlanValue(word)); break;
        case Patch::kLabel:
          GCOMP_CHECK(s.labels[word] != kNone, "a plan label was never placed");
          word = s.labels[word];
          break;
      }
    }
  }

  template <class State>
  PlanImage assemble(State& s) {
    std::vector<uint32_t> symbol_names;
    for (const PlanValue v : s.values.symbols())
      symbol_names.push_back(s.strings.add(s.values.name(v)));
    rt::Plan plan{};
    plan.magic = rt::kPlanMagic;
    plan.version = rt::kPlanVersion;
    plan.num_symbols = static_cast<uint32_t>(s.values.symbols().size());
    plan.num_constants = static_cast<uint32_t>(s.values.constants().size());
    plan.num_steps = s.num_steps;
    plan.max_call_buffers = s.max_call_buffers;
    Block block;
    plan.constants = block.add(s.values.constants());
    plan.instructions = block.add(s.values.instructions());
    plan.static_scalars = block.add(s.scalars.static_scalars());
    plan.pool_sources = block.add(s.scalars.sources());
    plan.segments = block.add(segments_);
    plan.dims = block.add(dims_);
    plan.inputs = block.add(input_rows_);
    plan.outputs = block.add(output_rows_);
    plan.buffers = block.add(buffer_rows_);
    plan.arena_buffers = block.add(arena_);
    plan.views = block.add(views_);
    plan.io_views = block.add(io_views_);
    plan.segment_outputs = block.add(outputs_);
    plan.steps = block.add(s.words);
    plan.messages = block.add(s.messages);
    plan.symbol_names = block.add(symbol_names);
    plan.strings = block.add(s.strings.text());
    plan.states = block.add(state_rows_);
    plan.state_swaps = block.add(s.state_swaps);
    plan.initial_extents = block.add(initial_extents_);
    plan.device_constants = block.add(device_constants_);
    plan.device_failures = block.add(s.device_failures);
    plan.products = block.add(s.products);
    plan.product_choices = block.add(s.product_choices);
    plan.device_constant_bytes = device_constant_bytes_;
    image_.block = block.finish(plan);
    image_.kernels = std::move(s.kernels);
    image_.device_kernels = std::move(s.device_kernels);
    return std::move(image_);
  }

  PlanImage image_;
  std::vector<rt::DimMode> modes_;  // of all extents of inputs, then states
  std::vector<rt::PlanSegment> segments_;
  std::vector<uint32_t> arena_, views_, io_views_, outputs_;
  std::vector<rt::PlanDim> dims_;
  std::vector<rt::PlanTensor> input_rows_, output_rows_;
  std::vector<rt::PlanState> state_rows_;
  std::vector<int64_t> initial_extents_;
  std::vector<rt::PlanBuffer> buffer_rows_;
  std::vector<rt::PlanDeviceConstant> device_constants_;
  uint64_t device_constant_bytes_ = 0;
  std::vector<bool> used_;  // per buffer: a step mentions it
};

}  // namespace

PlanImage PlanBuilder::finish(const PlanOptions& options) {
  return Finisher().run(*state_, options);
}

}  // namespace gcomp
