// loop: the body is written once, between a label and the step that goes back to it.
//
// Where carried values lie: the body reads `current` and writes `next`, two pointers that move after a turn,
// so nothing is copied. `current` begins as the operand's place, which is not written.
//  - Extents stay: `next` and `spare` mean two buffers for the whole loop; after a turn they change
//    places and `current` means what was written. One of the two is the result's place, if it has one.
//  - It becomes what another carried value was: the pointer does. Along a chain of such values, of which the
//    last is written, there is one more spare buffer for each of them.
//  - Extents change: the same, but `next` and `spare` own memory, which is made to fit before it is written.
//  - The value is stacked as well: it is written into its row, which is then `current`.
//  - Some of its elements change (scatter), and nothing reads the old ones afterwards: it stays in one place, into
//    which the operand is copied before the first turn (LowerOptions::update_carried).
//  - It becomes what is the same in every turn: `current` means that. It never changes: it is read where the
//    operand lies.
// Stacked values are written row by row into the result if the number of turns is known before, else into
// memory that grows.

#include <algorithm>

#include "dense.h"
#include "frame.h"

namespace gcomp::lower {
namespace {

class Loop : public Control {
 public:
  Loop(Frame& frame, NodeId id)
      : frame_(frame),
        w_(frame.writer()),
        id_(id),
        node_(w_.graph().node(id)),
        body_(w_.graph().context().graph(w_.graph().attrs(node_).graphs(AttrKey::bodies)[0])),
        top_(w_.new_label()),
        end_(w_.new_label()) {
    read_names();
    find_trips();
  }

  std::unique_ptr<Frame> next(Frame* finished) override {
    if (finished != nullptr) {
      end_turn(*finished);
      after();
      return nullptr;
    }
    auto made = enter_body();
    choose_carried(*made);
    bind_trips();
    before();
    place(*made);
    made->write_early();
    begin_turns();
    return made;
  }

 private:
  struct Carried {
    std::vector<std::optional<DimId>> names;  // per axis: the extent after the loop
    std::vector<DimId> extents;               // in the body; a symbol where it is named
    bool varies = false;                      // it has names
    Device device = Device::kHost;            // where it lies
    bool constant = false;
    bool same = false;           // from the first turn on
    bool updated = false;        // in its place
    std::optional<size_t> row;   // it is this stacked value's row
    std::optional<size_t> from;  // it becomes what that carried value was
    size_t followers = 0;        // length of the chain of those that become what this was
    MemoryId current, next;
    std::vector<MemoryId> spares;
    bool written = false;  // to `next` by the body itself

    bool is_computed() const { return !constant && !same && !row && !from; }
  };
  struct Stacked {
    std::vector<std::optional<SymbolId>> names;  // per axis of the row
    bool named = false;
    bool grows = false;
    DimId row_bytes;
    MemoryId stack, row;
    bool written = false;
  };

  ValueId operand(size_t i) const { return w_.graph().operands(node_)[i]; }
  ValueId result(size_t r) const { return w_.graph().result(id_, static_cast<int>(r)); }
  Device stack_device(size_t j) const { return w_.home_of(result(carried_.size() + j)); }
  DimTable& dims() { return w_.dims(); }
  DimId number(int64_t n) { return dims().constant(n); }

  // ---- What is known before

