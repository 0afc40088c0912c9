// Sources: values from outside the graph, constants, and values made of extents.

#include <algorithm>

#include "ops/rows.h"

namespace gcomp::ops {
namespace {

void infer_input(TypeInference& t) { t.fail("the type of an input is declared, not inferred"); }

void infer_constant(TypeInference& t) {
  const Constant& c = t.context().constants[t.attrs().constant(AttrKey::value)];
  std::vector<DimId> shape;
  for (int64_t extent : c.shape) shape.push_back(t.dims().constant(extent));
  t.result(c.dtype, std::move(shape));
}

void infer_iota(TypeInference& t) {
  const std::vector<DimId>& shape = t.attrs().dims(AttrKey::shape);
  const DType dtype = t.attrs().dtype(AttrKey::dtype);
  if (!t.require(dtype != DType::kBool, "iota cannot be bool (make integers, then cast)")) return;
  if (!t.check_axis(t.attrs().integer(AttrKey::axis), static_cast<int>(shape.size()))) return;
  t.result(dtype, shape);
}

void infer_dims(TypeInference& t) {
  const size_t n = t.attrs().dims(AttrKey::values).size();
  t.result(DType::kInt64, {t.dims().constant(static_cast<int64_t>(n))});
}

void infer_bind_dims(TypeInference& t) {
  const std::vector<DimId>& symbols = t.attrs().dims(AttrKey::symbols);
  const Type& v = t.operand(0);
  if (v.dtype != DType::kInt64 || v.rank() != 1 ||
      !t.dims().is_constant(v.dims[0], static_cast<int64_t>(symbols.size()))) {
    t.fail("operand 0 is " + t.show(v) + "; it must be int64[" + std::to_string(symbols.size()) +
           "], one element for each of the " + std::to_string(symbols.size()) +
           " symbols (insert cast or reshape)");
    return;
  }
  std::vector<DimId> sorted = symbols;
  std::sort(sorted.begin(), sorted.end());
  const bool unique = std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end();
  const bool plain = std::all_of(sorted.begin(), sorted.end(),
                                 [&](DimId d) { return t.dims().as_symbol(d).has_value(); });
  if (!t.require(unique && plain, "attribute 'symbols' must list plain symbols, each once")) return;
  t.result(v);
}

}  // namespace

std::vector<OpInfo> source_rows() {
  return {
      {.op = Op::input,
       .min_operands = 0,
       .max_operands = 0,
       .num_results = 1,
       .traits = kSource,
       .signature = "() -> T[...]",
       .doc = "A value given by the caller. Its name and its type are declared in the graph's list "
              "of inputs. Every symbol of the inputs' extents must follow from the extents of a "
              "call: either it is the "
              "whole extent of some axis, or the only unknown of an extent in which it occurs "
              "linearly. A call whose extents contradict each other fails.",
       .attrs = {{AttrKey::index, AttrKind::kInt, true, "position in the list of inputs"}},
       .infer = infer_input},
      {.op = Op::constant,
       .min_operands = 0,
       .max_operands = 0,
       .num_results = 1,
       .traits = kSource,
       .signature = "() -> T[...]",
       .doc = "A tensor stored with the graph.",
       .attrs = {{AttrKey::value, AttrKind::kConstant, true, "the tensor"}},
       .infer = infer_constant},
      {.op = Op::iota,
       .min_operands = 0,
       .max_operands = -1,
       .num_results = 1,
       .traits = kSource,
       .signature = "(carriers...) -> T[shape], T: number",
       .doc =
           "Each element is its index along `axis`, from 0, converted to `dtype` as `cast` from "
           "int64 does. Operands are carriers only: they say where symbols of `shape` are bound.",
       .attrs = {{AttrKey::axis, AttrKind::kInt, true, "axis that counts"},
                 {AttrKey::dtype, AttrKind::kDType, true, "element type, not bool"},
                 {AttrKey::shape, AttrKind::kDims, true, "extents of the result, rank at least 1"}},
       .infer = infer_iota},
      {.op = Op::dims,
       .min_operands = 0,
       .max_operands = -1,
       .num_results = 1,
       .traits = kSource,
       .signature = "(carriers...) -> int64[n]",
       .doc =
           "The values of the n expressions in `values` at run time. Operands are carriers only.",
       .attrs = {{AttrKey::values, AttrKind::kDims, true, "expressions, one an element"}},
       .infer = infer_dims},
      {.op = Op::bind_dims,
       .min_operands = 1,
       .max_operands = 1,
       .num_results = 1,
       .traits = kDefinesDims | kView,
       .signature = "(v: int64[n]) -> int64[n]",
       .doc =
           "Gives v back and defines n symbols: symbols[i] is the extent v[i] from here on. Nodes "
           "that mention such a symbol take the result as an extra trailing operand (a carrier) "
           "unless the type of another operand mentions it. A negative element is a run-time "
           "error.",
       .attrs = {{AttrKey::symbols, AttrKind::kDims, true, "n distinct plain symbols"}},
       .infer = infer_bind_dims},
  };
}

}  // namespace gcomp::ops
