#include "cuda_tiles.h"

#include <algorithm>

#include "cuda_multiply.h"

namespace gcomp::lower {

using kernel::Buffer;
using kernel::Builder;
using kernel::Value;
using kernel::Values;

namespace {

constexpr Tile kSmall = {64, 64}, kLarge = {128, 128};
// Fewer large tiles than this leave multiprocessors without work.
constexpr int64_t kLeastLargeTiles = 128;
// Smaller results, or shorter sums, are done element by element.
constexpr int64_t kLeastExtent = 16;

Tile tile_for(const DimTable& dims, const Product& p) {
  const auto rows = dims.constant_value(p.rows), columns = dims.constant_value(p.columns);
  if (p.dtype == DType::kFloat64 || !rows || !columns) return kSmall;
  const int64_t batch = std::max<int64_t>(dims.constant_value(p.batch).value_or(1), 1);
  const int64_t large = (*rows / kLarge.rows) * (*columns / kLarge.columns) * batch;
  return large >= kLeastLargeTiles ? kLarge : kSmall;
}

class TiledProduct {
 public:
  TiledProduct(KernelSpec& spec, const Product& p, Factor& left, Factor& right,
               const FinishSum& finish)
      : spec_(spec),
        b_(spec.b()),
        dims_(spec.dims()),
        p_(p),
        left_(left),
        right_(right),
        finish_(finish) {}

  DimId emit() {
    b_.set_block(kTileThreads);
    thread_ = b_.thread();
    const Tile tile = tile_for(dims_, p_);
    m_ = make_multiplier(b_, spec_.target(), thread_, p_.dtype, tile, p_.left_by_depth,
                         p_.right_by_depth);
    sums_ =
        b_.local(m_->sum_dtype(), static_cast<uint32_t>(m_->rows().count * m_->columns().count));
    rows_ = spec_.dim(p_.rows), columns_ = spec_.dim(p_.columns), depth_ = spec_.dim(p_.depth);
    const DimId tiles_y = dims_.ceil_div(p_.rows, dims_.constant(tile.rows));
    const DimId tiles_x = dims_.ceil_div(p_.columns, dims_.constant(tile.columns));
    const Value count_y = spec_.dim(tiles_y), count_x = spec_.dim(tiles_x);
    b_.for_loop(b_.range_begin(), b_.range_end(), b_.index(1), [&](Value number) {
      const Value y = b_.index_div(number, count_x);
      batch_ = b_.index_div(y, count_y);
      first_row_ = b_.mul(b_.index_rem(y, count_y), b_.index(tile.rows));
      first_column_ = b_.mul(b_.index_rem(number, count_x), b_.index(tile.columns));
      emit_sums();
      emit_results();
    });
    return dims_.mul(p_.batch, dims_.mul(tiles_y, tiles_x));
  }

 private:
  // Word number `i` of those that this thread brings of a slice: across the slice, and in depth. Neighbouring threads
  // read neighbours in memory.
  std::pair<Value, Value> place(int i, const Slice& slice, bool by_depth) {
    const Value e = b_.add(thread_, b_.index(kTileThreads * i));
    const Value n = b_.index(by_depth ? slice.words : slice.across);
    const Value quotient = b_.index_div(e, n), rest = b_.index_rem(e, n);
    return by_depth ? std::pair(quotient, rest) : std::pair(rest, quotient);
  }

  // From `depth` on.
  void fetch(Value depth, Factor& factor, const Slice& slice, bool by_depth, Value first, Value end,
             Values* to) {
    const int elements = m_->elements_of_word();
    for (int i = 0; i < slice.across * slice.words / kTileThreads; ++i) {
      const auto [offset, word] = place(i, slice, by_depth);
      const Value at = b_.add(first, offset), k = b_.add(depth, b_.mul(word, b_.index(elements)));
      Values parts;
      for (int part = 0; part < elements; ++part) {
        const Value here = b_.add(k, b_.index(part));
        const Value inside = b_.bit_and(b_.lt(at, end), b_.lt(here, depth_));
        parts.push_back(factor.load(b_, batch_, at, here, inside));
      }
      to->push_back(m_->word(parts));
    }
  }