  void read_names() {
    const Attrs attrs = w_.graph().attrs(node_);
    const std::vector<DimId>& symbols = attrs.dims(AttrKey::symbols);
    carried_.resize(static_cast<size_t>(attrs.integer(AttrKey::index)));
    stacked_.resize(node_.num_results - carried_.size());
    if (!symbols.empty()) trips_symbol_ = dims().as_symbol(symbols[0]);
    size_t at = 1;
    const auto next_name = [&]() -> std::optional<DimId> {
      if (at >= symbols.size()) return std::nullopt;
      const DimId d = symbols[at++];
      return dims().as_symbol(d) ? std::optional(d) : std::nullopt;
    };
    for (size_t i = 0; i < carried_.size(); ++i) {
      Carried& c = carried_[i];
      c.device = w_.home_of(result(i));
      c.extents = w_.graph().type(operand(2 + i)).dims;
      for (DimId& extent : c.extents) {
        c.names.push_back(next_name());
        if (!c.names.back()) continue;
        c.varies = true;
        first_extents_.push_back(extent);
        extent = dims().fresh_symbol("carried");
        varying_.push_back(*dims().as_symbol(extent));
      }
    }
    for (size_t j = 0; j < stacked_.size(); ++j) {
      Stacked& s = stacked_[j];
      const size_t rank = w_.graph().type(result(carried_.size() + j)).dims.size() - 1;
      for (size_t a = 0; a < rank; ++a) {
        const auto name = next_name();
        s.names.push_back(name ? dims().as_symbol(*name) : std::nullopt);
        s.named = s.named || name;
      }
    }
  }

  void find_trips() {
    begins_ = known_truth(w_.graph(), operand(1)) == true;
    counted_ = known_truth(body_, body_.outputs()[0].value) == true;
    limit_ = known_extent(w_.graph(), operand(0));
    if (begins_ && counted_ && limit_) trips_ = dims().max(*limit_, number(0));
  }

  std::unique_ptr<Frame> enter_body() {
    std::vector<GivenExtents> given = {{{}, {}}};
    for (size_t i = 2; i < node_.num_operands; ++i) {
      GivenExtents g = {w_.graph().type(operand(i)).dims, frame_.source().type(operand(i)).dims};
      if (i - 2 < carried_.size()) {
        const Carried& c = carried_[i - 2];
        g.mapped = c.extents;
        for (size_t a = 0; a < c.names.size(); ++a) {
          if (c.names[a]) g.source[a] = DimId();
        }
      }
      given.push_back(std::move(g));
    }
    SymbolMap inner(dims(), false);
    const std::string& at = w_.graph().context().locs[node_.loc];
    for (const ExtentDemand& d : learn_inputs(body_, given, frame_.symbols(), &inner, at)) {
      std::vector<SymbolId> symbols;
      dims().collect_symbols(d.left, &symbols);
      dims().collect_symbols(d.right, &symbols);
      const bool varies = std::ranges::any_of(
          symbols, [&](SymbolId s) { return std::ranges::find(varying_, s) != varying_.end(); });
      (varies ? turn_demands_ : demands_).push_back(d);
    }
    turns_ = {std::vector<bool>(body_.inputs().size(), true), varying_};
    for (size_t i = 0; i <= carried_.size(); ++i) {
      turns_.fixed[i] = i > 0 && body_.outputs()[i].value == body_.inputs()[i].value;
    }
    std::vector<Device> homes = {Device::kHost};
    for (size_t i = 2; i < node_.num_operands; ++i) {
      homes.push_back(i - 2 < carried_.size() ? carried_[i - 2].device : w_.home_of(operand(i)));
    }
    auto made = std::make_unique<Frame>(body_, std::move(inner), turns_, w_, id_, homes);
    for (size_t j = 0; j < stacked_.size(); ++j) {
      stacked_[j].row_bytes = made->writer().num_bytes(made->output(1 + carried_.size() + j));
    }
    return made;
  }

