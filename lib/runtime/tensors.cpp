// The caller's tensors: every check of inputs and outputs, the symbols' values, memory for outputs,
// strided copies.

#include "tensors.h"

namespace gcomp::rt {
namespace {

// In memory of the GPU that the context uses.
bool is_there(const gcomp_context& c, const gcomp_tensor& t) {
  return t.device_type == GCOMP_CUDA && c.device != nullptr && c.device_functions->owns(c, t);
}

}  // namespace

gcomp_status check_header(gcomp_context& c, const char* side, const PlanTensor& declared,
                          uint32_t i, const gcomp_tensor& t, uint64_t stride, bool fill_dtype) {
  if (t.struct_size != stride) {
    return fail(c, GCOMP_ERROR_STRUCT,
                TENSOR ": struct_size is %llu, that of the first one is %llu",
                TENSOR_ARGUMENTS(side, declared, i), static_cast<unsigned long long>(t.struct_size),
                static_cast<unsigned long long>(stride));
  }
  const gcomp_dtype want = dlpack(declared.dtype);
  const bool same =
      t.dtype.code == want.code && t.dtype.bits == want.bits && t.dtype.lanes == want.lanes;
  if (!same && !(fill_dtype && t.dtype.bits == 0)) {
    char a[32], b[32];
    return fail(c, GCOMP_ERROR_DTYPE, TENSOR ": dtype is %s, %s was declared",
                TENSOR_ARGUMENTS(side, declared, i), dtype_name(t.dtype, a), dtype_name(want, b));
  }
  if (t.device_type != GCOMP_CPU && !is_there(c, t)) {
    return fail(c, GCOMP_ERROR_DEVICE, TENSOR ": device type is %d, memory of %s (%d) is needed",
                TENSOR_ARGUMENTS(side, declared, i), t.device_type,
                c.device == nullptr ? "the CPU" : "the CPU or of the context's GPU", GCOMP_CPU);
  }
  if (t.rank != declared.rank) {
    return fail(c, GCOMP_ERROR_RANK, TENSOR ": rank is %d, %u was declared",
                TENSOR_ARGUMENTS(side, declared, i), t.rank, unsigned{declared.rank});
  }
  if (t.rank != 0 && t.extents == nullptr) {
    return fail(c, GCOMP_ERROR_NULL, TENSOR ": extents is null",
                TENSOR_ARGUMENTS(side, declared, i));
  }
  return GCOMP_OK;
}

bool dense_bytes(const int64_t* extents, int rank, uint32_t element, uint64_t* bytes) {
  uint64_t n = element;
  bool overflow = false, empty = false;
  for (int d = 0; d < rank; ++d) {
    empty |= extents[d] == 0;
    overflow |= __builtin_mul_overflow(n, static_cast<uint64_t>(extents[d]), &n);
  }
  *bytes = empty ? 0 : n;
  return empty || (!overflow && n <= INT64_MAX);
}

bool is_dense(const gcomp_tensor& t, const int64_t* extents, uint32_t element) {
  int64_t expected = element;
  for (int d = t.rank - 1; d >= 0; --d) {
    if (extents[d] != 1 && t.strides[d] != expected) return false;
    expected *= extents[d];
  }
  return true;
}

namespace {

// First and one-past-last byte offsets that a strided tensor touches; false if they do not fit.
bool strided_range(const gcomp_tensor& t, const int64_t* extents, uint32_t element, int64_t* low,
                   int64_t* high) {
  *low = 0;
  *high = element;
  for (int d = 0; d < t.rank; ++d) {
    int64_t reach;
    if (__builtin_mul_overflow(extents[d] - 1, t.strides[d], &reach)) return false;
    int64_t& bound = reach < 0 ? *low : *high;
    if (__builtin_add_overflow(bound, reach, &bound)) return false;
  }
  return true;
}

// Do two elements share memory? Exact for strides nested in some order of the axes, else "yes".
bool overlaps_itself(const gcomp_tensor& t, const int64_t* extents, uint32_t element) {
  bool used[kMaxRank] = {};
  int64_t inner = element;  // bytes that the axes taken so far span
  for (int k = 0; k < t.rank; ++k) {
    int least = -1;
    for (int d = 0; d < t.rank; ++d) {
      if (!used[d] && (least < 0 || t.strides[d] < t.strides[least])) least = d;
    }
    used[least] = true;
    if (extents[least] == 1) continue;
    if (t.strides[least] < inner) return true;
    inner = t.strides[least] * (extents[least] - 1) + inner;
  }
  return false;
}

}  // namespace

gcomp_status check_data(gcomp_context& c, const char* side, const PlanTensor& declared, uint32_t i,
                        const gcomp_tensor& t, uint64_t needed, bool check_capacity) {
  const uint32_t element = element_bytes(declared.dtype);
  if (t.data == nullptr) {
    return fail(c, GCOMP_ERROR_NULL, TENSOR ": data is null", TENSOR_ARGUMENTS(side, declared, i));
  }
  if (reinterpret_cast<uintptr_t>(t.data) % element != 0) {
    return fail(c, GCOMP_ERROR_ALIGNMENT, TENSOR ": data is not aligned to its %u-byte elements",
                TENSOR_ARGUMENTS(side, declared, i), element);
  }
  if (check_capacity && t.capacity < needed) {
    return fail(c, GCOMP_ERROR_CAPACITY, TENSOR ": %llu bytes are needed, capacity is %llu",
                TENSOR_ARGUMENTS(side, declared, i), static_cast<unsigned long long>(needed),
                static_cast<unsigned long long>(t.capacity));
  }
  return GCOMP_OK;
}

gcomp_status check_strides(gcomp_context& c, const char* side, const PlanTensor& declared,
                           uint32_t i, const gcomp_tensor& t, const int64_t* extents, bool output,
                           int64_t* low, int64_t* high) {
  const uint32_t element = element_bytes(declared.dtype);
  for (int d = 0; d < t.rank; ++d) {
    if (extents[d] > 1 && t.strides[d] % static_cast<int64_t>(element) != 0) {
      return fail(
          c, GCOMP_ERROR_STRIDES, TENSOR ": stride %lld of axis %d is no multiple of %u bytes",
          TENSOR_ARGUMENTS(side, declared, i), static_cast<LongLong>(t.strides[d]), d, element);
    }
    if (output && extents[d] > 1 && t.strides[d] < 0) {
      return fail(c, GCOMP_ERROR_STRIDES, TENSOR ": negative stride of axis %d",
                  TENSOR_ARGUMENTS(side, declared, i), d);
    }
  }
  if (!strided_range(t, extents, element, low, high)) {
    return fail(c, GCOMP_ERROR_STRIDES, TENSOR ": strides overflow",
                TENSOR_ARGUMENTS(side, declared, i));
  }
  if (output && overlaps_itself(t, extents, element)) {
    return fail(c, GCOMP_ERROR_STRIDES, TENSOR ": the strides make elements share memory",
                TENSOR_ARGUMENTS(side, declared, i));
  }
  return GCOMP_OK;
}

gcomp_status bad_extent(gcomp_context& c, const char* side, const PlanTensor& declared, uint32_t i,
                        uint32_t axis, int64_t given, int64_t wanted) {
  const PlanDim& dim = table<PlanDim>(*c.plan, c.plan->dims)[declared.first_dim + axis];
  if (dim.mode == DimMode::kConstant) {
    return fail(c, GCOMP_ERROR_SHAPE, TENSOR ": extent of axis %u is %lld, %lld was declared",
                TENSOR_ARGUMENTS(side, declared, i), axis, static_cast<LongLong>(given),
                static_cast<LongLong>(wanted));
  }
  return fail(c, GCOMP_ERROR_SYMBOL,
              TENSOR ": extent of axis %u is %lld, but %s is %lld by the other inputs",
              TENSOR_ARGUMENTS(side, declared, i), axis, static_cast<LongLong>(given),
              plan_string(*c.plan, dim.text), static_cast<LongLong>(wanted));
}

namespace {

// Fixed extents are checked, those that define symbols are taken.
gcomp_status take_extents(gcomp_context& c, const PlanTensor& declared, uint32_t i,
                          const gcomp_tensor& t) {
  const PlanDim* const dims = table<PlanDim>(*c.plan, c.plan->dims) + declared.first_dim;
  int64_t* const last = c.last_extents + declared.first_dim;
  for (uint32_t d = 0; d < declared.rank; ++d) {
    const int64_t extent = t.extents[d];
    if (extent < 0) {
      return fail(c, GCOMP_ERROR_SHAPE, TENSOR ": extent of axis %u is %lld",
                  TENSOR_ARGUMENTS("input", declared, i), d, static_cast<LongLong>(extent));
    }
    if (dims[d].mode == DimMode::kConstant && extent != c.values[dims[d].value]) {
      return bad_extent(c, "input", declared, i, d, extent, c.values[dims[d].value]);
    }
    if (extent == last[d]) continue;
    c.extents_valid = false;
    last[d] = extent;
  }
  return GCOMP_OK;
}

// Extents that are expressions, or symbols defined by another tensor.
gcomp_status check_expressions(gcomp_context& c, const char* side, const PlanTensor& declared,
                               uint32_t i) {
  const PlanDim* const dims = table<PlanDim>(*c.plan, c.plan->dims) + declared.first_dim;
  for (uint32_t d = 0; d < declared.rank; ++d) {
    const int64_t extent = c.last_extents[declared.first_dim + d];
    if (dims[d].mode == DimMode::kCheck && c.values[dims[d].value] != extent) {
      return bad_extent(c, side, declared, i, d, extent, c.values[dims[d].value]);
    }
  }
  return GCOMP_OK;
}

gcomp_status check_all_expressions(gcomp_context& c) {
  const Plan& plan = *c.plan;
  const PlanTensor* const inputs = table<PlanTensor>(plan, plan.inputs);
  const PlanState* const states = table<PlanState>(plan, plan.states);
  gcomp_status status = GCOMP_OK;
  for (uint32_t i = 0; i < plan.inputs.count && status == GCOMP_OK; ++i) {
    status = check_expressions(c, "input", inputs[i], i);
  }
  for (uint32_t s = 0; s < plan.states.count && status == GCOMP_OK; ++s) {
    status = check_expressions(c, "state", states[s].tensor, s);
  }
  return status;
}

// Of inputs and states; no extent of an output defines a symbol.
void define_symbols(gcomp_context& c) {
  const PlanDim* const dims = table<PlanDim>(*c.plan, c.plan->dims);
  for (uint32_t d = 0; d < c.plan->dims.count; ++d) {
    if (dims[d].mode == DimMode::kDefine) c.values[dims[d].value] = c.last_extents[d];
  }
}

void add_range(gcomp_context& c, const void* data, int64_t low, int64_t high, uint32_t tensor,
               bool output, bool written) {
  if (low == high) return;
  const uintptr_t base = reinterpret_cast<uintptr_t>(data);
  c.ranges[c.num_ranges++] = {base + static_cast<uintptr_t>(low),
                              base + static_cast<uintptr_t>(high), tensor, output, written};
}

// What a strided tensor in memory of the device reaches, on the host.
class Range {
 public:
  Range() = default;
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;
  ~Range() {
    if (c_ != nullptr) c_->allocator.put(memory_);
  }
  bool make(gcomp_context& c, int64_t low, int64_t high) {
    c_ = &c;
    low_ = low;
    bytes_ = static_cast<uint64_t>(high - low);
    memory_ = static_cast<char*>(c.allocator.get(bytes_));
    return memory_ != nullptr;
  }
  void* at_data() const { return memory_ - low_; }
  gcomp_status fetch(const gcomp_tensor& t) {
    return c_->device_functions->copy(*c_, memory_, static_cast<char*>(t.data) + low_, bytes_,
                                      false, true);
  }
  gcomp_status bring_back(const gcomp_tensor& t) {
    return c_->device_functions->copy(*c_, static_cast<char*>(t.data) + low_, memory_, bytes_, true,
                                      false);
  }

