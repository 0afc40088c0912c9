// Where everything of a straight-line function lies: small constants and small temporaries inside it
// (immediates and registers, as far as indices are constant), large ones behind the buffer table, large
// temporaries packed by lifetime into one arena.

#include "gcomp/artifact/straight_line.h"

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "gcomp/kernel/builder.h"
#include "gcomp/runtime/pack.h"
#include "gcomp/support/error.h"

namespace gcomp::artifact {
namespace {

using codegen::StraightLine;
using lower::Memory;
using lower::MemoryId;
using lower::Step;

// When straight-line code is chosen (measured: lib/artifact/README.md).
constexpr size_t kMostCalls = 100;
constexpr size_t kMostInsts = 6000;  // of all calls: inlined code is compiled once a call
// Kernels of more instructions stay functions.
constexpr size_t kMostInlineInsts = 400;
constexpr int64_t kMostDataBytes = 256;        // constants inside the function
constexpr int64_t kMostStackBytes = 512;       // of one temporary on its stack
constexpr int64_t kMostStackInAll = 16 << 10;  // the host's stack may be small

std::optional<int64_t> constant(const lower::LoweredModule& module, DimId d) {
  return module.graph->context().dims.constant_value(d);
}

bool is_static(const lower::LoweredModule& module, const Step& s) {
  if (s.extent.valid() && !constant(module, s.extent)) return false;
  for (const lower::ScalarArg& a : s.scalars) {
    if (a.dim.valid() && !constant(module, a.dim)) return false;
  }
  return true;
}

uint64_t bits(const lower::LoweredModule& module, const lower::ScalarArg& a) {
  return a.dim.valid() ? static_cast<uint64_t>(*constant(module, a.dim)) : a.bits;
}

// kRequireLess of constants.
bool holds(const lower::LoweredModule& module, const Step& s) {
  return static_cast<int64_t>(bits(module, s.scalars[0])) <
         static_cast<int64_t>(bits(module, s.scalars[1]));
}

std::string obstacle_of(const lower::LoweredModule& module, const Step& s) {
  switch (s.kind) {
    case Step::Kind::kCall:
    case Step::Kind::kCopy:
    case Step::Kind::kFill:
    case Step::Kind::kStoreDims:
    case Step::Kind::kCheck:
    case Step::Kind::kRequireLess: break;
    default: return "it has loops, branches or extents that are computed";
  }
  if (!is_static(module, s)) return "it has extents that are known only when it runs";
  if (s.kind == Step::Kind::kRequireLess && !holds(module, s)) return "it always fails";
  return "";
}

class Layout {
 public:
  Layout(const lower::LoweredModule& module, const std::string& prefix)
      : module_(module), prefix_(prefix), storage_of_(module.memory.size(), kNone) {}

  StraightLineModule run() {
    number_outputs();
    find_lifetimes();
    place_temporaries();
    for (const Step& s : module_.steps) add_step(s);
    number_buffers();
    return std::move(result_);
  }

 private:
  static constexpr uint32_t kNone = 0xffffffff;
  using Storage = StraightLine::Storage;

  // The memory behind views, and the offset into it.
  std::pair<uint32_t, int64_t> root(MemoryId id) const {
    int64_t offset = 0;
    while (module_.memory[id.index].kind == Memory::Kind::kView) {
      const Memory& m = module_.memory[id.index];
      offset += *constant(module_, m.offset);
      id = MemoryId(m.index);
    }
    return {id.index, offset};
  }

  void find_lifetimes() {
    first_.assign(module_.memory.size(), kNone);
    last_.assign(module_.memory.size(), 0);
    for (uint32_t i = 0; i < module_.steps.size(); ++i) {
      for (const MemoryId m : module_.steps[i].memory) {
        if (!m.valid()) continue;
        const uint32_t r = root(m).first;
        first_[r] = std::min(first_[r], i);
        last_[r] = i;
      }
    }
  }