  void choose_carried(Frame& f) {
    for (size_t j = 0; j < stacked_.size(); ++j) {
      stacked_[j].grows = stacked_[j].named || !trips_;
    }
    for (size_t i = 0; i < carried_.size(); ++i) {
      Carried& c = carried_[i];
      const ValueId root = f.output_root(1 + i);
      c.constant = !c.varies && root == f.graph().inputs()[1 + i].value;
      if (c.varies || c.constant) continue;
      if (is_same(f, 1 + i)) {
        c.same = true;
        continue;
      }
      if (f.graph().producer_node(root).op == Op::input) {
        choose_source(f, i);
        continue;
      }
      for (size_t j = 0; j < stacked_.size() && !c.row; ++j) {
        const bool same = f.output_root(1 + carried_.size() + j) == root;
        const bool fits = stacked_[j].row_bytes == f.writer().num_bytes(f.output(1 + i)) &&
                          stack_device(j) == c.device;
        if (same && fits && !stacked_[j].grows) c.row = j;
      }
      c.updated = !c.row && w_.state().options.update_carried && f.updates_input(1 + i, 1 + i) &&
                  f.writer().home_of(root) == c.device;
    }
    for (const Carried& c : carried_) {
      if (c.from) ++carried_[*c.from].followers;  // of each, at most one
    }
    for (size_t i = 0; i < carried_.size(); ++i) {
      if (carried_[i].followers == 0) count_followers(i);
      carried_[i].updated = carried_[i].updated && carried_[i].followers == 0;
    }
  }

  // Whether an output has the same place in every turn.
  bool is_same(const Frame& f, size_t output) const {
    const Node& n = f.graph().producer_node(f.output_root(output));
    if (n.op == Op::constant || f.is_early(output)) return true;
    if (n.op != Op::input) return false;
    return turns_.fixed[static_cast<size_t>(f.graph().attrs(n).integer(AttrKey::index))];
  }

  // Carried value i becomes an input: if that is a carried value that nobody else becomes, its place.
  void choose_source(Frame& f, size_t i) {
    const Node& n = f.graph().producer_node(f.output_root(1 + i));
    const auto input = static_cast<size_t>(f.graph().attrs(n).integer(AttrKey::index));
    if (input == 0 || input > carried_.size() || input == 1 + i) return;
    const Carried& source = carried_[input - 1];
    if (!source.varies && f.output_root(input) == f.graph().inputs()[input].value) {
      carried_[i].same = true;  // as the other
      return;
    }
    const bool taken = std::ranges::any_of(
        carried_, [&](const Carried& c) { return c.from && *c.from == input - 1; });
    const bool fits = f.writer().num_bytes(f.output(1 + i)) ==
                      f.writer().num_bytes(f.graph().inputs()[input].value);
    const bool near = source.device == carried_[i].device;
    if (!taken && fits && near && !source.varies) carried_[i].from = input - 1;
  }

  // Along the chain that begins at i, which no other value becomes.
  void count_followers(size_t i) {
    for (size_t length = 1; carried_[i].from; ++length) {
      i = *carried_[i].from;
      carried_[i].followers = length;
    }
  }

  // ---- Before the first turn

  void bind_trips() {
    if (trips_ && trips_symbol_) w_.bind_values({*trips_symbol_}, {*trips_});
  }

  void before() {
    w_.bind_values(varying_, first_extents_);
    for (size_t i = 0; i < carried_.size(); ++i) {
      if (!carried_[i].constant) begin_carried(i);
    }
    for (size_t j = 0; j < stacked_.size(); ++j) begin_stacked(j);
    counter_ = w_.temporary(number(8), DType::kInt64);
    const bool at_least_1 = limit_ && dims().lower_bound(*limit_).value_or(0) >= 1;
    const bool jumps = !begins_;
    if (jumps || at_least_1) count_from(0);
    if (jumps) w_.jump(Step::Kind::kJumpUnless, end_, {w_.memory_of(operand(1))});
    if (!at_least_1) {
      const uint32_t enter = w_.new_label();
      count_from(-1);
      w_.jump(Step::Kind::kTurn, enter, {counter_, w_.memory_of(operand(0))});
      w_.jump(Step::Kind::kJump, end_);
      w_.jump(Step::Kind::kLabel, enter);
    }
    require(demands_);
  }

  void begin_turns() {
    w_.step({.kind = Step::Kind::kBeginLoop});
    w_.jump(Step::Kind::kLabel, top_);
    require(turn_demands_);
    for (Stacked& s : stacked_) {
      if (!s.named) start_row(s);
    }
  }

