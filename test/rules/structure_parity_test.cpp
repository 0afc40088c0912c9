// The parity table's rows on shapes, indexing, joining, reductions, products of matrices and control flow:
// what such a rewrite changes and what it should become are two outputs of one graph, and our pipeline makes
// them one value.
#include <doctest/doctest.h>

#include <functional>
#include <numeric>

#include "gcomp/ir/builder.h"
#include "gcomp/ir/text.h"
#include "gcomp/pass/pass.h"
#include "gcomp/passes/passes.h"
#include "gcomp/rules/rules.h"

using namespace gcomp;

namespace {

using Ints = std::vector<int64_t>;

// Inputs and ops of static shapes, short enough for a table.
struct Net {
  explicit Net(Context& context) : b(context, GraphBuilder::Mode::kRaw) {
    x = in("x", {4, 6});
    y = in("y", {4, 6});
    t = in("t", {3, 4, 6});
    m = in("m", {6, 5});
    z = in("z", {5, 6});
    u = in("u", {6});
    v = in("v", {4});
    s = in("s", {});
    one = in("one", {1, 6});
    n = in("n", {4, 6}, DType::kInt32);
    at = in("at", {3}, DType::kInt64);
    p = in("p", {}, DType::kBool);
    open = b.input("open", {DType::kFloat64, {b.dims().symbol("N"), b.dims().constant(6)}});
  }

  std::vector<DimId> dims(const Ints& numbers) {
    std::vector<DimId> d;
    for (int64_t i : numbers) d.push_back(b.dims().constant(i));
    return d;
  }
  ValueId in(const std::string& name, const Ints& shape, DType dtype = DType::kFloat64) {
    return b.input(name, {dtype, dims(shape)});
  }
  int64_t extent(ValueId a, size_t axis) { return *b.dims().constant_value(b.type(a).dims[axis]); }

