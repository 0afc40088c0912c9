// Problem: the gradient of a value that was read in parts, or of a weight used at every step of an unrolled
// loop, is a long sum of tensors that are zero but for a block, or of many small products of matrices.
// Method: a sum is a tree of additions whose inner nodes have one reader. Each is taken once, at its root:
// blocks at one place are added before they are padded, and blocks that lie side by side are joined by one
// concat; products of equal shapes are one product of their operands joined along the axis that is summed
// over. The other terms keep their order. Likewise the products of a tensor's rows, read one after the other,
// with one matrix: they are rows of one product, if that makes little else.
// Cost: linear but for sorting the terms of a sum.
#include <algorithm>
#include <map>
#include <tuple>

#include "copy.h"
#include "gcomp/ir/builder.h"
#include "gcomp/passes/passes.h"
#include "gcomp/rewrite/match.h"
#include "gcomp/rewrite/observer.h"

namespace gcomp::passes {
namespace {

constexpr size_t kMinProducts = 4;    // fewer are added as they are
constexpr size_t kMaxParts = 4096;    // of one joined product
constexpr int64_t kCopiedInner = 64;  // operands that are not copied in vain: short along the sum,
constexpr int64_t kWideResult = 16;   // or of a result so wide that copying costs little
constexpr int kMaxLayers = 8;         // of blocks that overlap

const rewrite::Rule& as_rule() {
  static const rewrite::Rule kRule = [] {
    rewrite::Rule r;
    r.name = "join_terms";
    r.doc = "blocks of one tensor, and products of equal shapes, in a sum become one";
    r.contract = rewrite::Contract::kReassociates;
    return r;
  }();
  return kRule;
}

class JoinTerms {
 public:
  JoinTerms(const Graph& old, const BodyMap& bodies, const pass::PassContext& context)
      : old_(old),
        bodies_(bodies),
        context_(context),
        dims_(old.context().dims),
        builder_(old.context(), GraphBuilder::Mode::kInterned),
        facts_(builder_.graph()),
        memo_(old.num_values()),
        copier_(old, bodies, builder_, memo_) {}

  // Null if nothing changes.
  std::unique_ptr<Graph> run() {
    find_sums();
    find_row_products();
    if (!worth_building() && bodies_.empty()) return nullptr;
    copier_.inputs();
    for (size_t i = 0; i < old_.num_nodes(); ++i) {
      const Node& n = old_.node(NodeId(i));
      if (n.op == Op::input) continue;
      copier_.node(n);
      if (n.op == Op::add && !inner_[i]) join_sum(NodeId(i));
      if (n.op == Op::matmul) join_rows(NodeId(i));
    }
    if (joined_ == 0 && bodies_.empty()) return nullptr;
    copier_.outputs();
    auto made = builder_.finish();
    context_.rebuilt(old_, *made, memo_);
    return made;
  }

  size_t changes() const { return joined_; }

 private:
  // A term that is zero outside of a block: in the new graph.
  struct Block {
    ValueId value;
    std::vector<DimId> low, shape;
  };
  // A product of matrices, as operands of the new graph.
  struct Product {
    ValueId a, b;
    bool trans_a, trans_b;
  };
  using ProductKey = std::tuple<uint32_t, uint32_t, bool, bool>;  // types, flags

  const Graph& graph() const { return builder_.graph(); }
  const std::vector<DimId>& dims_of(ValueId v) const { return builder_.type(v).dims; }

  void find_sums() {
    uses_.resize(old_.num_nodes());
    inner_.resize(old_.num_nodes());
    std::vector<bool> added(old_.num_nodes());  // read by an addition
    for (const Port& p : old_.outputs()) uses_[old_.producer(p.value).index] += 2;
    for (size_t i = old_.num_nodes(); i-- > 0;) {
      const Node& n = old_.node(NodeId(i));
      inner_[i] = n.op == Op::add && uses_[i] == 1 && added[i];
      for (ValueId v : old_.operands(n)) {
        ++uses_[old_.producer(v).index];
        added[old_.producer(v).index] = n.op == Op::add;
      }
    }
  }

