// What an op demands of extents that only a run knows: compared before the node's group is computed, so that no
// kernel reads outside its tensors.

#include "dense.h"
#include "plan_writer.h"

namespace gcomp::lower {

namespace {

class Requirements {
 public:
  Requirements(PlanWriter& w, NodeId id)
      : w_(w), graph_(w.graph()), dims_(w.dims()), id_(id), node_(graph_.node(id)) {}

  void write() {
    for (int r = 0; r < node_.num_results; ++r) {
      for (DimId d : graph_.type(graph_.result(id_, r)).dims) {
        at_least_0(d, "the result would have a negative extent");
      }
    }
    if (node_.num_operands == 0) return;
    const ValueId x = graph_.operands(id_)[0];
    const auto& from = graph_.type(x).dims;
    const auto& to = graph_.type(graph_.result(id_)).dims;
    switch (node_.op) {
      case Op::reshape:
        equal(dims_.product(from), dims_.product(to), "the number of elements changes");
        break;
      case Op::specify_shape:
        for (size_t a = 0; a < from.size(); ++a) {
          equal(from[a], to[a], "extents differ");
        }
        break;
      case Op::broadcast: broadcast(from, to); break;
      case Op::slice: slice(from, to); break;
      case Op::gather_elements:
      case Op::scatter_elements: covered(from, graph_.type(graph_.operands(id_)[1]).dims); break;
      default: break;
    }
  }

 private:
  void less(DimId a, DimId b, const std::string& what) {
    w_.require_less(a, b, failure(graph_, node_, what));
  }
  void at_least_0(DimId d, const std::string& what) { less(dims_.constant(-1), d, what); }
  void equal(DimId a, DimId b, const std::string& what) {
    w_.require_equal(a, b, failure(graph_, node_, what));
  }

  void broadcast(const std::vector<DimId>& from, const std::vector<DimId>& to) {
    const auto& axes = graph_.attrs(node_).ints(AttrKey::axes);
    for (size_t i = 0; i < axes.size(); ++i) {
      const DimId target = to[static_cast<size_t>(axes[i])];
      if (from[i] == target || dims_.is_constant(from[i], 1)) continue;
      // (extent - 1) * (extent - target) is 0 exactly when the extent is 1 or the target.
      const DimId gap =
          dims_.mul(dims_.sub(from[i], dims_.constant(1)), dims_.sub(from[i], target));
      equal(gap, dims_.constant(0), "an extent is neither 1 nor that of the result");
    }
  }

  // Both ends of every axis within x, unless the result is empty.
  void slice(const std::vector<DimId>& from, const std::vector<DimId>& to) {
    const auto& starts = graph_.attrs(node_).dims(AttrKey::starts);
    const auto& strides = graph_.attrs(node_).ints(AttrKey::strides);
    const DimId one = dims_.constant(1);
    const DimId any = dims_.min(one, dims_.product(to));  // 0 for an empty result
    const auto within = [&](DimId place, DimId extent) {
      at_least_0(dims_.mul(any, place), "it begins or ends before the tensor");
      less(dims_.mul(any, dims_.add(dims_.sub(place, extent), one)), one,
           "it begins or ends behind the tensor");
    };
    for (size_t a = 0; a < from.size(); ++a) {
      if (dims_.is_constant(starts[a], 0) && strides[a] == 1 && to[a] == from[a]) continue;
      within(starts[a], from[a]);
      const DimId reach = dims_.mul(dims_.sub(to[a], one), dims_.constant(strides[a]));
      within(dims_.add(starts[a], reach), from[a]);
    }
  }

  void covered(const std::vector<DimId>& x, const std::vector<DimId>& indices) {
    const auto axis = static_cast<size_t>(graph_.attrs(node_).integer(AttrKey::axis));
    for (size_t a = 0; a < x.size(); ++a) {
      if (a == axis || x[a] == indices[a]) continue;
      less(indices[a], dims_.add(x[a], dims_.constant(1)), "the indices are longer than x");
    }
  }

  PlanWriter& w_;
  const Graph& graph_;
  DimTable& dims_;
  NodeId id_;
  const Node& node_;
};

}  // namespace

void PlanWriter::require_extents(std::span<const NodeId> nodes) {
  std::vector<NodeId> open(nodes.begin(), nodes.end());
  while (!open.empty()) {
    const NodeId n = open.back();
    open.pop_back();
    if (required_[n.index]) continue;
    required_[n.index] = true;
    Requirements(*this, n).write();
    // Index maps are computed by their readers: theirs come with them.
    for (ValueId o : graph_.operands(n)) {
      const NodeId p = graph_.producer(o);
      if (groups_.group_of[p.index] == schedule::kNoGroup) open.push_back(p);
    }
  }
}

void PlanWriter::require_operands(NodeId node) {
  std::vector<NodeId> maps;
  for (ValueId o : graph_.operands(node)) {
    const NodeId p = graph_.producer(o);
    if (groups_.group_of[p.index] == schedule::kNoGroup) maps.push_back(p);
  }
  require_extents(maps);
}

}  // namespace gcomp::lower