  // Small ones on the stack, the others into the arena.
  void place_temporaries() {
    std::vector<rt::PackItem> items;
    std::vector<uint32_t> packed;
    int64_t stack = 0;
    for (uint32_t m = 0; m < module_.memory.size(); ++m) {
      if (module_.memory[m].kind != Memory::Kind::kTemporary || first_[m] == kNone) continue;
      const int64_t bytes = *constant(module_, module_.memory[m].bytes);
      if (bytes <= kMostStackBytes && stack + bytes <= kMostStackInAll) {
        stack += bytes;
        const auto size = static_cast<uint32_t>(std::max<int64_t>(bytes, 1));
        storage_of_[m] = add_storage({.kind = Storage::Kind::kStack, .bytes = size});
      } else {
        packed.push_back(m);
        items.push_back({static_cast<uint64_t>(bytes), first_[m], last_[m]});
      }
    }
    if (items.empty()) return;
    const auto n = static_cast<uint32_t>(items.size());
    std::vector<uint64_t> scratch(rt::pack_scratch_bytes(n) / 8 + 1), offsets(n);
    result_.arena_bytes =
        rt::pack(items.data(), n, offsets.data(), scratch.data(), rt::kPackCompilerEffort);
    arena_ = add_storage({});
    for (uint32_t i = 0; i < n; ++i) {
      storage_of_[packed[i]] = arena_;
      arena_offset_[packed[i]] = static_cast<int64_t>(offsets[i]);
    }
  }

  uint32_t add_storage(const Storage& s) {
    result_.code.storages.push_back(s);
    return static_cast<uint32_t>(result_.code.storages.size() - 1);
  }

  StraightLine::Place place(MemoryId id) {
    if (!id.valid()) {
      if (status_ == kNone) status_ = add_storage({});
      return {status_, 0};
    }
    const auto [r, offset] = root(id);
    if (storage_of_[r] == kNone) storage_of_[r] = make_storage(module_.memory[r]);
    const auto packed = arena_offset_.find(r);
    return {storage_of_[r], offset + (packed == arena_offset_.end() ? 0 : packed->second)};
  }

  uint32_t make_storage(const Memory& m) {
    const auto num_inputs = static_cast<uint32_t>(module_.graph->inputs().size());
    switch (m.kind) {
      case Memory::Kind::kInput: return add_storage({.buffer = m.index});
      case Memory::Kind::kOutput: return add_storage({.buffer = num_inputs + output_at_[m.index]});
      case Memory::Kind::kConstant: break;
      default: GCOMP_CHECK(false, "straight-line code: memory that a step places");
    }
    const auto [it, inserted] = constant_storage_.try_emplace(m.index);
    if (!inserted) return it->second;
    const ConstantId id(m.index);
    const std::span<const std::byte> data = module_.graph->context().constants[id].bytes;
    if (static_cast<int64_t>(data.size()) <= kMostDataBytes) {
      it->second = add_storage({.kind = Storage::Kind::kData, .data = data});
    } else {
      it->second = add_storage(
          {.buffer = first_constant() + static_cast<uint32_t>(result_.constants.size())});
      result_.constants.push_back(id);
    }
    return it->second;
  }

  uint32_t first_constant() const {
    return static_cast<uint32_t>(module_.graph->inputs().size()) + num_outputs_;
  }

  // Outputs that a run does not write have no buffer.
  void number_outputs() {
    for (const bool unwritten : module_.unwritten) {
      output_at_.push_back(num_outputs_);
      if (!unwritten) ++num_outputs_;
    }
  }

  // Behind the constants, whose number is known at the end.
  void number_buffers() {
    uint32_t next = first_constant() + static_cast<uint32_t>(result_.constants.size());
    GCOMP_CHECK((status_ != kNone) == !result_.messages.empty(), "a kernel that fails in silence");
    if (status_ != kNone) {
      result_.code.storages[status_].buffer = next++;
      result_.code.status = {status_, 0};
    }
    if (result_.arena_bytes != 0) result_.code.storages[arena_].buffer = next++;
  }

