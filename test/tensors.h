#pragma once
// Tensors written out element by element, for tests.

#include <algorithm>
#include <vector>

#include "gcomp/interp/evaluate.h"

namespace gcomp::test {

template <class T>
interp::Tensor tensor(DType dtype, std::vector<int64_t> shape, std::vector<T> values) {
  interp::Tensor t{dtype, std::move(shape), {}};
  t.bytes.resize(values.size() * sizeof(T));
  std::copy(values.begin(), values.end(), t.data<T>());
  return t;
}

inline interp::Tensor floats(std::vector<int64_t> shape, std::vector<float> values) {
  return tensor(DType::kFloat32, std::move(shape), std::move(values));
}

inline interp::Tensor doubles(std::vector<int64_t> shape, std::vector<double> values) {
  return tensor(DType::kFloat64, std::move(shape), std::move(values));
}

inline interp::Tensor integers(std::vector<int64_t> shape, std::vector<int64_t> values) {
  return tensor(DType::kInt64, std::move(shape), std::move(values));
}

inline interp::Tensor integer(int64_t value) { return tensor<int64_t>(DType::kInt64, {}, {value}); }

}  // namespace gcomp::test
