#include "gcomp/artifact/lowered_plan.h"

#include <algorithm>
#include <unordered_map>

#include "gcomp/artifact/straight_line.h"
#include "gcomp/ir/states.h"
#include "gcomp/support/error.h"

namespace gcomp::artifact {
namespace {

using lower::Memory;
using lower::MemoryId;
using lower::ScalarArg;
using lower::Step;
using rt::kNone;

class PlanEncoder {
 public:
  PlanEncoder(const lower::LoweredModule& module, const std::string& prefix)
      : module_(module),
        graph_(*module.graph),
        dims_(graph_.context().dims),
        prefix_(prefix),
        buffers_(module.memory.size()),
        may_fail_(std::ranges::any_of(module.steps,
                                      [this](const Step& s) {
                                        return s.kind == Step::Kind::kCall && is_there(s.kernel) &&
                                               !s.messages.empty();
                                      })),
        overwritten_(graph_.inputs().size(), false) {}

  PlanImage encode(const PlanOptions& options, PlanOrigin* origin) {
    add_ports();
    for (uint32_t k = 0; k < module_.names.size(); ++k) {
      kernels_.push_back(is_there(k) ? b_.device_kernel(module_.names[k])
                                     : b_.kernel(prefix_ + module_.names[k]));
    }
    const uint32_t verify_before = step_to_verify_before();
    for (uint32_t i = 0; i < module_.steps.size(); ++i) {
      if (i == verify_before) b_.verify_launches();
      encode_step(module_.steps[i]);
      if (origin != nullptr) origin->step.resize(b_.num_steps(), i);
    }
    if (origin != nullptr) origin->memory = memory_of_buffers();
    set_initial_values();
    return b_.finish(options);
  }

  // One call with the whole buffer table.
  PlanImage encode_straight_line(const StraightLineModule& straight, const PlanOptions& options) {
    PlanCall call;
    call.kernel = b_.kernel(prefix_);
    call.buffers = add_ports();
    for (const ConstantId id : straight.constants) call.buffers.push_back(constant(id));
    if (!straight.messages.empty()) call.buffers.push_back(b_.status());
    if (straight.arena_bytes != 0) {
      call.buffers.push_back(b_.temporary(b_.constant(static_cast<int64_t>(straight.arena_bytes))));
    }
    for (uint32_t i = 0; i < call.buffers.size(); ++i) {
      GCOMP_CHECK(call.buffers[i].index == i, "a straight-line function's buffers out of order");
    }
    call.messages = straight.messages;
    b_.call(call);
    set_initial_values();
    return b_.finish(options);
  }

 private:
  std::vector<uint32_t> memory_of_buffers() const {
    std::vector<uint32_t> memory;
    for (uint32_t m = 0; m < buffers_.size(); ++m) {
      if (!buffers_[m].valid()) continue;
      if (memory.size() <= buffers_[m].index) memory.resize(buffers_[m].index + 1, rt::kNone);
      memory[buffers_[m].index] = m;
    }
    return memory;
  }

  bool is_there(uint32_t kernel) const { return module_.kernel_devices[kernel] == Device::kCuda; }

  bool writes(const Step& s, size_t operand) const {
    if (s.kind == Step::Kind::kCopy || s.kind == Step::Kind::kFill) return operand == 0;
    if (s.kind != Step::Kind::kCall) return false;
    for (const kernel::BufferInfo& b : module_.kernels[s.kernel].buffers) {
      if (kernel::is_parameter(b.role) && b.slot == operand) return b.role != kernel::Role::kIn;
    }
    return false;
  }

  // The memory of inputs that the step writes.
  std::vector<Memory> written_inputs(const Step& s) const {
    std::vector<Memory> written;
    for (size_t m = 0; m < s.memory.size(); ++m) {
      MemoryId id = s.memory[m];
      while (id.valid() && module_.memory[id.index].kind == Memory::Kind::kView) {
        id = MemoryId(module_.memory[id.index].index);
      }
      const bool is_input = id.valid() && module_.memory[id.index].kind == Memory::Kind::kInput;
      if (is_input && writes(s, m)) written.push_back(module_.memory[id.index]);
    }
    return written;
  }

  // The first step that overwrites a state, if launches may fail, which report that late. None is in a loop or branch.
  uint32_t step_to_verify_before() const {
    for (uint32_t i = 0; may_fail_ && i < module_.steps.size(); ++i) {
      const bool overwrites =
          std::ranges::any_of(written_inputs(module_.steps[i]),
                              [this](const Memory& m) { return overwritten_[m.index]; });
      if (overwrites) return i;
    }
    return kNone;
  }