  // Some addition reads a block or a product, or rows are multiplied one after the other.
  bool worth_building() const {
    return !row_products_.empty() || std::ranges::any_of(old_.nodes(), [&](const Node& n) {
      return n.op == Op::add && std::ranges::any_of(old_.operands(n), [&](ValueId v) {
               const Op o = old_.producer_node(v).op;
               return o == Op::pad || o == Op::matmul || o == Op::mul;
             });
    });
  }

  // From left to right.
  std::vector<ValueId> terms_of(NodeId root) {
    std::vector<ValueId> terms;
    std::vector<NodeId> pending{root};
    while (!pending.empty()) {
      const NodeId n = pending.back();
      pending.pop_back();
      const auto operands = old_.operands(n);
      for (size_t i = operands.size(); i-- > 0;) {
        const NodeId p = old_.producer(operands[i]);
        if (inner_[p.index]) {
          pending.push_back(p);
        } else {
          terms.push_back(operands[i]);
        }
      }
    }
    std::reverse(terms.begin(), terms.end());
    return terms;
  }

  void join_sum(NodeId root) {
    std::vector<ValueId> rest;
    std::vector<Block> blocks;
    std::map<ProductKey, std::vector<Product>> products;
    std::map<ProductKey, std::vector<ValueId>> as_they_are;
    for (ValueId term : terms_of(root)) {
      const bool dies = uses_[old_.producer(term).index] == 1;
      const ValueId v = memo_[term.index];
      if (auto block = block_of(v)) {
        blocks.push_back(std::move(*block));
        block_values_.push_back(v);
      } else if (const auto product = dies ? product_of(v) : std::nullopt) {
        const ProductKey key{graph().type_id(product->a).index, graph().type_id(product->b).index,
                             product->trans_a, product->trans_b};
        products[key].push_back(*product);
        as_they_are[key].push_back(v);
      } else {
        rest.push_back(v);
      }
    }
    if (blocks.size() < 2) {
      rest.insert(rest.end(), block_values_.begin(), block_values_.end());
      blocks.clear();
    }
    block_values_.clear();
    for (auto it = products.begin(); it != products.end();) {
      if (it->second.size() >= kMinProducts) {
        ++it;
        continue;
      }
      const std::vector<ValueId>& values = as_they_are[it->first];
      rest.insert(rest.end(), values.begin(), values.end());
      it = products.erase(it);
    }
    if (blocks.empty() && products.empty()) return;
    const size_t before = graph().num_nodes();
    for (auto& [key, list] : products) join_products(list, &rest);
    if (!blocks.empty()) join_blocks(std::move(blocks), old_.type(old_.result(root)).dims, &rest);
    ValueId sum = rest[0];
    for (size_t i = 1; i < rest.size(); ++i) sum = add(sum, rest[i]);
    replace(root, sum, before);
  }

  void replace(NodeId root, ValueId by, size_t first_made) {
    ValueId& value = memo_[old_.result(root).index];
    if (by == value || !allowed(root, by, first_made)) return;
    value = by;
    ++joined_;
  }

  bool allowed(NodeId root, ValueId value, size_t first_made) {
    const NodeId copied = graph().producer(memo_[old_.result(root).index]);
    const rewrite::Rewrite change{&as_rule(), root, graph(), copied, {&value, 1}, first_made};
    for (rewrite::Observer* o : context_.observers) {
      if (!o->allows(change)) return false;
    }
    for (rewrite::Observer* o : context_.observers) o->applied(change);
    return true;
  }

  ValueId add(ValueId a, ValueId b) {
    if (b < a) std::swap(a, b);
    return builder_.value(Op::add, {a, b});
  }

  // ---- blocks ----

  std::optional<Block> block_of(ValueId v) {
    const Node& n = graph().producer_node(v);
    if (n.op != Op::pad) return std::nullopt;
    const auto operands = graph().operands(n);
    const auto fill = facts_.splat(operands[1]);
    if (!fill || fill->real != 0 || operands.size() > 2) return std::nullopt;  // carriers stay
    Block b{operands[0], graph().attrs(n).dims(AttrKey::low), dims_of(operands[0])};
    for (size_t i = 0; i < b.low.size(); ++i) {
      const DimId high = graph().attrs(n).dims(AttrKey::high)[i];
      for (DimId d : {b.low[i], high}) {
        const auto least = dims_.lower_bound(d);
        if (!least || *least < 0) return std::nullopt;  // crops
      }
    }
    return b;
  }

