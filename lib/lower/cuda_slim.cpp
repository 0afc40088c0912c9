#include "cuda_slim.h"

#include <algorithm>
#include <bit>

#include "cuda_parts.h"

namespace gcomp::lower {

using kernel::Buffer;
using kernel::Builder;
using kernel::Value;
using kernel::Values;

namespace {

// Rows or columns that are fewer than this fill no tile.
constexpr int64_t kLeastExtent = 16;
constexpr int64_t kWarp = 32;
// A sum of so many terms is worth a warp, or a block.
constexpr int64_t kLeastDepth = kWarp, kDeep = 2048;
// Shared memory for the sums of a block's warps.
constexpr int64_t kMaxSumBytes = 24 << 10;
constexpr int64_t kWarpsOfLines = 4, kMostThreads = 512, kTermsOfThread = 8;

// The long factor's rows (or columns) are lines here, those of the slim one are few. A block does some neighbouring
// lines with all that is few. Where a line's terms are neighbours in memory, the threads of a line are neighbours: a
// warp, or the block. Else the threads of neighbouring lines are.
struct BlockShape {
  bool warp_a_line = false;
  int64_t lines = 1, threads = 0;
};

DType sum_dtype(const Product& p) {
  return p.dtype == DType::kFloat64 ? DType::kFloat64 : DType::kFloat32;
}

struct Slim {
  bool columns_are_lines = false;
  DimId lines;
  int64_t few = 0;
  BlockShape block;
};

uint64_t bit_ceil(int64_t n) { return std::bit_ceil(static_cast<uint64_t>(n)); }

BlockShape block_for(DimTable& dims, const Product& p, const Slim& s) {
  const bool by_depth = s.columns_are_lines ? p.right_by_depth : p.left_by_depth;
  const int64_t count = dims.constant_value(s.lines).value_or(kWarp);
  const auto sums = dims.constant_value(dims.mul(p.batch, s.lines));
  const bool few = sums && *sums < kEnoughBlocks;
  const int64_t depth = dims.constant_value(p.depth).value_or(few ? kPartElements : kWarp);
  if ((by_depth || count == 1) && depth < kDeep) {
    return {.warp_a_line = true, .lines = kWarpsOfLines, .threads = kWarp * kWarpsOfLines};
  }
  const auto lines =
      by_depth ? 1 : static_cast<int64_t>(bit_ceil(std::clamp(count, int64_t{1}, kWarp)));
  const int64_t warp_bytes = lines * s.few * static_cast<int64_t>(byte_size(sum_dtype(p)));
  const auto most = std::min(
      kMostThreads, kWarp * static_cast<int64_t>(
                                std::bit_floor(static_cast<uint64_t>(kMaxSumBytes / warp_bytes))));
  const int64_t wanted = depth / kTermsOfThread;
  const auto along =
      static_cast<int64_t>(bit_ceil(std::clamp(wanted, kWarp / lines, most / lines)));
  return {.lines = lines, .threads = lines * along};
}

Slim slim_for(DimTable& dims, const Product& p) {
  const auto few = [&](DimId d) { return dims.constant_value(d).value_or(INT64_MAX); };
  Slim s;
  s.columns_are_lines = few(p.rows) <= few(p.columns);
  s.lines = s.columns_are_lines ? p.columns : p.rows;
  s.few = std::min(few(p.rows), few(p.columns));
  s.block = block_for(dims, p, s);
  return s;
}

// Of each sum, if blocks share them.
Parts parts_of(DimTable& dims, const Product& p) {
  const auto batch = dims.constant_value(p.batch);
  const Slim s = slim_for(dims, p);
  const auto lines = dims.constant_value(s.lines);
  if (!batch || !lines || s.block.warp_a_line) return {};
  const int64_t blocks = *batch * ((*lines + s.block.lines - 1) / s.block.lines);
  return cut_into_parts(dims, p.depth, blocks, s.block.lines, 1);
}

// Results of all parts, part by part.
Buffer buffer_of_parts(KernelSpec& spec, const Product& p, kernel::Role role) {
  DimTable& dims = spec.dims();
  const DimId results[] = {parts_of(dims, p).count, p.batch, p.rows, p.columns};
  return spec.temporary(0, sum_dtype(p), dims.product(results), role);
}

class SlimProduct {
 public:
  // `parts`: of all sums, or not valid. Products of a part are a batch: `finish` is told part * batches + batch.
  SlimProduct(KernelSpec& spec, const Product& p, Factor& left, Factor& right,
              const FinishSum& finish, const Parts& parts)
      : spec_(spec),
        b_(spec.b()),
        p_(p),
        slim_(slim_for(spec.dims(), p)),
        long_(slim_.columns_are_lines ? right : left),
        short_(slim_.columns_are_lines ? left : right),
        finish_(finish),
        parts_(parts),
        sum_(sum_dtype(p)) {}

