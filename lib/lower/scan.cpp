// Running sums and products along an axis: sequential along it, vectors over the axes behind it. On a GPU a block
// of threads does a line of the innermost axis.

#include <algorithm>
#include <bit>
#include <optional>

#include "dense.h"
#include "plan_writer.h"

namespace gcomp::lower {

using kernel::Buffer;
using kernel::Builder;
using kernel::Value;
using kernel::Values;

namespace {

struct Scan {
  Op op;         // add or mul
  DType dtype;   // of the elements
  DType sum;     // of the running value
  double first;  // what it begins with
  bool exclusive, reverse;
};

Scan scan_of(const Graph& graph, const Node& node) {
  const Attrs attrs = graph.attrs(node);
  const DType dtype = graph.type(graph.operands(node)[0]).dtype;
  const bool sums = node.op == Op::cumsum;
  return {.op = sums ? Op::add : Op::mul,
          .dtype = dtype,
          .sum = accumulator_dtype(dtype),
          .first = sums ? 0.0 : 1.0,
          .exclusive = attrs.integer_or(AttrKey::exclusive, 0) != 0,
          .reverse = attrs.integer_or(AttrKey::reverse, 0) != 0};
}

// A line without gaps by a block of threads, a tile of it at a time: each thread joins a few neighbours, the
// threads' results are joined in log2 steps (Hillis and Steele, 1986), and the tile's is carried to the next. The
// length alone says in which order, so the bits are the same on every GPU; they differ from those of sums in order.
class BlockScan {
 public:
  static constexpr int kRun = 4;  // neighbours
  static constexpr uint32_t kMostThreads = 256;
  static constexpr int64_t kShortest = 64;  // lines that are worth it

  BlockScan(Builder& b, const Scan& scan, Buffer x, Buffer y, Value length, uint32_t threads)
      : b_(b), scan_(scan), x_(x), y_(y), length_(length), threads_(threads) {
    b_.set_block(threads);
    thread_ = b_.thread();
    joined_ = b_.shared(scan.sum, 2 * threads);
  }

  void line(Value base) {
    const Values init = {first()};
    b_.for_loop(b_.index(0), length_, b_.index(kRun * int64_t{threads_}), init,
                [&](Value begin, std::span<const Value> carried) -> Values {
                  return {tile(base, begin, carried[0])};
                });
  }

 private:
  Value first() { return b_.constant({scan_.sum, 1}, scan_.first); }
  Value join(Value a, Value b) { return b_.op(scan_.op, {a, b}); }

  // Returns what is carried on.
  Value tile(Value base, Value begin, Value carried) {
    const Value mine = b_.add(begin, b_.mul(thread_, b_.index(kRun)));
    Values places, inside, own;
    for (int j = 0; j < kRun; ++j) {
      const Value k = b_.add(mine, b_.index(j)), last = b_.sub(length_, b_.index(1));
      inside.push_back(b_.lt(k, length_));
      const Value at = b_.min(k, last);
      places.push_back(b_.add(base, scan_.reverse ? b_.sub(last, at) : at));
      const Value v = b_.cast(b_.load(x_, places.back()), scan_.sum);
      own.push_back(j == 0 ? v : join(own.back(), v));
    }
    // The last tile's threads beyond the line join its last element again: nobody after them is in the line.
    const uint32_t whole = join_threads(own.back());
    const Value before = b_.load(
        joined_, b_.add(b_.index(whole), b_.max(b_.sub(thread_, b_.index(1)), b_.index(0))));
    const Value prefix = b_.where(b_.gt(thread_, b_.index(0)), join(carried, before), carried);
    for (size_t j = 0; j < kRun; ++j) {
      const Value v = !scan_.exclusive ? join(prefix, own[j])
                      : j == 0         ? prefix
                                       : join(prefix, own[j - 1]);
      b_.if_then(inside[j], [&] { b_.store(y_, places[j], b_.cast(v, scan_.dtype)); });
    }
    return join(carried, b_.load(joined_, b_.index(whole + threads_ - 1)));
  }

