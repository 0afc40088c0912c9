#include "gcomp/ir/type.h"

#include <algorithm>

#include "gcomp/support/hash.h"

namespace gcomp {

TypeId TypeTable::intern(DType dtype, std::span<const DimId> dims) {
  size_t h = static_cast<size_t>(dtype);
  for (DimId d : dims) h = hash_combine(h, d.index);
  const auto found = interned_.find(h, [&](uint32_t id) {
    const Type& t = types_[id];
    return t.dtype == dtype && std::equal(t.dims.begin(), t.dims.end(), dims.begin(), dims.end());
  });
  if (found) return TypeId(*found);
  const TypeId id(types_.size());
  types_.push_back({dtype, {dims.begin(), dims.end()}});
  interned_.add(h, id.index);
  return id;
}

}  // namespace gcomp
