// Channels last: convolutions of layout nchw become nhwc, the form the kernels are written for.
//
// One forward walk into a new interned graph. Every old value has up to two forms, made when first asked
// for: plain (as in the old graph) and last (channels moved to the end). Convolutions take
// and give `last`. Ops that do not care where channels are (elementwise, windows, pad, slice, concat,
// gather along an axis, reshapes and repetitions within the image, reductions that keep the order of
// axes) follow an operand whose native form is `last`, with their attributes permuted. Everything else
// takes `plain`. So transposes stand only where a layout-sensitive op or the graph's edge needs the other
// form, each value is transposed at most once each way, and the walk is linear. Kernels are constants as
// a rule, and the sweep at the end folds their transposes.

#include <algorithm>

#include "gcomp/ir/builder.h"
#include "gcomp/passes/passes.h"
#include "sweeps.h"

namespace gcomp::passes {
namespace {

using Perm = std::vector<int64_t>;

Perm to_last(int rank) {  // 0, 2, ..., rank-1, 1
  Perm p{0};
  for (int a = 2; a < rank; ++a) p.push_back(a);
  p.push_back(1);
  return p;
}

Perm to_plain(int rank) {  // 0, rank-1, 1, ..., rank-2
  Perm p{0, rank - 1};
  for (int a = 1; a < rank - 1; ++a) p.push_back(a);
  return p;
}

// Where plain axis `a` is in the last form.
int64_t place(int64_t a, int rank) { return a == 0 ? 0 : a == 1 ? rank - 1 : a - 1; }

template <class T>
std::vector<T> moved(const std::vector<T>& v) {
  std::vector<T> out;
  for (int64_t a : to_last(static_cast<int>(v.size()))) out.push_back(v[static_cast<size_t>(a)]);
  return out;
}

bool is_reduction(Op op) { return has_trait(op, kReduction); }

class ChannelsLast {
 public:
  explicit ChannelsLast(const Graph& old)
      : old_(old),
        builder_(old.context(), GraphBuilder::Mode::kInterned),
        plain_(old.num_values()),
        last_(old.num_values()),
        native_last_(old.num_values()) {
    size_t slots = 0;
    for (const Node& n : old.nodes()) slots += n.num_operands;
    builder_.reserve(old.num_nodes(), slots);
  }

  std::unique_ptr<Graph> run() {
    for (const Port& p : old_.inputs()) {
      builder_.set_loc(old_.producer_node(p.value).loc);
      plain_[p.value.index] = builder_.input(p.name, old_.type(p.value), p.donate);
    }
    for (const Node& n : old_.nodes()) {
      if (n.op == Op::input) continue;
      builder_.set_loc(n.loc);
      if (!convolution(n) && !follow(n)) keep(n);
    }
    for (const Port& p : old_.outputs()) {
      builder_.set_loc(old_.producer_node(p.value).loc);
      builder_.output(p.name, plain(p.value));
    }
    for (const State& s : old_.states()) builder_.state(s);
    return builder_.finish();
  }

  // Per old value the form in which it is computed.
  std::vector<ValueId> became() const {
    std::vector<ValueId> all = plain_;
    for (size_t v = 0; v < all.size(); ++v) {
      if (!all[v].valid() || native_last_[v]) all[v] = last_[v];
    }
    return all;
  }

 private:
  ValueId plain(ValueId v) {
    ValueId& form = plain_[v.index];
    if (!form.valid()) form = builder_.transpose(last_[v.index], to_plain(old_.type(v).rank()));
    return form;
  }

  ValueId last(ValueId v) {
    if (last_[v.index].valid()) return last_[v.index];
    const Node& n = old_.producer_node(v);
    const ValueId form = n.op == Op::broadcast
                             ? broadcast_last(n)
                             : builder_.transpose(plain_[v.index], to_last(old_.type(v).rank()));
    last_[v.index] = form;
    return form;
  }