  void join_blocks(std::vector<Block> blocks, const std::vector<DimId>& full,
                   std::vector<ValueId>* sum) {
    // Those at one place are added there.
    std::map<std::pair<std::vector<DimId>, std::vector<DimId>>, size_t> places;
    std::vector<Block> distinct;
    for (Block& b : blocks) {
      const auto [it, inserted] = places.try_emplace({b.low, b.shape}, distinct.size());
      if (inserted) {
        distinct.push_back(std::move(b));
      } else {
        distinct[it->second].value = add(distinct[it->second].value, b.value);
      }
    }
    const size_t axis = best_axis(distinct);
    std::map<std::vector<DimId>, std::vector<Block>> rows;  // equal on the other axes
    for (Block& b : distinct) {
      std::vector<DimId> key = others(b, axis);
      rows[std::move(key)].push_back(std::move(b));
    }
    for (auto& [key, row] : rows) join_row(std::move(row), axis, full, sum);
  }

  static std::vector<DimId> others(const Block& b, size_t axis) {
    std::vector<DimId> key;
    for (size_t i = 0; i < b.low.size(); ++i) {
      if (i == axis) continue;
      key.push_back(b.low[i]);
      key.push_back(b.shape[i]);
    }
    return key;
  }

  // The axis along which most blocks lie in rows.
  static size_t best_axis(const std::vector<Block>& blocks) {
    size_t best = 0, fewest = blocks.size() + 1;
    for (size_t axis = 0; axis < blocks[0].low.size(); ++axis) {
      std::map<std::vector<DimId>, int> rows;
      for (const Block& b : blocks) ++rows[others(b, axis)];
      if (rows.size() < fewest) {
        fewest = rows.size();
        best = axis;
      }
    }
    return best;
  }

  // Blocks in a row, those that overlap in several layers.
  void join_row(std::vector<Block> row, size_t axis, const std::vector<DimId>& full,
                std::vector<ValueId>* sum) {
    const auto start = [&](const Block& b) { return dims_.constant_value(b.low[axis]); };
    const auto known = [&](const Block& b) {
      return start(b) && dims_.constant_value(b.shape[axis]);
    };
    const auto unknown = std::stable_partition(row.begin(), row.end(), known);
    for (auto it = unknown; it != row.end(); ++it) sum->push_back(padded({*it}, axis, full));
    row.erase(unknown, row.end());
    std::stable_sort(row.begin(), row.end(),
                     [&](const Block& a, const Block& b) { return *start(a) < *start(b); });
    for (int layer = 0; layer < kMaxLayers && !row.empty(); ++layer) {
      std::vector<Block> taken, left;
      int64_t end = 0;
      for (Block& b : row) {
        const int64_t from = *start(b);
        if (!taken.empty() && from < end) {
          left.push_back(std::move(b));
          continue;
        }
        end = from + *dims_.constant_value(b.shape[axis]);
        taken.push_back(std::move(b));
      }
      sum->push_back(padded(taken, axis, full));
      row = std::move(left);
    }
    for (const Block& b : row) sum->push_back(padded({b}, axis, full));
  }

  // The blocks, which follow each other along `axis`, in their tensor.
  ValueId padded(const std::vector<Block>& row, size_t axis, const std::vector<DimId>& full) {
    const DType t = builder_.type(row[0].value).dtype;
    std::vector<ValueId> parts;
    DimId end = row[0].low[axis];
    for (const Block& b : row) {
      const DimId gap = dims_.sub(b.low[axis], end);
      if (!dims_.is_constant(gap, 0)) {
        std::vector<DimId> shape = b.shape;
        shape[axis] = gap;
        parts.push_back(builder_.full({t, shape}, 0));
      }
      parts.push_back(b.value);
      end = dims_.add(b.low[axis], b.shape[axis]);
    }
    const ValueId joined = builder_.concat(parts, static_cast<int64_t>(axis));
    std::vector<DimId> high;
    const std::vector<DimId> low = row[0].low, shape = dims_of(joined);
    for (size_t i = 0; i < full.size(); ++i) {
      high.push_back(dims_.sub(dims_.sub(full[i], low[i]), shape[i]));
    }
    return builder_.pad(joined, builder_.scalar(t, 0), low, high);
  }

