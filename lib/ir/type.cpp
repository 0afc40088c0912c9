#include "gcomp/ir/type.h"

#include <algorithm>

#include "gcomp/support/hash.h"

namespace gcomp {

TypeId TypeTable::intern(DType dtype, std::span<const DimId> dims) {
  size_t h = static_cast<size_t>(dtype);
  for (DimId d : dims) h = hash_combine(h, d.index);
  std::vector<TypeId>& bucket = interned_[h];
  for (TypeId id : bucket) {
    const Type& t = types_[id.index];
    if (t.dtype == dtype && std::equal(t.dims.begin(), t.dims.end(), dims.begin(), dims.end())) {
      return id;
    }
  }
  const TypeId id(types_.size());
  types_.push_back({dtype, {dims.begin(), dims.end()}});
  bucket.push_back(id);
  return id;
}

}  // namespace gcomp