  void count_from(int64_t n) {
    w_.step({.kind = Step::Kind::kStoreDims,
             .memory = {counter_},
             .scalars = {{.bits = static_cast<uint64_t>(n)}}});
  }

  void begin_carried(size_t i) {
    Carried& c = carried_[i];
    const DType dtype = w_.graph().type(operand(2 + i)).dtype;
    if (c.updated) return begin_updated(i);
    c.current = w_.owned(dtype, c.device);
    if (c.is_computed()) {
      c.next = w_.owned(dtype, c.device);
      for (size_t k = 0; k <= c.followers; ++k) c.spares.push_back(w_.owned(dtype, c.device));
      if (!c.varies) begin_buffers(i);
    }
    w_.alias(c.current, w_.memory_on(operand(2 + i), c.device));
  }

  void begin_updated(size_t i) {
    Carried& c = carried_[i];
    const DimId bytes = w_.num_bytes(operand(2 + i));
    const bool in_place = w_.is_assigned(result(i)) && w_.fits(result(i));
    c.current = in_place ? w_.assigned_now(result(i))
                         : w_.temporary(bytes, w_.graph().type(operand(2 + i)).dtype, c.device);
    c.next = c.current;
    w_.copy(c.current, w_.memory_on(operand(2 + i), c.device), bytes);
  }

  void begin_buffers(size_t i) {
    const Carried& c = carried_[i];
    const DType dtype = w_.graph().type(operand(2 + i)).dtype;
    const DimId bytes = w_.num_bytes(operand(2 + i));
    // With followers the result's place might hold one of their values in the end.
    const bool in_place = w_.is_assigned(result(i)) && w_.fits(result(i)) && c.followers == 0;
    std::vector<MemoryId> buffers = {in_place ? w_.assigned_now(result(i))
                                              : w_.temporary(bytes, dtype, c.device)};
    for (size_t k = 0; k <= c.followers; ++k) {
      buffers.push_back(w_.temporary(bytes, dtype, c.device));
    }
    // The last turn's is the result's place: of an even number of turns the second.
    const bool even = trips_ && dims().constant_value(*trips_).value_or(1) % 2 == 0;
    if (in_place && even) std::swap(buffers[0], buffers[1]);
    w_.alias(c.next, buffers[0]);
    for (size_t k = 0; k <= c.followers; ++k) w_.alias(c.spares[k], buffers[k + 1]);
  }

  void begin_stacked(size_t j) {
    Stacked& s = stacked_[j];
    const ValueId v = result(carried_.size() + j);
    const DType dtype = w_.graph().type(v).dtype;
    s.row = w_.owned(dtype, stack_device(j));
    if (s.grows) {
      s.stack = w_.owned(dtype, stack_device(j));
      w_.reserve(s.stack, number(0));
    } else {
      const DimId bytes = dims().mul(*trips_, s.row_bytes);
      const bool fits =
          w_.is_assigned(v) && (w_.fits(v) || w_.memory(w_.home_memory(v)).bytes == bytes);
      s.stack = fits ? w_.assigned_now(v) : w_.temporary(bytes, dtype, stack_device(j));
      w_.alias(s.row, s.stack);  // there before the loop, so all through it
    }
    if (!s.named) return;
    // Without any turn a named extent is 0; the first turn tells what it is.
    if (!first_.valid()) {
      first_ = w_.temporary(number(1), DType::kBool);
      w_.fill(first_, number(1), 1);
    }
    std::vector<SymbolId> symbols = names_of(s);
    w_.bind_values(symbols, std::vector<DimId>(symbols.size(), number(0)));
  }

  static std::vector<SymbolId> names_of(const Stacked& s) {
    std::vector<SymbolId> symbols;
    for (const auto& name : s.names) {
      if (name) symbols.push_back(*name);
    }
    return symbols;
  }

  void require(const std::vector<ExtentDemand>& demands) {
    for (const ExtentDemand& d : demands) {
      w_.require_equal(d.left, d.right, failure(w_.graph(), node_, "extents differ"));
    }
  }

