#include "gcomp/rewrite/generate.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "gcomp/support/error.h"

namespace gcomp::rewrite {
namespace {

constexpr double kOfferedShare = 0.8;  // how often an offered value decides

}  // namespace

int64_t CaseMaker::pick(int64_t lo, int64_t hi) {
  // Not std::uniform_int_distribution: its numbers differ between libraries.
  const auto range = static_cast<uint64_t>(hi - lo) + 1;
  return lo + static_cast<int64_t>(rng_() % range);
}

bool CaseMaker::chance(double p) { return static_cast<double>(rng_() >> 11) * 0x1p-53 < p; }

DType CaseMaker::dtype(DTypeMask mask) {
  if (!offered_.empty() && chance(kOfferedShare)) {
    const DType t = builder_.type(one_of(offered_)).dtype;
    if (mask & mask_of(t)) return t;
  }
  std::vector<DType> allowed;
  for (int i = 0; i < kNumDTypes; ++i) {
    const auto t = static_cast<DType>(i);
    if (mask & mask_of(t)) allowed.push_back(t);
    // The dtypes of real graphs more often.
    const bool common = t == DType::kFloat32 || t == DType::kFloat64 || t == DType::kInt64;
    if ((mask & mask_of(t)) && common) allowed.insert(allowed.end(), 3, t);
  }
  return one_of(allowed);
}

DimId CaseMaker::static_extent(int64_t lo) {
  if (chance(0.25)) return dims().constant(1);
  return dims().constant(std::max(lo, pick(lo, 4)));
}

DimId CaseMaker::extent() {
  if (chance(0.25)) return dims().symbol(chance(0.5) ? "N" : "M");
  return static_extent(chance(0.1) ? 0 : 1);
}

std::optional<std::vector<DimId>> CaseMaker::offered_shape(int min_rank, int max_rank, bool fixed,
                                                           int64_t lo) {
  if (offered_.empty() || !chance(kOfferedShare)) return std::nullopt;
  const std::vector<DimId> s = builder_.type(one_of(offered_)).dims;
  const int rank = static_cast<int>(s.size());
  if (rank < min_rank || rank > max_rank) return std::nullopt;
  for (DimId d : s) {
    if (fixed && dims().constant_value(d).value_or(-1) < lo) return std::nullopt;
  }
  return s;
}

std::vector<DimId> CaseMaker::shape(int min_rank, int max_rank) {
  if (auto s = offered_shape(min_rank, max_rank, false, 0)) return *std::move(s);
  std::vector<DimId> s(static_cast<size_t>(pick(min_rank, max_rank)));
  for (DimId& d : s) d = extent();
  return s;
}

std::vector<DimId> CaseMaker::static_shape(int min_rank, int max_rank, int64_t lo) {
  if (auto s = offered_shape(min_rank, max_rank, true, lo)) return *std::move(s);
  std::vector<DimId> s(static_cast<size_t>(pick(min_rank, max_rank)));
  for (DimId& d : s) d = static_extent(lo);
  return s;
}

std::vector<int64_t> CaseMaker::permutation(int rank) {
  std::vector<int64_t> p(static_cast<size_t>(rank));
  std::iota(p.begin(), p.end(), 0);
  for (int i = rank - 1; i > 0; --i) std::swap(p[i], p[static_cast<size_t>(pick(0, i))]);
  return p;
}

std::vector<int64_t> CaseMaker::axes(int rank) {
  return axes_of_size(rank, static_cast<int>(pick(0, rank)));
}

std::vector<int64_t> CaseMaker::axes_of_size(int rank, int n) {
  std::vector<int64_t> all = permutation(rank);
  all.resize(static_cast<size_t>(n));
  std::sort(all.begin(), all.end());
  return all;
}

ValueId CaseMaker::input(const Type& t) {
  std::vector<ValueId> suitable;
  for (ValueId v : offered_) {
    if (builder_.type(v) == t) suitable.push_back(v);
  }
  if (!suitable.empty() && chance(kOfferedShare)) return one_of(suitable);
  return builder_.input("x" + std::to_string(builder_.graph().inputs().size()), t);
}

double CaseMaker::small_number(DType t) {
  const double magnitude = static_cast<double>(pick(1, 8));
  if (t == DType::kBool) return 1;
  const double v = is_float(t) ? magnitude / 4 : magnitude;
  return rewrite::kUnsignedInts & mask_of(t) ? v : chance(0.4) ? -v : v;
}

ValueId CaseMaker::constant(const Type& t) {
  int64_t n = 1;
  std::vector<int64_t> shape;
  for (DimId d : t.dims) {
    shape.push_back(dims().constant_value(d).value());
    n *= shape.back();
  }
  if (n == 0 || chance(0.3)) return splat(t, small_number(t.dtype));
  std::vector<std::byte> bytes;
  for (int64_t i = 0; i < n; ++i) {
    const Constant one = make_splat(t.dtype, {}, small_number(t.dtype));
    bytes.insert(bytes.end(), one.bytes.begin(), one.bytes.end());
  }
  return builder_.constant(make_constant(t.dtype, std::move(shape), std::move(bytes)));
}

ValueId CaseMaker::splat(const Type& t, double v) {
  std::vector<int64_t> shape;
  for (DimId d : t.dims) {
    const auto extent = dims().constant_value(d);
    if (!extent) return builder_.full(t, v);
    shape.push_back(*extent);
  }
  if (chance(0.5)) return builder_.full(t, v);
  return builder_.constant(make_splat(t.dtype, std::move(shape), v));
}

bool can_generate(const Pattern& p) {
  if (p.kind != Pattern::Kind::kOp) return true;
  return std::all_of(p.ops.begin(), p.ops.end(), [](Op o) { return has_trait(o, kElementwise); }) &&
         std::all_of(p.operands.begin(), p.operands.end(), can_generate);
}

namespace {

// Draws dtypes from the root down; a clash gives up the attempt.
class PatternCase {
 public:
  explicit PatternCase(CaseMaker& make) : make_(make) {}