  DimId emit() {
    DimTable& dims = spec_.dims();
    const auto [warp_a_line, lines, threads] = slim_.block;
    b_.set_block(static_cast<uint32_t>(threads));
    thread_ = b_.thread();
    warp_ = b_.index_div(thread_, b_.index(kWarp)), lane_ = b_.index_rem(thread_, b_.index(kWarp));
    line_ = warp_a_line ? warp_ : b_.index_rem(thread_, b_.index(lines));
    place_ = warp_a_line ? lane_ : b_.index_div(thread_, b_.index(lines));
    sums_ = b_.shared(sum_, static_cast<uint32_t>(warps_of_line() * lines * slim_.few));
    end_ = spec_.dim(slim_.lines);
    const DimId blocks = dims.ceil_div(slim_.lines, dims.constant(lines));
    const Value count = spec_.dim(blocks);
    b_.for_loop(b_.range_begin(), b_.range_end(), b_.index(1), [&](Value number) {
      begin_part(b_.index_div(number, count));
      first_ = b_.mul(b_.index_rem(number, count), b_.index(lines));
      join_warp(sums_of_thread());
      b_.barrier();
      finish_results();
    });
    const DimId all = dims.mul(p_.batch, blocks);
    return parts_.valid() ? dims.mul(all, parts_.count) : all;
  }

 private:
  int64_t warps_of_line() const {
    return slim_.block.warp_a_line ? 1 : slim_.block.threads / kWarp;
  }
  int64_t threads_of_line() const {
    return slim_.block.warp_a_line ? kWarp : slim_.block.threads / slim_.block.lines;
  }
  // Lines of a warp: the first threads of it are theirs.
  int64_t lines_of_warp() const { return slim_.block.warp_a_line ? 1 : slim_.block.lines; }

  void begin_part(Value product) {
    product_ = batch_ = product;
    from_ = b_.index(0), to_ = spec_.dim(p_.depth);
    if (!parts_.valid()) return;
    const Value batches = spec_.dim(p_.batch), length = spec_.dim(parts_.length);
    batch_ = b_.index_rem(product, batches);
    from_ = b_.mul(b_.index_div(product, batches), length);
    to_ = b_.min(b_.add(from_, length), to_);
  }

  // Of every so many terms. Threads beyond the last line do that line again.
  Values sums_of_thread() {
    const Value line = b_.min(b_.add(first_, line_), b_.sub(end_, b_.index(1)));
    const Value inside = b_.boolean(true);
    const Values zeros(static_cast<size_t>(slim_.few), b_.constant({sum_, 1}, 0));
    const Value first = b_.add(from_, place_), step = b_.index(threads_of_line());
    return b_.for_loop(first, to_, step, zeros, [&](Value k, std::span<const Value> sums) {
      const Value x = b_.cast(long_.load(b_, batch_, line, k, inside), sum_);
      Values next;
      for (int64_t i = 0; i < slim_.few; ++i) {
        const Value y = b_.cast(short_.load(b_, batch_, b_.index(i), k, inside), sum_);
        next.push_back(b_.mul_add(x, y, sums[static_cast<size_t>(i)]));
      }
      return next;
    });
  }

  // By halves; then a line's first thread in the warp leaves them in shared memory.
  void join_warp(Values sums) {
    for (Value& sum : sums) {
      for (int64_t other = kWarp / 2; other >= lines_of_warp(); other /= 2) {
        sum = b_.add(sum, b_.warp_xor(sum, static_cast<int>(other)));
      }
    }
    const Value part = slim_.block.warp_a_line ? b_.index(0) : warp_;
    const Value base = b_.mul(part, b_.index(slim_.block.lines * slim_.few));
    b_.if_then(b_.lt(lane_, b_.index(lines_of_warp())), [&] {
      for (int64_t i = 0; i < slim_.few; ++i) {
        b_.store(sums_, b_.add(base, number_of(line_, b_.index(i))), sums[static_cast<size_t>(i)]);
      }
    });
  }

  // Of a block's results, as they lie in memory.
  Value number_of(Value line, Value i) {
    return slim_.columns_are_lines ? b_.add(b_.mul(i, b_.index(slim_.block.lines)), line)
                                   : b_.add(b_.mul(line, b_.index(slim_.few)), i);
  }

