#include "run_module.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <random>
#include <unordered_map>

#include "gcomp/ir/text.h"
#include "gcomp/support/error.h"

namespace gcomp::test {

using lower::Memory;
using lower::MemoryId;
using lower::ScalarArg;
using lower::Step;

namespace {

constexpr size_t kMargin = 256;  // guard bytes on both sides of every buffer
constexpr std::byte kGuard{0xa5};

struct Block {
  std::vector<std::byte> bytes;
  size_t size = 0;
  std::byte* data() {
    // 64-byte aligned, as the runtime's arena.
    auto p = reinterpret_cast<uintptr_t>(bytes.data()) + kMargin;
    return reinterpret_cast<std::byte*>((p + 63) / 64 * 64);
  }
  void allocate(size_t n) {
    bytes.assign(n + 2 * kMargin + 64, kGuard);
    size = n;
    std::memset(data(), 0xff, n);
  }
  bool intact() {
    std::byte* d = data();
    for (size_t i = 0; i < kMargin / 2; ++i) {
      if (d[-1 - static_cast<long>(i)] != kGuard || d[size + i] != kGuard) return false;
    }
    return true;
  }
};

class Run {
 public:
  Run(const lower::LoweredModule& m, const std::vector<interp::Tensor>& inputs)
      : m_(m), dims_(m.graph->context().dims), blocks_(m.memory.size()), inputs_(inputs) {
    symbols_.assign(dims_.num_symbols(), 0);
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Type& t = m.graph->type(m.graph->inputs()[i].value);
      for (size_t a = 0; a < t.dims.size(); ++a) {
        if (const auto s = dims_.as_symbol(t.dims[a])) symbols_[s->index] = inputs[i].shape[a];
      }
    }
  }

  int64_t value(DimId d) const { return dims_.evaluate(d, symbols_); }
  int64_t scalar(const ScalarArg& s) const {
    return s.dim.valid() ? value(s.dim) : static_cast<int64_t>(s.bits);
  }

  std::byte* memory(MemoryId id) {
    const Memory& m = m_.memory[id.index];
    if (m.kind == Memory::Kind::kOwned) return place_.at(id.index);
    if (m.kind == Memory::Kind::kConstant) {
      return const_cast<std::byte*>(
          m_.graph->context().constants[ConstantId(m.index)].bytes.data());
    }
    if (m.kind == Memory::Kind::kView) return memory(MemoryId(m.index)) + value(m.offset);
    Block& b = blocks_[id.index];
    // Of a temporary in a loop's body the extents may have changed: then its old contents are dead.
    if (b.bytes.empty() || b.size != static_cast<size_t>(value(m.bytes))) {
      GCOMP_CHECK(b.bytes.empty() || b.intact(), "a kernel wrote outside a buffer");
      b.allocate(static_cast<size_t>(value(m.bytes)));
      if (m.kind == Memory::Kind::kInput && b.size != 0) {
        std::memcpy(b.data(), inputs_[m.index].bytes.data(), b.size);
      }
    }
    return b.data();
  }

  const lower::LoweredModule& m_;
  DimTable& dims_;
  std::vector<Block> blocks_;
  // Memory of its own for a place; old contents at its begin if kept.
  std::byte* reserve(MemoryId id, int64_t bytes, bool keep) {
    Block& b = blocks_[id.index];
    Block old = std::move(b);  // not a copy, which would be aligned elsewhere
    b = Block();
    b.allocate(static_cast<size_t>(bytes));
    if (keep && !old.bytes.empty()) std::memcpy(b.data(), old.data(), std::min(b.size, old.size));
    return b.data();
  }

  std::unordered_map<uint32_t, std::byte*> place_;  // what kOwned memory means
  std::vector<int64_t> symbols_;
  const std::vector<interp::Tensor>& inputs_;
};

// The ranges that a call's iterations are cut into.
std::vector<std::pair<int64_t, int64_t>> cut(int64_t extent, int64_t pieces, bool shuffled) {
  std::vector<std::pair<int64_t, int64_t>> ranges;
  for (int64_t p = 0; p < pieces; ++p) {
    ranges.emplace_back(extent * p / pieces, extent * (p + 1) / pieces);
  }
  std::mt19937 rng(static_cast<uint32_t>(extent));
  if (shuffled) std::ranges::shuffle(ranges, rng);
  return ranges;
}

}  // namespace

void place_nodes(const Graph& g, lower::LowerOptions& options,
                 const std::function<bool(const Node&)>& on_gpu) {
  for (const Graph* graph : inner_first(g)) {
    std::vector<Device>& devices = graph == &g ? options.placement : options.body_placement[graph];
    devices.assign(graph->num_nodes(), Device::kHost);
    for (uint32_t i = 0; i < devices.size(); ++i) {
      const NodeId n(i);
      if (cuda_obstacle(*graph, n).empty() && on_gpu(graph->node(n))) devices[i] = Device::kCuda;
    }
  }
}

