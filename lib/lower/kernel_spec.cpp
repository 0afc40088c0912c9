#include "kernel_spec.h"

#include "gcomp/support/error.h"

namespace gcomp::lower {
namespace {

// Values codegen folds with (x * 1, x + 0) or turns into cheaper code; the rest are parameters, so that
// kernels that differ in a number only are one kernel.
bool worth_knowing(DType dtype, uint64_t bits) {
  if (!is_float(dtype)) return true;  // integers and bools are few and shape code
  if (dtype == DType::kFloat32) {
    return bits == 0 || bits == 0x3f800000 || bits == 0xbf800000 || bits == 0x40000000 ||
           bits == 0x3f000000;
  }
  if (dtype == DType::kFloat64) {
    return bits == 0 || bits == 0x3ff0000000000000 || bits == 0xbff0000000000000 ||
           bits == 0x4000000000000000 || bits == 0x3fe0000000000000;
  }
  return true;
}

}  // namespace

kernel::Value KernelSpec::dim(DimId d) {
  const auto c = dims().constant_value(d);
  // Small extents are loops worth unrolling, and 0 and 1 fold.
  constexpr int64_t kAlwaysStatic = 16;
  if (c && (target_.static_extents || (*c >= -1 && *c <= kAlwaysStatic))) {
    return builder_.index(*c);
  }
  const auto [it, inserted] = dims_.try_emplace(d.index);
  if (inserted) {
    it->second = builder_.scalar(DType::kInt64);
    call_.scalars.push_back({.dim = d});
  }
  return it->second;
}

kernel::Value KernelSpec::offset(DimId d) {
  constexpr int kMostOffsets = 16;  // numbers need no registers
  const auto c = dims().constant_value(d);
  if (!c || *c == 0 || num_offsets_ >= kMostOffsets) return dim(d);  // adding 0 folds
  ++num_offsets_;
  call_.scalars.push_back({.dim = {}, .bits = static_cast<uint64_t>(*c)});
  return builder_.scalar(DType::kInt64);
}

kernel::Value KernelSpec::literal(DType dtype, uint64_t bits) {
  if (worth_knowing(dtype, bits)) return builder_.constant_bits({dtype, 1}, bits);
  const auto [it, inserted] = literals_.try_emplace({static_cast<int>(dtype), bits});
  if (inserted) {
    it->second = builder_.scalar(dtype);
    call_.scalars.push_back({.dim = {}, .bits = bits});
  }
  return it->second;
}

kernel::Buffer KernelSpec::input(ValueId v) {
  const auto out = buffers_.find({1, v.index});
  if (out != buffers_.end()) return out->second;
  const auto [it, inserted] = buffers_.try_emplace({0, v.index});
  if (inserted) {
    const DType dtype = graph_.type(v).dtype;
    it->second = builder_.parameter(dtype, kernel::Role::kIn);
    call_.buffers.push_back({.kind = BufferArg::Kind::kValue, .value = v, .dtype = dtype});
  }
  return it->second;
}

kernel::Buffer KernelSpec::output(ValueId v) {
  const auto [it, inserted] = buffers_.try_emplace({1, v.index});
  if (inserted) {
    const DType dtype = graph_.type(v).dtype;
    it->second = builder_.parameter(dtype, kernel::Role::kOut);
    call_.buffers.push_back({.kind = BufferArg::Kind::kValue, .value = v, .dtype = dtype});
  }
  return it->second;
}

kernel::Buffer KernelSpec::constant(ConstantId id, DType dtype) {
  const auto [it, inserted] = buffers_.try_emplace({3, id.index});
  if (inserted) {
    it->second = builder_.parameter(dtype, kernel::Role::kIn);
    call_.buffers.push_back({.kind = BufferArg::Kind::kConstant,
                             .value = {},
                             .constant = id,
                             .dtype = dtype,
                             .elements = {}});
  }
  return it->second;
}

kernel::Buffer KernelSpec::temporary(int key, DType dtype, DimId elements, kernel::Role role) {
  const auto [it, inserted] = buffers_.try_emplace({2, static_cast<uint32_t>(key)});
  if (inserted) {
    it->second = builder_.parameter(dtype, role);
    call_.buffers.push_back({.kind = BufferArg::Kind::kTemporary,
                             .value = {},
                             .key = key,
                             .dtype = dtype,
                             .elements = elements});
  }
  return it->second;
}

void KernelSpec::may_overwrite(ValueId out, ValueId in) {
  call_.overwrites.push_back({static_cast<uint16_t>(builder_.info(output(out)).slot),
                              static_cast<uint16_t>(builder_.info(input(in)).slot)});
}

void KernelSpec::fail_if(kernel::Value bad, const std::string& message) {
  if (call_.messages.empty()) {
    builder_.parameter(DType::kInt64, kernel::Role::kError);
    call_.buffers.push_back(
        {.kind = BufferArg::Kind::kError, .value = {}, .dtype = DType::kInt64, .elements = {}});
  }
  size_t code = 0;
  while (code < call_.messages.size() && call_.messages[code] != message) ++code;
  if (code == call_.messages.size()) call_.messages.push_back(message);
  builder_.if_then(bad, [&] { builder_.set_error(builder_.index(static_cast<int64_t>(code))); });
}

LoweredCall KernelSpec::finish(DimId extent, uint32_t grain) {
  call_.kernel = builder_.finish();
  call_.extent = extent;
  call_.grain = grain;
  return std::move(call_);
}

}  // namespace gcomp::lower
