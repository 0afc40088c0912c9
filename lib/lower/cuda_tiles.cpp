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
// Elements that a thread copies at once where they are no neighbours.
constexpr int kSingles = 8;
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
        left_{.factor = left, .by_depth = p.left_by_depth},
        right_{.factor = right, .by_depth = p.right_by_depth},
        finish_(finish) {}

  DimId emit() {
    thread_ = b_.thread();
    const Tile tile = tile_for(dims_, p_);
    m_ = make_multiplier(b_, spec_.target(), thread_,
                         {p_.dtype, tile, p_.left_by_depth, p_.right_by_depth});
    b_.set_block(static_cast<uint32_t>(m_->threads()));
    sums_ =
        b_.local(m_->sum_dtype(), static_cast<uint32_t>(m_->rows().count * m_->columns().count));
    depth_ = spec_.dim(p_.depth);
    prepare(left_, m_->left(), p_.rows);
    prepare(right_, m_->right(), p_.columns);
    const DimId tiles_y = dims_.ceil_div(p_.rows, dims_.constant(tile.rows));
    const DimId tiles_x = dims_.ceil_div(p_.columns, dims_.constant(tile.columns));
    const Value count_y = spec_.dim(tiles_y), count_x = spec_.dim(tiles_x);
    b_.for_loop(b_.range_begin(), b_.range_end(), b_.index(1), [&](Value number) {
      const Value y = b_.index_div(number, count_x);
      batch_ = b_.index_div(y, count_y);
      left_.first = b_.mul(b_.index_rem(y, count_y), b_.index(tile.rows));
      right_.first = b_.mul(b_.index_rem(number, count_x), b_.index(tile.columns));
      emit_sums();
      emit_results();
    });
    return dims_.mul(p_.batch, dims_.mul(tiles_y, tiles_x));
  }

 private:
  // A factor, and the slices of it that a tile needs.
  struct Side {
    Factor& factor;
    bool by_depth;
    const Slices* slices = nullptr;
    int elements = 0;            // that a thread brings of a slice
    int lanes = 1;               // how many of them at once, if
    Value grouped = {};          // this is true
    bool copied = false;         // asynchronously; else by way of registers
    Value end = {}, first = {};  // rows (columns) of the factor; the tile's first
  };

  void prepare(Side& s, const Slices& slices, DimId end) {
    s.slices = &slices;
    s.elements = slices.across * slices.depth / m_->threads();
    s.lanes = std::min(s.elements, kernel::kAccessBytes / static_cast<int>(byte_size(p_.dtype)));
    s.end = spec_.dim(end);
    s.grouped = s.factor.has_groups(b_, s.lanes);
    s.copied = m_->copies() && has_groups(s) != Known::kNo;
  }

  enum class Known { kNo, kYes, kAtRunTime };

  Known has_groups(const Side& s) const {
    int64_t known = 0;
    if (!b_.constant_value(s.grouped, &known)) return Known::kAtRunTime;
    return known != 0 ? Known::kYes : Known::kNo;
  }

  // Code for groups of elements, for single ones, or for both where a run decides. Both make the compiler of the text
  // write the whole main loop twice.
  template <class Body>
  Values by_groups(const Side& s, const Body& body) {
    switch (has_groups(s)) {
      case Known::kYes: return body(s.lanes);
      case Known::kNo: return body(1);
      default: return b_.if_else(s.grouped, [&] { return body(s.lanes); }, [&] { return body(1); });
    }
  }

  // Across a slice, and in depth, from its first element: of group number `i` of those that this thread brings.
  // Neighbouring threads read neighbours in memory.
  std::pair<Value, Value> offset(const Side& s, Value i, int lanes) {
    const Value e = b_.add(thread_, b_.mul(i, b_.index(m_->threads())));
    const Value n = b_.index((s.by_depth ? s.slices->depth : s.slices->across) / lanes);
    const Value line = b_.index_div(e, n), at = b_.mul(b_.index_rem(e, n), b_.index(lanes));
    return s.by_depth ? std::pair(line, at) : std::pair(at, line);
  }

  Factor::Place place(const Side& s, Value slice, std::pair<Value, Value> offset) {
    const Value at = b_.add(s.first, offset.first);
    const Value depth = b_.add(b_.mul(slice, b_.index(m_->depth())), offset.second);
    return s.factor.place(b_, batch_, at, depth,
                          b_.bit_and(b_.lt(at, s.end), b_.lt(depth, depth_)));
  }

  Value load(const Side& s, const Factor::Place& p, int lanes) {
    const kernel::Type type{p_.dtype, static_cast<uint16_t>(lanes)};
    const Value zero = b_.constant(type, 0);
    if (lanes == 1) return b_.masked_load(s.factor.buffer(), p.index, p.inside, zero);
    const auto access = [&] { return Values{b_.load(s.factor.buffer(), p.index, lanes)}; };
    return b_.if_else(p.inside, access, [&] { return Values{zero}; })[0];
  }

  // This thread's elements of a slice.
  Values fetch(const Side& s, Value slice) {
    return by_groups(s, [&](int lanes) {
      Values values;
      for (int i = 0; i < s.elements / lanes; ++i) {
        const Value v = load(s, place(s, slice, offset(s, b_.index(i), lanes)), lanes);
        for (int lane = 0; lane < lanes; ++lane) values.push_back(b_.extract(v, lane));
      }
      return values;
    });
  }

  void put(const Side& s, Value stage, std::span<const Value> values) {
    by_groups(s, [&](int lanes) {
      for (int i = 0; i < s.elements; ++i) {
        auto [across, depth] = offset(s, b_.index(i / lanes), lanes);
        Value& along = s.by_depth ? depth : across;
        along = b_.add(along, b_.index(i % lanes));
        b_.store(s.slices->buffer, s.slices->place(b_, stage, across, depth),
                 m_->kept(values[static_cast<size_t>(i)]));
      }
      return Values();
    });
  }

  void copy(const Side& s, Value slice) {
    const Value stage = stage_of(slice);
    const auto groups = [&] {
      for (int i = 0; i < s.elements / s.lanes; ++i) {
        const auto at = offset(s, b_.index(i), s.lanes);
        const Factor::Place p = place(s, slice, at);
        b_.copy_async(s.slices->buffer, s.slices->place(b_, stage, at.first, at.second),
                      s.factor.buffer(), p.index, p.inside);
      }
      return Values();
    };
    // Copies need it; asked once a slice, not by each.
    const Value aligned = b_.is_aligned(s.factor.buffer(), b_.index(0));
    b_.if_else(b_.bit_and(s.grouped, aligned), groups, [&] {
      b_.for_loop(b_.index(0), b_.index(s.elements), b_.index(kSingles),
                  [&](Value first) { copy_singles(s, slice, stage, first); });
      return Values();
    });
  }

  // In small pieces of code: it is rare.
  void copy_singles(const Side& s, Value slice, Value stage, Value first) {
    Values places, values;
    for (int i = 0; i < kSingles; ++i) {
      const auto at = offset(s, b_.add(first, b_.index(i)), 1);
      places.push_back(s.slices->place(b_, stage, at.first, at.second));
      values.push_back(load(s, place(s, slice, at), 1));
    }
    for (size_t i = 0; i < places.size(); ++i) {
      b_.store(s.slices->buffer, places[i], values[i]);
    }
  }

  Value stage_of(Value slice) { return b_.index_rem(slice, b_.index(m_->stages())); }

  // Copies run all stages but one ahead, registers one slice.
  void emit_sums() {
    const int ahead = m_->stages() - 1;
    std::vector<const Side*> copied, fetched;
    for (const Side* s : {&left_, &right_}) (s->copied ? copied : fetched).push_back(s);
    const std::function<void(Value)> begin_copies = [&](Value slice) {
      for (const Side* s : copied) copy(*s, slice);
      b_.commit_copies();
    };
    const Value zero = b_.index(0), one = b_.index(1);
    if (!copied.empty()) b_.for_loop(zero, b_.index(ahead), one, begin_copies);
    for (const Side* s : fetched) put(*s, zero, fetch(*s, zero));
    const Value count = spec_.dim(dims_.ceil_div(p_.depth, dims_.constant(m_->depth())));
    const auto turn = [&](Value slice, std::span<const Value> sums) {
      if (!copied.empty()) b_.wait_copies(ahead - 1);
      b_.barrier();  // this slice is there, the last one has been read
      if (!copied.empty()) begin_copies(b_.add(slice, b_.index(ahead)));
      const Value next = b_.add(slice, one);
      std::vector<Values> values;
      for (const Side* s : fetched) values.push_back(fetch(*s, next));
      Values yields = m_->multiply(sums, stage_of(slice));
      for (size_t i = 0; i < fetched.size(); ++i) put(*fetched[i], stage_of(next), values[i]);
      return yields;
    };
    const Values sums = b_.for_loop(zero, count, one, m_->zeros(), turn);
    if (!copied.empty()) b_.wait_copies(0);
    const int width = m_->columns().count;
    for (int i = 0; i < m_->rows().count; ++i) {
      for (int j = 0; j < width; ++j) {
        b_.store(sums_, b_.index(i * width + j), m_->sum(sums, i, j));
      }
    }
  }

  Value position(Value first, const Positions& p, Value i) {
    const Value run = b_.mul(b_.index_div(i, b_.index(p.run)), b_.index(p.apart));
    const Value rest = b_.mul(b_.index_rem(i, b_.index(p.run)), b_.index(p.step));
    return b_.add(b_.add(first, p.first), b_.add(run, rest));
  }

  // Columns of a run are done at once where they are neighbours, all or none of them inside.
  int columns_at_once() const {
    const Positions& p = m_->columns();
    if (p.step != 1 || !p_.neighbours.valid()) return 1;
    const auto neighbours = dims_.constant_value(p_.neighbours);
    return neighbours && *neighbours % p.run == 0 ? p.run : 1;
  }

  // Where little is computed of a sum the loops become one piece of code, and sums stay in registers.
  void each(int count, int step, const std::function<void(Value)>& body) {
    const uint8_t flags = p_.little_follows ? kernel::kUnrolled : 0;
    body(b_.begin_for(b_.index(0), b_.index(count), b_.index(step), {}, flags)[0]);
    b_.end_for({});
  }

  void emit_results() {
    const int width = m_->columns().count, lanes = columns_at_once();
    each(m_->rows().count, 1, [&](Value i) {
      const Value row = position(left_.first, m_->rows(), i);
      b_.if_then(b_.lt(row, left_.end), [&] {
        each(width, lanes, [&](Value j) {
          const Value column = position(right_.first, m_->columns(), j);
          b_.if_then(b_.lt(column, right_.end), [&] {
            const Value at = b_.add(b_.mul(i, b_.index(width)), j);
            finish_(batch_, row, column, b_.load(sums_, at, lanes));
          });
        });
      });
    });
  }

  KernelSpec& spec_;
  Builder& b_;
  DimTable& dims_;
  const Product p_;
  Side left_, right_;
  const FinishSum& finish_;
  std::unique_ptr<Multiplier> m_;
  Buffer sums_;
  Value thread_, depth_, batch_;
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