  Values fetch_both(Value depth) {
    Values values;
    fetch(depth, left_, m_->left(), p_.left_by_depth, first_row_, rows_, &values);
    fetch(depth, right_, m_->right(), p_.right_by_depth, first_column_, columns_, &values);
    return values;
  }

  void put(const Slice& slice, bool by_depth, std::span<const Value> words) {
    for (int i = 0; i < static_cast<int>(words.size()); ++i) {
      const auto [offset, word] = place(i, slice, by_depth);
      const Value at = b_.mul(offset, b_.index(slice.across_step));
      b_.store(slice.buffer, b_.add(at, b_.mul(word, b_.index(slice.word_step))),
               words[static_cast<size_t>(i)]);
    }
  }

  void emit_sums() {
    const auto lefts = static_cast<size_t>(m_->left().across * m_->left().words / kTileThreads);
    Values carried = m_->zeros();
    const size_t sums = carried.size();
    for (const Value v : fetch_both(b_.index(0))) carried.push_back(v);
    const Values inside = b_.begin_for(b_.index(0), depth_, b_.index(m_->depth()), carried);
    const auto now = std::span<const Value>(inside).subspan(1);
    const auto fetched = now.subspan(sums);
    b_.barrier();  // the last slice has been read
    put(m_->left(), p_.left_by_depth, fetched.first(lefts));
    put(m_->right(), p_.right_by_depth, fetched.subspan(lefts));
    b_.barrier();
    const Values next = fetch_both(b_.add(inside[0], b_.index(m_->depth())));
    Values yields = m_->multiply(Values(now.begin(), now.begin() + static_cast<long>(sums)));
    yields.insert(yields.end(), next.begin(), next.end());
    carried = b_.end_for(yields);
    const int width = m_->columns().count;
    for (int i = 0; i < m_->rows().count; ++i) {
      for (int j = 0; j < width; ++j) {
        b_.store(sums_, b_.index(i * width + j), m_->sum(carried, i, j));
      }
    }
  }

  Value position(Value first, const Positions& p, Value i) {
    const Value run = b_.mul(b_.index_div(i, b_.index(p.run)), b_.index(p.apart));
    const Value rest = b_.mul(b_.index_rem(i, b_.index(p.run)), b_.index(p.step));
    return b_.add(b_.add(first, p.first), b_.add(run, rest));
  }

  void emit_results() {
    const Value zero = b_.index(0), one = b_.index(1), width = b_.index(m_->columns().count);
    b_.for_loop(zero, b_.index(m_->rows().count), one, [&](Value i) {
      const Value row = position(first_row_, m_->rows(), i);
      b_.if_then(b_.lt(row, rows_), [&] {
        b_.for_loop(zero, width, one, [&](Value j) {
          const Value column = position(first_column_, m_->columns(), j);
          b_.if_then(b_.lt(column, columns_), [&] {
            finish_(batch_, row, column, b_.load(sums_, b_.add(b_.mul(i, width), j)));
          });
        });
      });
    });
  }

  KernelSpec& spec_;
  Builder& b_;
  DimTable& dims_;
  const Product p_;
  Factor &left_, &right_;
  const FinishSum& finish_;
  std::unique_ptr<Multiplier> m_;
  Buffer sums_;
  Value thread_, rows_, columns_, depth_, batch_, first_row_, first_column_;
};

}  // namespace

bool is_worth_tiles(const DimTable& dims, const Product& p) {
  if (!is_float(p.dtype)) return false;
  return std::ranges::all_of(std::array{p.rows, p.columns, p.depth}, [&](DimId d) {
    return dims.constant_value(d).value_or(kLeastExtent) >= kLeastExtent;
  });
}

DimId emit_tiles(KernelSpec& spec, const Product& product, Factor& left, Factor& right,
                 const FinishSum& finish) {
  return TiledProduct(spec, product, left, right, finish).emit();
}

}  // namespace gcomp::lower