  // The warps' sums are added in order, each result by a thread.
  void finish_results() {
    const int64_t results = slim_.block.lines * slim_.few;
    const Value n = b_.index(slim_.columns_are_lines ? slim_.block.lines : slim_.few);
    b_.for_loop(thread_, b_.index(results), b_.index(slim_.block.threads), [&](Value result) {
      const Value quotient = b_.index_div(result, n), rest = b_.index_rem(result, n);
      const Value line = b_.add(first_, slim_.columns_are_lines ? rest : quotient);
      b_.if_then(b_.lt(line, end_), [&] {
        Value sum = b_.load(sums_, result);
        for (int64_t w = 1; w < warps_of_line(); ++w) {
          sum = b_.add(sum, b_.load(sums_, b_.add(result, b_.index(w * results))));
        }
        if (slim_.columns_are_lines) return finish_(product_, quotient, line, sum);
        finish_(product_, line, rest, sum);
      });
    });
  }

  KernelSpec& spec_;
  Builder& b_;
  const Product p_;
  const Slim slim_;
  Factor &long_, &short_;
  const FinishSum& finish_;
  const Parts parts_;
  const DType sum_;
  Buffer sums_;  // of each warp of a line
  Value thread_, warp_, lane_, line_, place_, end_, product_, batch_, first_, from_, to_;
};

}  // namespace

bool is_slim(const DimTable& dims, const Product& p) {
  const auto known = [&](DimId d, int64_t otherwise) {
    return dims.constant_value(d).value_or(otherwise);
  };
  const int64_t few = std::min(known(p.rows, kLeastExtent), known(p.columns, kLeastExtent));
  return is_float(p.dtype) && few > 0 && few < kLeastExtent &&
         known(p.depth, kLeastDepth) >= kLeastDepth;
}

DimId emit_slim(KernelSpec& spec, const Product& product, Factor& left, Factor& right,
                const FinishSum& finish) {
  return SlimProduct(spec, product, left, right, finish, {}).emit();
}

bool is_slim_in_parts(DimTable& dims, const Product& p) {
  return is_slim(dims, p) && parts_of(dims, p).valid();
}

DimId emit_slim_parts(KernelSpec& spec, const Product& p, Factor& left, Factor& right) {
  Builder& b = spec.b();
  const Buffer parts = buffer_of_parts(spec, p, kernel::Role::kOut);
  const Value rows = spec.dim(p.rows), columns = spec.dim(p.columns);
  const FinishSum store = [&](Value product, Value row, Value column, Value sum) {
    const Value line = b.add(b.mul(product, rows), row);
    b.store(parts, b.add(b.mul(line, columns), column), sum);
  };
  return SlimProduct(spec, p, left, right, store, parts_of(spec.dims(), p)).emit();
}

// A warp a result: each thread takes every 32nd part, and they join by halves.
DimId emit_slim_joined(KernelSpec& spec, const Product& p, const FinishSum& finish) {
  Builder& b = spec.b();
  DimTable& dims = spec.dims();
  const Buffer parts = buffer_of_parts(spec, p, kernel::Role::kIn);
  const DimId results = dims.mul(p.batch, dims.mul(p.rows, p.columns));
  b.set_block(kWarp * kWarpsOfLines);
  const Value thread = b.thread(), zero = b.index(0);
  const Value warp = b.index_div(thread, b.index(kWarp)),
              lane = b.index_rem(thread, b.index(kWarp));
  const Value count = spec.dim(parts_of(dims, p).count), all = spec.dim(results);
  const Value rows = spec.dim(p.rows), columns = spec.dim(p.columns);
  b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value number) {
    const Value result = b.add(b.mul(number, b.index(kWarpsOfLines)), warp);
    const Value here = b.min(result, b.sub(all, b.index(1)));
    const auto add_part = [&](Value part, std::span<const Value> sum) {
      return Values{b.add(sum[0], b.load(parts, b.add(b.mul(part, all), here)))};
    };
    const Values none = {b.constant({sum_dtype(p), 1}, 0)};
    Value sum = b.for_loop(lane, count, b.index(kWarp), none, add_part)[0];
    for (int other = kWarp / 2; other >= 1; other /= 2) sum = b.add(sum, b.warp_xor(sum, other));
    const Value is_first = b.eq(lane, zero), is_there = b.lt(result, all);
    b.if_then(b.bit_and(is_first, is_there), [&] {
      const Value line = b.index_div(result, columns), column = b.index_rem(result, columns);
      const Value product = b.index_div(line, rows), row = b.index_rem(line, rows);
      finish(product, row, column, sum);
    });
  });
  return dims.ceil_div(results, dims.constant(kWarpsOfLines));
}

}  // namespace gcomp::lower
