// RNN, GRU and LSTM: the products with the inputs are one matrix product for all steps; the steps are
// written out when they are few and known, else a loop.

#include <functional>

#include "onnx/importer.h"

namespace gcomp::formats::onnx {
namespace {

constexpr int64_t kMaxUnrolled = 16;

struct Activation {
  std::string name;
  double alpha = 0, beta = 0;
};

struct CellAttrs {
  std::vector<Activation> activations;  // of one direction
  double clip = 0;                      // 0: none
  int64_t hidden = 0;
  bool flag = false;  // GRU: linear_before_reset; LSTM: input_forget
};

Activation activation(NodeImport& n, const std::string& name) {
  static const struct {
    const char* name;
    double alpha, beta;
  } kKnown[] = {{"Relu", 0, 0},         {"Tanh", 0, 0},
                {"Sigmoid", 0, 0},      {"Affine", 1, 0},
                {"LeakyRelu", 0.01, 0}, {"ThresholdedRelu", 1, 0},
                {"ScaledTanh", 1, 1},   {"HardSigmoid", 0.2, 0.5},
                {"Elu", 1, 0},          {"Softsign", 0, 0},
                {"Softplus", 0, 0}};
  for (const auto& k : kKnown) {
    if (name == k.name) return {name, k.alpha, k.beta};
  }
  n.unsupported("activation '" + name + "'");
}

ValueId apply(Emitter& e, const Activation& a, ValueId x) {
  if (a.name == "Relu") return e.max(x, 0.0);
  if (a.name == "Tanh") return e.unary(Op::tanh, x);
  if (a.name == "Sigmoid") return e.unary(Op::sigmoid, x);
  if (a.name == "Affine") return e.add(e.mul(x, a.alpha), a.beta);
  if (a.name == "LeakyRelu") return e.where(e.compare(Op::lt, x, 0), e.mul(x, a.alpha), x);
  if (a.name == "ThresholdedRelu") {
    return e.where(e.compare(Op::ge, x, a.alpha), x, e.like(x, 0));
  }
  if (a.name == "ScaledTanh") return e.mul(e.unary(Op::tanh, e.mul(x, a.beta)), a.alpha);
  if (a.name == "HardSigmoid") {
    return e.min(e.max(e.add(e.mul(x, a.alpha), a.beta), 0.0), 1.0);
  }
  if (a.name == "Elu") {
    return e.where(e.compare(Op::lt, x, 0), e.mul(e.unary(Op::expm1, x), a.alpha), x);
  }
  if (a.name == "Softsign") return e.div(x, e.add(e.unary(Op::abs, x), 1.0));
  return e.unary(Op::softplus, x);
}

// What a step reads beside the state: all [..] as the cell's function says.
struct CellWeights {
  ValueId recurrent;  // R transposed: [hidden, gates * hidden]
  ValueId bias;       // GRU with linear_before_reset: the recurrent bias of the new gate, [hidden]
  ValueId peephole;   // LSTM: [3 * hidden], or invalid
};

// (the step's part of the input products [batch, gates * hidden], state) -> state
using Cell =
    std::function<Values(Emitter&, const CellAttrs&, ValueId, const Values&, const CellWeights&)>;

ValueId gate(Emitter& e, const CellAttrs& a, ValueId all, int64_t i) {
  return e.slice_axis(all, 1, e.dim(i * a.hidden), e.dim(a.hidden));
}

ValueId clip(Emitter& e, const CellAttrs& a, ValueId x) {
  return a.clip > 0 ? e.min(e.max(x, -a.clip), a.clip) : x;
}

Values rnn_cell(Emitter& e, const CellAttrs& a, ValueId x, const Values& state,
                const CellWeights& w) {
  const ValueId sum = e.add(x, e.matmul(state[0], w.recurrent));
  return {apply(e, a.activations[0], clip(e, a, sum))};
}

Values gru_cell(Emitter& e, const CellAttrs& a, ValueId x, const Values& state,
                const CellWeights& w) {
  const ValueId h = state[0];
  const ValueId zr = e.slice_axis(w.recurrent, 1, e.dim(0), e.dim(2 * a.hidden));
  const ValueId hw = e.slice_axis(w.recurrent, 1, e.dim(2 * a.hidden), e.dim(a.hidden));
  const ValueId gates = e.matmul(h, zr);
  const auto update = [&](int64_t i) {
    const ValueId sum = e.add(gate(e, a, x, i), gate(e, a, gates, i));
    return apply(e, a.activations[0], clip(e, a, sum));
  };
  const ValueId z = update(0), r = update(1);
  ValueId candidate;
  if (a.flag) {
    ValueId inner = e.matmul(h, hw);
    if (w.bias.valid()) inner = e.add(inner, w.bias);
    candidate = e.mul(r, inner);
  } else {
    candidate = e.matmul(e.mul(r, h), hw);
  }
  candidate = apply(e, a.activations[1], clip(e, a, e.add(gate(e, a, x, 2), candidate)));
  return {e.add(e.mul(e.sub(e.like(z, 1), z), candidate), e.mul(z, h))};
}

Values lstm_cell(Emitter& e, const CellAttrs& a, ValueId x, const Values& state,
                 const CellWeights& w) {
  const ValueId h = state[0], c = state[1];
  const ValueId gates = e.add(x, e.matmul(h, w.recurrent));      // i, o, f, c
  const auto peep = [&](ValueId sum, int64_t i, ValueId with) {  // i, o, f
    if (!w.peephole.valid()) return sum;
    const ValueId p = e.slice_axis(w.peephole, 0, e.dim(i * a.hidden), e.dim(a.hidden));
    return e.add(sum, e.mul(p, with));
  };
  const auto act = [&](int i, ValueId v) { return apply(e, a.activations[i], clip(e, a, v)); };
  const ValueId in = act(0, peep(gate(e, a, gates, 0), 0, c));
  const ValueId forget =
      a.flag ? e.sub(e.like(in, 1), in) : act(0, peep(gate(e, a, gates, 2), 2, c));
  const ValueId fresh = act(1, gate(e, a, gates, 3));
  const ValueId cell = e.add(e.mul(forget, c), e.mul(in, fresh));
  const ValueId out = act(0, peep(gate(e, a, gates, 1), 1, cell));
  return {e.mul(out, apply(e, a.activations[2], cell)), cell};
}

// One direction's run over all steps. `x`: [steps, batch, gates * hidden]; `lengths`: [batch] or invalid.
struct Run {
  ValueId x, lengths;
  Values state;
  CellWeights weights;
  CellAttrs attrs;
  Cell cell;
};

// State after step k, and what the step puts out: sequences that have ended keep their state and put
// out 0.
Values masked_step(Emitter& e, const Run& r, ValueId x, ValueId k, const Values& state,
                   const CellWeights& w, ValueId lengths, ValueId* out) {
  Values next = r.cell(e, r.attrs, x, state, w);
  *out = next[0];
  if (!lengths.valid()) return next;
  const ValueId running = e.along(e.binary(Op::lt, k, lengths), 0, 2);
  *out = e.where(running, next[0], e.like(next[0], 0));
  for (size_t i = 0; i < next.size(); ++i) next[i] = e.where(running, next[i], state[i]);
  return next;
}

// Returns all outputs [steps, batch, hidden]; `state` becomes the last.
ValueId unrolled(NodeImport& n, Run& r, int64_t steps) {
  Values outputs;
  for (int64_t k = 0; k < steps; ++k) {
    const ValueId x = n.squeeze(n.slice_axis(r.x, 0, n.dim(k), n.dim(1)), {0});
    ValueId out;
    r.state =
        masked_step(n, r, x, n.b.scalar_int(DType::kInt64, k), r.state, r.weights, r.lengths, &out);
    outputs.push_back(n.unsqueeze(out, {0}));
  }
  return n.concat(outputs, 0);
}

ValueId looped(NodeImport& n, Run& r) {
  Body body(n.importer().context());
  GraphBuilder& b = body.builder;
  b.set_loc(n.b.loc());
  Emitter e(body);
  Values operands = {n.extent_value(n.extent(r.x, 0), DType::kInt64),
                     n.b.scalar_int(DType::kBool, 1)};
  const auto pass = [&](const char* name, ValueId v) {
    if (!v.valid()) return v;
    operands.push_back(v);
    return b.input(name, n.b.type(v));
  };
  const ValueId k = b.input("step", Type{DType::kInt64, {}});
  Values state;
  for (ValueId v : r.state) state.push_back(pass("state", v));
  const ValueId all = pass("x", r.x);
  CellWeights w;
  w.recurrent = pass("recurrent", r.weights.recurrent);
  w.bias = pass("bias", r.weights.bias);
  w.peephole = pass("peephole", r.weights.peephole);
  const ValueId lengths = pass("lengths", r.lengths);
  ValueId out;
  const Values next = masked_step(e, r, e.gather(all, k, 0), k, state, w, lengths, &out);
  b.output("continue", b.scalar_int(DType::kBool, 1));
  for (ValueId v : next) b.output("state", v);
  b.output("out", out);
  const GraphId graph = n.importer().context().add_graph(b.finish());
  const NodeId loop = n.defining(Op::loop, operands,
                                 {{AttrKey::bodies, std::vector<GraphId>{graph}},
                                  {AttrKey::index, static_cast<int64_t>(state.size())},
                                  {AttrKey::symbols, Dims{n.dims().fresh_symbol("steps")}}});
  for (size_t i = 0; i < r.state.size(); ++i) r.state[i] = n.b.result(loop, static_cast<int>(i));
  const ValueId stacked = n.b.result(loop, static_cast<int>(state.size()));
  Dims exact = n.shape(stacked);
  exact[0] = n.extent(r.x, 0);
  return n.specify(stacked, exact);
}

// The order of steps turned round, of each sequence within its length.
ValueId backwards(NodeImport& n, ValueId x, ValueId lengths) {
  if (!lengths.valid()) return n.b.value(Op::reverse, {x}, {{AttrKey::axes, Ints{0}}});
  const ValueId t = n.iota(DType::kInt64, n.shape(x), 0);
  const ValueId length = n.along(lengths, 1, 3);
  const ValueId index = n.where(n.binary(Op::lt, t, length), n.sub(n.sub(length, t), 1.0), t);
  return n.b.value(Op::gather_elements, {x, index}, {{AttrKey::axis, int64_t{0}}});
}

struct Kind {
  int64_t gates;
  std::vector<std::string> activations;
  Cell cell;
  bool is_lstm = false;
  const char* flag = nullptr;
};

std::vector<Activation> read_activations(NodeImport& n, const Kind& kind, int64_t directions) {
  std::vector<Activation> list;
  const size_t count = kind.activations.size() * static_cast<size_t>(directions);
  const AttributeProto* given = n.attribute("activations");
  for (size_t i = 0; i < count; ++i) {
    std::string name = kind.activations[i % kind.activations.size()];
    if (given != nullptr && !given->strings.empty()) {
      if (given->strings.size() != count) n.fail("wrong number of activations");
      name = given->strings[i];
    }
    list.push_back(activation(n, name));
  }
  const std::vector<double> alpha = n.reals("activation_alpha"), beta = n.reals("activation_beta");
  for (const auto* values : {&alpha, &beta}) {
    if (!values->empty() && values->size() != count) {
      n.unsupported("activation_alpha or activation_beta that is not given for every activation");
    }
  }
  for (size_t i = 0; i < count; ++i) {
    if (!alpha.empty()) list[i].alpha = alpha[i];
    if (!beta.empty()) list[i].beta = beta[i];
  }
  return list;
}

// Direction d's slice of a weight with one for each.
ValueId of_direction(NodeImport& n, ValueId v, int64_t d) {
  return n.squeeze(n.slice_axis(v, 0, n.dim(d), n.dim(1)), {0});
}

void import_recurrent(NodeImport& n, const Kind& kind) {
  const bool batch_first = n.flag("layout", false);
  ValueId x = n.in(0);
  if (n.rank(x) != 3 || n.rank(n.in(1)) != 3 || n.rank(n.in(2)) != 3) {
    n.fail("the input and weights must have rank 3");
  }
  if (batch_first) x = n.transpose(x, {1, 0, 2});
  const std::string direction = n.text("direction", "forward");
  if (direction != "forward" && direction != "reverse" && direction != "bidirectional") {
    n.unsupported("direction '" + direction + "'");
  }
  const int64_t directions = direction == "bidirectional" ? 2 : 1;
  CellAttrs attrs;
  const auto hidden = n.static_extent(n.in(2), 2);
  if (!hidden || *hidden < 1 || *hidden > INT32_MAX) n.unsupported("this hidden size");
  attrs.hidden = *hidden;
  attrs.clip = n.real("clip", 0);
  if (kind.flag != nullptr) attrs.flag = n.flag(kind.flag, false);
  const std::vector<Activation> activations = read_activations(n, kind, directions);
  const ValueId lengths = n.has(4) ? n.cast(n.in(4), DType::kInt64) : ValueId();
  const DimId steps = n.extent(x, 0), batch = n.extent(x, 1);
  const DimId wide = n.dim(kind.gates * attrs.hidden);
  const DType t = n.dtype(x);

  Values all, last_h, last_c;
  for (int64_t d = 0; d < directions; ++d) {
    Run r;
    r.attrs = attrs;
    r.cell = kind.cell;
    r.lengths = lengths;
    const auto first = activations.begin() + d * static_cast<int64_t>(kind.activations.size());
    r.attrs.activations.assign(first, first + static_cast<int64_t>(kind.activations.size()));
    const bool reverse = direction == "reverse" || d == 1;
    const ValueId in = reverse ? backwards(n, x, lengths) : x;
    r.x = n.matmul(in, n.transpose(of_direction(n, n.in(1), d), {1, 0}));
    r.weights.recurrent = n.transpose(of_direction(n, n.in(2), d), {1, 0});
    if (n.has(3)) {
      const ValueId bias = of_direction(n, n.in(3), d);
      ValueId sum = n.slice_axis(bias, 0, n.dim(0), wide);
      ValueId recurrent = n.slice_axis(bias, 0, wide, wide);
      if (kind.gates == 3 && attrs.flag) {  // the new gate's stays apart: it is scaled by the reset
        const DimId two = n.dim(2 * attrs.hidden), h = n.dim(attrs.hidden);
        r.weights.bias = n.slice_axis(recurrent, 0, two, h);
        recurrent =
            n.pad(n.slice_axis(recurrent, 0, n.dim(0), two), n.b.scalar(t, 0), {n.dim(0)}, {h});
      }
      r.x = n.add(r.x, n.add(sum, recurrent));
    }
    const auto initial = [&](size_t i) {
      if (!n.has(i)) return n.full(t, {batch, n.dim(attrs.hidden)}, 0);
      const ValueId v = batch_first ? n.transpose(n.in(i), {1, 0, 2}) : n.in(i);
      return n.specify(of_direction(n, v, d), {batch, n.dim(attrs.hidden)});
    };
    r.state.push_back(initial(5));
    if (kind.is_lstm) r.state.push_back(initial(6));
    if (kind.is_lstm && n.has(7)) r.weights.peephole = of_direction(n, n.in(7), d);
    const auto known = n.dims().constant_value(steps);
    const bool few = known && *known >= 1 && *known <= kMaxUnrolled;
    ValueId out = few ? unrolled(n, r, *known) : looped(n, r);
    if (reverse) out = backwards(n, out, lengths);
    all.push_back(n.unsqueeze(out, {1}));
    last_h.push_back(n.unsqueeze(r.state[0], {0}));
    if (kind.is_lstm) last_c.push_back(n.unsqueeze(r.state[1], {0}));
  }
  // [steps, directions, batch, hidden] or, with layout 1, [batch, steps, directions, hidden].
  const ValueId y = n.concat(all, 1);
  n.out(0, batch_first ? n.transpose(y, {2, 0, 1, 3}) : y);
  const auto last = [&](const Values& parts) {
    const ValueId v = n.concat(parts, 0);
    return batch_first ? n.transpose(v, {1, 0, 2}) : v;
  };
  if (n.wants(1)) n.out(1, last(last_h));
  if (kind.is_lstm && n.wants(2)) n.out(2, last(last_c));
}

void import_rnn(NodeImport& n) { import_recurrent(n, {1, {"Tanh"}, rnn_cell}); }

void import_gru(NodeImport& n) {
  import_recurrent(n, {3, {"Sigmoid", "Tanh"}, gru_cell, false, "linear_before_reset"});
}

void import_lstm(NodeImport& n) {
  import_recurrent(n, {4, {"Sigmoid", "Tanh", "Tanh"}, lstm_cell, true, "input_forget"});
}

#define GCOMP_RECURRENT_ATTRIBUTES \
  "activation_alpha activation_beta activations clip direction hidden_size layout"

constexpr OpRow kRows[] = {
    {"GRU", import_gru, GCOMP_RECURRENT_ATTRIBUTES " linear_before_reset"},
    {"LSTM", import_lstm, GCOMP_RECURRENT_ATTRIBUTES " input_forget"},
    {"RNN", import_rnn, GCOMP_RECURRENT_ATTRIBUTES},
};

}  // namespace

std::span<const OpRow> recurrent_rows() { return kRows; }

}  // namespace gcomp::formats::onnx
