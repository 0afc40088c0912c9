// Builder: parameters, constants, memory, structure. Elementwise operations: builder_ops.cpp.

#include "gcomp/kernel/builder.h"

#include <algorithm>
#include <bit>

#include "builder_state.h"
#include "fold.h"
#include "gcomp/ir/op.h"
#include "gcomp/support/error.h"
#include "gcomp/support/hash.h"

namespace gcomp::kernel {

const Inst* Builder::State::def(Value v) const {
  const ValueInfo& info = kernel.values[v.index];
  return info.kind == ValueKind::kInst ? &kernel.insts[info.bits] : nullptr;
}

Value Builder::State::add_value(ValueInfo info) {
  kernel.values.push_back(info);
  return Value(kernel.values.size() - 1);
}

Inst& Builder::State::append(Code code, Type type, std::span<const Value> operands,
                             std::span<const Type> defined) {
  Inst inst;
  inst.code = code;
  inst.type = type;
  inst.first_operand = static_cast<uint32_t>(kernel.operands.size());
  inst.num_operands = static_cast<uint16_t>(operands.size());
  inst.first_value = static_cast<uint32_t>(kernel.values.size());
  inst.num_values = static_cast<uint16_t>(defined.size());
  for (Value v : operands) {
    GCOMP_CHECK(v.index < kernel.values.size(), "kernel builder: operand is not a value");
    kernel.operands.push_back(v.index);
  }
  for (Type t : defined) add_value({t, ValueKind::kInst, kernel.insts.size()});
  kernel.insts.push_back(inst);
  return kernel.insts.back();
}

Value Builder::State::append_one(Code code, Type type, std::span<const Value> operands) {
  return Value(append(code, type, operands, {&type, 1}).first_value);
}

Values Builder::State::results_of(const Inst& inst) const {
  Values results;
  for (uint32_t i = 0; i < inst.num_values; ++i) results.push_back(Value(inst.first_value + i));
  return results;
}

std::vector<Type> Builder::State::types_of(std::span<const Value> values) const {
  std::vector<Type> types;
  for (Value v : values) types.push_back(type(v));
  return types;
}

Builder::Builder() : s_(std::make_unique<State>()) {}
Builder::~Builder() = default;

// --- parameters -------------------------------------------------------------------------------

Buffer Builder::parameter(DType dtype, Role role) {
  GCOMP_CHECK(is_parameter(role), "kernel builder: parameter() makes parameters only");
  auto slot = static_cast<uint32_t>(s_->kernel.num_parameters());
  s_->kernel.buffers.push_back({dtype, role, slot, 0});
  Buffer buffer(s_->kernel.buffers.size() - 1);
  if (role == Role::kError) s_->error = buffer;
  return buffer;
}

Value Builder::scalar(DType dtype) {
  s_->kernel.scalars.push_back(dtype);
  return s_->add_value({{dtype, 1}, ValueKind::kScalar, s_->kernel.scalars.size() - 1});
}

Value Builder::range_begin() {
  if (!s_->begin.valid()) s_->begin = s_->add_value({{DType::kInt64, 1}, ValueKind::kBegin, 0});
  return s_->begin;
}

Value Builder::range_end() {
  if (!s_->end.valid()) s_->end = s_->add_value({{DType::kInt64, 1}, ValueKind::kEnd, 0});
  return s_->end;
}

Value Builder::argument(Type type) { return s_->add_value({type, ValueKind::kArgument, 0}); }

Buffer Builder::local(DType dtype, uint32_t size) {
  s_->kernel.buffers.push_back({dtype, Role::kLocal, 0, size});
  return Buffer(s_->kernel.buffers.size() - 1);
}

void Builder::set_block(uint32_t threads) { s_->kernel.block_threads = threads; }

Buffer Builder::shared(DType dtype, uint32_t size) {
  s_->kernel.buffers.push_back({dtype, Role::kShared, 0, size});
  return Buffer(s_->kernel.buffers.size() - 1);
}

Value Builder::thread() { return s_->append_one(Code::kThread, {DType::kInt64, 1}, {}); }

void Builder::barrier() {
  s_->append(Code::kBarrier, {}, std::span<const Value>(), std::span<const Type>());
}

Value Builder::warp_xor(Value v, int lanes) {
  const Value r = s_->append_one(Code::kWarpXor, type(v), {v});
  s_->kernel.insts.back().imm = static_cast<uint32_t>(lanes);
  return r;
}

Value Builder::warp_mma(MmaFormat format, Value a, Value b, Value c) {
  const Value r = s_->append_one(Code::kWarpMma, {DType::kFloat32, 4}, Values{a, b, c});
  s_->kernel.insts.back().imm = static_cast<uint32_t>(format);
  return r;
}

Value Builder::warp_load(Buffer shared, Value row, bool transposed) {
  const Value r = s_->append_one(Code::kWarpLoad, {DType::kUInt32, 4}, {row});
  s_->kernel.insts.back().imm = shared.index;
  s_->kernel.insts.back().flags = transposed ? kTransposed : 0;
  return r;
}

Value Builder::is_aligned(Buffer buffer, Value index) {
  const Value r = s_->append_one(Code::kIsAligned, {DType::kBool, 1}, {index});
  s_->kernel.insts.back().imm = buffer.index;
  return r;
}

void Builder::copy_async(Buffer to, Value at, Buffer from, Value index, Value inside) {
  GCOMP_CHECK(to.index < 1 << 16 && from.index < 1 << 16, "kernel builder: too many buffers");
  const DType t = info(to).dtype;
  const Type copied{t, static_cast<uint16_t>(kAccessBytes / byte_size(t))};
  const Value operands[] = {at, index, inside};
  s_->append(Code::kCopyAsync, copied, operands, {}).imm = to.index | from.index << 16;
}

void Builder::commit_copies() {
  s_->append(Code::kCommitCopies, {}, std::span<const Value>(), std::span<const Type>());
}

void Builder::wait_copies(int pending) {
  s_->append(Code::kWaitCopies, {}, std::span<const Value>(), std::span<const Type>()).imm =
      static_cast<uint32_t>(pending);
}

Buffer Builder::table(DType dtype, std::span<const uint64_t> element_bits) {
  Kernel& k = s_->kernel;
  for (size_t i = 0; i < k.buffers.size(); ++i) {  // equal tables are one
    const BufferInfo& b = k.buffers[i];
    if (b.role != Role::kTable || b.dtype != dtype || b.size != element_bits.size()) continue;
    if (std::equal(element_bits.begin(), element_bits.end(), k.table_words.begin() + b.slot)) {
      return Buffer(i);
    }
  }
  k.buffers.push_back({dtype, Role::kTable, static_cast<uint32_t>(k.table_words.size()),
                       static_cast<uint32_t>(element_bits.size())});
  k.table_words.insert(k.table_words.end(), element_bits.begin(), element_bits.end());
  return Buffer(k.buffers.size() - 1);
}

// --- constants --------------------------------------------------------------------------------

Value Builder::constant_bits(Type type, uint64_t bits) {
  uint64_t key = hash_combine(bits, static_cast<size_t>(type.dtype) * 256 + type.lanes);
  std::vector<Value>& bucket = s_->constants[key];
  for (Value v : bucket) {
    if (s_->type(v) == type && s_->bits(v) == bits) return v;
  }
  bucket.push_back(s_->add_value({type, ValueKind::kConst, bits}));
  return bucket.back();
}

Value Builder::constant(Type type, double value) {
  return constant_bits(type, from_double(type.dtype, value));
}

Value Builder::index(int64_t value) {
  return constant_bits({DType::kInt64, 1}, static_cast<uint64_t>(value));
}

Value Builder::f32(float value) {
  return constant_bits({DType::kFloat32, 1}, std::bit_cast<uint32_t>(value));
}

Value Builder::f64(double value) {
  return constant_bits({DType::kFloat64, 1}, std::bit_cast<uint64_t>(value));
}

Value Builder::boolean(bool value) { return constant_bits({DType::kBool, 1}, value ? 1 : 0); }

bool Builder::constant_value(Value v, int64_t* value) const {
  DType t = type(v).dtype;
  if (!s_->is_const(v) || is_float(t)) return false;
  *value = as_int(t, s_->bits(v));
  return true;
}

Type Builder::type(Value v) const {
  GCOMP_CHECK(v.index < s_->kernel.values.size(), "kernel builder: not a value of this builder");
  return s_->type(v);
}

const BufferInfo& Builder::info(Buffer buffer) const {
  GCOMP_CHECK(buffer.index < s_->kernel.buffers.size(), "kernel builder: not a buffer");
  return s_->kernel.buffers[buffer.index];
}

// --- memory -----------------------------------------------------------------------------------

Value Builder::load(Buffer buffer, Value index, int lanes) {
  Type t{info(buffer).dtype, static_cast<uint16_t>(lanes)};
  Value v = s_->append_one(Code::kLoad, t, {index});
  s_->kernel.insts.back().imm = buffer.index;
  return v;
}

Value Builder::load_splat(Buffer buffer, Value index, int lanes) {
  return splat(load(buffer, index, 1), lanes);
}

Value Builder::gather(Buffer buffer, Value indices) {
  if (type(indices).lanes == 1) return load(buffer, indices, 1);
  Type t{info(buffer).dtype, type(indices).lanes};
  Value v = s_->append_one(Code::kGather, t, {indices});
  s_->kernel.insts.back().imm = buffer.index;
  return v;
}

Value Builder::masked_load(Buffer buffer, Value index, Value mask, Value otherwise) {
  Type t{info(buffer).dtype, type(mask).lanes};
  if (int64_t on = 0; constant_value(mask, &on) && on != 0) return load(buffer, index, t.lanes);
  Value v = s_->append_one(Code::kMaskedLoad, t, {index, mask, splat(otherwise, t.lanes)});
  s_->kernel.insts.back().imm = buffer.index;
  return v;
}

void Builder::store(Buffer buffer, Value index, Value v) {
  Value operands[] = {index, v};
  s_->append(Code::kStore, type(v), operands, {}).imm = buffer.index;
}

void Builder::scatter(Buffer buffer, Value indices, Value v) {
  v = splat(v, type(indices).lanes);
  if (type(indices).lanes == 1) return store(buffer, indices, v);
  Value operands[] = {indices, v};
  s_->append(Code::kScatter, type(v), operands, {}).imm = buffer.index;
}

void Builder::masked_store(Buffer buffer, Value index, Value mask, Value v) {
  Value operands[] = {index, mask, splat(v, type(mask).lanes)};
  s_->append(Code::kMaskedStore, type(operands[2]), operands, {}).imm = buffer.index;
}

void Builder::set_error(Value code) {
  if (!s_->error.valid()) parameter(DType::kInt64, Role::kError);
  s_->append(Code::kSetError, {DType::kInt64, 1}, {&code, 1}, {}).imm = s_->error.index;
}

// --- structure, marker level ------------------------------------------------------------------

Values Builder::begin_for(Value lo, Value hi, Value step, std::span<const Value> init,
                          uint8_t flags) {
  Values operands = {lo, hi, step};
  operands.insert(operands.end(), init.begin(), init.end());
  std::vector<Type> carried = s_->types_of(init);
  std::vector<Type> defined = {{DType::kInt64, 1}};
  defined.insert(defined.end(), carried.begin(), carried.end());
  Inst& inst = s_->append(Code::kFor, {DType::kInt64, 1}, operands, defined);
  inst.flags = flags;
  s_->open.push_back({Code::kFor, carried, true});
  return s_->results_of(inst);
}

namespace {

void check_yields(std::span<const Type> carried, std::span<const Type> yields) {
  GCOMP_CHECK(std::ranges::equal(carried, yields),
              "kernel builder: a region must yield values of the types it carries");
}

}  // namespace

Values Builder::end_for(std::span<const Value> yields) {
  GCOMP_CHECK(!s_->open.empty() && s_->open.back().code == Code::kFor, "end_for without for");
  State::Region region = std::move(s_->open.back());
  s_->open.pop_back();
  check_yields(region.carried, s_->types_of(yields));
  return s_->results_of(s_->append(Code::kEndFor, {}, yields, region.carried));
}

Values Builder::begin_while(std::span<const Value> init) {
  std::vector<Type> carried = s_->types_of(init);
  const Inst& inst = s_->append(Code::kWhile, {}, init, carried);
  s_->open.push_back({Code::kWhile, carried, true});
  return s_->results_of(inst);
}

void Builder::while_test(Value condition) {
  GCOMP_CHECK(!s_->open.empty() && s_->open.back().code == Code::kWhile,
              "while_test outside while");
  s_->open.back().code = Code::kWhileTest;
  s_->append(Code::kWhileTest, {DType::kBool, 1}, {&condition, 1}, {});
}

Values Builder::end_while(std::span<const Value> yields) {
  GCOMP_CHECK(!s_->open.empty() && s_->open.back().code == Code::kWhileTest,
              "end_while without while_test");
  State::Region region = std::move(s_->open.back());
  s_->open.pop_back();
  check_yields(region.carried, s_->types_of(yields));
  return s_->results_of(s_->append(Code::kEndWhile, {}, yields, region.carried));
}

void Builder::begin_if(Value condition) {
  s_->append(Code::kIf, {DType::kBool, 1}, {&condition, 1}, {});
  s_->open.push_back({Code::kIf, {}, false});
}

void Builder::begin_else(std::span<const Value> yields) {
  GCOMP_CHECK(!s_->open.empty() && s_->open.back().code == Code::kIf, "else without if");
  State::Region& region = s_->open.back();
  region.code = Code::kElse;
  region.carried = s_->types_of(yields);
  s_->append(Code::kElse, {}, yields, {});
}

Values Builder::end_if(std::span<const Value> yields) {
  GCOMP_CHECK(!s_->open.empty() && s_->open.back().code == Code::kElse, "end_if without else");
  State::Region region = std::move(s_->open.back());
  s_->open.pop_back();
  check_yields(region.carried, s_->types_of(yields));
  return s_->results_of(s_->append(Code::kEndIf, {}, yields, region.carried));
}

// --- structure, with lambdas ------------------------------------------------------------------

Values Builder::for_loop(Value lo, Value hi, Value step, const Values& init, const ForBody& body) {
  int64_t l, h, s;
  if (constant_value(lo, &l) && constant_value(hi, &h)) {
    if (l >= h) return init;
    if (constant_value(step, &s) && h - l <= s) {  // one turn
      Values yields = body(lo, init);
      check_yields(s_->types_of(init), s_->types_of(yields));
      return yields;
    }
  }
  Values args = begin_for(lo, hi, step, init);
  return end_for(body(args[0], std::span<const Value>(args).subspan(1)));
}

void Builder::for_loop(Value lo, Value hi, Value step, const std::function<void(Value)>& body) {
  for_loop(lo, hi, step, {}, [&](Value i, std::span<const Value>) {
    body(i);
    return Values{};
  });
}

Values Builder::while_loop(const Values& init, const WhileTest& test, const WhileBody& body) {
  Values carried = begin_while(init);
  while_test(test(carried));
  return end_while(body(carried));
}

Values Builder::if_else(Value condition, const Arm& then, const Arm& otherwise) {
  int64_t known;
  if (constant_value(condition, &known)) return known ? then() : otherwise();
  begin_if(condition);
  begin_else(then());
  return end_if(otherwise());
}

void Builder::if_then(Value condition, const std::function<void()>& then) {
  auto arm = [&] {
    then();
    return Values{};
  };
  if_else(condition, arm, [] { return Values{}; });
}

Values Builder::vector_loop(Value lo, Value hi, int lanes, const Values& init,
                            const VectorBody& body) {
  auto loop = [&](Value from, Value to, int width, const Values& carried) {
    return for_loop(from, to, index(width), carried,
                    [&](Value i, std::span<const Value> c) { return body(i, width, c); });
  };
  if (lanes == 1) return loop(lo, hi, 1, init);
  Value whole = bit_and(max(sub(hi, lo), index(0)), index(-static_cast<int64_t>(lanes)));
  Value middle = add(lo, whole);
  return loop(middle, hi, 1, loop(lo, middle, lanes, init));
}

void Builder::vector_loop(Value lo, Value hi, int lanes,
                          const std::function<void(Value, int)>& body) {
  vector_loop(lo, hi, lanes, {}, [&](Value i, int width, std::span<const Value>) {
    body(i, width);
    return Values{};
  });
}

Kernel Builder::finish() {
  GCOMP_CHECK(s_->open.empty(), "kernel builder: a loop or branch is still open");
  std::vector<std::string> errors = verify(s_->kernel);
  GCOMP_CHECK(errors.empty(), "kernel does not verify: " + errors.front());
  return std::move(s_->kernel);
}

}  // namespace gcomp::kernel