  // The device on which steps overwrite a state: that of the memory which is written.
  Device overwriting_device(uint32_t input) const {
    for (const Step& s : module_.steps) {
      for (const Memory& m : written_inputs(s)) {
        if (m.index == input) return m.device;
      }
    }
    return Device::kHost;
  }

  // Inputs and outputs, in order; those of states among them.
  std::vector<PlanBufferId> add_ports() {
    std::vector<MemoryId> inputs(graph_.inputs().size()), outputs(graph_.outputs().size());
    for (size_t i = 0; i < module_.memory.size(); ++i) {
      const Memory& m = module_.memory[i];
      if (m.device != Device::kHost)
        continue;  // the other self of one on the host, made when needed
      if (m.kind == Memory::Kind::kInput) inputs.at(m.index) = MemoryId(i);
      if (m.kind == Memory::Kind::kOutput) outputs.at(m.index) = MemoryId(i);
    }
    std::vector<uint32_t> state_in(inputs.size(), kNone), state_out(outputs.size(), kNone);
    for (uint32_t s = 0; s < graph_.states().size(); ++s) {
      const State& state = graph_.states()[s];
      state_in[state.input] = s;
      if (state.output != State::kUnchanged) state_out[state.output] = s;
    }
    std::vector<PlanBufferId> all;
    for (size_t i = 0; i < inputs.size(); ++i) {
      all.push_back(add_input(graph_.inputs()[i], state_in[i]));
      ports_[0].push_back(all.back());
      if (inputs[i].valid()) buffers_[inputs[i].index] = all.back();
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      ports_[1].emplace_back();
      if (module_.unwritten[i]) continue;
      all.push_back(add_output(graph_.outputs()[i], state_out[i]));
      ports_[1].back() = all.back();
      if (outputs[i].valid()) buffers_[outputs[i].index] = all.back();
    }
    for (const auto& [piece, other] : StateFlow(graph_).swaps) {
      if (!module_.overwritten_states[piece / 2]) b_.swap_states(piece, other);
    }
    for (uint32_t s = 0; s < graph_.states().size(); ++s) {
      if (!module_.overwritten_states[s]) continue;
      b_.overwrite_state(s, overwriting_device(graph_.states()[s].input));
      overwritten_[graph_.states()[s].input] = true;
    }
    return all;
  }

  PlanBufferId add_input(const Port& p, uint32_t state) {
    const DType dtype = graph_.type(p.value).dtype;
    if (state == kNone) return b_.input(p.name, dtype, extents(p.value), p.donate);
    return b_.state(state, p.name, dtype, extents(p.value));
  }

  PlanBufferId add_output(const Port& p, uint32_t state) {
    if (state != kNone) return b_.next_state(state);
    return b_.output(p.name, graph_.type(p.value).dtype, extents(p.value));
  }

  void set_initial_values() {
    for (uint32_t s = 0; s < graph_.states().size(); ++s) {
      const ConstantId id = graph_.states()[s].initial;
      if (id.valid()) b_.initial_state(s, constant(id), graph_.context().constants[id].shape);
    }
  }

  std::vector<PlanExtent> extents(ValueId v) {
    std::vector<PlanExtent> list;
    for (DimId d : graph_.type(v).dims) list.push_back({value(d), dims_.to_string(d)});
    return list;
  }

  // Expressions by an explicit stack: their depth is not bounded.
  PlanValue value(DimId root) {
    std::vector<DimId> stack{root};
    while (!stack.empty()) {
      const DimId d = stack.back();
      if (values_.contains(d.index)) {
        stack.pop_back();
        continue;
      }
      const size_t before = stack.size();
      for (DimId o : dims_.expr(d).operands) {
        if (!values_.contains(o.index)) stack.push_back(o);
      }
      if (stack.size() != before) continue;
      stack.pop_back();
      values_.emplace(d.index, combine(dims_.expr(d)));
    }
    return values_.at(root.index);
  }

  PlanValue combine(const DimExpr& e) {
    const auto operand = [&](size_t i) { return values_.at(e.operands[i].index); };
    switch (e.kind) {
      case DimKind::kConst: return b_.constant(e.value);
      case DimKind::kSymbol: return b_.symbol(dims_.symbol_name(e.symbol));
      case DimKind::kSum: {
        PlanValue sum = b_.constant(e.value);
        for (size_t i = 0; i < e.operands.size(); ++i) {
          sum = b_.add(sum, b_.mul(operand(i), b_.constant(e.coefficients[i])));
        }
        return sum;
      }
      case DimKind::kProduct: {
        PlanValue p = operand(0);
        for (size_t i = 1; i < e.operands.size(); ++i) p = b_.mul(p, operand(i));
        return p;
      }
      case DimKind::kFloorDiv: return b_.floor_div(operand(0), operand(1));
      case DimKind::kMod: return b_.mod(operand(0), operand(1));
      case DimKind::kMin: return b_.min(operand(0), operand(1));
      case DimKind::kMax: return b_.max(operand(0), operand(1));
    }
    GCOMP_CHECK(false, "unknown kind of extent");
  }

