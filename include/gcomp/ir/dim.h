#pragma once
// Extents as interned canonical expressions over symbols: numbers, symbols, +, *, floor-div, mod,
// min, max. Two equal polynomials have the same DimId, so comparing extents is comparing ids.
// Symbols stand for extents and are assumed >= 0; expressions may be negative (a padding, a slice
// start).

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gcomp/support/id.h"
#include "gcomp/support/intern.h"
#include "gcomp/support/stable_vector.h"

namespace gcomp {

using DimId = Id<struct DimTag>;
using SymbolId = Id<struct SymbolTag>;

enum class DimKind : uint8_t {
  kConst,     // value
  kSymbol,    // symbol
  kSum,       // value + sum of coefficient * term; terms sorted, coefficients not 0
  kProduct,   // product of factors (sorted; symbols, div, mod, min, max), at least two
  kFloorDiv,  // operands[0] / operands[1], rounded down; division by 0 gives 0
  kMod,       // operands[0] - operands[1] * floor_div
  kMin,
  kMax,
};

struct DimExpr {
  DimKind kind;
  int64_t value = 0;                  // kConst, kSum
  SymbolId symbol;                    // kSymbol
  std::vector<DimId> operands;        // terms, factors or arguments
  std::vector<int64_t> coefficients;  // kSum: one a term
};

class DimTable {
 public:
  DimTable();

  DimId constant(int64_t value);
  DimId symbol(std::string_view name);        // the symbol of that name, made if new
  DimId fresh_symbol(std::string_view stem);  // a symbol no one else has: stem, stem_1, ...

  DimId add(DimId a, DimId b);
  DimId sub(DimId a, DimId b);
  DimId mul(DimId a, DimId b);
  DimId floor_div(DimId a, DimId b);
  DimId ceil_div(DimId a, DimId b);
  DimId mod(DimId a, DimId b);
  DimId min(DimId a, DimId b);
  DimId max(DimId a, DimId b);
  DimId product(std::span<const DimId> dims);

  const DimExpr& expr(DimId d) const { return exprs_[d.index]; }
  std::optional<int64_t> constant_value(DimId d) const;
  bool is_constant(DimId d, int64_t value) const;
  std::optional<SymbolId> as_symbol(DimId d) const;
  const std::string& symbol_name(SymbolId s) const { return symbols_[s.index]; }
  size_t num_symbols() const { return symbols_.size(); }
  size_t size() const { return exprs_.size(); }  // expressions: every DimId is below

  // Bounds valid for every assignment of symbols >= 0; nullopt: unbounded or unknown.
  std::optional<int64_t> lower_bound(DimId d) const { return bounds_[d.index].first; }
  std::optional<int64_t> upper_bound(DimId d) const { return bounds_[d.index].second; }

  // The symbols that occur in `d`, each once, in order of first occurrence.
  void collect_symbols(DimId d, std::vector<SymbolId>* out) const;

  // Value under an assignment; wraps on overflow. `values` is indexed by symbol.
  int64_t evaluate(DimId d, std::span<const int64_t> values) const;

  // Replaces symbols; `replacement[s]` invalid: keep.
  DimId substitute(DimId d, std::span<const DimId> replacement);

  // "2*N + 1", "(N + 1) // 2", "min(N, 4)"; parse is the inverse and reports errors as UserError.
  std::string to_string(DimId d) const;
  DimId parse(std::string_view text);

 private:
  struct Sum;  // a polynomial under construction
  using Bounds = std::pair<std::optional<int64_t>, std::optional<int64_t>>;

  DimId intern(DimExpr e);
  DimId make_sum(Sum sum);
  void add_scaled(Sum* sum, DimId d, int64_t factor) const;
  DimId binary(DimKind kind, DimId a, DimId b);
  Bounds compute_bounds(const DimExpr& e) const;
  std::vector<DimId> postorder(DimId d) const;

  // Constants below are found by their value alone: most of what is asked for, and shapes of large graphs ask often.
  static constexpr int64_t kMaxDirect = 1 << 20;
  std::vector<DimId> direct_;  // by value

  StableVector<DimExpr> exprs_{"extents"};
  std::vector<Bounds> bounds_;
  InternTable interned_;
  std::vector<std::string> symbols_;
  std::unordered_map<std::string, SymbolId> symbol_ids_;
};

}  // namespace gcomp
