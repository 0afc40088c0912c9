// Attention and rotary position embedding.

#include <cmath>
#include <limits>

#include "onnx/node.h"

namespace gcomp::formats::onnx {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

// [batch, sequence, heads * size] -> [batch, heads, sequence, size]
ValueId split_heads(NodeImport& n, ValueId x, const char* heads_attribute) {
  if (n.rank(x) == 4) return x;
  if (n.rank(x) != 3) n.fail("Attention: inputs must have rank 3 or 4");
  const int64_t heads = n.integer(heads_attribute, 0);
  if (heads < 1) n.fail("attribute '" + std::string(heads_attribute) + "' is needed");
  const Dims s = n.shape(x);
  const DimId size = n.dims().floor_div(s[2], n.dim(heads));
  return n.transpose(n.reshape(x, {s[0], s[1], n.dim(heads), size}), {0, 2, 1, 3});
}

// Each head of keys or values for a group of query heads.
ValueId repeat_heads(NodeImport& n, ValueId x, DimId query_heads) {
  const Dims s = n.shape(x);
  if (s[1] == query_heads) return x;
  const DimId group = n.dims().floor_div(query_heads, s[1]);
  const ValueId spread = n.place(x, {s[0], s[1], group, s[2], s[3]}, {0, 1, 3, 4});
  return n.reshape(spread, {s[0], query_heads, s[2], s[3]});
}

ValueId mask_bias(NodeImport& n, ValueId keep, DType t) {
  return n.where(keep, n.b.scalar(t, 0), n.b.scalar(t, kMinusInfinity));
}

// What is added to the products of queries and keys; invalid: nothing.
ValueId attention_bias(NodeImport& n, DimId queries, DimId keys, DimId past, DType t) {
  ValueId bias;
  const auto include = [&](ValueId v) { bias = bias.valid() ? n.add(bias, v) : v; };
  if (n.has(3)) {
    ValueId mask = n.in(3);
    if (n.dtype(mask) == DType::kBool) {
      mask = mask_bias(n, mask, t);
    } else {
      mask = n.cast(mask, t);
    }
    // A mask that is too short hides the keys it does not name.
    const auto rank = static_cast<size_t>(n.rank(mask));
    if (rank == 0) n.fail("Attention: the mask must not be a scalar");
    const DimId have = n.extent(mask, n.rank(mask) - 1);
    if (have != keys && !n.dims().is_constant(have, 1)) {
      Dims low(rank, n.dim(0)), high = low;
      high.back() = n.dims().max(n.dims().sub(keys, have), n.dim(0));
      mask = n.pad(mask, n.b.scalar(t, kMinusInfinity), low, high);
    }
    include(mask);
  }
  const DType i64 = DType::kInt64;
  if (n.flag("is_causal", false)) {
    const ValueId row = n.iota(i64, {queries, keys}, 0), column = n.iota(i64, {queries, keys}, 1);
    const ValueId visible = n.add(row, n.extent_value(past, i64));
    include(mask_bias(n, n.binary(Op::le, column, visible), t));
  }
  if (n.has(6)) {
    const ValueId length = n.along(n.cast(n.in(6), i64), 0, 4);
    const ValueId column = n.along(n.iota(i64, {keys}, 0), 3, 4);
    include(mask_bias(n, n.binary(Op::lt, column, length), t));
  }
  return bias;
}

void import_attention(NodeImport& n) {
  const DType t = n.dtype(n.in(0));
  const bool flat = n.rank(n.in(0)) == 3;
  const ValueId query = split_heads(n, n.in(0), "q_num_heads");
  ValueId key = split_heads(n, n.in(1), "kv_num_heads");
  ValueId value = split_heads(n, n.in(2), "kv_num_heads");
  DimId past = n.dim(0);
  if (n.has(4)) {
    past = n.extent(n.in(4), 2);
    key = n.concat({n.in(4), key}, 2);
  }
  if (n.has(5)) value = n.concat({n.in(5), value}, 2);
  if (n.wants(1)) n.out(1, key);
  if (n.wants(2)) n.out(2, value);

  const Dims q = n.shape(query);
  const ValueId wide = n.widen(query);
  const DType work = n.dtype(wide);
  key = repeat_heads(n, n.cast(key, work), q[1]);
  value = repeat_heads(n, n.cast(value, work), q[1]);
  ValueId scale;
  if (n.has_attribute("scale")) {
    scale = n.like(wide, n.real("scale", 1));
  } else {
    scale = n.reciprocal(n.unary(Op::sqrt, n.extent_value(q[3], work)));
  }
  const ValueId product = n.matmul(n.mul(wide, scale), n.transpose(key, {0, 1, 3, 2}));
  const ValueId bias = attention_bias(n, q[2], n.extent(key, 2), past, work);
  const ValueId biased = bias.valid() ? n.add(product, bias) : product;
  ValueId capped = biased;
  const double cap = n.real("softcap", 0);
  if (cap > 0) capped = n.mul(n.unary(Op::tanh, n.div(biased, cap)), cap);
  const DType precision =
      n.integer("softmax_precision", 0) != 0 ? n.dtype_attribute("softmax_precision", work) : work;
  const ValueId soft = n.cast(n.softmax(n.cast(capped, precision), {3}), work);
  ValueId y = n.cast(n.matmul(soft, value), t);
  if (flat) {
    const Dims s = n.shape(y);
    y = n.reshape(n.transpose(y, {0, 2, 1, 3}), {s[0], s[2], n.dims().mul(s[1], s[3])});
  }
  n.out(0, y);
  if (n.wants(3)) {
    const int64_t mode = n.integer("qk_matmul_output_mode", 0);
    if (mode < 0 || mode > 3) n.unsupported("this qk_matmul_output_mode");
    const ValueId shown[] = {product, biased, capped, soft};
    n.out(3, n.cast(shown[mode], t));
  }
}

void import_rotary(NodeImport& n) {
  ValueId x = n.in(0);
  const DType t = n.dtype(x);
  const Dims original = n.shape(x);
  const bool flat = original.size() == 3;
  if (!flat && original.size() != 4) n.fail("RotaryEmbedding: the input must have rank 3 or 4");
  DimTable& d = n.dims();
  if (flat) {  // [batch, sequence, heads, size] in both cases
    const int64_t heads = n.integer("num_heads", 0);
    if (heads < 1) n.fail("attribute 'num_heads' is needed");
    x = n.reshape(x,
                  {original[0], original[1], n.dim(heads), d.floor_div(original[2], n.dim(heads))});
  } else {
    x = n.transpose(x, {0, 2, 1, 3});
  }
  const DimId size = n.extent(x, 3);
  const int64_t part = n.integer("rotary_embedding_dim", 0);
  const DimId rotated = part > 0 ? n.dim(part) : size;
  const DimId half = d.floor_div(rotated, n.dim(2));
  const ValueId rest = n.slice_axis(x, 3, rotated, d.sub(size, rotated));
  const ValueId turn = n.widen(n.slice_axis(x, 3, n.dim(0), rotated));
  const auto cache = [&](size_t i) {  // [batch, sequence, 1, half]
    ValueId c = n.widen(n.in(i));
    if (n.has(3)) c = n.gather(c, n.in(3), 0);
    return n.unsqueeze(c, {2});
  };
  const ValueId cosine = cache(1), sine = cache(2);
  const bool interleaved = n.flag("interleaved", false);
  const int64_t stride = interleaved ? 2 : 1;
  const ValueId a = n.slice_axis(turn, 3, n.dim(0), half, stride);
  const ValueId c = n.slice_axis(turn, 3, interleaved ? n.dim(1) : half, half, stride);
  const ValueId real = n.sub(n.mul(cosine, a), n.mul(sine, c));
  const ValueId imaginary = n.add(n.mul(sine, a), n.mul(cosine, c));
  ValueId y;
  if (interleaved) {
    y = n.reshape(n.concat({n.unsqueeze(real, {4}), n.unsqueeze(imaginary, {4})}, 4),
                  n.shape(turn));
  } else {
    y = n.concat({real, imaginary}, 3);
  }
  y = n.concat({n.cast(y, t), rest}, 3);
  n.out(flat ? n.reshape(y, original) : n.transpose(y, {0, 2, 1, 3}));
}

constexpr OpRow kRows[] = {
    {"Attention", import_attention,
     "is_causal kv_num_heads q_num_heads qk_matmul_output_mode scale softcap softmax_precision"},
    {"RotaryEmbedding", import_rotary, "interleaved num_heads rotary_embedding_dim"},
};

}  // namespace

std::span<const OpRow> attention_rows() { return kRows; }

}  // namespace gcomp::formats::onnx
