// cond: a jump, two bodies. A result whose extents are the same in both bodies has one place that both
// write; else it means the place of the result of the body that ran.

#include <algorithm>

#include "dense.h"
#include "frame.h"

namespace gcomp::lower {
namespace {

// Whether a body only hands on what it was given.
bool is_handed_on(const Graph& body, ValueId v) {
  for (;;) {
    const Node& n = body.producer_node(v);
    if (n.op == Op::input || n.op == Op::constant) return true;
    if (n.op != Op::reshape && n.op != Op::specify_shape) return false;
    v = body.operands(n)[0];
  }
}

class Cond : public Control {
 public:
  Cond(Frame& frame, NodeId id)
      : frame_(frame),
        w_(frame.writer()),
        id_(id),
        node_(frame.graph().node(id)),
        otherwise_(w_.new_label()),
        end_(w_.new_label()) {
    choose_places();
  }

  std::unique_ptr<Frame> next(Frame* finished) override {
    if (finished == nullptr) {
      w_.jump(Step::Kind::kJumpUnless, otherwise_, {w_.memory_of(operand(0))});
      return enter(0);
    }
    leave(*finished);
    if (branch_ == 0) {
      w_.jump(Step::Kind::kJump, end_);
      w_.jump(Step::Kind::kLabel, otherwise_);
      return enter(1);
    }
    w_.jump(Step::Kind::kLabel, end_);
    for (size_t r = 0; r < places_.size(); ++r) {
      if (!places_[r].direct) w_.give(result(r), places_[r].memory);
    }
    return nullptr;
  }

 private:
  struct Place {
    bool direct = false;  // both bodies write there
    MemoryId memory;
    bool written = false;  // by the body at hand
  };

  ValueId operand(size_t i) const { return w_.graph().operands(node_)[i]; }
  ValueId result(size_t r) const { return w_.graph().result(id_, static_cast<int>(r)); }
  const Graph& body(size_t branch) const {
    Context& context = w_.graph().context();
    return context.graph(w_.graph().attrs(node_).graphs(AttrKey::bodies)[branch]);
  }

  // The results' extents that have names: their axes, and the symbols.
  void choose_places() {
    const std::vector<DimId>& names = w_.graph().attrs(node_).dims(AttrKey::symbols);
    size_t next = 0;
    for (size_t r = 0; r < node_.num_results; ++r) {
      const Type& type = w_.graph().type(result(r));
      bool named = false;
      for (size_t a = 0; a < type.dims.size() && next < names.size(); ++a) {
        const auto symbol = w_.dims().as_symbol(names[next++]);
        if (!symbol) continue;
        named = true;
        symbols_.push_back(*symbol);
        named_.emplace_back(r, a);
      }
      Place p;
      const bool handed_on = is_handed_on(body(0), body(0).outputs()[r].value) ||
                             is_handed_on(body(1), body(1).outputs()[r].value);
      p.direct = !named && (w_.is_assigned(result(r)) ? w_.fits(result(r)) : !handed_on);
      p.memory =
          p.direct ? w_.assigned_now(result(r)) : w_.owned(type.dtype, w_.home_of(result(r)));
      places_.push_back(p);
    }
  }

  std::unique_ptr<Frame> enter(size_t branch) {
    branch_ = branch;
    std::vector<GivenExtents> given;
    for (size_t i = 1; i < node_.num_operands; ++i) {
      given.push_back({w_.graph().type(operand(i)).dims, frame_.source().type(operand(i)).dims});
    }
    SymbolMap inner(w_.dims(), false);
    const std::string& place = w_.graph().context().locs[node_.loc];
    const auto demands = learn_inputs(body(branch), given, frame_.symbols(), &inner, place);
    for (const ExtentDemand& d : demands) {
      w_.require_equal(d.left, d.right, failure(w_.graph(), node_, "extents differ"));
    }
    std::vector<Device> homes;
    for (size_t i = 1; i < node_.num_operands; ++i) homes.push_back(w_.home_of(operand(i)));
    auto made = std::make_unique<Frame>(body(branch), std::move(inner), Turns(), w_, id_, homes);
    for (size_t i = 1; i < node_.num_operands; ++i) made->give_input(i - 1, w_, operand(i));
    for (size_t r = 0; r < places_.size(); ++r) {
      places_[r].written = places_[r].direct && made->place_output(r, places_[r].memory);
    }
    return made;
  }

  void leave(Frame& f) {
    std::vector<DimId> extents;
    for (const auto& [r, axis] : named_) extents.push_back(f.graph().type(f.output(r)).dims[axis]);
    for (size_t r = 0; r < places_.size(); ++r) {
      const Place& p = places_[r];
      if (p.direct && p.written) continue;
      const MemoryId from = f.output_memory(r, w_.memory(p.memory).device);
      p.direct ? w_.copy(p.memory, from, w_.num_bytes(result(r))) : w_.alias(p.memory, from);
    }
    w_.bind_values(symbols_, extents);
  }

  Frame& frame_;
  PlanWriter& w_;
  NodeId id_;
  const Node& node_;
  uint32_t otherwise_, end_;  // labels
  size_t branch_ = 0;
  std::vector<Place> places_;
  std::vector<SymbolId> symbols_;
  std::vector<std::pair<size_t, size_t>> named_;  // (result, axis) of each symbol
};

}  // namespace

std::unique_ptr<Control> make_cond(Frame& frame, NodeId node) {
  return std::make_unique<Cond>(frame, node);
}

}  // namespace gcomp::lower
