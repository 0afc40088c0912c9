#pragma once
// Constant tensors: dtype, static extents, and bytes (row-major, little-endian) that may be owned
// or mapped from a file. The pool interns by content, so equal constants have equal ids.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "gcomp/ir/attr.h"
#include "gcomp/ir/dtype.h"
#include "gcomp/support/intern.h"
#include "gcomp/support/stable_vector.h"

namespace gcomp {

struct Constant {
  DType dtype = DType::kFloat32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;   // size = byte_size(dtype) * number of elements
  std::shared_ptr<const void> owner;  // keeps `bytes` alive (a vector, a mapped file)

  int64_t num_elements() const;
  template <class T>
  std::span<const T> data() const {  // caller checks dtype; bytes are aligned for T
    return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
  // Element `i` converted; exact for every dtype that fits.
  double as_double(int64_t i) const;
  int64_t as_int(int64_t i) const;  // floats are truncated
};

Constant make_constant(DType dtype, std::vector<int64_t> shape, std::vector<std::byte> bytes);
// Every element is `value`, rounded to the dtype (integers: truncated).
Constant make_splat(DType dtype, std::vector<int64_t> shape, double value);
Constant make_int64s(std::span<const int64_t> values);  // rank 1
Constant make_scalar_int(DType dtype, int64_t value);   // rank 0, exact for 64-bit integers
// If every element has the same bytes, true (and for an empty tensor false).
bool is_splat(const Constant& c);

// IEEE half and bfloat16, round to nearest even.
float half_to_float(uint16_t bits);
uint16_t float_to_half(float value);
float bfloat16_to_float(uint16_t bits);
uint16_t float_to_bfloat16(float value);
uint16_t double_to_half(double value);      // a single rounding
uint16_t double_to_bfloat16(double value);  // a single rounding

class ConstantPool {
 public:
  ConstantId intern(Constant c);
  const Constant& operator[](ConstantId id) const { return constants_[id.index]; }
  size_t size() const { return constants_.size(); }

 private:
  StableVector<Constant> constants_{"constants"};
  InternTable interned_;
};

}  // namespace gcomp
