// Which function evaluates which op.

#include "call.h"

namespace gcomp::interp {

Function function_of(Op op) {
  switch (op) {
    case Op::input:
    case Op::constant:
    case Op::bind_dims:
    case Op::cond:
    case Op::loop: return nullptr;  // they need the evaluator's state
    case Op::iota: return eval_iota;
    case Op::dims: return eval_dims;
    case Op::cast: return eval_cast;
    case Op::neg:
    case Op::abs:
    case Op::sign:
    case Op::floor:
    case Op::ceil:
    case Op::round:
    case Op::trunc:
    case Op::sqrt:
    case Op::bit_not: return eval_unary;
    case Op::exp:
    case Op::exp2:
    case Op::expm1:
    case Op::log:
    case Op::log2:
    case Op::log10:
    case Op::log1p:
    case Op::sin:
    case Op::cos:
    case Op::tan:
    case Op::asin:
    case Op::acos:
    case Op::atan:
    case Op::sinh:
    case Op::cosh:
    case Op::tanh:
    case Op::asinh:
    case Op::acosh:
    case Op::atanh:
    case Op::erf:
    case Op::erfc:
    case Op::erfcx:
    case Op::erfinv:
    case Op::lgamma:
    case Op::digamma:
    case Op::trigamma:
    case Op::sigmoid:
    case Op::softplus:
    case Op::log1mexp: return eval_real;
    case Op::is_nan:
    case Op::is_inf: return eval_test;
    case Op::add:
    case Op::sub:
    case Op::mul:
    case Op::div:
    case Op::floor_div:
    case Op::mod:
    case Op::rem:
    case Op::pow:
    case Op::min:
    case Op::max:
    case Op::atan2:
    case Op::bit_and:
    case Op::bit_or:
    case Op::bit_xor:
    case Op::shl:
    case Op::shr: return eval_binary;
    case Op::eq:
    case Op::ne:
    case Op::lt:
    case Op::le:
    case Op::gt:
    case Op::ge: return eval_compare;
    case Op::where: return eval_where;
    case Op::reshape: return eval_reshape;
    case Op::broadcast: return eval_broadcast;
    case Op::transpose: return eval_transpose;
    case Op::slice: return eval_slice;
    case Op::pad: return eval_pad;
    case Op::concat: return eval_concat;
    case Op::reverse: return eval_reverse;
    case Op::specify_shape: return eval_specify_shape;
    case Op::gather: return eval_gather;
    case Op::gather_elements: return eval_gather_elements;
    case Op::gather_nd: return eval_gather_nd;
    case Op::scatter_elements: return eval_scatter_elements;
    case Op::scatter_nd: return eval_scatter_nd;
    case Op::reduce_sum:
    case Op::reduce_prod:
    case Op::reduce_max:
    case Op::reduce_min: return eval_reduce;
    case Op::reduce_and:
    case Op::reduce_or: return eval_reduce_bool;
    case Op::argmax:
    case Op::argmin: return eval_arg;
    case Op::cumsum:
    case Op::cumprod: return eval_scan;
    case Op::matmul: return eval_matmul;
    case Op::conv: return eval_conv;
    case Op::conv_transpose: return eval_conv_transpose;
    case Op::window_max:
    case Op::window_sum: return eval_window;
    case Op::window_argmax: return eval_window_argmax;
    case Op::sort: return eval_sort;
    case Op::top_k: return eval_top_k;
    case Op::nonzero: return eval_nonzero;
    case Op::check: return eval_check;
  }
  GCOMP_CHECK(false, "unknown op");
}

}  // namespace gcomp::interp