std::vector<std::string> device_faults(const lower::LoweredModule& module) {
  std::vector<std::string> faults;
  for (size_t i = 0; i < module.steps.size(); ++i) {
    const Step& s = module.steps[i];
    // The device of the step, and how much of its memory must lie there; the rest is the host's.
    Device device = Device::kHost;
    size_t there = 0;
    switch (s.kind) {
      case Step::Kind::kCopy: continue;
      case Step::Kind::kCall:
        device = module.kernel_devices[s.kernel];
        there = s.memory.size();
        break;
      case Step::Kind::kFill:
      case Step::Kind::kReserve:
      case Step::Kind::kAlias:
      case Step::Kind::kSwap:
      case Step::Kind::kRow:
        device = module.memory[s.memory[0].index].device;
        there = std::min<size_t>(s.memory.size(), 2);
        break;
      default: break;
    }
    bool fine = true;
    for (size_t k = 0; k < s.memory.size(); ++k) {
      const Device wanted = k < there ? device : Device::kHost;
      fine = fine && (!s.memory[k].valid() || module.memory[s.memory[k].index].device == wanted);
    }
    if (!fine) faults.push_back("step " + std::to_string(i) + " is on one device, its memory not");
  }
  return faults;
}

ModuleRunner::ModuleRunner(const lower::LoweredModule& module, codegen::Effort effort)
    : module_(module) {
  std::vector<const kernel::Kernel*> kernels;
  for (const kernel::Kernel& k : module.kernels) kernels.push_back(&k);
  codegen::CompileOptions options = options_for(codegen::CpuLevel::kV3, effort);
  options.threads = 2;
  const std::vector<std::string> objects = codegen::compile_kernels(kernels, module.names, options);
  using Function = void (*)(void* const*, const int64_t*, int64_t, int64_t);
  std::vector<Function> functions;
  const auto jit = std::make_shared<Jit>(objects);
  for (const std::string& name : module.names) {
    functions.push_back(reinterpret_cast<Function>(jit->find(name)));
  }
  call_ = [jit, functions](uint32_t kernel, void* const* buffers, const int64_t* scalars,
                           int64_t begin,
                           int64_t end) { functions[kernel](buffers, scalars, begin, end); };
}

