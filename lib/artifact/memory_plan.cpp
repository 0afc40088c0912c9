#include "gcomp/artifact/memory_plan.h"

#include <algorithm>
#include <cstring>

#include "gcomp/ir/dtype.h"
#include "gcomp/runtime/pack.h"

namespace gcomp::artifact {
namespace {

using rt::BufferKind;
using rt::DimOp;
using rt::Plan;
using rt::PlanBuffer;
using rt::PlanSegment;
using rt::table;

constexpr size_t kMostText = 100;  // characters of an expression

uint64_t num_values(const Plan& plan) {
  return uint64_t{plan.num_symbols} + plan.num_constants + plan.instructions.count;
}

int64_t floor_div(int64_t a, int64_t b) {
  const int64_t q = a / b;
  return q * b != a && (a < 0) != (b < 0) ? q - 1 : q;
}

// Nothing on overflow or division by zero.
std::optional<int64_t> apply(DimOp op, int64_t a, int64_t b) {
  int64_t r = 0;
  switch (op) {
    case DimOp::kAdd: return __builtin_add_overflow(a, b, &r) ? std::nullopt : std::optional(r);
    case DimOp::kMul: return __builtin_mul_overflow(a, b, &r) ? std::nullopt : std::optional(r);
    case DimOp::kMin: return std::min(a, b);
    case DimOp::kMax: return std::max(a, b);
    case DimOp::kFloorDiv:
    case DimOp::kMod: break;
  }
  if (b == 0 || (a == INT64_MIN && b == -1)) return std::nullopt;
  const int64_t q = floor_div(a, b);
  return op == DimOp::kFloorDiv ? q : a - q * b;
}

const PlanSegment& first_segment(const Plan& plan) {
  return table<PlanSegment>(plan, plan.segments)[0];
}

// Values of the first segment: those that follow from the inputs' extents.
std::optional<std::vector<int64_t>> evaluate(const Plan& plan,
                                             const std::map<std::string, int64_t>& extents,
                                             int64_t otherwise) {
  std::vector<int64_t> values(num_values(plan));
  const auto* const names = table<uint32_t>(plan, plan.symbol_names);
  for (uint32_t i = 0; i < plan.num_symbols; ++i) {
    const auto given = extents.find(rt::plan_string(plan, names[i]));
    values[i] = given == extents.end() ? otherwise : given->second;
  }
  std::copy_n(table<int64_t>(plan, plan.constants), plan.num_constants,
              values.begin() + plan.num_symbols);
  const PlanSegment& segment = first_segment(plan);
  const auto* const instructions = table<rt::DimInstruction>(plan, plan.instructions);
  for (uint32_t i = segment.first_instruction;
       i < segment.first_instruction + segment.num_instructions; ++i) {
    const rt::DimInstruction& in = instructions[i];
    const auto result = apply(in.op, values[in.a], values[in.b]);
    if (!result) return std::nullopt;
    values[plan.num_symbols + plan.num_constants + i] = *result;
  }
  return values;
}

// Packs the first segment, as the runtime does; the compiler's offsets where it packed itself.
bool pack_first(const Plan& plan, const std::vector<int64_t>& values, MemoryPlan* result) {
  const rt::PlanArena& arena = first_segment(plan).arenas[0];
  const auto* const rows = table<PlanBuffer>(plan, plan.buffers);
  const uint32_t* const ids = table<uint32_t>(plan, plan.arena_buffers) + arena.first_buffer;
  const uint32_t n = arena.num_buffers;
  std::vector<rt::PackItem> items;
  for (uint32_t i = 0; i < n; ++i) {
    const PlanBuffer& row = rows[ids[i]];
    const int64_t bytes = values[row.size_value];
    if (bytes < 0) return false;
    items.push_back({static_cast<uint64_t>(bytes), row.first, row.last});
    if (__builtin_add_overflow(result->buffer_bytes, rt::pack_round(items.back().size),
                               &result->buffer_bytes)) {
      return false;
    }
  }
  std::vector<uint64_t> scratch(rt::pack_scratch_bytes(n) / 8 + 1), offsets(n);
  result->max_live_bytes = n == 0 ? 0 : rt::max_live_bytes(items.data(), n, scratch.data());
  if (arena.precomputed != 0) {
    result->arena_bytes = arena.bytes;
    for (uint32_t i = 0; i < n; ++i) offsets[i] = rows[ids[i]].offset;
  } else {
    result->arena_bytes =
        rt::pack(items.data(), n, offsets.data(), scratch.data(), rt::kPackRuntimeEffort);
  }
  for (uint32_t i = 0; i < n; ++i) {
    result->buffers.push_back({ids[i], offsets[i], items[i].size, items[i].first, items[i].last});
  }
  return true;
}

uint64_t tensor_bytes(const Plan& plan, const rt::PlanTable& list,
                      const std::vector<int64_t>& values) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < list.count; ++i) {
    const rt::PlanTensor& t = table<rt::PlanTensor>(plan, list)[i];
    uint64_t bytes = byte_size(static_cast<DType>(t.dtype));
    for (uint32_t d = 0; d < t.rank; ++d) {
      const uint32_t value = table<rt::PlanDim>(plan, plan.dims)[t.first_dim + d].value;
      bytes *= static_cast<uint64_t>(std::max<int64_t>(values[value], 0));
    }
    sum += bytes;
  }
  return sum;
}