  PlanScalar scalar(const ScalarArg& s) {
    if (s.dim.valid()) return scalar(s.dim);
    return PlanScalar(static_cast<int64_t>(s.bits));
  }
  PlanScalar scalar(DimId d) {
    if (const auto c = dims_.constant_value(d)) return PlanScalar(*c);
    return PlanScalar(value(d));
  }

  PlanBufferId buffer(MemoryId id) {
    if (!id.valid()) return b_.status();
    std::vector<MemoryId> views;  // chains of views may be as long as the graph: no recursion
    while (!buffers_[id.index].valid() && module_.memory[id.index].kind == Memory::Kind::kView) {
      views.push_back(id);
      id = MemoryId(module_.memory[id.index].index);
    }
    PlanBufferId made = base(id);
    for (; !views.empty(); views.pop_back()) {
      made = b_.view(made, value(module_.memory[views.back().index].offset));
      buffers_[views.back().index] = made;
    }
    return made;
  }

  // What is no view, or was made before.
  PlanBufferId base(MemoryId id) {
    PlanBufferId& made = buffers_[id.index];
    if (made.valid()) return made;
    const Memory& m = module_.memory[id.index];
    switch (m.kind) {
      case Memory::Kind::kConstant: made = constant(ConstantId(m.index)); break;
      case Memory::Kind::kTemporary: made = b_.temporary(value(m.bytes), m.device); break;
      case Memory::Kind::kOwned: made = b_.owned(m.device); break;
      case Memory::Kind::kInput: made = ports_[0].at(m.index); break;
      case Memory::Kind::kOutput: made = ports_[1].at(m.index); break;
      default: break;
    }
    GCOMP_CHECK(made.valid(), "an input or output without a port");
    const bool has_two = m.kind != Memory::Kind::kTemporary && m.kind != Memory::Kind::kOwned;
    if (has_two && m.device != Device::kHost) made = b_.on_device(made);
    return made;
  }

  // One buffer a constant, however many nodes have it.
  PlanBufferId constant(ConstantId id) {
    const auto [it, inserted] = constants_.try_emplace(id.index);
    if (inserted) it->second = b_.constant(graph_.context().constants[id].bytes);
    return it->second;
  }

  PlanLabel label(uint32_t number) {
    const auto [it, inserted] = labels_.try_emplace(number);
    if (inserted) it->second = b_.label();
    return it->second;
  }

  void encode_step(const Step& s) {
    switch (s.kind) {
      case Step::Kind::kCall: {
        PlanCall call;
        call.kernel = kernels_[s.kernel];
        const bool there = is_there(s.kernel);
        for (MemoryId m : s.memory) {
          call.buffers.push_back(there && !m.valid() ? PlanBufferId() : buffer(m));
        }
        for (const ScalarArg& a : s.scalars) call.scalars.push_back(scalar(a));
        call.extent = scalar(s.extent);
        call.grain = s.grain;
        call.messages = s.messages;
        if (s.product != lower::LibraryProduct::kNone)
          call.product = product(module_.products[s.product]);
        there ? b_.launch(call) : b_.call(call);
        break;
      }
      case Step::Kind::kBind: {
        std::vector<PlanValue> symbols;
        for (SymbolId x : s.symbols) symbols.push_back(symbol(x));
        b_.bind(buffer(s.memory[0]), symbols);
        break;
      }
      case Step::Kind::kBindValues: {
        std::vector<PlanValue> symbols;
        std::vector<PlanScalar> values;
        for (SymbolId x : s.symbols) symbols.push_back(symbol(x));
        for (const ScalarArg& a : s.scalars) values.push_back(scalar(a));
        b_.bind_values(symbols, values);
        break;
      }
      case Step::Kind::kCopy:
        b_.copy(buffer(s.memory[0]), buffer(s.memory[1]), scalar(s.extent));
        break;
      case Step::Kind::kFill:
        b_.fill(buffer(s.memory[0]), scalar(s.extent), static_cast<uint8_t>(s.kernel));
        break;
      case Step::Kind::kStoreDims: {
        std::vector<PlanScalar> list;
        for (const ScalarArg& a : s.scalars) list.push_back(scalar(a));
        b_.store(buffer(s.memory[0]), list);
        break;
      }
      case Step::Kind::kCheck:
        b_.check(buffer(s.memory[0]), scalar(s.extent), s.messages.at(0));
        break;
      case Step::Kind::kRequireLess: {
        // a < b unless b < a + 1: one step where all is well.
        const PlanLabel go_on = b_.label();
        const PlanValue after = b_.add(scalar_value(s.scalars[0]), b_.constant(1));
        b_.jump_unless_less(scalar_value(s.scalars[1]), after, go_on);
        b_.fail(s.messages.at(0));
        b_.place(go_on);
        break;
      }
      case Step::Kind::kReserve:
        b_.reserve(buffer(s.memory[0]), scalar(s.extent), s.grain == 1);
        break;
      case Step::Kind::kAlias: b_.alias(buffer(s.memory[0]), buffer(s.memory[1])); break;
      case Step::Kind::kSwap: b_.swap(buffer(s.memory[0]), buffer(s.memory[1])); break;
      case Step::Kind::kLabel: b_.place(label(s.kernel)); break;
      case Step::Kind::kJump: b_.jump(label(s.kernel)); break;
      case Step::Kind::kJumpUnless: b_.jump_unless(buffer(s.memory[0]), label(s.kernel)); break;
      case Step::Kind::kJumpUnlessLess:
        b_.jump_unless_less(scalar_value(s.scalars[0]), scalar_value(s.scalars[1]),
                            label(s.kernel));
        break;
      case Step::Kind::kTurn: {
        const PlanBufferId condition = s.memory.size() > 2 ? buffer(s.memory[2]) : PlanBufferId();
        // What a failed launch leaves might be a condition that never ends the loop.
        if (condition.valid() && may_fail_) b_.verify_launches();
        b_.turn(buffer(s.memory[0]), buffer(s.memory[1]), condition, label(s.kernel));
        break;
      }
      case Step::Kind::kRow:
        b_.row(buffer(s.memory[0]), buffer(s.memory[1]), buffer(s.memory[2]), scalar(s.extent),
               s.grain == 1);
        break;
      case Step::Kind::kBeginLoop: b_.begin_loop(); break;
      case Step::Kind::kEndLoop: b_.end_loop(); break;
    }
  }