  // ---- products ----

  std::optional<Product> product_of(ValueId v) {
    const Node n = graph().producer_node(v);
    if (builder_.type(v).rank() != 2) return std::nullopt;
    std::optional<Product> p;
    if (n.op == Op::mul) p = outer_of(n);
    if (n.op == Op::matmul) {
      const Attrs a = graph().attrs(n);
      const auto operands = graph().operands(n);
      p = Product{operands[0], operands[1], a.integer_or(AttrKey::trans_a, 0) != 0,
                  a.integer_or(AttrKey::trans_b, 0) != 0};
    }
    if (!p) return std::nullopt;
    const auto inner = dims_.constant_value(dims_of(p->a)[p->trans_a ? 0 : 1]);
    const auto rows = dims_.constant_value(dims_of(v)[0]);
    const auto columns = dims_.constant_value(dims_of(v)[1]);
    const bool wide = rows && columns && std::min(*rows, *columns) >= kWideResult;
    if (!inner || (*inner > kCopiedInner && !wide)) return std::nullopt;
    return p;
  }

  // A column times a row.
  std::optional<Product> outer_of(const Node& n) {
    std::optional<ValueId> sides[2];
    const auto span = graph().operands(n);
    const std::vector<ValueId> operands(span.begin(), span.end());
    for (ValueId v : operands) {
      const Node& b = graph().producer_node(v);
      if (b.op != Op::broadcast || graph().operands(b).size() != 1) return std::nullopt;
      const std::vector<int64_t>& axes = graph().attrs(b).ints(AttrKey::axes);
      const ValueId source = graph().operands(b)[0];
      if (axes.size() != 1 || dims_of(source)[0] != dims_of(v)[static_cast<size_t>(axes[0])]) {
        return std::nullopt;
      }
      sides[axes[0]] = source;
    }
    if (!sides[0] || !sides[1]) return std::nullopt;
    const auto row = [&](ValueId v) {
      return builder_.reshape(v, {dims_.constant(1), dims_of(v)[0]});
    };
    return Product{row(*sides[0]), row(*sides[1]), true, false};
  }

  void join_products(std::vector<Product>& list, std::vector<ValueId>* sum) {
    // In the order in which the operands were made: parts of one tensor come as they lie in it.
    std::stable_sort(list.begin(), list.end(), [](const Product& p, const Product& q) {
      return std::pair(p.a, p.b) < std::pair(q.a, q.b);
    });
    for (size_t first = 0; first < list.size(); first += kMaxParts) {
      std::vector<ValueId> a, b;
      const Product& model = list[first];
      for (size_t i = first; i < std::min(list.size(), first + kMaxParts); ++i) {
        a.push_back(list[i].a);
        b.push_back(list[i].b);
      }
      std::vector<Attr> attrs;
      if (model.trans_a) attrs.push_back({AttrKey::trans_a, int64_t{1}});
      if (model.trans_b) attrs.push_back({AttrKey::trans_b, int64_t{1}});
      const ValueId joined_a = builder_.concat(a, model.trans_a ? 0 : 1);
      const ValueId joined_b = builder_.concat(b, model.trans_b ? 1 : 0);
      sum->push_back(builder_.value(Op::matmul, {joined_a, joined_b}, attrs));
    }
  }

  // ---- products of rows ----

  // matmul(x[start : start + count] as a matrix, w), of the old graph.
  struct RowProduct {
    ValueId x, w;
    int64_t start, count, extent;  // along x's first axis
  };
  using RowKey = std::tuple<uint32_t, uint32_t, uint32_t>;  // x, w, attributes

