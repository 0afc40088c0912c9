#pragma once
// A tensor of the reference evaluator: dense, row-major, owning its bytes.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "gcomp/ir/constant.h"
#include "gcomp/ir/dtype.h"

namespace gcomp::interp {

struct Tensor {
  DType dtype = DType::kFloat32;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;  // byte_size(dtype) * num_elements(); bool: 0 or 1; little-endian

  int64_t num_elements() const;
  int rank() const { return static_cast<int>(shape.size()); }
  template <class T>
  T* data() {
    return reinterpret_cast<T*>(bytes.data());
  }
  template <class T>
  const T* data() const {
    return reinterpret_cast<const T*>(bytes.data());
  }
};

Tensor from_constant(const Constant& c);
Constant to_constant(Tensor t);
std::string to_string(const Tensor& t);  // "float32[2, 3]": the type, not the elements

}  // namespace gcomp::interp
