#include "dense.h"

#include <algorithm>

namespace gcomp::lower {

using kernel::Value;

std::vector<Value> unflatten(KernelSpec& spec, Value flat, std::span<const DimId> shape) {
  std::vector<Value> index(shape.size());
  for (size_t k = shape.size(); k-- > 0;) {
    if (spec.dims().is_constant(shape[k], 1)) {
      index[k] = spec.b().index(0);
    } else if (k == 0) {
      index[k] = flat;
    } else {
      const Value extent = spec.dim(shape[k]);
      index[k] = spec.b().index_rem(flat, extent);
      flat = spec.b().index_div(flat, extent);
    }
  }
  return index;
}

Value flatten(KernelSpec& spec, std::span<const Value> index, std::span<const DimId> shape) {
  Value flat = spec.b().index(0);
  for (size_t k = 0; k < shape.size(); ++k) {
    flat = spec.b().add(spec.b().mul(flat, spec.dim(shape[k])), index[k]);
  }
  return flat;
}

int vector_lanes(const Target& target, DType t) {
  return std::max(1, target.vector_bytes / static_cast<int>(byte_size(accumulator_dtype(t))));
}

DType accumulator_dtype(DType t) {
  return t == DType::kFloat16 || t == DType::kBFloat16 ? DType::kFloat32 : t;
}

uint64_t least_bits(DType t) {
  switch (t) {
    case DType::kBool: return 0;
    case DType::kFloat16: return 0xfc00u;
    case DType::kBFloat16: return 0xff80u;
    case DType::kFloat32: return 0xff800000u;
    case DType::kFloat64: return 0xfff0000000000000u;
    default: return is_unsigned_int(t) ? 0 : uint64_t{1} << (byte_size(t) * 8 - 1);
  }
}

uint64_t greatest_bits(DType t) {
  switch (t) {
    case DType::kBool: return 1;
    case DType::kFloat16: return 0x7c00u;
    case DType::kBFloat16: return 0x7f80u;
    case DType::kFloat32: return 0x7f800000u;
    case DType::kFloat64: return 0x7ff0000000000000u;
    default: {
      const uint64_t all = ~uint64_t{0} >> (64 - byte_size(t) * 8);
      return is_unsigned_int(t) ? all : all >> 1;
    }
  }
}

Value wrapped_index(KernelSpec& spec, Value raw, Value extent) {
  kernel::Builder& b = spec.b();
  const Value i = b.cast(raw, DType::kInt64);
  return b.where(b.lt(i, b.index(0)), b.add(i, extent), i);
}

Value checked_index(KernelSpec& spec, Value raw, Value extent, const std::string& message,
                    Value* bad) {
  kernel::Builder& b = spec.b();
  const Value wrapped = wrapped_index(spec, raw, extent);
  *bad = b.bit_or(b.lt(wrapped, b.index(0)), b.ge(wrapped, extent));
  spec.fail_if(*bad, message);
  return wrapped;
}

uint32_t grain_for(int64_t weight) {
  return static_cast<uint32_t>(std::clamp<int64_t>(20000 / std::max<int64_t>(1, weight), 1, 20000));
}

std::string failure(const Graph& graph, const Node& node, const std::string& what) {
  const std::string& place = graph.context().locs[node.loc];
  return std::string(name(node.op)) + ": " + what + (place.empty() ? "" : " at " + place);
}

}  // namespace gcomp::lower
