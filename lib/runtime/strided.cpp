// Copies between strided tensors and dense row-major memory.

#include "context.h"

namespace gcomp::rt {
namespace {

template <class T>
void copy_row(char* to, int64_t to_stride, const char* from, int64_t from_stride, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    memcpy(to + i * to_stride, from + i * from_stride, sizeof(T));
  }
}

void copy_elements(char* to, int64_t to_stride, const char* from, int64_t from_stride, int64_t n,
                   uint32_t element) {
  const int64_t width = element;
  if (to_stride == width && from_stride == width) {
    memcpy(to, from, static_cast<size_t>(n * width));
    return;
  }
  switch (element) {
    case 1: return copy_row<uint8_t>(to, to_stride, from, from_stride, n);
    case 2: return copy_row<uint16_t>(to, to_stride, from, from_stride, n);
    case 4: return copy_row<uint32_t>(to, to_stride, from, from_stride, n);
    default: return copy_row<uint64_t>(to, to_stride, from, from_stride, n);
  }
}

// Row by row along the last axis; one of the two sides is dense.
void copy_strided(char* dense, char* strided, bool to_dense, int rank, const int64_t* extents,
                  const int64_t* strides, uint32_t element) {
  for (int d = 0; d < rank; ++d) {
    if (extents[d] == 0) return;
  }
  const int64_t width = element;
  const int64_t row = rank == 0 ? 1 : extents[rank - 1];
  const int64_t row_stride = rank == 0 ? width : strides[rank - 1];
  int64_t index[kMaxRank] = {};
  for (;;) {
    if (to_dense) {
      copy_elements(dense, width, strided, row_stride, row, element);
    } else {
      copy_elements(strided, row_stride, dense, width, row, element);
    }
    dense += row * width;
    int d = rank - 2;
    for (; d >= 0; --d) {
      strided += strides[d];
      if (++index[d] < extents[d]) break;
      strided -= strides[d] * extents[d];
      index[d] = 0;
    }
    if (d < 0) return;
  }
}

}  // namespace

void gather_strided(void* dense, const void* data, int rank, const int64_t* extents,
                    const int64_t* strides, uint32_t element) {
  copy_strided(static_cast<char*>(dense), static_cast<char*>(const_cast<void*>(data)), true, rank,
               extents, strides, element);
}

void scatter_strided(void* data, const void* dense, int rank, const int64_t* extents,
                     const int64_t* strides, uint32_t element) {
  copy_strided(static_cast<char*>(const_cast<void*>(dense)), static_cast<char*>(data), false, rank,
               extents, strides, element);
}

}  // namespace gcomp::rt