  void add_step(const Step& s) {
    using Kind = StraightLine::Step::Kind;
    if (s.kind == Step::Kind::kRequireLess) return;
    StraightLine::Step to;
    if (s.extent.valid()) to.extent = *constant(module_, s.extent);
    const bool has_extent = s.kind != Step::Kind::kStoreDims;
    if (has_extent && to.extent <= 0) return;
    for (const lower::ScalarArg& a : s.scalars) to.scalars.push_back(bits(module_, a));
    for (const MemoryId m : s.memory) to.places.push_back(place(m));
    switch (s.kind) {
      case Step::Kind::kCall: set_kernel(s, to); break;
      case Step::Kind::kCheck:
        to.kernel = check_kernel();
        to.places.push_back(place(MemoryId()));
        break;
      case Step::Kind::kCopy: to.kind = Kind::kCopy; break;
      case Step::Kind::kFill:
        to.kind = Kind::kFill;
        to.scalars = {s.kernel};
        break;
      default: to.kind = Kind::kStore; break;
    }
    if (!s.messages.empty()) {
      to.error = static_cast<int64_t>(result_.messages.size());
      result_.messages.insert(result_.messages.end(), s.messages.begin(), s.messages.end());
    }
    result_.code.steps.push_back(std::move(to));
  }

  void set_kernel(const Step& s, StraightLine::Step& to) {
    to.kernel = &module_.kernels[s.kernel];
    if (to.kernel->insts.size() <= kMostInlineInsts) return;
    to.symbol = prefix_ + module_.names[s.kernel];
    if (std::ranges::find(result_.called, s.kernel) == result_.called.end()) {
      result_.called.push_back(s.kernel);
    }
  }

  // Fails with code 0 where a bool is false.
  const kernel::Kernel* check_kernel() {
    if (check_ != nullptr) return check_;
    kernel::Builder b;
    const kernel::Buffer flags = b.parameter(DType::kBool, kernel::Role::kIn);
    b.parameter(DType::kInt64, kernel::Role::kError);
    b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](kernel::Value i) {
      b.if_then(b.bit_not(b.load(flags, i)), [&] { b.set_error(b.index(0)); });
    });
    result_.own.push_back(std::make_unique<kernel::Kernel>(b.finish()));
    return check_ = result_.own.back().get();
  }

  const lower::LoweredModule& module_;
  const std::string& prefix_;
  StraightLineModule result_;
  std::vector<uint32_t> storage_of_, first_, last_;  // by memory
  std::unordered_map<uint32_t, int64_t> arena_offset_;
  std::unordered_map<uint32_t, uint32_t> constant_storage_;
  const kernel::Kernel* check_ = nullptr;
  std::vector<uint32_t> output_at_;  // among the outputs in the buffer table
  uint32_t num_outputs_ = 0;
  uint32_t status_ = kNone, arena_ = kNone;
};

}  // namespace

std::string straight_line_obstacle(const lower::LoweredModule& module) {
  for (const Step& s : module.steps) {
    std::string obstacle = obstacle_of(module, s);
    if (!obstacle.empty()) return obstacle;
  }
  for (const Memory& m : module.memory) {
    if (m.kind == Memory::Kind::kOwned) return "it has loops";
    const bool sized = m.kind != Memory::Kind::kTemporary || constant(module, m.bytes);
    const bool placed = m.kind != Memory::Kind::kView || constant(module, m.offset);
    if (!sized || !placed) return "it has extents that are known only when it runs";
  }
  return "";
}

bool prefers_straight_line(const lower::LoweredModule& module) {
  if (module.stats.kernel_calls > kMostCalls || !straight_line_obstacle(module).empty()) {
    return false;
  }
  size_t insts = 0;
  for (const Step& s : module.steps) {
    if (s.kind != Step::Kind::kCall) continue;
    if (s.grain != 0 && *constant(module, s.extent) > s.grain) return false;
    insts += module.kernels[s.kernel].insts.size();
  }
  return insts <= kMostInsts;
}

StraightLineModule make_straight_line(const lower::LoweredModule& module,
                                      const std::string& kernel_prefix) {
  const std::string obstacle = straight_line_obstacle(module);
  GCOMP_CHECK(obstacle.empty(), "no straight-line code: " + obstacle);
  return Layout(module, kernel_prefix).run();
}

}  // namespace gcomp::artifact