  // None where no library is chosen for it.
  std::optional<PlanProductCall> product(const lower::LibraryProduct& p) {
    if (p.choices.empty()) return std::nullopt;
    PlanProductCall call;
    const auto position = [](uint32_t i) { return static_cast<uint16_t>(i); };
    call.product.alpha = p.alpha;
    call.product.a = position(p.a);
    call.product.b = position(p.b);
    call.product.result = position(p.result);
    if (p.bias != lower::LibraryProduct::kNone) call.product.bias = position(p.bias);
    call.product.dtype = static_cast<rt::PlanDType>(p.dtype);
    call.product.flags = static_cast<uint8_t>(
        (p.trans_a ? rt::kTransA : 0) | (p.trans_b ? rt::kTransB : 0) | (p.relu ? rt::kRelu : 0) |
        (p.tf32 ? rt::kTf32 : 0) | (p.convolution.empty() ? 0 : rt::kConvolution) |
        (p.channels_last ? rt::kChannelsLast : 0));
    call.batch = scalar(p.batch);
    call.rows = scalar(p.rows);
    call.columns = scalar(p.columns);
    call.depth = scalar(p.depth);
    for (const DimId extent : p.convolution) call.convolution.push_back(scalar(extent));
    for (const auto& [capability, classes] : p.choices) {
      call.choices.push_back({capability, classes});
    }
    return call;
  }

  PlanValue scalar_value(const ScalarArg& s) {
    return s.dim.valid() ? value(s.dim) : b_.constant(static_cast<int64_t>(s.bits));
  }
  PlanValue symbol(SymbolId s) { return value(dims_.symbol(dims_.symbol_name(s))); }

  const lower::LoweredModule& module_;
  const Graph& graph_;
  DimTable& dims_;
  const std::string& prefix_;
  PlanBuilder b_;
  std::vector<PlanBufferId> buffers_;
  std::vector<PlanBufferId> ports_[2];  // inputs and outputs, on the host
  bool may_fail_;                       // any launch
  std::vector<bool> overwritten_;       // per input: a state that steps write its new value over
  std::vector<PlanKernelId> kernels_;
  std::unordered_map<uint32_t, PlanValue> values_;
  std::unordered_map<uint32_t, PlanBufferId> constants_;
  std::unordered_map<uint32_t, PlanLabel> labels_;
};

}  // namespace

PlanImage build_plan(const lower::LoweredModule& module, const std::string& kernel_prefix,
                     const PlanOptions& options, PlanOrigin* origin) {
  return PlanEncoder(module, kernel_prefix).encode(options, origin);
}

PlanImage build_straight_line_plan(const lower::LoweredModule& module,
                                   const StraightLineModule& straight, const std::string& symbol,
                                   const PlanOptions& options) {
  return PlanEncoder(module, symbol).encode_straight_line(straight, options);
}

}  // namespace gcomp::artifact