  ValueId op(Op o, std::initializer_list<ValueId> operands) { return b.value(o, operands); }
  ValueId exp(ValueId a) { return op(Op::exp, {a}); }
  ValueId add(ValueId a, ValueId c) { return op(Op::add, {a, c}); }
  ValueId mul(ValueId a, ValueId c) { return op(Op::mul, {a, c}); }
  ValueId full(const Ints& shape, double c, DType dtype = DType::kFloat64) {
    return b.value(Op::broadcast, {b.constant(make_splat(dtype, {}, c))},
                   {{AttrKey::axes, Ints{}}, {AttrKey::shape, dims(shape)}});
  }
  ValueId reshape(ValueId a, const Ints& shape) {
    return b.value(Op::reshape, {a}, {{AttrKey::shape, dims(shape)}});
  }
  ValueId broadcast(ValueId a, const Ints& shape, const Ints& axes) {
    return b.value(Op::broadcast, {a}, {{AttrKey::axes, axes}, {AttrKey::shape, dims(shape)}});
  }
  ValueId transpose(ValueId a, const Ints& perm) {
    return b.value(Op::transpose, {a}, {{AttrKey::perm, perm}});
  }
  ValueId slice(ValueId a, const Ints& starts, const Ints& shape) {
    return b.value(Op::slice, {a},
                   {{AttrKey::starts, dims(starts)},
                    {AttrKey::shape, dims(shape)},
                    {AttrKey::strides, Ints(shape.size(), 1)}});
  }
  // Row `i` along axis 0, which goes.
  ValueId row(ValueId a, int64_t i) {
    Ints starts, shape, rest;
    for (size_t k = 0; k < b.type(a).dims.size(); ++k) {
      starts.push_back(k == 0 ? i : 0);
      shape.push_back(k == 0 ? 1 : extent(a, k));
      if (k > 0) rest.push_back(extent(a, k));
    }
    return reshape(slice(a, starts, shape), rest);
  }
  ValueId pad(ValueId a, const Ints& low, const Ints& high, double fill = 0,
              DType dtype = DType::kFloat64) {
    return b.value(Op::pad, {a, b.constant(make_splat(dtype, {}, fill))},
                   {{AttrKey::low, dims(low)}, {AttrKey::high, dims(high)}});
  }
  // `a` with the block at `low` set to `c`, as the exporter writes set_subtensor.
  ValueId set(ValueId a, ValueId c, const Ints& low, const Ints& high) {
    Ints shape;
    for (size_t k = 0; k < low.size(); ++k) shape.push_back(extent(c, k));
    const ValueId mask = pad(full(shape, 1, DType::kBool), low, high, 0, DType::kBool);
    return op(Op::where, {mask, pad(c, low, high), a});
  }
  ValueId concat(std::initializer_list<ValueId> parts, int64_t axis) {
    return b.value(Op::concat, parts, {{AttrKey::axis, axis}});
  }
  ValueId reduce(Op o, ValueId a, const Ints& axes) {
    return b.value(o, {a}, {{AttrKey::axes, axes}});
  }
  ValueId sum(ValueId a, const Ints& axes) { return reduce(Op::reduce_sum, a, axes); }
  ValueId gather(ValueId a, ValueId indices, int64_t axis = 0) {
    return b.value(Op::gather, {a, indices}, {{AttrKey::axis, axis}});
  }
  ValueId scatter(ValueId a, const Ints& rows, ValueId updates, const char* reduction) {
    return b.value(Op::scatter_nd,
                   {a, reshape(b.int64s(rows), {static_cast<int64_t>(rows.size()), 1}), updates},
                   {{AttrKey::reduction, std::string(reduction)}});
  }
  ValueId matmul(ValueId a, ValueId c, int64_t ta = 0, int64_t tb = 0) {
    std::vector<Attr> attrs;
    if (ta != 0) attrs.push_back({AttrKey::trans_a, ta});
    if (tb != 0) attrs.push_back({AttrKey::trans_b, tb});
    return b.value(Op::matmul, {a, c}, attrs);
  }
  // x[i, k] * z[j, k] at [i, j, k].
  ValueId outer() { return mul(broadcast(x, {4, 5, 6}, {0, 2}), broadcast(z, {4, 5, 6}, {1, 2})); }
  ValueId specify(ValueId a, const Ints& shape) {
    return b.value(Op::specify_shape, {a}, {{AttrKey::shape, dims(shape)}});
  }
  ValueId shape_of(ValueId a) { return b.value(Op::dims, {}, {{AttrKey::values, b.type(a).dims}}); }
  ValueId iota(int64_t count) {
    return b.value(Op::iota, std::span<const ValueId>(),
                   {{AttrKey::axis, int64_t{0}},
                    {AttrKey::dtype, DType::kInt64},
                    {AttrKey::shape, dims({count})}});
  }
  ValueId check(ValueId a, ValueId condition) {
    return b.value(Op::check, {a, condition}, {{AttrKey::message, std::string("no")}});
  }

