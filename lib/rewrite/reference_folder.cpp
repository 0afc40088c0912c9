#include <algorithm>

#include "gcomp/interp/evaluate.h"
#include "gcomp/rewrite/sweep.h"
#include "gcomp/support/error.h"

namespace gcomp::rewrite {
namespace {

bool has_symbols(const DimTable& dims, const Attrs& attrs) {
  return std::any_of(attrs.begin(), attrs.end(), [&](const Attr& a) {
    const auto* list = std::get_if<std::vector<DimId>>(&a.value);
    return list != nullptr && std::any_of(list->begin(), list->end(), [&](DimId d) {
             return !dims.constant_value(d).has_value();
           });
  });
}

}  // namespace

Folder reference_folder() {
  return [](Context& context, const Graph& graph, NodeId node,
            std::span<const Constant* const> operands) -> std::optional<std::vector<Constant>> {
    const Attrs attrs = graph.attrs(node);
    if (has_symbols(context.dims, attrs)) return std::nullopt;
    std::vector<interp::Tensor> tensors;
    for (const Constant* c : operands) tensors.push_back(interp::from_constant(*c));
    std::vector<const interp::Tensor*> pointers;
    for (const interp::Tensor& t : tensors) pointers.push_back(&t);
    try {
      std::vector<Constant> results;
      for (interp::Tensor& t : interp::evaluate_op(context, graph.node(node).op, attrs, pointers)) {
        results.push_back(interp::to_constant(std::move(t)));
      }
      return results;
    } catch (const UserError&) {
      return std::nullopt;  // it fails at run time, and must go on doing so
    }
  };
}

}  // namespace gcomp::rewrite