  void start_row(const Stacked& s) {
    w_.step({.kind = Step::Kind::kRow,
             .memory = {s.row, s.stack, counter_},
             .extent = s.row_bytes,
             .grain = s.grows ? 1u : 0u});
  }

  // ---- The body

  void place(Frame& f) {
    f.set_input(0, counter_);
    for (size_t i = 2; i < node_.num_operands; ++i) {
      const bool moves = i - 2 < carried_.size() && !carried_[i - 2].constant;
      moves ? f.set_input(i - 1, carried_[i - 2].current) : f.give_input(i - 1, w_, operand(i));
    }
    if (!counted_) {
      go_on_ = w_.temporary(number(1), DType::kBool);
      go_on_written_ = f.place_output(0, go_on_);
    }
    for (size_t j = 0; j < stacked_.size(); ++j) {
      Stacked& s = stacked_[j];
      if (!s.named) s.written = f.place_output(1 + carried_.size() + j, s.row);
    }
    for (size_t i = 0; i < carried_.size(); ++i) {
      Carried& c = carried_[i];
      if (!c.is_computed()) continue;
      c.written = f.place_output(1 + i, c.next, c.varies);
    }
  }

  void end_turn(Frame& f) {
    if (!counted_ && !go_on_written_) {
      w_.copy(go_on_, f.output_memory(0, Device::kHost), number(1));
    }
    std::vector<DimId> extents;
    for (size_t i = 0; i < carried_.size(); ++i) {
      Carried& c = carried_[i];
      const Type& type = f.graph().type(f.output(1 + i));
      for (size_t a = 0; a < c.names.size(); ++a) {
        if (c.names[a]) extents.push_back(type.dims[a]);
      }
      if (c.written || !c.is_computed()) continue;
      const DimId bytes = f.writer().num_bytes(f.output(1 + i));
      if (c.varies) w_.reserve(c.next, bytes);
      w_.copy(c.next, f.output_memory(1 + i, c.device), bytes);
    }
    for (size_t j = 0; j < stacked_.size(); ++j) end_row(f, j);
    w_.bind_values(varying_, extents);
    move_pointers(f);
    std::vector<MemoryId> turn = {counter_, w_.memory_of(operand(0))};
    if (!counted_) turn.push_back(go_on_);
    w_.jump(Step::Kind::kTurn, top_, std::move(turn));
    w_.step({.kind = Step::Kind::kEndLoop});
    w_.jump(Step::Kind::kLabel, end_);
  }

  void swap(MemoryId a, MemoryId b) { w_.step({.kind = Step::Kind::kSwap, .memory = {a, b}}); }

  // Chains first, from those that no value becomes on; what is left are circles.
  void move_pointers(Frame& f) {
    std::vector<bool> moved(carried_.size(), false);
    std::vector<bool> is_source(carried_.size(), false);
    for (const Carried& c : carried_) {
      if (c.from) is_source[*c.from] = true;
    }
    for (size_t begin = 0; begin < carried_.size(); ++begin) {
      if (is_source[begin]) continue;
      size_t i = begin;
      for (; carried_[i].from; i = *carried_[i].from) {
        w_.alias(carried_[i].current, carried_[*carried_[i].from].current);
        moved[i] = true;
      }
      move_last(f, i);
      moved[i] = true;
    }
    for (size_t i = 0; i < carried_.size(); ++i) {
      for (size_t at = i; !moved[at]; at = *carried_[at].from) {
        moved[at] = true;
        const size_t next = *carried_[at].from;
        if (next != i) swap(carried_[at].current, carried_[next].current);
      }
    }
  }

  // A value that does not become another carried one.
  void move_last(Frame& f, size_t i) {
    const Carried& c = carried_[i];
    if (c.constant || c.updated) return;
    if (c.same) return w_.alias(c.current, f.output_memory(1 + i, c.device));
    if (c.row) return w_.alias(c.current, stacked_[*c.row].row);
    w_.alias(c.current, c.next);
    MemoryId free = c.next;
    for (MemoryId spare : c.spares) {
      swap(free, spare);
      free = spare;
    }
  }