  // A broadcast is made in the wanted form, not transposed.
  ValueId broadcast_last(const Node& n) {
    const Attrs attrs = old_.attrs(n);
    const ValueId source = old_.operands(n)[0];
    const int rank = old_.type(n.first_result).rank();
    const std::vector<int64_t> axes = attrs.ints(AttrKey::axes);
    Perm order(axes.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
    const auto target = [&](int64_t i) { return place(axes[static_cast<size_t>(i)], rank); };
    std::sort(order.begin(), order.end(),
              [&](int64_t a, int64_t b) { return target(a) < target(b); });
    std::vector<int64_t> at;
    for (int64_t i : order) at.push_back(target(i));
    const std::vector<DimId> shape = moved(attrs.dims(AttrKey::shape));
    return builder_.broadcast(builder_.transpose(plain(source), order), shape, at, carriers(n, 1));
  }

  // Operands from `first` on only bring extents: whichever form there is.
  std::vector<ValueId> carriers(const Node& n, size_t first) {
    std::vector<ValueId> out;
    const auto operands = old_.operands(n);
    for (size_t i = first; i < operands.size(); ++i) {
      const ValueId v = operands[i];
      out.push_back(plain_[v.index].valid() ? plain_[v.index] : last_[v.index]);
    }
    return out;
  }

  void keep(const Node& n) {
    std::vector<ValueId> operands;
    for (ValueId v : old_.operands(n)) operands.push_back(plain(v));
    std::vector<TypeId> types;
    for (int k = 0; k < n.num_results; ++k) {
      types.push_back(old_.type_id(ValueId(n.first_result.index + k)));
    }
    const NodeId made = builder_.typed_node(n.op, operands, n.attrs, types);
    for (int k = 0; k < n.num_results; ++k) {
      plain_[n.first_result.index + k] = builder_.result(made, k);
    }
  }

  void set_last(const Node& n, ValueId v) {
    last_[n.first_result.index] = v;
    native_last_[n.first_result.index] = true;
  }

  bool convolution(const Node& n) {
    if (n.op != Op::conv && n.op != Op::conv_transpose) return false;
    const Attrs attrs = old_.attrs(n);
    if (attrs.string_or(AttrKey::layout, "nchw") != "nchw") return false;
    const auto operands = old_.operands(n);
    const int rank = old_.type(operands[0]).rank();
    Perm kernel;
    for (int a = 2; a < rank; ++a) kernel.push_back(a);
    kernel.push_back(n.op == Op::conv ? 1 : 0);
    kernel.push_back(n.op == Op::conv ? 0 : 1);
    std::vector<ValueId> made{last(operands[0]), builder_.transpose(plain(operands[1]), kernel)};
    if (operands.size() == 3) made.push_back(plain(operands[2]));
    std::vector<Attr> changed;
    for (const Attr& a : attrs) {
      if (a.key != AttrKey::layout) changed.push_back(a);
    }
    changed.push_back({AttrKey::layout, std::string("nhwc")});
    set_last(n, builder_.value(n.op, made, std::move(changed)));
    return true;
  }

  bool any_native_last(const Node& n, size_t count) const {
    const auto operands = old_.operands(n);
    for (size_t i = 0; i < std::min(count, operands.size()); ++i) {
      if (native_last_[operands[i].index]) return true;
    }
    return false;
  }

  // Ops for which it does not matter where channels are, when an operand natively has them last.
  bool follow(const Node& n) {
    const auto operands = old_.operands(n);
    const bool spread = has_trait(n.op, kElementwise) || n.op == Op::concat;
    if (!any_native_last(n, spread ? operands.size() : 1)) return false;
    const Attrs attrs = old_.attrs(n);
    const int rank = old_.type(operands[0]).rank();
    if (spread) {
      std::vector<ValueId> made;
      for (ValueId v : operands) made.push_back(last(v));
      std::vector<Attr> changed(attrs.begin(), attrs.end());
      if (n.op == Op::concat) changed[0].value = place(attrs.integer(AttrKey::axis), rank);
      set_last(n, builder_.value(n.op, made, std::move(changed)));
      return true;
    }
    if (is_reduction(n.op)) return reduction(n, attrs, rank);
    switch (n.op) {
      case Op::window_max:
      case Op::window_sum:
      case Op::pad:
      case Op::slice:
      case Op::specify_shape: return permuted(n, attrs);
      case Op::reverse: return axes_permuted(n, attrs, rank);
      case Op::gather: return gathered(n, attrs, rank);
      case Op::reshape: return reshaped(n);
      case Op::broadcast: return repeated(n, attrs);
      default: return false;
    }
  }

  // Every list attribute has one element an axis.
  bool permuted(const Node& n, const Attrs& attrs) {
    std::vector<Attr> changed;
    for (const Attr& a : attrs) {
      changed.push_back(a);
      if (auto* ints = std::get_if<std::vector<int64_t>>(&changed.back().value))
        *ints = moved(*ints);
      if (auto* dims = std::get_if<std::vector<DimId>>(&changed.back().value)) *dims = moved(*dims);
    }
    std::vector<ValueId> made{last(old_.operands(n)[0])};
    size_t data = 1;
    if (n.op == Op::pad) {
      made.push_back(plain(old_.operands(n)[1]));
      data = 2;
    }
    for (ValueId v : carriers(n, data)) made.push_back(v);
    set_last(n, builder_.value(n.op, made, std::move(changed)));
    return true;
  }

  bool axes_permuted(const Node& n, const Attrs& attrs, int rank) {
    std::vector<int64_t> axes;
    for (int64_t a : attrs.ints(AttrKey::axes)) axes.push_back(place(a, rank));
    std::sort(axes.begin(), axes.end());
    set_last(n, builder_.value(n.op, {last(old_.operands(n)[0])}, {{AttrKey::axes, axes}}));
    return true;
  }

  bool gathered(const Node& n, const Attrs& attrs, int rank) {
    const ValueId indices = old_.operands(n)[1];
    if (old_.type(indices).rank() != 1 || attrs.integer_or(AttrKey::batch_dims, 0) != 0) {
      return false;
    }
    const int64_t axis = place(attrs.integer(AttrKey::axis), rank);
    set_last(n, builder_.value(Op::gather, {last(old_.operands(n)[0]), plain(indices)},
                               {{AttrKey::axis, axis}}));
    return true;
  }

  // Batch and channels stay, only the image is cut otherwise: so it can be between them.
  bool reshaped(const Node& n) {
    const std::vector<DimId>& from = old_.type(old_.operands(n)[0]).dims;
    const std::vector<DimId>& to = old_.type(n.first_result).dims;
    if (to.size() < 2 || from[0] != to[0] || from[1] != to[1]) return false;
    const ValueId made = builder_.reshape(last(old_.operands(n)[0]), moved(to), carriers(n, 1));
    if (to.size() == 2) {
      plain_[n.first_result.index] = made;
    } else {
      set_last(n, made);
    }
    return true;
  }

  // New or repeated axes within the image (nearest-neighbour upsampling), after batch and channels.
  bool repeated(const Node& n, const Attrs& attrs) {
    const std::vector<int64_t> axes = attrs.ints(AttrKey::axes);
    const std::vector<DimId> shape = attrs.dims(AttrKey::shape);
    if (axes.size() < 3 || axes[0] != 0 || axes[1] != 1) return false;
    std::vector<int64_t> at;
    for (int64_t a : moved(axes)) at.push_back(place(a, static_cast<int>(shape.size())));
    set_last(n, builder_.broadcast(last(old_.operands(n)[0]), moved(shape), at, carriers(n, 1)));
    return true;
  }

  // The axes that are left must come in the old order: then the result is a plain value.
  bool reduction(const Node& n, const Attrs& attrs, int rank) {
    const std::vector<int64_t>& axes = attrs.ints(AttrKey::axes);
    std::vector<int64_t> reduced, left;
    for (int64_t a = 0; a < rank; ++a) {
      const bool gone = std::binary_search(axes.begin(), axes.end(), a);
      (gone ? reduced : left).push_back(place(a, rank));
    }
    if (!std::is_sorted(left.begin(), left.end())) return false;
    std::sort(reduced.begin(), reduced.end());
    plain_[n.first_result.index] =
        builder_.value(n.op, {last(old_.operands(n)[0])}, {{AttrKey::axes, reduced}});
    return true;
  }

  const Graph& old_;
  GraphBuilder builder_;
  std::vector<ValueId> plain_;     // old value -> new value in the old layout
  std::vector<ValueId> last_;      // old value -> new value with channels last
  std::vector<bool> native_last_;  // computed with channels last
};

bool has_plain_convolution(const Graph& g) {
  return std::any_of(g.nodes().begin(), g.nodes().end(), [&](const Node& n) {
    return (n.op == Op::conv || n.op == Op::conv_transpose) &&
           g.attrs(n).string_or(AttrKey::layout, "nchw") == "nchw";
  });
}

}  // namespace

pass::Pass layout() {
  const auto run = [](const Graph& graph, pass::PassContext& context) -> std::unique_ptr<Graph> {
    if (!has_plain_convolution(graph) || !may_rebuild(graph, context)) return nullptr;
    ChannelsLast layout(graph);
    const auto changed = layout.run();
    context.rebuilt(graph, *changed, layout.became());
    return sweep(*changed, context);
  };
  return {"layout",
          run,
          false,
          {"fast_compile", "fast_run"},
          "convolutions with channels last; transposes end up at the graph's edges",
          "layout"};
}

}  // namespace gcomp::passes
