#pragma once
// A graph under construction in a test.

#include "compare.h"

namespace gcomp::test {

struct Net {
  Context context;
  GraphBuilder b{context, GraphBuilder::Mode::kInterned};
  DimId dim(int64_t n) { return context.dims.constant(n); }
  DimId dim(int n) { return context.dims.constant(n); }
  DimId dim(const char* s) { return context.dims.symbol(s); }
  ValueId input(DType t, std::vector<DimId> shape) {
    return b.input("x" + std::to_string(b.graph().inputs().size()), {t, std::move(shape)});
  }
  std::string check(const std::vector<ValueId>& outputs, lower::Stats* stats = nullptr,
                    int64_t n = 37) {
    int k = 0;
    for (ValueId v : outputs) b.output("y" + std::to_string(k++), v);
    const auto g = b.finish();
    return compare(*g, random_inputs(*g, n, 1), {}, {}, stats);
  }
};

}  // namespace gcomp::test
