#pragma once
// The op table: every op of the graph, its arity, traits, attributes, meaning and shape inference.
// Semantics are stated once, in the `doc` of each row (lib/ir/ops/*.cpp, one file per family);
// `gcomp list ops` and lib/ir/OPS.md print them. To add an op: a name here and a row there.

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "gcomp/ir/attr.h"
#include "gcomp/ir/type.h"

namespace gcomp {

// Names only, grouped as the rows are. The enumerator is the op's name in every format.
#define GCOMP_OPS(X)                                                                               \
  /* sources */ X(input) X(constant) X(iota) X(dims) X(bind_dims) /* elementwise, one operand */   \
      X(cast) X(neg) X(abs) X(sign) X(floor) X(ceil) X(round) X(trunc) X(sqrt) X(exp) X(exp2)      \
          X(expm1) X(log) X(log2) X(log10) X(log1p) X(sin) X(cos) X(tan) X(asin) X(acos) X(atan)   \
              X(sinh) X(cosh) X(tanh) X(asinh) X(acosh) X(atanh) X(erf) X(erfc) X(erfcx) X(erfinv) \
                  X(lgamma) X(digamma) X(trigamma) X(sigmoid) X(softplus) X(log1mexp) X(bit_not)   \
                      X(is_nan) X(is_inf) /* elementwise, two operands */                          \
      X(add) X(sub) X(mul) X(div) X(floor_div) X(mod) X(rem) X(pow) X(min) X(max) X(atan2) X(eq)   \
          X(ne) X(lt) X(le) X(gt) X(ge) X(bit_and) X(bit_or) X(bit_xor) X(shl)                     \
              X(shr) /* elementwise, three operands */ X(                                          \
                  where) /* layout: the same elements elsewhere */                                 \
      X(reshape) X(broadcast) X(transpose) X(slice) X(pad) X(concat) X(reverse)                    \
          X(specify_shape) /* indexed */                                                           \
      X(gather) X(gather_elements) X(gather_nd) X(scatter_elements)                                \
          X(scatter_nd) /* reductions and scans along axes */                                      \
      X(reduce_sum) X(reduce_prod) X(reduce_max) X(reduce_min) X(reduce_and) X(reduce_or)          \
          X(argmax) X(argmin) X(cumsum) X(cumprod) /* contractions and windows */                  \
      X(matmul) X(conv) X(conv_transpose) X(window_max) X(window_sum)                              \
          X(window_argmax) /* ordering and data-dependent extents */ X(sort) X(top_k)              \
              X(nonzero) /* effects and control flow */ X(check) X(cond) X(loop)

enum class Op : uint16_t {
#define GCOMP_OP_ENUMERATOR(name) name,
  GCOMP_OPS(GCOMP_OP_ENUMERATOR)
#undef GCOMP_OP_ENUMERATOR
};
#define GCOMP_OP_COUNT(name) +1
inline constexpr int kNumOps = 0 GCOMP_OPS(GCOMP_OP_COUNT);
#undef GCOMP_OP_COUNT

enum Trait : uint32_t {
  kElementwise = 1u << 0,  // result element i depends on operand elements i only; equal shapes
  kCommutative = 1u << 1,
  kAssociative = 1u << 2,  // up to rounding
  kLayout = 1u << 3,       // moves elements, computes nothing; lowered to index maps
  kReduction = 1u << 4,    // one result element from many operand elements along `axes`
  kPredicate = 1u << 5,    // result dtype is bool
  kEffect = 1u << 6,       // may set the context's status; never removed while its result is used
  kDefinesDims = 1u << 7,  // introduces the symbols in attribute `symbols`
  kSource = 1u << 8,
  kHasBody = 1u << 9,  // attribute `bodies`: closed nested graphs
  // Memory that a result may share with an operand; of elementwise ops with any operand of its type.
  kView = 1u << 10,     // result 0 is operand 0 in the same memory, under another name or type
  kUpdates = 1u << 11,  // result 0 can be made in operand 0's memory, if that is read nowhere else
};

class TypeInference;  // gcomp/ir/infer.h: what an inference function sees and reports to

struct AttrSpec {
  AttrKey key;
  AttrKind kind;
  bool required;
  std::string_view doc;
};

struct OpInfo {
  Op op;
  std::string_view name = {};  // set by the table: the enumerator
  int min_operands;
  int max_operands;  // -1: any number
  int num_results;   // -1: as many as inference gives
  uint32_t traits;
  std::string_view signature;  // "(x: T, y: T) -> T", for people
  std::string_view doc;        // full semantics: rounding, NaN, ties, signs, out-of-range
  std::vector<AttrSpec> attrs;
  void (*infer)(TypeInference&);  // sets the result types or reports an error
};

const OpInfo& info(Op op);
std::string_view name(Op op);
constexpr bool is_comparison(Op op) { return op >= Op::eq && op <= Op::ge; }
inline bool has_trait(Op op, uint32_t traits) { return (info(op).traits & traits) != 0; }
bool parse_op(std::string_view name, Op* op);
std::span<const OpInfo> all_ops();  // in enumeration order

}  // namespace gcomp
