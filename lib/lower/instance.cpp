#include "instance.h"

#include <optional>

#include "gcomp/support/error.h"

namespace gcomp::lower {

bool SymbolMap::all_known(DimId d) const {
  std::vector<SymbolId> symbols;
  dims_.collect_symbols(d, &symbols);
  for (SymbolId s : symbols) {
    if (!known(s)) return false;
  }
  return true;
}

DimId SymbolMap::translate(DimId d) {
  if (own_) return d;
  const auto found = done_.find(d.index);
  if (found != done_.end()) return found->second;
  std::vector<SymbolId> symbols;
  dims_.collect_symbols(d, &symbols);
  for (SymbolId s : symbols) {
    auto [it, fresh] = map_.try_emplace(s.index);
    if (fresh) it->second = dims_.fresh_symbol(dims_.symbol_name(s));
    if (replacement_.size() <= s.index) replacement_.resize(s.index + 1);
    replacement_[s.index] = it->second;
  }
  const DimId result = symbols.empty() ? d : dims_.substitute(d, replacement_);
  done_.emplace(d.index, result);
  return result;
}

namespace {

// value + coefficient * unknown + terms that are known = `extent`: what the unknown is.
struct Solution {
  SymbolId unknown;
  DimId value;
};
std::optional<Solution> solve(DimTable& dims, DimId expression, DimId extent, SymbolMap& symbols) {
  const DimExpr e = dims.expr(expression);  // a copy: building interns
  if (e.kind != DimKind::kSum) return std::nullopt;
  DimId rest = dims.sub(extent, dims.constant(e.value));
  std::optional<size_t> unknown;
  for (size_t i = 0; i < e.operands.size(); ++i) {
    const auto symbol = dims.as_symbol(e.operands[i]);
    if (symbol && !symbols.known(*symbol)) {
      if (unknown) return std::nullopt;
      unknown = i;
      continue;
    }
    if (!symbols.all_known(e.operands[i])) return std::nullopt;
    const DimId term = symbols.translate(e.operands[i]);
    rest = dims.sub(rest, dims.mul(dims.constant(e.coefficients[i]), term));
  }
  if (!unknown) return std::nullopt;
  const DimId value = dims.floor_div(rest, dims.constant(e.coefficients[*unknown]));
  return Solution{*dims.as_symbol(e.operands[*unknown]), value};
}

}  // namespace

std::vector<ExtentDemand> learn_inputs(const Graph& body, const std::vector<GivenExtents>& given,
                                       SymbolMap& outer, SymbolMap* inner,
                                       const std::string& place) {
  DimTable& dims = body.context().dims;
  struct Equation {
    DimId expression, extent;
  };
  std::vector<Equation> equations;
  for (size_t i = 0; i < given.size(); ++i) {
    const std::vector<DimId>& wanted = body.type(body.inputs()[i].value).dims;
    for (size_t a = 0; a < wanted.size(); ++a) {
      equations.push_back({wanted[a], given[i].mapped[a]});
      const auto symbol = dims.as_symbol(wanted[a]);
      if (symbol) {
        inner->learn(*symbol, given[i].mapped[a]);
      } else if (wanted[a] == given[i].source[a]) {
        std::vector<SymbolId> same;  // by the same names in both graphs
        dims.collect_symbols(wanted[a], &same);
        for (SymbolId s : same) {
          if (outer.known(s)) {
            inner->learn(s, outer.translate(dims.symbol(std::string(dims.symbol_name(s)))));
          }
        }
      }
    }
  }
  std::vector<ExtentDemand> demands;
  for (bool progress = true; progress;) {  // as often as inputs' symbols wait for each other
    progress = false;
    for (const Equation& e : equations) {
      if (inner->all_known(e.expression)) continue;
      if (const auto found = solve(dims, e.expression, e.extent, *inner)) {
        inner->learn(found->unknown, found->value);
        if (dims.lower_bound(found->value).value_or(-1) < 0) {
          demands.push_back({dims.min(found->value, dims.constant(0)), dims.constant(0)});
        }
        progress = true;
      }
    }
  }
  for (const Equation& e : equations) {
    if (!inner->all_known(e.expression)) {
      graph_error(Code::kExtents,
                  "the extents given to the body do not determine " + dims.to_string(e.expression) +
                      ", an extent of its inputs",
                  place, "use a plain symbol");
    }
    const DimId value = inner->translate(e.expression);
    if (value != e.extent) demands.push_back({value, e.extent});
  }
  return demands;
}

namespace {

class Copier {
 public:
  Copier(const Graph& from, SymbolMap& symbols)
      : from_(from), context_(from.context()), symbols_(symbols) {}

  std::unique_ptr<Graph> run() {
    auto to = std::make_unique<Graph>(context_);
    std::vector<TypeId> types;
    for (const Node& n : from_.nodes()) {
      types.clear();
      for (uint32_t r = 0; r < n.num_results; ++r) {
        types.push_back(type(from_.type_id(ValueId(n.first_result.index + r))));
      }
      to->append(n.op, from_.operands(n), attrs(n.attrs), types, n.loc);
    }
    for (const Port& p : from_.inputs()) to->add_input(p.name, p.value);
    for (const Port& p : from_.outputs()) to->add_output(p.name, p.value);
    return to;
  }

 private:
  TypeId type(TypeId t) {
    const auto [it, inserted] = types_.try_emplace(t.index);
    if (inserted) {
      Type copy = context_.types[t];
      for (DimId& d : copy.dims) d = symbols_.translate(d);
      it->second = context_.types.intern(copy);
    }
    return it->second;
  }
  AttrsId attrs(AttrsId a) {
    const auto [it, inserted] = attrs_.try_emplace(a.index, a);
    if (!inserted) return it->second;
    const Attrs old = context_.attrs[a];
    std::vector<Attr> list(old.begin(), old.end());
    bool has_dims = false;
    for (Attr& attr : list) {
      auto* dims = std::get_if<std::vector<DimId>>(&attr.value);
      if (dims == nullptr) continue;
      for (DimId& d : *dims) d = symbols_.translate(d);
      has_dims = true;
    }
    if (has_dims) it->second = context_.attrs.intern(std::move(list));
    return it->second;
  }

  const Graph& from_;
  Context& context_;
  SymbolMap& symbols_;
  std::unordered_map<uint32_t, TypeId> types_;
  std::unordered_map<uint32_t, AttrsId> attrs_;
};

}  // namespace

std::unique_ptr<Graph> instantiate(const Graph& body, SymbolMap& symbols) {
  return Copier(body, symbols).run();
}

}  // namespace gcomp::lower