bool in_block(const rt::PlanTable& t, uint64_t row_bytes, uint64_t block) {
  return t.offset <= block && (t.offset % 8 == 0 || row_bytes == 1) &&
         t.count <= (block - t.offset) / row_bytes;
}

// Every number that is an index into something.
std::string fault_of_rows(const Plan& plan) {
  const uint64_t values = num_values(plan);
  const auto* const in = table<rt::DimInstruction>(plan, plan.instructions);
  for (uint64_t i = 0; i < plan.instructions.count; ++i) {
    if (in[i].op > DimOp::kMax) return "an unknown operation on extents";
    const uint64_t before = uint64_t{plan.num_symbols} + plan.num_constants + i;
    if (in[i].a >= before || in[i].b >= before) return "an extent that follows from a later one";
  }
  const PlanSegment& s = first_segment(plan);
  const rt::PlanArena& arena = s.arenas[0];
  if (uint64_t{s.first_instruction} + s.num_instructions > plan.instructions.count ||
      uint64_t{arena.first_buffer} + arena.num_buffers > plan.arena_buffers.count) {
    return "a segment beyond its tables";
  }
  for (uint64_t i = 0; i < plan.arena_buffers.count; ++i) {
    if (table<uint32_t>(plan, plan.arena_buffers)[i] >= plan.buffers.count) return "a wrong buffer";
  }
  for (uint32_t i = 0; i < arena.num_buffers; ++i) {
    const PlanBuffer& b = table<PlanBuffer>(
        plan, plan.buffers)[table<uint32_t>(plan, plan.arena_buffers)[arena.first_buffer + i]];
    if (b.size_value >= values || b.last < b.first) return "a buffer without a size";
  }
  for (const rt::PlanTable* list : {&plan.inputs, &plan.outputs}) {
    for (uint64_t i = 0; i < list->count; ++i) {
      const rt::PlanTensor& t = table<rt::PlanTensor>(plan, *list)[i];
      const bool known = static_cast<size_t>(t.dtype) < kNumDTypes;
      if (!known || t.name >= plan.strings.count ||
          uint64_t{t.first_dim} + t.rank > plan.dims.count)
        return "a damaged input or output";
    }
  }
  for (uint64_t i = 0; i < plan.dims.count; ++i) {
    if (table<rt::PlanDim>(plan, plan.dims)[i].value >= values) return "an extent without a value";
  }
  for (uint32_t i = 0; i < plan.num_symbols; ++i) {
    if (table<uint32_t>(plan, plan.symbol_names)[i] >= plan.strings.count)
      return "a nameless symbol";
  }
  return "";
}

}  // namespace

std::vector<std::string> symbols(const Plan& plan) {
  std::vector<std::string> names;
  for (uint64_t i = 0; i < plan.inputs.count; ++i) {
    const rt::PlanTensor& t = table<rt::PlanTensor>(plan, plan.inputs)[i];
    for (uint32_t d = 0; d < t.rank; ++d) {
      const rt::PlanDim& dim = table<rt::PlanDim>(plan, plan.dims)[t.first_dim + d];
      if (dim.mode != rt::DimMode::kDefine || dim.value >= plan.num_symbols) continue;
      names.emplace_back(
          rt::plan_string(plan, table<uint32_t>(plan, plan.symbol_names)[dim.value]));
    }
  }
  return names;
}

