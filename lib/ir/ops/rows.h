#pragma once
// The rows of the op table by family, private to lib/ir: each list in enumeration order, joined by
// op.cpp. Helpers here are what several families' inference functions share.

#include <span>
#include <string>
#include <vector>

#include "gcomp/ir/infer.h"
#include "gcomp/ir/op.h"

namespace gcomp::ops {

std::vector<OpInfo> source_rows();
std::vector<OpInfo> elementwise_rows();
std::vector<OpInfo> layout_rows();
std::vector<OpInfo> index_rows();
std::vector<OpInfo> reduce_rows();
std::vector<OpInfo> contract_rows();
std::vector<OpInfo> order_rows();
std::vector<OpInfo> control_rows();

enum class Domain { kAny, kNumeric, kFloat, kInt, kBoolOrInt };

constexpr bool contains(Domain d, DType t) {
  switch (d) {
    case Domain::kAny: return true;
    case Domain::kNumeric: return t != DType::kBool;
    case Domain::kFloat: return is_float(t);
    case Domain::kInt: return is_int(t);
    case Domain::kBoolOrInt: return t == DType::kBool || is_int(t);
  }
  return false;
}

// "operand 1"
std::string operand_name(int i);
// Operand `i` has a dtype of `domain`; reports and returns false otherwise.
bool check_dtype(TypeInference& t, int i, Domain domain);
// Operands `i` and `j` have one dtype; reports and returns false otherwise.
bool check_same_dtype(TypeInference& t, int i, int j);
bool check_rank(TypeInference& t, int i, int rank);
// A rank-0 operand of `dtype`.
bool check_scalar(TypeInference& t, int i, DType dtype);
// Axis `ai` of operand `i` and axis `aj` of operand `j` have the same extent expression.
bool check_same_extent(TypeInference& t, int i, int ai, int j, int aj);
// Attribute `key` of kind ints or dims has `count` elements.
bool check_count(TypeInference& t, AttrKey key, size_t have, size_t count);
// Sorted, unique and within [0, rank).
bool check_axes(TypeInference& t, AttrKey key, const std::vector<int64_t>& axes, int rank);
// Every element positive and below 2^31, so that products with extents do not overflow.
bool check_positive(TypeInference& t, AttrKey key, const std::vector<int64_t>& v);
// An attribute that is 0 or 1.
bool check_flag(TypeInference& t, AttrKey key);
// The attribute's text is one of `allowed`.
bool check_choice(TypeInference& t, AttrKey key, std::string_view absent,
                  std::span<const std::string_view> allowed);
// (extent + low + high - dilation * (kernel - 1) - 1) // stride + 1: how many windows fit.
DimId window_extent(DimTable& dims, DimId extent, DimId low, DimId high, DimId kernel,
                    int64_t stride, int64_t dilation);

}  // namespace gcomp::ops