std::vector<interp::Tensor> ModuleRunner::run(const std::vector<interp::Tensor>& inputs, int parts,
                                              std::string* error) const {
  Run r(module_, inputs);
  std::unordered_map<uint32_t, size_t> labels;
  for (size_t i = 0; i < module_.steps.size(); ++i) {
    if (module_.steps[i].kind == Step::Kind::kLabel) labels[module_.steps[i].kernel] = i;
  }
  for (size_t pc = 0; pc < module_.steps.size(); ++pc) {
    const Step& s = module_.steps[pc];
    switch (s.kind) {
      case Step::Kind::kCall: {
        int64_t code = std::numeric_limits<int64_t>::max();
        std::vector<void*> buffers;
        for (MemoryId m : s.memory) {
          buffers.push_back(m.valid() ? static_cast<void*>(r.memory(m)) : &code);
        }
        std::vector<int64_t> scalars;
        for (const ScalarArg& a : s.scalars) scalars.push_back(r.scalar(a));
        const int64_t extent = r.value(s.extent);
        const bool threads = module_.kernel_devices[s.kernel] == Device::kCuda;
        const int64_t pieces = threads ? extent : s.grain == 0 ? 1 : parts;
        for (const auto& [lo, hi] : cut(extent, whole_calls_ ? 1 : pieces, threads)) {
          if (lo < hi) call_(s.kernel, buffers.data(), scalars.data(), lo, hi);
        }
        if (code != std::numeric_limits<int64_t>::max()) {
          *error = s.messages.at(static_cast<size_t>(code));
          return {};
        }
        break;
      }
      case Step::Kind::kBind:
        for (size_t i = 0; i < s.symbols.size(); ++i) {
          const auto* v = reinterpret_cast<const int64_t*>(r.memory(s.memory[0]));
          r.symbols_[s.symbols[i].index] = v[i];
          if (v[i] < 0) {
            *error = "negative extent";
            return {};
          }
        }
        break;
      case Step::Kind::kBindValues: {
        std::vector<int64_t> values;
        for (const ScalarArg& a : s.scalars) values.push_back(r.scalar(a));
        for (size_t i = 0; i < values.size(); ++i) {
          r.symbols_[s.symbols[i].index] = values[i];
          if (values[i] < 0) {
            *error = "negative extent";
            return {};
          }
        }
        break;
      }
      case Step::Kind::kCopy: {
        const auto n = static_cast<size_t>(r.value(s.extent));
        std::byte* to = r.memory(s.memory[0]);
        if (n != 0) std::memcpy(to, r.memory(s.memory[1]), n);
        break;
      }
      case Step::Kind::kFill:
        std::memset(r.memory(s.memory[0]), static_cast<int>(s.kernel),
                    static_cast<size_t>(r.value(s.extent)));
        break;
      case Step::Kind::kStoreDims:
        for (size_t i = 0; i < s.scalars.size(); ++i) {
          reinterpret_cast<int64_t*>(r.memory(s.memory[0]))[i] = r.scalar(s.scalars[i]);
        }
        break;
      case Step::Kind::kCheck:
        for (int64_t i = 0; i < r.value(s.extent); ++i) {
          if (r.memory(s.memory[0])[i] == std::byte{0}) {
            *error = s.messages[0];
            return {};
          }
        }
        break;
      case Step::Kind::kRequireLess:
        if (r.scalar(s.scalars[0]) >= r.scalar(s.scalars[1])) {
          *error = s.messages[0];
          return {};
        }
        break;
      case Step::Kind::kReserve:
        r.place_[s.memory[0].index] = r.reserve(s.memory[0], r.value(s.extent), s.grain == 1);
        break;
      case Step::Kind::kAlias: r.place_[s.memory[0].index] = r.memory(s.memory[1]); break;
      case Step::Kind::kSwap:
        std::swap(r.place_[s.memory[0].index], r.place_[s.memory[1].index]);
        std::swap(r.blocks_[s.memory[0].index], r.blocks_[s.memory[1].index]);
        break;
      case Step::Kind::kTurn: {
        auto* counter = reinterpret_cast<int64_t*>(r.memory(s.memory[0]));
        const auto* limit = reinterpret_cast<const int64_t*>(r.memory(s.memory[1]));
        const bool go_on = s.memory.size() < 3 || r.memory(s.memory[2])[0] != std::byte{0};
        if (++*counter < *limit && go_on) pc = labels.at(s.kernel);
        break;
      }
      case Step::Kind::kRow: {
        const int64_t number = *reinterpret_cast<const int64_t*>(r.memory(s.memory[2]));
        const int64_t bytes = r.value(s.extent);
        std::byte* stack = s.grain == 1 ? r.reserve(s.memory[1], (number + 1) * bytes, true)
                                        : r.memory(s.memory[1]);
        if (s.grain == 1) r.place_[s.memory[1].index] = stack;
        r.place_[s.memory[0].index] = stack + number * bytes;
        break;
      }
      case Step::Kind::kJump: pc = labels.at(s.kernel); break;
      case Step::Kind::kJumpUnless:
        if (r.memory(s.memory[0])[0] == std::byte{0}) pc = labels.at(s.kernel);
        break;
      case Step::Kind::kJumpUnlessLess:
        if (r.scalar(s.scalars[0]) >= r.scalar(s.scalars[1])) pc = labels.at(s.kernel);
        break;
      case Step::Kind::kLabel:
      case Step::Kind::kBeginLoop:
      case Step::Kind::kEndLoop: break;
    }
  }
  for (Block& b : r.blocks_) {
    GCOMP_CHECK(b.bytes.empty() || b.intact(), "a kernel wrote outside a buffer");
  }
  std::vector<interp::Tensor> outputs(module_.graph->outputs().size());
  for (size_t i = 0; i < module_.memory.size(); ++i) {
    if (module_.memory[i].kind != Memory::Kind::kOutput) continue;
    interp::Tensor& t = outputs[module_.memory[i].index];
    const Type& type = module_.graph->type(module_.graph->outputs()[module_.memory[i].index].value);
    t.dtype = type.dtype;
    for (DimId d : type.dims) t.shape.push_back(r.value(d));
    const std::byte* data = r.memory(MemoryId(i));
    t.bytes.assign(data, data + r.value(module_.memory[i].bytes));
  }
  for (size_t k = 0; k < module_.overwritten_states.size(); ++k) {
    if (!module_.overwritten_states[k]) continue;
    const State& state = module_.graph->states()[k];
    for (size_t i = 0; i < module_.memory.size(); ++i) {
      const Memory& m = module_.memory[i];
      if (m.kind != Memory::Kind::kInput || m.index != state.input) continue;
      const std::byte* data = r.memory(MemoryId(i));
      outputs[state.output].bytes.assign(data, data + r.value(m.bytes));
    }
  }
  return outputs;
}

}  // namespace gcomp::test
