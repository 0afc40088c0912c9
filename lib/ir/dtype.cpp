#include "gcomp/ir/dtype.h"

#include <array>

namespace gcomp {
namespace {

struct Row {
  std::string_view name;
  size_t bytes;
};

constexpr std::array<Row, kNumDTypes> kRows = {{{"bool", 1},
                                                {"int8", 1},
                                                {"int16", 2},
                                                {"int32", 4},
                                                {"int64", 8},
                                                {"uint8", 1},
                                                {"uint16", 2},
                                                {"uint32", 4},
                                                {"uint64", 8},
                                                {"float16", 2},
                                                {"bfloat16", 2},
                                                {"float32", 4},
                                                {"float64", 8}}};

}  // namespace

size_t byte_size(DType t) { return kRows[static_cast<size_t>(t)].bytes; }

std::string_view name(DType t) { return kRows[static_cast<size_t>(t)].name; }

std::optional<DType> parse_dtype(std::string_view s) {
  for (size_t i = 0; i < kRows.size(); ++i) {
    if (kRows[i].name == s) return static_cast<DType>(i);
  }
  return std::nullopt;
}

}  // namespace gcomp