  // Of all threads up to each, in one half of `joined_`; returns where that begins.
  uint32_t join_threads(Value mine) {
    b_.barrier();  // the last tile's have been read
    uint32_t from = 0, to = threads_;
    b_.store(joined_, thread_, mine);
    b_.barrier();
    for (uint32_t distance = 1; distance < threads_; distance *= 2) {
      const Value far = b_.index(distance);
      const Value other =
          b_.load(joined_, b_.add(b_.index(from), b_.max(b_.sub(thread_, far), b_.index(0))));
      mine = b_.where(b_.ge(thread_, far), join(other, mine), mine);
      b_.store(joined_, b_.add(b_.index(to), thread_), mine);
      b_.barrier();
      std::swap(from, to);
    }
    return from;
  }

  Builder& b_;
  const Scan& scan_;
  const Buffer x_, y_;
  const Value length_;
  const uint32_t threads_;
  Value thread_;
  Buffer joined_;  // two halves
};

// Threads for a line of that length (unknown: the most); 0: it is better done by one.
uint32_t block_for(const Target& target, std::optional<int64_t> inner,
                   std::optional<int64_t> length) {
  if (!target.cuda_blocks || inner != 1 ||
      length.value_or(BlockScan::kShortest) < BlockScan::kShortest)
    return 0;
  const uint64_t runs = static_cast<uint64_t>(length.value_or(INT32_MAX)) / BlockScan::kRun;
  return static_cast<uint32_t>(
      std::clamp<uint64_t>(std::bit_ceil(runs), 32, BlockScan::kMostThreads));
}

}  // namespace

void lower_scan(PlanWriter& w, uint32_t group) {
  const NodeId id = w.groups().groups[group].nodes[0];
  const Graph& graph = w.graph();
  const Node& node = graph.node(id);
  const auto axis = static_cast<size_t>(graph.attrs(node).integer(AttrKey::axis));
  const Scan scan = scan_of(graph, node);
  const ValueId operand = graph.operands(node)[0], result = graph.result(id);
  DimTable& dims = w.dims();
  const std::span<const DimId> shape(graph.type(operand).dims);
  const DimId outer = dims.product(shape.subspan(0, axis));
  const DimId inner = dims.product(shape.subspan(axis + 1));
  const std::optional<int64_t> known = dims.constant_value(shape[axis]);

  KernelSpec spec(graph, w.target());
  Builder& b = spec.b();
  const Buffer x = spec.input(w.groups().storage[operand.index]), y = spec.output(result);
  const Value length = spec.dim(shape[axis]);
  spec.may_overwrite(result, w.groups().storage[operand.index]);
  if (const uint32_t threads = block_for(w.target(), dims.constant_value(inner), known)) {
    BlockScan lines(b, scan, x, y, length, threads);
    b.for_loop(b.range_begin(), b.range_end(), b.index(1),
               [&](Value p) { lines.line(b.mul(p, length)); });
    return w.call(spec.finish(outer, 1));
  }
  const Value stride = spec.dim(inner);
  const int lanes = vector_lanes(w.target(), scan.dtype);
  // An iteration: one outer index, one vector's width of the inner axes.
  const DimId strips = dims.ceil_div(inner, dims.constant(lanes));
  const Value per_outer = spec.dim(strips);
  b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value p) {
    const Value o = b.index_div(p, per_outer);
    const Value lo = b.mul(b.index_rem(p, per_outer), b.index(lanes));
    const Value hi = b.min(stride, b.add(lo, b.index(lanes)));
    const Value base = b.mul(o, b.mul(length, stride));
    b.vector_loop(lo, hi, lanes, [&](Value i, int n) {
      const kernel::Type wide{scan.sum, static_cast<uint16_t>(n)};
      const Values init = {b.constant(wide, scan.first)};
      b.for_loop(b.index(0), length, b.index(1), init,
                 [&](Value k, std::span<const Value> carried) -> Values {
                   const Value at = scan.reverse ? b.sub(b.sub(length, b.index(1)), k) : k;
                   const Value place = b.add(base, b.add(b.mul(at, stride), i));
                   const Value v = b.cast(b.load(x, place, n), scan.sum);
                   const Value next = b.op(scan.op, {carried[0], v});
                   b.store(y, place, b.cast(scan.exclusive ? carried[0] : next, scan.dtype));
                   return {next};
                 });
    });
  });
  w.call(spec.finish(dims.mul(outer, strips), grain_for(4 * known.value_or(256))));
}

}  // namespace gcomp::lower
