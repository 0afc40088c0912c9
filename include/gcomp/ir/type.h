#pragma once
// Tensor types: dtype and extents, interned, so that equal types have equal ids.

#include <span>
#include <string>
#include <vector>

#include "gcomp/ir/dim.h"
#include "gcomp/ir/dtype.h"
#include "gcomp/support/id.h"
#include "gcomp/support/intern.h"
#include "gcomp/support/stable_vector.h"

namespace gcomp {

using TypeId = Id<struct TypeTag>;

struct Type {
  DType dtype = DType::kFloat32;
  std::vector<DimId> dims;  // row-major; rank = dims.size(); empty: a scalar

  int rank() const { return static_cast<int>(dims.size()); }
  friend bool operator==(const Type&, const Type&) = default;
};

class TypeTable {
 public:
  TypeId intern(DType dtype, std::span<const DimId> dims);
  TypeId intern(const Type& t) { return intern(t.dtype, t.dims); }
  const Type& operator[](TypeId id) const { return types_[id.index]; }

 private:
  StableVector<Type> types_{"types"};
  InternTable interned_;
};

}  // namespace gcomp