  std::optional<RowProduct> row_product(const Node& n) const {
    if (n.op != Op::matmul || old_.type(n.first_result).rank() != 2 ||
        old_.attrs(n).integer_or(AttrKey::trans_a, 0) != 0) {
      return std::nullopt;
    }
    const ValueId left = old_.operands(n)[0];
    ValueId v = left;
    if (old_.producer_node(v).op == Op::reshape) v = old_.operands(old_.producer_node(v))[0];
    const Node& s = old_.producer_node(v);
    if (s.op != Op::slice) return std::nullopt;
    const ValueId x = old_.operands(s)[0];
    const std::vector<DimId>& full = old_.type(x).dims;
    const Attrs a = old_.attrs(s);
    const std::vector<DimId>&starts = a.dims(AttrKey::starts), &shape = a.dims(AttrKey::shape);
    for (size_t i = 1; i < full.size(); ++i) {
      if (shape[i] != full[i]) return std::nullopt;
    }
    const auto start = dims_.constant_value(starts[0]), count = dims_.constant_value(shape[0]);
    const auto extent = dims_.constant_value(full[0]);
    if (!start || !count || !extent || a.ints(AttrKey::strides)[0] != 1 || full.size() < 2 ||
        full.back() != old_.type(left).dims[1]) {
      return std::nullopt;
    }
    return RowProduct{x, old_.operands(n)[1], *start, *count, *extent};
  }

  static RowKey key_of(const RowProduct& p, const Node& n) {
    return {p.x.index, p.w.index, n.attrs.index};
  }

  // Those whose rows together are at least half of all.
  void find_row_products() {
    std::map<RowKey, std::pair<size_t, int64_t>> found;  // products, rows
    std::map<RowKey, int64_t> extents;
    for (const Node& n : old_.nodes()) {
      const auto p = row_product(n);
      if (!p) continue;
      auto& [products, rows] = found[key_of(*p, n)];
      ++products;
      rows += p->count;
      extents[key_of(*p, n)] = p->extent;
    }
    for (const auto& [key, counts] : found) {
      if (counts.first >= kMinProducts && 2 * counts.second >= extents[key]) {
        row_products_.emplace(key, ValueId());
      }
    }
  }

  void join_rows(NodeId root) {
    const Node& n = old_.node(root);
    const auto p = row_product(n);
    const auto found = p ? row_products_.find(key_of(*p, n)) : row_products_.end();
    if (found == row_products_.end()) return;
    const size_t before = graph().num_nodes();
    const ValueId x = memo_[p->x.index];
    const std::vector<DimId> full = dims_of(x);
    const DimId rows = dims_.product(std::span(full).first(full.size() - 1));
    ValueId& all = found->second;
    if (!all.valid()) {
      const ValueId operands[] = {builder_.reshape(x, {rows, full.back()}), memo_[p->w.index]};
      all = builder_.result(builder_.node(Op::matmul, operands, n.attrs));
    }
    const DimId each = dims_.product(std::span(full).subspan(1, full.size() - 2));
    const DimId columns = dims_of(all)[1];
    const ValueId part =
        builder_.slice(all, {dims_.mul(dims_.constant(p->start), each), dims_.constant(0)},
                       {dims_.mul(dims_.constant(p->count), each), columns}, {1, 1});
    replace(root, part, before);
  }

  const Graph& old_;
  const BodyMap& bodies_;
  const pass::PassContext& context_;
  DimTable& dims_;
  GraphBuilder builder_;
  rewrite::Facts facts_;
  std::vector<ValueId> memo_;  // old value -> new value
  Copier copier_;
  std::vector<uint32_t> uses_;              // per old node
  std::vector<bool> inner_;                 // per old node: an addition read by one addition only
  std::map<RowKey, ValueId> row_products_;  // the product of all rows, once it is made
  std::vector<ValueId> block_values_;       // scratch
  size_t joined_ = 0;
};

}  // namespace

pass::Pass join_terms() {
  const auto run = [](const Graph& graph, pass::PassContext& context) {
    return rebuild_all<JoinTerms>(graph, context, "sums with joined terms");
  };
  return {"join_terms",
          run,
          false,
          {"fast_run"},
          "terms of long sums: blocks of one tensor are joined, products of equal shapes are one",
          "canonicalize"};
}

}  // namespace gcomp::passes