 private:
  gcomp_context* c_ = nullptr;
  char* memory_ = nullptr;
  int64_t low_ = 0;
  uint64_t bytes_ = 0;
};

gcomp_status there_too(gcomp_context& c, uint32_t input, uint64_t bytes, bool there) {
  if (c.device == nullptr) return GCOMP_OK;
  return c.device_functions->take_input(c, input, bytes, there);
}

gcomp_status take_data(gcomp_context& c, const PlanTensor& declared, uint32_t i,
                       const gcomp_tensor& t) {
  const uint32_t element = element_bytes(declared.dtype);
  uint64_t bytes;
  if (!dense_bytes(t.extents, t.rank, element, &bytes)) {
    return fail(c, GCOMP_ERROR_SHAPE, TENSOR ": the number of bytes overflows",
                TENSOR_ARGUMENTS("input", declared, i));
  }
  const bool there = t.device_type == GCOMP_CUDA;
  c.buffers[declared.buffer] = t.data;
  if (bytes == 0) return there_too(c, i, bytes, false);
  const bool strided = t.strides != nullptr && !is_dense(t, t.extents, element);
  int64_t low = 0, high = static_cast<int64_t>(bytes);
  gcomp_status status = GCOMP_OK;
  if (strided) {
    status = check_strides(c, "input", declared, i, t, t.extents, false, &low, &high);
  }
  if (status == GCOMP_OK) {
    status = check_data(c, "input", declared, i, t, static_cast<uint64_t>(high), t.capacity != 0);
  }
  if (status != GCOMP_OK) return status;
  add_range(c, t.data, low, high, i, false, declared.donated != 0);
  if (!strided) return there_too(c, i, bytes, there);
  c.copied = true;
  Block& copy = c.input_copies[i];
  Range range;
  if (!copy.ensure(c.allocator, bytes) || (there && !range.make(c, low, high))) {
    return fail(c, GCOMP_ERROR_MEMORY, "out of memory for a dense copy of input \"%s\"",
                plan_string(*c.plan, declared.name));
  }
  if (there) status = range.fetch(t);
  if (status != GCOMP_OK) return status;
  gather_strided(copy.data, there ? range.at_data() : t.data, t.rank, t.extents, t.strides,
                 element);
  c.buffers[declared.buffer] = copy.data;
  return there_too(c, i, bytes, false);
}

// Written on the device, or for memory there.
bool concerns_device(const gcomp_context& c, const PlanTensor& output, const gcomp_tensor& t) {
  return c.device != nullptr && (output.device_buffer != kNone || t.device_type == GCOMP_CUDA);
}

gcomp_status use_owned(gcomp_context& c, const PlanTensor& declared, uint32_t o, gcomp_tensor& t,
                       uint64_t bytes) {
  if (t.strides != nullptr && bytes != 0 &&
      !is_dense(t, t.extents, element_bytes(declared.dtype))) {
    return fail(c, GCOMP_ERROR_STRIDES,
                TENSOR ": strides are given without data; the context's memory is row-major",
                TENSOR_ARGUMENTS("output", declared, o));
  }
  if (concerns_device(c, declared, t)) {
    t.data = nullptr;
    return c.device_functions->place_output(c, o, bytes);
  }
  if (!c.output_owned[o].ensure(c.allocator, bytes)) {
    return fail(c, GCOMP_ERROR_MEMORY, "out of memory for output \"%s\"",
                plan_string(*c.plan, declared.name));
  }
  t.data = c.lent[o] = c.buffers[declared.buffer] = c.output_owned[o].data;
  t.capacity = bytes;
  if (bytes != 0) add_range(c, t.data, 0, static_cast<int64_t>(bytes), o, true, true);
  return GCOMP_OK;
}

gcomp_status use_callers(gcomp_context& c, const PlanTensor& declared, uint32_t o, gcomp_tensor& t,
                         uint64_t bytes) {
  const auto placed = [&] {
    return concerns_device(c, declared, t) ? c.device_functions->place_output(c, o, bytes)
                                           : GCOMP_OK;
  };
  c.buffers[declared.buffer] = t.data;
  if (bytes == 0) return placed();
  const uint32_t element = element_bytes(declared.dtype);
  const bool strided = t.strides != nullptr && !is_dense(t, t.extents, element);
  int64_t low = 0, high = static_cast<int64_t>(bytes);
  gcomp_status status = GCOMP_OK;
  if (strided) status = check_strides(c, "output", declared, o, t, t.extents, true, &low, &high);
  if (status == GCOMP_OK) {
    status = check_data(c, "output", declared, o, t, static_cast<uint64_t>(high), true);
  }
  if (status != GCOMP_OK) return status;
  add_range(c, t.data, low, high, o, true, true);
  if (!strided) return placed();
  if (!c.output_staging[o].ensure(c.allocator, bytes)) {
    return fail(c, GCOMP_ERROR_MEMORY, "out of memory for output \"%s\"",
                plan_string(*c.plan, declared.name));
  }
  c.output_staged[o] = c.copied = true;
  c.buffers[declared.buffer] = c.output_staging[o].data;
  return placed();
}

gcomp_status alias_error(gcomp_context& c, const gcomp_context::Range& a,
                         const gcomp_context::Range& b) {
  const bool a_first = a.output || (a.written && !b.output);
  const auto& first = a_first ? a : b;
  const auto& other = a_first ? b : a;
  const PlanTensor* const inputs = table<PlanTensor>(*c.plan, c.plan->inputs);
  const PlanTensor* const outputs = table<PlanTensor>(*c.plan, c.plan->outputs);
  return fail(c, GCOMP_ERROR_ALIAS, TENSOR " shares memory with %s \"%s\"",
              TENSOR_ARGUMENTS(first.output ? "output" : "donated input",
                               (first.output ? outputs : inputs)[first.tensor], first.tensor),
              other.output ? "output" : "input",
              plan_string(*c.plan, (other.output ? outputs : inputs)[other.tensor].name));
}

// May this output lie where that input lies? Only exactly there, and only if the plan says so.
bool allowed(const gcomp_context& c, const gcomp_context::Range& a, const gcomp_context::Range& b) {
  if (a.output == b.output || a.begin != b.begin) return false;
  const auto& out = a.output ? a : b;
  const auto& in = a.output ? b : a;
  return table<PlanTensor>(*c.plan, c.plan->outputs)[out.tensor].alias == in.tensor;
}

// By begin; among equals inputs first, so that an allowed pair is seen side by side.
bool before(const gcomp_context::Range& a, const gcomp_context::Range& b) {
  return a.begin != b.begin ? a.begin < b.begin : a.output < b.output;
}

void sift_down(gcomp_context::Range* heap, uint32_t root, uint32_t n) {
  for (uint32_t child = 2 * root + 1; child < n; child = 2 * root + 1) {
    if (child + 1 < n && before(heap[child], heap[child + 1])) ++child;
    if (!before(heap[root], heap[child])) return;
    const gcomp_context::Range range = heap[root];
    heap[root] = heap[child];
    heap[child] = range;
    root = child;
  }
}

void sort_ranges(gcomp_context::Range* ranges, uint32_t n) {
  constexpr uint32_t kFew = 16;
  if (n <= kFew) {
    for (uint32_t i = 1; i < n; ++i) {
      const gcomp_context::Range range = ranges[i];
      uint32_t k = i;
      for (; k > 0 && before(range, ranges[k - 1]); --k) ranges[k] = ranges[k - 1];
      ranges[k] = range;
    }
    return;
  }
  for (uint32_t i = n / 2; i-- > 0;) sift_down(ranges, i, n);
  for (uint32_t i = n; i-- > 1;) {
    const gcomp_context::Range range = ranges[0];
    ranges[0] = ranges[i];
    ranges[i] = range;
    sift_down(ranges, 0, i);
  }
}

}  // namespace

gcomp_status take_inputs(gcomp_context& c) {
  const Plan& plan = *c.plan;
  const PlanTensor* const inputs = table<PlanTensor>(plan, plan.inputs);
  c.num_ranges = 0;
  for (uint32_t i = 0; i < plan.inputs.count; ++i) {
    const gcomp_tensor& t = input_tensor(c, i);
    gcomp_status status = check_header(c, "input", inputs[i], i, t, c.input_stride, false);
    if (status == GCOMP_OK) status = take_extents(c, inputs[i], i, t);
    if (status == GCOMP_OK) status = take_data(c, inputs[i], i, t);
    if (status != GCOMP_OK) return status;
  }
  if (c.extents_valid) return GCOMP_OK;
  define_symbols(c);
  gcomp_status status = evaluate_segment(c, 0);
  if (status == GCOMP_OK) status = check_all_expressions(c);
  c.extents_valid = status == GCOMP_OK;
  return status;
}

namespace {

bool same_tensors(const gcomp_tensor* now, const gcomp_tensor* last, uint32_t n) {
  return n == 0 || (now != nullptr && memcmp(now, last, n * sizeof *now) == 0);
}

}  // namespace

bool same_as_last_run(const gcomp_context& c, uint32_t num_inputs, uint32_t num_outputs) {
  const Plan& plan = *c.plan;
  if (!c.repeatable || num_inputs != plan.inputs.count || num_outputs != plan.outputs.count ||
      !same_tensors(c.run_inputs, c.last_tensors, num_inputs) ||
      !same_tensors(c.run_outputs, c.last_tensors + num_inputs, num_outputs)) {
    return false;
  }
  const PlanTensor* const inputs = table<PlanTensor>(plan, plan.inputs);
  for (uint32_t i = 0; i < num_inputs; ++i) {
    const int64_t* const last = c.last_extents + inputs[i].first_dim;
    for (uint32_t d = 0; d < inputs[i].rank; ++d) {
      if (c.run_inputs[i].extents[d] != last[d]) return false;
    }
  }
  const PlanTensor* const outputs = table<PlanTensor>(plan, plan.outputs);
  for (uint32_t o = 0; o < num_outputs; ++o) {
    const PlanDim* const dims = table<PlanDim>(plan, plan.dims) + outputs[o].first_dim;
    for (uint32_t d = 0; d < outputs[o].rank; ++d) {
      c.run_outputs[o].extents[d] = c.values[dims[d].value];
    }
  }
  return true;
}

// Not with strides (their array may change behind an equal pointer), nor where steps decide about outputs.
void remember_run(gcomp_context& c) {
  const Plan& plan = *c.plan;
  const uint64_t num_inputs = plan.inputs.count, num_outputs = plan.outputs.count;
  c.repeatable = false;
  if (plan.segments.count != 1 || c.copied || num_inputs + num_outputs == 0 ||
      c.input_stride != sizeof(gcomp_tensor) || c.output_stride != sizeof(gcomp_tensor)) {
    return;
  }
  gcomp_tensor* const last_outputs = c.last_tensors + num_inputs;
  if (num_inputs != 0) memcpy(c.last_tensors, c.run_inputs, num_inputs * sizeof(gcomp_tensor));
  if (num_outputs != 0) memcpy(last_outputs, c.run_outputs, num_outputs * sizeof(gcomp_tensor));
  for (uint64_t i = 0; i < num_inputs + num_outputs; ++i) {
    if (c.last_tensors[i].strides != nullptr) return;
  }
  c.repeatable = true;
}

gcomp_status check_outputs(gcomp_context& c) {
  const PlanTensor* const outputs = table<PlanTensor>(*c.plan, c.plan->outputs);
  for (uint32_t o = 0; o < c.plan->outputs.count; ++o) {
    const gcomp_status status =
        check_header(c, "output", outputs[o], o, output_tensor(c, o), c.output_stride, true);
    if (status != GCOMP_OK) return status;
    c.output_staged[o] = false;
  }
  return GCOMP_OK;
}

void forget_output(gcomp_context& c, uint32_t output) {
  for (uint32_t k = 0; k < c.num_ranges; ++k) {
    if (!c.ranges[k].output || c.ranges[k].tensor != output) continue;
    c.ranges[k] = c.ranges[--c.num_ranges];
    return;
  }
}

gcomp_status prepare_output(gcomp_context& c, uint32_t o) {
  const PlanTensor& declared = table<PlanTensor>(*c.plan, c.plan->outputs)[o];
  const PlanDim* const dims = table<PlanDim>(*c.plan, c.plan->dims) + declared.first_dim;
  gcomp_tensor& t = output_tensor(c, o);
  t.dtype = dlpack(declared.dtype);
  c.output_staged[o] = false;
  for (uint32_t d = 0; d < declared.rank; ++d) {
    t.extents[d] = c.values[dims[d].value];
    if (t.extents[d] < 0) {
      return fail(c, GCOMP_ERROR_SHAPE, TENSOR ": extent of axis %u (%s) would be %lld",
                  TENSOR_ARGUMENTS("output", declared, o), d, plan_string(*c.plan, dims[d].text),
                  static_cast<LongLong>(t.extents[d]));
    }
  }
  uint64_t bytes;
  if (!dense_bytes(t.extents, t.rank, element_bytes(declared.dtype), &bytes)) {
    return fail(c, GCOMP_ERROR_SHAPE, TENSOR ": the number of bytes overflows",
                TENSOR_ARGUMENTS("output", declared, o));
  }
  // The pointer lent by the last run counts as null: callers reuse their structs.
  const bool lent = t.data == nullptr || t.data == c.lent[o];
  return lent ? use_owned(c, declared, o, t, bytes) : use_callers(c, declared, o, t, bytes);
}

namespace {

bool meets(const gcomp_context::Range& r, const Block& block) {
  const auto begin = reinterpret_cast<uintptr_t>(block.data);
  return block.bytes != 0 && r.begin < begin + block.bytes && begin < r.end;
}

// No input or output may lie in memory of a state, such as get_state lends: a run may write there. From range number
// `begin` on.
gcomp_status check_states(gcomp_context& c, uint32_t begin) {
  for (uint32_t s = 0; s < c.plan->states.count; ++s) {
    const Block &a = c.states[s].pieces[0], &b = c.states[s].pieces[1];
    for (uint32_t k = begin; k < c.num_ranges; ++k) {
      const gcomp_context::Range& r = c.ranges[k];
      if (!meets(r, a) && !meets(r, b)) continue;
      const Plan& plan = *c.plan;
      const PlanTensor& tensor =
          table<PlanTensor>(plan, r.output ? plan.outputs : plan.inputs)[r.tensor];
      const PlanTensor& state = table<PlanState>(plan, plan.states)[s].tensor;
      return fail(c, GCOMP_ERROR_ALIAS,
                  TENSOR
                  " lies in memory of state \"%s\"; what get_state lends must be copied first",
                  TENSOR_ARGUMENTS(r.output ? "output" : "input", tensor, r.tensor),
                  plan_string(plan, state.name));
    }
  }
  return GCOMP_OK;
}

}  // namespace

// Sweep over all ranges by address; inputs that are only read may overlap each other.
gcomp_status check_aliases(gcomp_context& c) {
  sort_ranges(c.ranges, c.num_ranges);
  const gcomp_context::Range *reach_read = nullptr,
                             *reach_written = nullptr;  // those that reach farthest
  for (uint32_t k = 0; k < c.num_ranges; ++k) {
    const gcomp_context::Range& r = c.ranges[k];
    const gcomp_context::Range* const others[] = {reach_written, r.written ? reach_read : nullptr};
    for (const gcomp_context::Range* other : others) {
      if (other != nullptr && r.begin < other->end && !allowed(c, r, *other)) {
        return alias_error(c, r, *other);
      }
    }
    const gcomp_context::Range*& reach = r.written ? reach_written : reach_read;
    if (reach == nullptr || r.end > reach->end) reach = &r;
  }
  return check_states(c, 0);
}

gcomp_status check_alias_of(gcomp_context& c, uint32_t output) {
  if (c.num_ranges == 0) return GCOMP_OK;
  const gcomp_context::Range& last = c.ranges[c.num_ranges - 1];
  if (!last.output || last.tensor != output) return GCOMP_OK;  // empty
  for (uint32_t k = 0; k + 1 < c.num_ranges; ++k) {
    const gcomp_context::Range& r = c.ranges[k];
    if (r.begin < last.end && last.begin < r.end && !allowed(c, r, last)) {
      return alias_error(c, last, r);
    }
  }
  return check_states(c, c.num_ranges - 1);
}

gcomp_status deliver_outputs(gcomp_context& c) {
  const PlanTensor* const outputs = table<PlanTensor>(*c.plan, c.plan->outputs);
  for (uint32_t o = 0; o < c.plan->outputs.count; ++o) {
    if (!c.output_staged[o]) continue;
    const gcomp_tensor& t = output_tensor(c, o);
    const uint32_t element = element_bytes(outputs[o].dtype);
    const void* const from = c.output_staging[o].data;
    if (t.device_type == GCOMP_CPU) {
      scatter_strided(t.data, from, t.rank, t.extents, t.strides, element);
      continue;
    }
    int64_t low = 0, high = 0;
    Range range;  // with what lies between the elements
    strided_range(t, t.extents, element, &low, &high);
    if (!range.make(c, low, high)) {
      return fail(c, GCOMP_ERROR_MEMORY, "out of memory for output \"%s\"",
                  plan_string(*c.plan, outputs[o].name));
    }
    gcomp_status status = range.fetch(t);
    if (status != GCOMP_OK) return status;
    scatter_strided(range.at_data(), from, t.rank, t.extents, t.strides, element);
    status = range.bring_back(t);
    if (status != GCOMP_OK) return status;
  }
  return GCOMP_OK;
}

}  // namespace gcomp::rt
