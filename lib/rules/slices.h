#pragma once
// What the rules about slices share.

#include <vector>

#include "tables.h"

namespace gcomp::rules {

// A slice's attributes, copied: emitting nodes interns new lists.
struct Slice {
  std::vector<DimId> starts, shape;
  std::vector<int64_t> strides;

  explicit Slice(const Attrs& a)
      : starts(a.dims(AttrKey::starts)),
        shape(a.dims(AttrKey::shape)),
        strides(a.ints(AttrKey::strides)) {}
  // All of a tensor of that shape.
  Slice(DimTable& dims, std::vector<DimId> full)
      : starts(full.size(), dims.constant(0)), shape(std::move(full)), strides(shape.size(), 1) {}

  size_t rank() const { return shape.size(); }
  // Axis `i` becomes axis `from` of `s`.
  void set(size_t i, const Slice& s, size_t from) {
    starts[i] = s.starts[from];
    shape[i] = s.shape[from];
    strides[i] = s.strides[from];
  }
  void append(DimId start, DimId extent, int64_t stride) {
    starts.push_back(start);
    shape.push_back(extent);
    strides.push_back(stride);
  }
};

inline Slice root_slice(const Match& m) { return Slice(m.graph().attrs(m.root())); }

inline ValueId slice(Emitter& e, ValueId v, const Slice& s) {
  return e.slice(v, s.starts, s.shape, s.strides);
}

bool at_least(const Match& m, DimId a, DimId b);  // a >= b whatever the symbols are
// The last index along axis `i` plus one, of a slice with positive stride.
DimId end_of(DimTable& dims, const Slice& s, size_t i);
// Axis `i` is taken whole.
bool is_full(const Match& m, const Slice& s, size_t i, DimId extent);

enum class Place : uint8_t { kUnknown, kInside, kOutside };
// Where a slice with positive strides lies in relation to the block [low, low + extents).
Place place_in_block(const Match& m, const Slice& s, const std::vector<DimId>& low,
                     const std::vector<DimId>& extents);

ValueId make_slice(CaseMaker& make, ValueId v);  // a random one; static extents

}  // namespace gcomp::rules