  GraphBuilder b;
  ValueId x, y, z, t, m, u, v, s, one, n, at, p, open;
};

using Side = std::function<ValueId(Net&)>;

struct Form {
  std::string rewrite;
  Side before, after;
  bool fast_math = false;
};

// Whether both sides are one value at that level; the graph as text.
bool same_at(const Form& form, const std::string& level, std::string* text = nullptr) {
  Context context;
  Net net(context);
  net.b.output("before", form.before(net));
  net.b.output("after", form.after(net));
  const pass::Pipeline pipeline{passes::table(), passes::order(), rules::all()};
  pass::Options options;
  options.level = level;
  options.fast_math = form.fast_math;
  const auto graph = pass::run(net.b.finish(), pipeline, options);
  if (text != nullptr) *text = print(*graph);
  return graph->outputs()[0].value == graph->outputs()[1].value;
}

#define SIDE(expression) [](Net& g) { return expression; }
#define FORM(name, before, after) {name, SIDE(before), SIDE(after)}
#define FAST_MATH_FORM(name, before, after) {name, SIDE(before), SIDE(after), true}

std::vector<Form> shape_forms() {
  return {
      FORM("local_Shape_i_ground", g.gather(g.shape_of(g.x), g.b.int64s(Ints{1})),
           g.b.int64s(Ints{6})),
      FORM("local_subtensor_shape_constant", g.slice(g.shape_of(g.t), {1}, {2}),
           g.b.int64s(Ints{4, 6})),
      FORM("local_Shape_of_SpecifyShape", g.shape_of(g.specify(g.open, {4, 6})),
           g.b.int64s(Ints{4, 6})),
      FORM("local_alloc_dimshuffle", g.broadcast(g.reshape(g.u, {1, 6}), {4, 6}, {0, 1}),
           g.broadcast(g.u, {4, 6}, {1})),
      FORM("local_alloc_sink_dimshuffle", g.broadcast(g.u, {1, 1, 6}, {2}),
           g.reshape(g.u, {1, 1, 6})),
      FORM("local_alloc_unary", g.exp(g.broadcast(g.s, {4, 6}, {})),
           g.broadcast(g.exp(g.s), {4, 6}, {})),
      FORM("local_blockwise_alloc",
           g.matmul(g.broadcast(g.x, {3, 4, 6}, {1, 2}), g.broadcast(g.m, {3, 6, 5}, {1, 2})),
           g.broadcast(g.matmul(g.x, g.m), {3, 4, 5}, {1, 2})),
      FORM("local_blockwise_alloc_inputs",
           g.matmul(g.broadcast(g.x, {3, 4, 6}, {1, 2}), g.broadcast(g.m, {3, 6, 5}, {1, 2})),
           g.broadcast(g.matmul(g.x, g.m), {3, 4, 5}, {1, 2})),
      FORM("local_canonicalize_alloc", g.exp(g.broadcast(g.x, {4, 6}, {0, 1})), g.exp(g.x)),
      FORM("local_useless_alloc", g.exp(g.broadcast(g.x, {4, 6}, {0, 1})), g.exp(g.x)),
      FORM("local_useless_fill", g.exp(g.broadcast(g.x, {4, 6}, {0, 1})), g.exp(g.x)),
      FORM("local_dimshuffle_alloc", g.transpose(g.broadcast(g.u, {4, 6}, {1}), {1, 0}),
           g.broadcast(g.u, {6, 4}, {0})),
      FORM("local_dimshuffle_lift", g.transpose(g.exp(g.transpose(g.x, {1, 0})), {1, 0}),
           g.exp(g.x)),
      FORM("local_dimshuffle_lift", g.exp(g.transpose(g.transpose(g.t, {1, 2, 0}), {2, 0, 1})),
           g.exp(g.t)),
      FORM("local_fill_sink", g.mul(g.broadcast(g.s, {4, 6}, {}), g.broadcast(g.u, {4, 6}, {1})),
           g.broadcast(g.mul(g.broadcast(g.s, {6}, {}), g.u), {4, 6}, {1})),
      FORM("local_fuse_expand_dims_reshape", g.reshape(g.reshape(g.x, {2, 12}), {2, 1, 12}),
           g.reshape(g.x, {2, 1, 12})),
      FORM("local_fuse_squeeze_reshape", g.reshape(g.reshape(g.one, {6}), {2, 3}),
           g.reshape(g.one, {2, 3})),
      FORM("local_merge_alloc", g.broadcast(g.broadcast(g.u, {4, 6}, {1}), {3, 4, 6}, {1, 2}),
           g.broadcast(g.u, {3, 4, 6}, {2})),
      FORM("local_merge_consecutive_specify_shape", g.specify(g.specify(g.open, {4, 6}), {4, 6}),
           g.specify(g.open, {4, 6})),
      FORM("local_rebroadcast_lift", g.specify(g.exp(g.open), {1, 6}),
           g.exp(g.specify(g.open, {1, 6}))),
      FORM("local_specify_shape_lift", g.specify(g.exp(g.open), {4, 6}),
           g.exp(g.specify(g.open, {4, 6}))),
      FORM("local_reshape_chain", g.reshape(g.reshape(g.x, {24}), {3, 8}), g.reshape(g.x, {3, 8})),
      FORM("local_reshape_dimshuffle", g.reshape(g.transpose(g.one, {1, 0}), {2, 3}),
           g.reshape(g.one, {2, 3})),
      FORM("local_useless_dimshuffle_in_reshape", g.reshape(g.transpose(g.one, {1, 0}), {2, 3}),
           g.reshape(g.one, {2, 3})),
      FORM("local_useless_dimshuffle_makevector",
           g.exp(g.reshape(g.concat({g.reshape(g.s, {1})}, 0), {})), g.exp(g.s)),
      FORM("local_useless_expand_dims_in_reshape", g.reshape(g.reshape(g.x, {4, 1, 6}), {24}),
           g.reshape(g.x, {24})),
      FORM("local_useless_rebroadcast", g.exp(g.specify(g.one, {1, 6})), g.exp(g.one)),
      FORM("local_useless_specify_shape", g.exp(g.specify(g.x, {4, 6})), g.exp(g.x)),
      FORM("local_useless_reshape", g.exp(g.reshape(g.x, {4, 6})), g.exp(g.x)),
      FORM("local_useless_tile", g.exp(g.reshape(g.broadcast(g.x, {1, 4, 6}, {1, 2}), {4, 6})),
           g.exp(g.x)),
  };
}

std::vector<Form> join_forms() {
  return {
      FORM("local_join_1", g.exp(g.concat({g.x}, 0)), g.exp(g.x)),
      FORM("local_join_empty", g.concat({g.x, g.slice(g.y, {0, 0}, {0, 6}), g.y}, 0),
           g.concat({g.x, g.y}, 0)),
      FORM("local_join_make_vector", g.concat({g.concat({g.reshape(g.s, {1}), g.v}, 0), g.u}, 0),
           g.concat({g.reshape(g.s, {1}), g.v, g.u}, 0)),
      FORM("local_join_of_alloc",
           g.concat({g.broadcast(g.u, {4, 6}, {1}), g.broadcast(g.u, {4, 6}, {1})}, 1),
           g.broadcast(g.concat({g.u, g.u}, 0), {4, 12}, {1})),
      FORM("local_join_subtensors",
           g.concat({g.slice(g.x, {0, 0}, {1, 6}), g.slice(g.x, {1, 0}, {2, 6})}, 0),
           g.slice(g.x, {0, 0}, {3, 6})),
      FORM("local_join_to_repeat", g.concat({g.one, g.one, g.one}, 0),
           g.broadcast(g.reshape(g.one, {6}), {3, 6}, {1})),
      FORM("local_useless_split", g.exp(g.slice(g.x, {0, 0}, {4, 6})), g.exp(g.x)),
      FORM("local_reduce_join", g.sum(g.concat({g.reshape(g.u, {1, 6}), g.one}, 0), {0}),
           g.add(g.u, g.reshape(g.one, {6}))),
      FORM("local_reduce_join",
           g.reduce(Op::reduce_max, g.concat({g.reshape(g.u, {1, 6}), g.one}, 0), {0}),
           g.op(Op::max, {g.u, g.reshape(g.one, {6})})),
  };
}

std::vector<Form> subtensor_forms() {
  return {
      FORM("local_convert_negative_indices", g.gather(g.x, g.b.int64s(Ints{-1})),
           g.slice(g.x, {3, 0}, {1, 6})),
      FORM("local_useless_slice", g.exp(g.slice(g.x, {0, 0}, {4, 6})), g.exp(g.x)),
      FORM("local_useless_subtensor", g.exp(g.slice(g.x, {0, 0}, {4, 6})), g.exp(g.x)),
      FORM("local_useless_AdvancedSubtensor1", g.exp(g.gather(g.x, g.iota(4))), g.exp(g.x)),
      FORM("local_subtensor_lift", g.row(g.exp(g.x), 2),
           g.reshape(g.exp(g.slice(g.x, {2, 0}, {1, 6})), {6})),
      FORM("local_subtensor_of_batch_dims", g.slice(g.add(g.x, g.y), {1, 2}, {2, 3}),
           g.add(g.slice(g.x, {1, 2}, {2, 3}), g.slice(g.y, {1, 2}, {2, 3}))),
      FORM("local_subtensor_make_vector",
           g.exp(g.slice(g.concat({g.reshape(g.s, {1}), g.u}, 0), {0}, {1})),
           g.exp(g.reshape(g.s, {1}))),
      FORM("local_subtensor_merge", g.slice(g.slice(g.x, {1, 0}, {3, 6}), {1, 2}, {2, 2}),
           g.slice(g.x, {2, 2}, {2, 2})),
      FORM("local_subtensor_of_adv_subtensor", g.slice(g.gather(g.x, g.at), {0, 2}, {3, 2}),
           g.gather(g.slice(g.x, {0, 2}, {4, 2}), g.at)),
      FORM("local_subtensor_of_alloc", g.slice(g.broadcast(g.u, {4, 6}, {1}), {1, 2}, {2, 3}),
           g.broadcast(g.slice(g.u, {2}, {3}), {2, 3}, {1})),
      FORM("local_subtensor_of_dot", g.row(g.matmul(g.x, g.m), 1),
           g.reshape(g.matmul(g.slice(g.x, {1, 0}, {1, 6}), g.m), {5})),
      FORM("local_subtensor_of_expand_dims",
           g.slice(g.reshape(g.x, {4, 1, 6}), {1, 0, 2}, {2, 1, 3}),
           g.reshape(g.slice(g.x, {1, 2}, {2, 3}), {2, 1, 3})),
      FORM("local_subtensor_of_squeeze", g.slice(g.reshape(g.one, {6}), {2}, {3}),
           g.reshape(g.slice(g.one, {0, 2}, {1, 3}), {3})),
      FORM("local_subtensor_of_join", g.slice(g.concat({g.x, g.y}, 0), {3, 0}, {2, 6}),
           g.concat({g.slice(g.x, {3, 0}, {1, 6}), g.slice(g.y, {0, 0}, {1, 6})}, 0)),
      FORM("local_subtensor_of_reduce", g.slice(g.sum(g.t, {0}), {1, 0}, {2, 6}),
           g.sum(g.slice(g.t, {0, 1, 0}, {3, 2, 6}), {0})),
      FORM("local_subtensor_of_transpose", g.slice(g.transpose(g.x, {1, 0}), {1, 0}, {2, 4}),
           g.transpose(g.slice(g.x, {0, 1}, {4, 2}), {1, 0})),
      FORM("local_subtensor_of_softmax",
           g.slice(g.op(Op::div, {g.exp(g.x), g.broadcast(g.sum(g.exp(g.x), {1}), {4, 6}, {0})}),
                   {1, 0}, {2, 6}),
           g.op(Op::div,
                {g.exp(g.slice(g.x, {1, 0}, {2, 6})),
                 g.broadcast(g.sum(g.exp(g.slice(g.x, {1, 0}, {2, 6})), {1}), {2, 6}, {0})})),
      FORM("local_subtensor_remove_broadcastable_index", g.exp(g.row(g.one, 0)),
           g.exp(g.reshape(g.one, {6}))),
  };
}

std::vector<Form> inc_subtensor_forms() {
  return {
      FORM("local_IncSubtensor_serialize",
           g.add(g.add(g.x, g.pad(g.one, {0, 0}, {3, 0})),
                 g.pad(g.reshape(g.u, {1, 6}), {1, 0}, {2, 0})),
           g.add(g.x, g.pad(g.concat({g.one, g.reshape(g.u, {1, 6})}, 0), {0, 0}, {2, 0}))),
      FORM("local_IncSubtensor_serialize",
           g.add(g.y, g.scatter(g.full({4, 6}, 0), {1, 1}, g.slice(g.x, {0, 0}, {2, 6}), "add")),
           g.scatter(g.y, {1, 1}, g.slice(g.x, {0, 0}, {2, 6}), "add")),
      FORM("local_adv_sub1_adv_inc_sub1",
           g.exp(g.gather(g.scatter(g.x, {2, 0}, g.slice(g.y, {0, 0}, {2, 6}), "none"),
                          g.b.int64s(Ints{2, 0}))),
           g.exp(g.slice(g.y, {0, 0}, {2, 6}))),
      FORM("local_incsubtensor_of_zeros",
           g.add(g.n, g.pad(g.full({1, 6}, 0, DType::kInt32), {1, 0}, {2, 0}, 0, DType::kInt32)),
           g.op(Op::neg, {g.op(Op::neg, {g.n})})),
      FORM("local_incsubtensor_of_zeros",
           g.op(Op::abs, {g.scatter(g.n, {1, 3}, g.full({2, 6}, 0, DType::kInt32), "add")}),
           g.op(Op::abs, {g.n})),
      FORM("local_incsubtensor_of_zeros_to_setsubtensor",
           g.scatter(g.full({4, 6}, 0), {3, 1}, g.slice(g.x, {0, 0}, {2, 6}), "add"),
           g.scatter(g.full({4, 6}, 0), {3, 1}, g.slice(g.x, {0, 0}, {2, 6}), "none")),
      FORM("local_set_to_inc_subtensor",
           g.scatter(g.x, {3, 1},
                     g.add(g.gather(g.x, g.b.int64s(Ints{3, 1})), g.slice(g.y, {0, 0}, {2, 6})),
                     "none"),
           g.scatter(g.x, {3, 1}, g.slice(g.y, {0, 0}, {2, 6}), "add")),
      FORM("local_setsubtensor_of_constants",
           g.exp(g.set(g.full({4, 6}, 2), g.full({1, 6}, 2), {1, 0}, {2, 0})),
           g.exp(g.full({4, 6}, 2))),
      FORM("local_setsubtensor_of_constants",
           g.exp(g.set(g.x, g.slice(g.x, {1, 0}, {1, 6}), {1, 0}, {2, 0})), g.exp(g.x)),
      FORM("local_subtensor_inc_subtensor",
           g.exp(g.slice(g.set(g.x, g.one, {1, 0}, {2, 0}), {1, 0}, {1, 6})), g.exp(g.one)),
      FORM("local_useless_inc_subtensor", g.exp(g.scatter(g.x, {0, 1, 2, 3}, g.y, "none")),
           g.exp(g.y)),
  };
}

std::vector<Form> reduce_forms() {
  return {
      FORM("local_op_of_op", g.sum(g.sum(g.t, {0}), {1}), g.sum(g.t, {0, 2})),
      FORM("local_reduce_chain", g.reduce(Op::reduce_max, g.reduce(Op::reduce_max, g.t, {0}), {1}),
           g.reduce(Op::reduce_max, g.t, {0, 2})),
      FORM("local_opt_alloc", g.sum(g.broadcast(g.u, {4, 6}, {1}), {0}),
           g.mul(g.u, g.full({6}, 4))),
      FORM("local_reduce_broadcastable", g.exp(g.sum(g.one, {0})), g.exp(g.reshape(g.one, {6}))),
      FORM("local_sum_make_vector",
           g.sum(g.concat({g.reshape(g.s, {1}), g.slice(g.u, {0}, {1})}, 0), {0}),
           g.add(g.s, g.reshape(g.slice(g.u, {0}, {1}), {}))),
      FORM("local_sum_of_neg_to_neg_of_sum", g.sum(g.op(Op::neg, {g.x}), {0}),
           g.op(Op::neg, {g.sum(g.x, {0})})),
      FAST_MATH_FORM("local_sum_prod_div_dimshuffle",
                     g.sum(g.op(Op::div, {g.x, g.broadcast(g.v, {4, 6}, {0})}), {1}),
                     g.op(Op::div, {g.sum(g.x, {1}), g.v})),
      FORM("local_sum_prod_mul_by_scalar", g.sum(g.mul(g.x, g.broadcast(g.s, {4, 6}, {})), {0, 1}),
           g.mul(g.sum(g.x, {0, 1}), g.s)),
      FORM("local_sum_prod_of_mul_or_div", g.sum(g.mul(g.x, g.broadcast(g.v, {4, 6}, {0})), {1}),
           g.mul(g.sum(g.x, {1}), g.v)),
      FORM("local_useless_reduce", g.exp(g.sum(g.x, {})), g.exp(g.x)),
      FORM(
          "local_useless_topk",
          g.exp(g.b.result(g.b.node(Op::top_k, std::initializer_list<ValueId>{g.x},
                                    {{AttrKey::axis, int64_t{1}}, {AttrKey::shape, g.dims({1})}}))),
          g.exp(g.reshape(g.reduce(Op::reduce_max, g.x, {1}), {4, 1}))),
      FORM("local_argmax_pushdown",
           g.b.value(Op::argmax, {g.exp(g.x)}, {{AttrKey::axis, int64_t{1}}}),
           g.b.value(Op::argmax, {g.x}, {{AttrKey::axis, int64_t{1}}})),
  };
}

std::vector<Form> product_forms() {
  return {
      FORM("local_0_dot_x", g.matmul(g.n, g.full({6, 5}, 0, DType::kInt32)),
           g.full({4, 5}, 0, DType::kInt32)),
      FAST_MATH_FORM("local_0_dot_x", g.matmul(g.full({4, 6}, 0), g.m), g.full({4, 5}, 0)),
      FORM("local_batched_matmul_to_core_matmul",
           g.matmul(g.reshape(g.x, {1, 4, 6}), g.reshape(g.m, {1, 6, 5})),
           g.reshape(g.matmul(g.x, g.m), {1, 4, 5})),
      FORM("local_batched_matmul_to_core_matmul_with_reshape",
           g.matmul(g.t, g.broadcast(g.m, {3, 6, 5}, {1, 2})),
           g.reshape(g.matmul(g.reshape(g.t, {12, 6}), g.m), {3, 4, 5})),
      FORM("local_dot_to_mul", g.matmul(g.reshape(g.v, {4, 1}), g.reshape(g.u, {1, 6})),
           g.mul(g.broadcast(g.v, {4, 6}, {0}), g.broadcast(g.u, {4, 6}, {1}))),
      FORM("local_lift_transpose_through_dot", g.transpose(g.matmul(g.x, g.m), {1, 0}),
           g.matmul(g.transpose(g.m, {1, 0}), g.transpose(g.x, {1, 0}))),
      FORM("local_sumsqr2dot", g.sum(g.mul(g.outer(), g.outer()), {2}),
           g.matmul(g.mul(g.x, g.x), g.mul(g.z, g.z), 0, 1)),
  };
}

std::vector<Form> other_forms() {
  return {
      FORM("local_remove_useless_assert", g.exp(g.check(g.x, g.full({}, 1, DType::kBool))),
           g.exp(g.x)),
      FORM("local_remove_useless_assert", g.exp(g.check(g.check(g.x, g.p), g.p)),
           g.exp(g.check(g.x, g.p))),
      FORM("constant_fold_branches_of_add_mul",
           g.add(g.add(g.x, g.full({4, 6}, 2)), g.full({4, 6}, 3)), g.add(g.x, g.full({4, 6}, 5))),
      FORM("topo_constant_folding", g.exp(g.mul(g.full({4, 6}, 2), g.full({4, 6}, 3))),
           g.exp(g.full({4, 6}, 6))),
  };
}

}  // namespace

TEST_CASE("what a rewrite of structure changes becomes what it should") {
  for (const auto& forms : {shape_forms(), join_forms(), subtensor_forms(), inc_subtensor_forms(),
                            reduce_forms(), product_forms(), other_forms()}) {
    for (const Form& form : forms) {
      INFO(form.rewrite);
      CHECK_MESSAGE(!same_at(form, "merge"), "the two sides are the same to begin with");
      std::string text;
      CHECK_MESSAGE(same_at(form, "fast_run", &text), text);
    }
  }
}
