// KernelPrinter: values, memory and structure; arithmetic is in print_ops.cpp.

#include "kernel_printer.h"

#include <array>
#include <charconv>
#include <cmath>

#include "gcomp/ir/op.h"
#include "gcomp/support/error.h"

namespace gcomp::codegen {

using kernel::Code;
using kernel::Inst;
using kernel::kAccessBytes;
using kernel::Kernel;
using kernel::Role;
using kernel::ValueKind;

namespace {

constexpr size_t kLongestInline = 56;  // of an expression that stands where it is read

std::string hex(uint64_t bits) {
  char text[24];
  return {text, static_cast<size_t>(std::snprintf(text, sizeof text, "0x%llx",
                                                  static_cast<unsigned long long>(bits)))};
}

template <class T>
std::string shortest(T value) {
  char text[40];
  std::string s(text, std::to_chars(text, text + sizeof text, value).ptr);
  if (s.find_first_of(".e") == std::string::npos) s += ".0";
  return s;
}

// What opens a scope: a loop, a test, an arm.
bool opens(Code c) {
  return c == Code::kFor || c == Code::kWhile || c == Code::kWhileTest || c == Code::kIf ||
         c == Code::kElse;
}

bool closes(Code c) {
  return c == Code::kEndFor || c == Code::kEndWhile || c == Code::kElse || c == Code::kEndIf ||
         c == Code::kWhileTest;
}

// Whether the expression of `code` may be evaluated later than the instruction stands.
bool is_pure(Code c) { return c <= Code::kShuffle; }

// "f(a, g(b))", which needs no brackets as an operand.
bool is_call(std::string_view text) {
  size_t at = 0;
  while (at < text.size() && (std::isalnum(static_cast<unsigned char>(text[at])) ||
                              text[at] == '_' || text[at] == '<' || text[at] == '>')) {
    ++at;
  }
  if (at == 0 || at == text.size() || text[at] != '(') return false;
  int depth = 0;
  for (; at < text.size(); ++at) {
    depth += text[at] == '(' ? 1 : text[at] == ')' ? -1 : 0;
    if (depth == 0) return at + 1 == text.size();
  }
  return false;
}

std::string buffer_name(uint32_t index) { return "b" + std::to_string(index); }

}  // namespace

std::string_view cuda_type(DType t) {
  constexpr std::string_view kNames[kNumDTypes] = {"bool", "i8",  "i16", "i32",  "i64", "u8", "u16",
                                                   "u32",  "u64", "f16", "bf16", "f32", "f64"};
  return kNames[static_cast<size_t>(t)];
}

KernelPrinter::KernelPrinter(const Kernel& kernel, std::string_view name, int64_t most_iterations)
    : k_(kernel), name_(name), widths_(kernel, most_iterations) {
  first_text_.reserve(k_.values.size());
  size_t slots = 0;
  for (const kernel::ValueInfo& v : k_.values) {
    first_text_.push_back(slots);
    slots += v.type.lanes;
  }
  texts_.resize(slots);
  end_of_.resize(k_.insts.size());
  std::vector<uint32_t> open;
  for (uint32_t i = 0; i < k_.insts.size(); ++i) {
    const Code c = k_.insts[i].code;
    if (c == Code::kIf) open.push_back(i);
    if (c == Code::kEndIf) end_of_[open.back()] = i, open.pop_back();
  }
  count_uses();
}

// Where each value is read, and in which scopes that and its definition are.
void KernelPrinter::count_uses() {
  uses_.assign(k_.values.size(), 0);
  reader_region_.assign(k_.values.size(), 0);
  value_region_.assign(k_.values.size(), 0);
  std::vector<uint32_t> scopes = {0};
  uint32_t next = 1;
  for (const Inst& inst : k_.insts) {
    // Yields, bounds and initial values are always variables: they are read more than once, or late.
    const bool marker =
        inst.code >= Code::kFor && inst.code != Code::kWhileTest && inst.code != Code::kIf;
    for (size_t i = 0; i < inst.num_operands; ++i) {
      const uint32_t v = operand_id(inst, i);
      uses_[v] += marker || inst.code == Code::kReduce ? 2 : 1;
      reader_region_[v] = scopes.back();
    }
    if (closes(inst.code) && inst.code != Code::kWhileTest) scopes.pop_back();
    if (inst.code == Code::kEndWhile) scopes.pop_back();  // the test's, which is around the body's
    if (opens(inst.code)) scopes.push_back(next++);
    for (uint32_t i = 0; i < inst.num_values; ++i)
      value_region_[inst.first_value + i] = scopes.back();
  }
}

// ---- values

std::string_view KernelPrinter::type_name_of(uint32_t value) const {
  return widths_.narrow(value) ? "i32" : cuda_type(type(value).dtype);
}

std::string KernelPrinter::variable(uint32_t value, int lane) const {
  std::string name = "v" + std::to_string(value);
  if (type(value).lanes > 1) name += "_" + std::to_string(lane);
  return name;
}

std::string KernelPrinter::literal(kernel::Type type, uint64_t bits) const {
  switch (type.dtype) {
    case DType::kBool: return bits != 0 ? "true" : "false";
    case DType::kFloat32: {
      const float f = std::bit_cast<float>(static_cast<uint32_t>(bits));
      return std::isfinite(f) ? shortest(f) + "f" : "__uint_as_float(" + hex(bits) + "u)";
    }
    case DType::kFloat64: {
      const double d = std::bit_cast<double>(bits);
      return std::isfinite(d) ? shortest(d) : "__longlong_as_double((i64)" + hex(bits) + "ull)";
    }
    case DType::kFloat16:
    case DType::kBFloat16: return hex(bits);
    case DType::kUInt32: return std::to_string(bits) + "u";
    case DType::kUInt64: return std::to_string(bits) + "ull";
    default: break;
  }
  if (is_unsigned_int(type.dtype)) return std::to_string(bits);
  const auto shift = 64 - byte_size(type.dtype) * 8;
  const auto value = static_cast<int64_t>(bits << shift) >> shift;
  if (value == std::numeric_limits<int64_t>::min()) return "(-9223372036854775807ll - 1)";
  if (value == std::numeric_limits<int32_t>::min()) return "(-2147483647 - 1)";
  const bool large = value != static_cast<int32_t>(value);
  return std::to_string(value) + (large ? "ll" : "");
}

KernelPrinter::Text KernelPrinter::value(uint32_t id, int lane) const {
  const kernel::ValueInfo& info = k_.values[id];
  switch (info.kind) {
    case ValueKind::kConst: {
      std::string text = literal(info.type, info.bits);
      const bool negative = text[0] == '-';
      return {std::move(text), !negative};
    }
    case ValueKind::kScalar: return {"s" + std::to_string(info.bits)};
    case ValueKind::kBegin: return {"begin"};
    case ValueKind::kEnd: return {"(begin + 1)"};
    default: return texts_[lane_slot(id, lane)];
  }
}

std::string KernelPrinter::atom(uint32_t id, int lane) const {
  Text t = value(id, lane);
  return t.atom ? std::move(t.text) : "(" + t.text + ")";
}

std::string KernelPrinter::raw(const Inst& inst, size_t i, int lane) const {
  const uint32_t id = operand_id(inst, i);
  const bool cast = wide_operands_ && widths_.narrow(id) && k_.values[id].kind != ValueKind::kConst;
  return cast ? "(i64)" + atom(id, lane) : value(id, lane).text;
}

std::string KernelPrinter::arg(const Inst& inst, size_t i, int lane) const {
  const uint32_t id = operand_id(inst, i);
  const bool cast = wide_operands_ && widths_.narrow(id) && k_.values[id].kind != ValueKind::kConst;
  return cast ? "(i64)" + atom(id, lane) : atom(id, lane);
}

bool KernelPrinter::needs_wide_operands(const Inst& inst) const {
  auto is_wide = [&](uint32_t v) { return type(v).dtype == DType::kInt64 && !widths_.narrow(v); };
  if (inst.num_values == 1 && is_wide(inst.first_value)) return true;
  for (size_t i = 0; i < inst.num_operands; ++i) {
    if (is_wide(operand_id(inst, i))) return true;
  }
  return false;
}

std::string KernelPrinter::narrowed(const Inst& inst, std::string text) const {
  if (!wide_operands_ || !widths_.narrow(inst.first_value)) return text;
  return "(i32)(" + text + ")";
}

bool KernelPrinter::stands_where_read(const Inst& inst, size_t length) const {
  const uint32_t v = inst.first_value;
  return uses_[v] == 1 && value_region_[v] == reader_region_[v] && is_pure(inst.code) &&
         length <= kLongestInline;
}

void KernelPrinter::define(const Inst& inst, int lane, std::string expression) {
  const uint32_t v = inst.first_value;
  Text& text = texts_[lane_slot(v, lane)];
  if (stands_where_read(inst, expression.size())) {
    const bool atom = is_call(expression);
    text = {std::move(expression), atom};
    return;
  }
  text = {variable(v, lane)};
  line("const " + std::string(type_name_of(v)) + " " + text.text + " = " + expression + ";");
}

void KernelPrinter::alias(const Inst& inst, int lane, uint32_t id, int from) {
  texts_[lane_slot(inst.first_value, lane)] = value(id, from);
}

// ---- statements

void KernelPrinter::line(std::string_view text) {
  out_.append(static_cast<size_t>(depth_) * 2, ' ');
  out_ += text;
  out_ += '\n';
}

void KernelPrinter::open_line(std::string_view text) {
  line(text);
  ++depth_;
}

void KernelPrinter::close_line(std::string_view text) {
  --depth_;
  line(text);
}

// ---- parameters and arrays

void KernelPrinter::print_parameters() {
  const size_t words = k_.num_parameters() + k_.scalars.size() + 1;
  const uint32_t threads = k_.block_threads;
  out_ += (threads != 0 ? "GCOMP_BLOCK_KERNEL(" : "GCOMP_KERNEL(") + name_ + ", " +
          std::to_string(words) + (threads != 0 ? ", " + std::to_string(threads) : "") + ") {\n";
  for (uint32_t i = 0; i < k_.buffers.size(); ++i) {
    const kernel::BufferInfo& b = k_.buffers[i];
    if (!is_parameter(b.role)) continue;
    const std::string pointer =
        (b.role == Role::kIn ? "const " : "") + std::string(cuda_type(b.dtype)) + "*";
    line(pointer + " const " + buffer_name(i) + " = (" + pointer + ")a.w[" +
         std::to_string(b.slot) + "];");
  }
  for (size_t i = 0; i < k_.scalars.size(); ++i) {
    const std::string word = "a.w[" + std::to_string(k_.num_parameters() + i) + "]";
    const DType t = k_.scalars[i];
    std::string text = "(" + std::string(cuda_type(t)) + ")" + word;
    if (t == DType::kFloat32) text = "__uint_as_float((u32)" + word + ")";
    if (t == DType::kFloat64) text = "__longlong_as_double((i64)" + word + ")";
    if (t == DType::kBool) text = word + " != 0";
    line("const " + std::string(cuda_type(t)) + " s" + std::to_string(i) + " = " + text + ";");
  }
  line("const i64 iterations = (i64)a.w[" + std::to_string(words - 1) + "];");
}

// Floats as bits, for infinities and NaN are no literals.
void KernelPrinter::print_table(size_t index) {
  const kernel::BufferInfo& b = k_.buffers[index];
  DType t = b.dtype;
  if (t == DType::kFloat32) t = DType::kUInt32;
  if (t == DType::kFloat64) t = DType::kUInt64;
  tables_ += "static __device__ const " + std::string(cuda_type(t)) + " " + name_ + "_" +
             buffer_name(static_cast<uint32_t>(index)) + "[" + std::to_string(b.size) + "] = {";
  for (uint32_t i = 0; i < b.size; ++i) {
    tables_ += i == 0 ? "" : i % 8 == 0 ? ",\n    " : ", ";
    tables_ += literal({t, 1}, k_.table_words[b.slot + i]);
  }
  tables_ += "};\n";
}

void KernelPrinter::print_arrays() {
  for (uint32_t i = 0; i < k_.buffers.size(); ++i) {
    const kernel::BufferInfo& b = k_.buffers[i];
    if (b.role == Role::kTable) print_table(i);
    if (b.role != Role::kLocal) continue;
    line(std::string(cuda_type(b.dtype)) + " " + buffer_name(i) + "[" + std::to_string(b.size) +
         "];");
  }
}

// ---- memory

std::string KernelPrinter::element_at(const Inst& inst, const std::string& index) const {
  const kernel::BufferInfo& b = k_.buffers[inst.imm];
  std::string name = buffer_name(inst.imm);
  if (b.role == Role::kTable) name = name_ + "_" + name;
  return name + "[" + index + "]";
}

std::string KernelPrinter::element(const Inst& inst, int lane) const {
  const bool vector_index = inst.code == Code::kGather || inst.code == Code::kScatter;
  const uint32_t id = operand_id(inst, 0);
  const int index_lane = vector_index ? lane : 0;
  if (vector_index || lane == 0) return element_at(inst, value(id, index_lane).text);
  return element_at(inst, atom(id, 0) + " + " + std::to_string(lane));
}

std::string KernelPrinter::from_memory(const Inst& inst, std::string text) {
  if (k_.buffers[inst.imm].role != Role::kTable) return text;
  if (inst.type.dtype == DType::kFloat32) return "__uint_as_float(" + text + ")";
  if (inst.type.dtype == DType::kFloat64) return "__longlong_as_double((i64)" + text + ")";
  return text;
}

// Small integers and bool travel as int.
std::string KernelPrinter::warp_xor(const Inst& inst) const {
  const DType t = inst.type.dtype;
  const bool travels = t == DType::kInt32 || t == DType::kInt64 || t == DType::kUInt32 ||
                       t == DType::kUInt64 || t == DType::kFloat32 || t == DType::kFloat64;
  const std::string value = travels ? raw(inst, 0, 0) : "(i32)" + arg(inst, 0, 0);
  const std::string call =
      "__shfl_xor_sync(0xffffffffu, " + value + ", " + std::to_string(inst.imm) + ")";
  return travels ? call : "(" + std::string(cuda_type(t)) + ")" + call;
}

// Declares the value's lanes; gives them as "a, b, c".
std::string KernelPrinter::declare_lanes(const Inst& inst) {
  std::string variables;
  for (int lane = 0; lane < inst.type.lanes; ++lane) {
    const std::string name = variable(inst.first_value, lane);
    texts_[lane_slot(inst.first_value, lane)] = {name};
    variables += (lane == 0 ? "" : ", ") + name;
  }
  line(std::string(cuda_type(inst.type.dtype)) + " " + variables + ";");
  return variables;
}

void KernelPrinter::print_mma(const Inst& inst) {
  constexpr std::array kNames = {"mma_f16", "mma_bf16", "mma_tf32"};
  constexpr std::array kHelpers = {Helper::kMmaF16, Helper::kMmaBF16, Helper::kMmaTf32};
  use(kHelpers[inst.imm]);
  std::string arguments = declare_lanes(inst);
  for (size_t i = 0; i < inst.num_operands; ++i) {
    for (int lane = 0; lane < operand_type(inst, i).lanes; ++lane) {
      arguments += ", " + raw(inst, i, lane);
    }
  }
  line(std::string(kNames[inst.imm]) + "(" + arguments + ");");
}

void KernelPrinter::print_warp_load(const Inst& inst) {
  use(Helper::kWarpLoad);
  const std::string name =
      inst.flags & kernel::kTransposed ? "warp_load_transposed(" : "warp_load(";
  line(name + declare_lanes(inst) + ", " + buffer_name(inst.imm) + ", " + raw(inst, 0, 0) + ");");
}

void KernelPrinter::print_copy(const Inst& inst) {
  use(Helper::kCopyAsync);
  if (inst.code == Code::kCommitCopies) return line("commit_copies();");
  if (inst.code == Code::kWaitCopies) {
    return line("wait_copies<" + std::to_string(inst.imm) + ">();");
  }
  const kernel::CopyBuffers buffers(inst.imm);
  line("copy_async(" + buffer_name(buffers.to) + ", " + raw(inst, 0, 0) + ", &" +
       buffer_name(buffers.from) + "[" + raw(inst, 1, 0) + "], " + raw(inst, 2, 0) + ");");
}

void KernelPrinter::print_block(const Inst& inst) {
  switch (inst.code) {
    case Code::kThread: return define(inst, 0, "(i32)threadIdx.x");
    case Code::kBarrier: return line("__syncthreads();");
    case Code::kWarpMma: return print_mma(inst);
    case Code::kWarpLoad: return print_warp_load(inst);
    case Code::kIsAligned:
      use(Helper::kIsAligned);
      return define(inst, 0, "is_aligned(&" + element(inst, 0) + ")");
    case Code::kCopyAsync:
    case Code::kCommitCopies:
    case Code::kWaitCopies: return print_copy(inst);
    default: return define(inst, 0, warp_xor(inst));
  }
}

// Neighbouring lanes, as many at once as one access takes.
void KernelPrinter::print_access(const Inst& inst) {
  use(Helper::kLanes);
  const int most = kAccessBytes / static_cast<int>(byte_size(inst.type.dtype));
  const int n = std::min<int>(inst.type.lanes, most);
  for (int first = 0; first < inst.type.lanes; first += n) {
    const std::string place = "&" + element(inst, first);
    if (inst.code == Code::kLoad) {
      const std::string name = variable(inst.first_value, first);
      const std::string count = std::to_string(n);
      line("const Lanes<" + std::string(cuda_type(inst.type.dtype)) + ", " + count + "> " + name +
           " = load_lanes<" + count + ">(" + place + ");");
      for (int i = 0; i < n; ++i) {
        texts_[lane_slot(inst.first_value, first + i)] = {name + ".lane[" + std::to_string(i) +
                                                          "]"};
      }
      continue;
    }
    std::string values;
    for (int i = 0; i < n; ++i) values += ", " + value(operand_id(inst, 1), first + i).text;
    line("store_lanes(" + place + values + ");");
  }
}

void KernelPrinter::print_memory(const Inst& inst) {
  if (inst.code == Code::kSetError) {
    line("atomicMin(" + buffer_name(inst.imm) + ", (i64)" + arg(inst, 0, 0) + ");");
    return;
  }
  const bool plain = inst.code == Code::kLoad || inst.code == Code::kStore;
  if (plain && inst.type.lanes > 1 && is_parameter(k_.buffers[inst.imm].role)) {
    return print_access(inst);
  }
  for (int lane = 0; lane < inst.type.lanes; ++lane) {
    const std::string place = element(inst, lane);
    switch (inst.code) {
      case Code::kLoad:
      case Code::kGather: define(inst, lane, from_memory(inst, place)); break;
      case Code::kMaskedLoad:
        define(inst, lane,
               arg(inst, 1, lane) + " ? " + from_memory(inst, place) + " : " + arg(inst, 2, lane));
        break;
      case Code::kMaskedStore:
        line("if (" + value(operand_id(inst, 1), lane).text + ") " + place + " = " +
             value(operand_id(inst, 2), lane).text + ";");
        break;
      default: line(place + " = " + value(operand_id(inst, 1), lane).text + ";"); break;
    }
  }
}

// ---- structure

// Variables for what a loop carries, set to the initial values.
void KernelPrinter::open_region(const Inst& inst, size_t first_init, uint32_t first_value) {
  Region region{.open = &inst};
  for (size_t i = first_init; i < inst.num_operands; ++i) {
    const auto v = static_cast<uint32_t>(first_value + i - first_init);
    for (int lane = 0; lane < type(v).lanes; ++lane) {
      const std::string name = variable(v, lane);
      line(std::string(type_name_of(v)) + " " + name + " = " +
           value(operand_id(inst, i), lane).text + ";");
      texts_[lane_slot(v, lane)] = {name};
      region.carried.push_back(name);
    }
  }
  regions_.push_back(std::move(region));
}

void KernelPrinter::print_for(const Inst& inst) {
  const uint32_t counter = inst.first_value;
  if (is_one_turn(k_, inst)) {  // no loop: carried values are their initial values
    texts_[lane_slot(counter, 0)] = {"begin"};
    for (size_t i = 3; i < inst.num_operands; ++i) {
      const auto v = static_cast<uint32_t>(counter + i - 2);
      for (int lane = 0; lane < type(v).lanes; ++lane) {
        texts_[lane_slot(v, lane)] = value(operand_id(inst, i), lane);
      }
    }
    regions_.push_back({.open = &inst, .loop = false});
    return;
  }
  open_region(inst, 3, counter + 1);
  const std::string i = variable(counter, 0);
  texts_[lane_slot(counter, 0)] = {i};
  if (inst.flags & kernel::kUnrolled) line("#pragma unroll");
  open_line("for (" + std::string(type_name_of(counter)) + " " + i + " = " +
            value(operand_id(inst, 0), 0).text + "; " + i + " < " + arg(inst, 1, 0) + "; " + i +
            " += " + arg(inst, 2, 0) + ") {");
}

void KernelPrinter::print_while(const Inst& inst) {
  open_region(inst, 0, inst.first_value);
  open_line("for (;;) {");
}

// The values a turn yields become the carried ones, all at once.
void KernelPrinter::assign_yields(const Inst& inst) {
  const std::vector<std::string>& to = regions_.back().carried;
  std::vector<std::string> from;
  std::vector<std::string_view> types;
  for (size_t i = 0; i < inst.num_operands; ++i) {
    const uint32_t v = operand_id(inst, i);
    for (int lane = 0; lane < type(v).lanes; ++lane) {
      from.push_back(value(v, lane).text);
      types.push_back(type_name_of(v));
    }
  }
  for (size_t i = 0; i < from.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {  // would be overwritten before it is read
      if (from[i] != to[j]) continue;
      const std::string saved = "old_" + from[i];
      if (std::find(from.begin(), from.begin() + static_cast<std::ptrdiff_t>(i), saved) ==
          from.begin() + static_cast<std::ptrdiff_t>(i)) {
        line("const " + std::string(types[i]) + " " + saved + " = " + from[i] + ";");
      }
      from[i] = saved;
      break;
    }
  }
  for (size_t i = 0; i < from.size(); ++i) {
    if (from[i] != to[i]) line(to[i] + " = " + from[i] + ";");
  }
}

void KernelPrinter::end_loop(const Inst& inst) {
  const Region region = regions_.back();
  if (region.loop) {
    assign_yields(inst);
    close_line();
  }
  regions_.pop_back();
  size_t slot = 0;
  for (uint32_t i = 0; i < inst.num_values; ++i) {
    const uint32_t v = inst.first_value + i;
    for (int lane = 0; lane < type(v).lanes; ++lane) {
      texts_[lane_slot(v, lane)] =
          region.loop ? Text{region.carried[slot++]} : value(operand_id(inst, i), lane);
    }
  }
}

// Variables for the results are declared before, and set by both arms.
void KernelPrinter::print_if(const Inst& inst) {
  const Inst& end = k_.insts[end_of_[static_cast<size_t>(&inst - k_.insts.data())]];
  Region region{.open = &inst};
  for (uint32_t i = 0; i < end.num_values; ++i) {
    const uint32_t v = end.first_value + i;
    for (int lane = 0; lane < type(v).lanes; ++lane) {
      const std::string name = variable(v, lane);
      line(std::string(type_name_of(v)) + " " + name + ";");
      texts_[lane_slot(v, lane)] = {name};
      region.carried.push_back(name);
    }
  }
  regions_.push_back(std::move(region));
  open_line("if (" + value(operand_id(inst, 0), 0).text + ") {");
}

void KernelPrinter::print_structure(const Inst& inst) {
  switch (inst.code) {
    case Code::kFor: return print_for(inst);
    case Code::kWhile: return print_while(inst);
    case Code::kWhileTest: return line("if (!" + arg(inst, 0, 0) + ") break;");
    case Code::kEndFor:
    case Code::kEndWhile: return end_loop(inst);
    case Code::kIf: return print_if(inst);
    case Code::kElse: {
      assign_yields(inst);
      const bool empty = (&inst)[1].code == Code::kEndIf && inst.num_operands == 0;
      if (empty) return;
      close_line("} else {");
      ++depth_;
      return;
    }
    default:
      assign_yields(inst);
      regions_.pop_back();
      return close_line();
  }
}

void KernelPrinter::print(const Inst& inst) {
  wide_operands_ = false;
  if (inst.code >= Code::kFor) return print_structure(inst);
  if (inst.code >= Code::kThread) return print_block(inst);
  if (inst.code >= Code::kLoad) return print_memory(inst);
  wide_operands_ = needs_wide_operands(inst);
  print_value(inst);
}

std::string KernelPrinter::run() {
  print_parameters();
  bool shares = false;
  for (uint32_t i = 0; i < k_.buffers.size(); ++i) {
    const kernel::BufferInfo& b = k_.buffers[i];
    if (b.role != Role::kShared) continue;
    shares = true;
    line("GCOMP_SHARED(" + std::string(cuda_type(b.dtype)) + ", " + buffer_name(i) + ", " +
         std::to_string(b.size) + ");");
  }
  const bool blocks = k_.block_threads != 0;
  const std::string first = blocks ? "blockIdx.x" : "(i64)blockIdx.x * blockDim.x + threadIdx.x";
  const std::string stride = blocks ? "gridDim.x" : "(i64)gridDim.x * blockDim.x";
  open_line("for (i64 i = " + first + "; i < iterations; i += " + stride + ") {");
  bool uses_begin = false;
  for (size_t v = 0; v < k_.values.size() && !uses_begin; ++v) {
    if (k_.values[v].kind != ValueKind::kBegin) continue;
    uses_begin = true;
    line("const " + std::string(type_name_of(static_cast<uint32_t>(v))) +
         " begin = " + (widths_.narrow(static_cast<uint32_t>(v)) ? "(i32)i;" : "i;"));
  }
  print_arrays();
  for (const Inst& inst : k_.insts) print(inst);
  if (shares) line("__syncthreads();");  // the next turn writes what this one reads
  close_line();
  out_ += "}\n";
  return std::move(out_);
}

}  // namespace gcomp::codegen