  void end_row(Frame& f, size_t j) {
    const Stacked& s = stacked_[j];
    const size_t output = 1 + carried_.size() + j;
    if (s.named) {
      take_extents(f, j);
      start_row(s);
    }
    if (!s.written) w_.copy(s.row, f.output_memory(output, stack_device(j)), s.row_bytes);
  }

  // The first turn's extents get the names; those of later turns must be the same.
  void take_extents(Frame& f, size_t j) {
    const Stacked& s = stacked_[j];
    const Type& type = f.graph().type(f.output(1 + carried_.size() + j));
    const uint32_t later = w_.new_label(), done = w_.new_label();
    w_.jump(Step::Kind::kJumpUnless, later, {first_});
    std::vector<DimId> extents;
    for (size_t a = 0; a < s.names.size(); ++a) {
      if (s.names[a]) extents.push_back(type.dims[a]);
    }
    const std::vector<SymbolId> symbols = names_of(s);
    w_.bind_values(symbols, extents);
    w_.jump(Step::Kind::kJump, done);
    w_.jump(Step::Kind::kLabel, later);
    for (size_t k = 0; k < symbols.size(); ++k) {
      w_.require_equal(dims().symbol(std::string(dims().symbol_name(symbols[k]))), extents[k],
                       failure(w_.graph(), node_, "the values to stack change their extents"));
    }
    w_.jump(Step::Kind::kLabel, done);
    const bool last = std::none_of(stacked_.begin() + static_cast<ptrdiff_t>(j) + 1, stacked_.end(),
                                   [](const Stacked& t) { return t.named; });
    if (last) w_.fill(first_, number(1), 0);
  }

  // ---- After the last turn

  void after() {
    if (!trips_ && trips_symbol_) {
      w_.step({.kind = Step::Kind::kBind, .memory = {counter_}, .symbols = {*trips_symbol_}});
    }
    std::vector<SymbolId> symbols;
    std::vector<DimId> extents;
    for (const Carried& c : carried_) {
      for (size_t a = 0; a < c.names.size(); ++a) {
        if (!c.names[a]) continue;
        symbols.push_back(*dims().as_symbol(*c.names[a]));
        extents.push_back(c.extents[a]);
      }
    }
    w_.bind_values(symbols, extents);
    for (size_t i = 0; i < carried_.size(); ++i) {
      const Carried& c = carried_[i];
      if (c.constant && !w_.is_assigned(result(i))) {
        w_.set_value(result(i), w_, operand(2 + i));
      } else {
        w_.give(result(i), c.constant ? w_.memory_on(operand(2 + i), c.device) : c.current);
      }
    }
    for (size_t j = 0; j < stacked_.size(); ++j) {
      w_.give(result(carried_.size() + j), stacked_[j].stack);
    }
  }

  Frame& frame_;
  PlanWriter& w_;
  NodeId id_;
  const Node& node_;
  const Graph& body_;
  uint32_t top_, end_;  // labels
  std::vector<Carried> carried_;
  std::vector<Stacked> stacked_;
  std::vector<SymbolId> varying_;  // carried extents that change, and their first values
  std::vector<DimId> first_extents_;
  std::optional<SymbolId> trips_symbol_;
  bool begins_ = false;   // no condition before the first turn
  bool counted_ = false;  // no condition after a turn
  std::optional<DimId> limit_, trips_;
  std::vector<ExtentDemand> demands_, turn_demands_;
  Turns turns_;
  MemoryId counter_, go_on_, first_;
  bool go_on_written_ = false;
};

}  // namespace

std::unique_ptr<Control> make_loop(Frame& frame, NodeId node) {
  return std::make_unique<Loop>(frame, node);
}

}  // namespace gcomp::lower