  std::optional<ValueId> run(const Pattern& p) {
    shape_ = make_.shape();
    // Constants that are no splats need a static shape.
    if (has_constant(p)) shape_ = make_.static_shape(0, 3, 1);
    return build(p, root_dtype(p));
  }

 private:
  static bool has_constant(const Pattern& p) {
    return p.kind == Pattern::Kind::kConstant ||
           std::any_of(p.operands.begin(), p.operands.end(), has_constant);
  }

  // All dtypes a pattern's value could have, from what its leaves say.
  // NOLINTNEXTLINE(misc-no-recursion): over a rule's pattern
  static DTypeMask possible(const Pattern& p) {
    if (p.kind == Pattern::Kind::kSplat) return p.value < 0 ? kAllDTypes & ~kBools : kAllDTypes;
    if (p.kind != Pattern::Kind::kOp) return p.dtypes;
    const Op o = p.ops[0];
    if (has_trait(o, kPredicate)) return kBools;
    if (o == Op::cast) return kAllDTypes;
    DTypeMask mask = kAllDTypes;
    for (size_t i = o == Op::where ? 1 : 0; i < p.operands.size(); ++i) {
      mask &= possible(p.operands[i]);
    }
    return mask;
  }

  static DTypeMask possible_operands(const Pattern& p) {
    DTypeMask mask = kAllDTypes;
    for (const Pattern& child : p.operands) mask &= possible(child);
    return mask;
  }

  DType root_dtype(const Pattern& p) {
    const DTypeMask mask = possible(p);
    return make_.dtype(mask ? mask : kAllDTypes);
  }

  // NOLINTNEXTLINE(misc-no-recursion): over a rule's pattern
  std::optional<ValueId> build(const Pattern& p, DType t) {
    const Type type{t, shape_};
    switch (p.kind) {
      case Pattern::Kind::kSplat:
        if (t == DType::kBool && p.value != 0 && p.value != 1) return std::nullopt;
        if (!is_float(t) && p.value != static_cast<double>(static_cast<int64_t>(p.value))) {
          return std::nullopt;
        }
        if ((kUnsignedInts & mask_of(t)) && p.value < 0) return std::nullopt;
        return make_.splat(type, p.value);
      case Pattern::Kind::kOp: return node(p, t);
      default: break;
    }
    if ((p.dtypes & mask_of(t)) == 0) return std::nullopt;
    const auto found = bound_.find(p.name);
    if (found != bound_.end()) {
      if (make_.builder().type(found->second) != type) return std::nullopt;
      return found->second;
    }
    ValueId v;
    if (p.kind == Pattern::Kind::kVariable) v = make_.input(type);
    if (p.kind == Pattern::Kind::kConstant) v = make_.constant(type);
    if (p.kind == Pattern::Kind::kScalar) v = make_.splat(type, make_.small_number(t));
    bound_.emplace(p.name, v);
    return v;
  }

  // NOLINTNEXTLINE(misc-no-recursion): over a rule's pattern
  std::optional<ValueId> node(const Pattern& p, DType t) {
    const Op o = make_.one_of(p.ops);
    DType inner = t;
    if (has_trait(o, kPredicate) || o == Op::cast) {
      DTypeMask mask = possible_operands(p);
      if (o == Op::is_nan || o == Op::is_inf) mask &= kFloats;
      if (mask == 0) return std::nullopt;
      inner = make_.dtype(mask);
    }
    std::vector<ValueId> operands;
    for (size_t i = 0; i < p.operands.size(); ++i) {
      const auto v = build(p.operands[i], o == Op::where && i == 0 ? DType::kBool : inner);
      if (!v) return std::nullopt;
      operands.push_back(*v);
    }
    std::vector<Attr> attrs;
    if (o == Op::cast) attrs.push_back({AttrKey::dtype, t});
    ValueId made;
    try {
      made = make_.builder().value(o, operands, std::move(attrs));
    } catch (const UserError&) {
      return std::nullopt;  // the op has no such dtype
    }
    if (make_.builder().type(made) != Type{t, shape_}) return std::nullopt;
    if (!p.name.empty()) bound_.emplace(p.name, made);
    return made;
  }

  CaseMaker& make_;
  std::vector<DimId> shape_;
  std::map<std::string, ValueId> bound_;
};

}  // namespace

std::optional<ValueId> from_pattern(const Pattern& p, CaseMaker& make) {
  return PatternCase(make).run(p);
}

std::optional<ValueId> make_case(const Rule& rule, CaseMaker& make) {
  try {
    return rule.generate ? std::optional(rule.generate(make)) : from_pattern(rule.pattern, make);
  } catch (const UserError&) {
    return std::nullopt;  // half a case may stay behind, dead
  }
}

std::unique_ptr<Graph> make_case(const Rule& rule, Context& context, uint64_t seed) {
  GraphBuilder b(context, GraphBuilder::Mode::kRaw);
  CaseMaker make(b, seed);
  const auto v = make_case(rule, make);
  if (!v) return nullptr;
  const NodeId root = b.graph().producer(*v);
  for (int i = 0; i < b.graph().node(root).num_results; ++i) {
    b.output("y" + std::to_string(i), b.result(root, i));
  }
  return b.finish();
}

}  // namespace gcomp::rewrite