std::optional<MemoryPlan> memory_plan(const Plan& plan,
                                      const std::map<std::string, int64_t>& extents,
                                      int64_t otherwise) {
  const auto values = evaluate(plan, extents, otherwise);
  MemoryPlan result;
  if (!values || !pack_first(plan, *values, &result)) return std::nullopt;
  result.input_bytes = tensor_bytes(plan, plan.inputs, *values);
  const PlanSegment& segment = first_segment(plan);
  result.undecided = static_cast<uint32_t>(
      plan.arena_buffers.count - segment.arenas[0].num_buffers - segment.arenas[1].num_buffers);
  for (uint64_t i = 0; i < plan.buffers.count; ++i) {
    const BufferKind kind = table<PlanBuffer>(plan, plan.buffers)[i].kind;
    if (kind == BufferKind::kOwned) ++result.undecided;
  }
  result.output_bytes = tensor_bytes(plan, plan.outputs, *values);
  return result;
}

std::vector<std::string> expressions(const Plan& plan) {
  constexpr int kSum = 0, kProduct = 1, kAtom = 2;  // the outermost operator
  std::vector<std::string> texts;
  std::vector<int> levels(uint64_t{plan.num_symbols} + plan.num_constants, kAtom);
  for (uint32_t i = 0; i < plan.num_symbols; ++i) {
    texts.emplace_back(rt::plan_string(plan, table<uint32_t>(plan, plan.symbol_names)[i]));
  }
  for (uint32_t i = 0; i < plan.num_constants; ++i) {
    texts.push_back(std::to_string(table<int64_t>(plan, plan.constants)[i]));
  }
  for (uint64_t i = 0; i < plan.instructions.count; ++i) {
    const rt::DimInstruction& in = table<rt::DimInstruction>(plan, plan.instructions)[i];
    std::string text;
    const auto operand = [&](uint32_t v, int least) {
      const bool enclosed = levels[v] < least;
      if (enclosed) text += '(';
      text += texts[v];
      if (enclosed) text += ')';
    };
    const auto write = [&](int level, const char* before, int left, const char* between, int right,
                           const char* after) {
      text += before;
      operand(in.a, left);
      text += between;
      operand(in.b, right);
      text += after;
      levels.push_back(level);
    };
    switch (in.op) {
      case DimOp::kAdd: write(kSum, "", kSum, " + ", kSum, ""); break;
      case DimOp::kMul: write(kProduct, "", kProduct, "*", kProduct, ""); break;
      case DimOp::kFloorDiv: write(kProduct, "", kProduct, " // ", kAtom, ""); break;
      case DimOp::kMod: write(kProduct, "", kProduct, " % ", kAtom, ""); break;
      case DimOp::kMin: write(kAtom, "min(", kSum, ", ", kSum, ")"); break;
      case DimOp::kMax: write(kAtom, "max(", kSum, ", ", kSum, ")"); break;
    }
    if (text.size() > kMostText) {
      text.resize(kMostText - 3);
      text += "...";
    }
    texts.push_back(std::move(text));
  }
  return texts;
}

std::string fault_of(const std::vector<std::byte>& block) {
  if (block.size() < sizeof(Plan)) return "the plan is cut off";
  const Plan& plan = *reinterpret_cast<const Plan*>(block.data());
  if (plan.magic != rt::kPlanMagic || plan.version != rt::kPlanVersion) {
    return "the plan is of another version";
  }
  const uint64_t bytes = block.size();
  const bool fit = in_block(plan.constants, 8, bytes) &&
                   in_block(plan.instructions, sizeof(rt::DimInstruction), bytes) &&
                   in_block(plan.segments, sizeof(PlanSegment), bytes) &&
                   in_block(plan.dims, sizeof(rt::PlanDim), bytes) &&
                   in_block(plan.inputs, sizeof(rt::PlanTensor), bytes) &&
                   in_block(plan.outputs, sizeof(rt::PlanTensor), bytes) &&
                   in_block(plan.buffers, sizeof(PlanBuffer), bytes) &&
                   in_block(plan.arena_buffers, 4, bytes) &&
                   in_block(plan.symbol_names, 4, bytes) && in_block(plan.strings, 1, bytes);
  if (!fit || plan.segments.count == 0 || plan.constants.count < plan.num_constants ||
      plan.symbol_names.count < plan.num_symbols || plan.strings.count == 0 ||
      table<char>(plan, plan.strings)[plan.strings.count - 1] != 0) {
    return "the tables of the plan are damaged";
  }
  return fault_of_rows(plan);
}

}  // namespace gcomp::artifact
