#pragma once
// Attributes of nodes: a sorted list of (key, value), interned, so that equal lists have equal ids.
// Which keys an op has, of which kind, is in the op table.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "gcomp/ir/dim.h"
#include "gcomp/ir/dtype.h"
#include "gcomp/support/id.h"
#include "gcomp/support/intern.h"
#include "gcomp/support/stable_vector.h"

namespace gcomp {

using AttrsId = Id<struct AttrsTag>;
using ConstantId = Id<struct ConstantTag>;
using GraphId = Id<struct GraphTag>;

// Names only; the enumerator is the key in every format.
// clang-format off: it never settles on one layout of this list
#define GCOMP_ATTR_KEYS(X)                                                                        \
  X(axes)                                                                                         \
  X(axis)                                                                                         \
  X(batch_dims)                                                                                   \
  X(bodies)                                                                                       \
  X(descending)                                                                                   \
  X(dilations)                                                                                    \
  X(dtype) X(exclusive) X(group) X(high) X(index) X(inverse) X(kernel) X(keep_order) X(layout)    \
      X(low) X(message) X(output_padding) X(perm) X(reduction) X(reverse) X(select_last) X(shape) \
          X(starts) X(strides) X(symbols) X(trans_a) X(trans_b) X(value) X(values)
// clang-format on

enum class AttrKey : uint8_t {
#define GCOMP_KEY_ENUMERATOR(name) name,
  GCOMP_ATTR_KEYS(GCOMP_KEY_ENUMERATOR)
#undef GCOMP_KEY_ENUMERATOR
};

enum class AttrKind : uint8_t {
  kInt,    // int64; booleans are 0 or 1
  kFloat,  // double
  kString,
  kDType,
  kInts,      // list of int64
  kDims,      // list of extents (dim expressions)
  kGraphs,    // closed nested graphs
  kConstant,  // a tensor of the constant pool
};

struct AttrValue : std::variant<int64_t, double, std::string, DType, std::vector<int64_t>,
                                std::vector<DimId>, std::vector<GraphId>, ConstantId> {
  using variant::variant;
  AttrKind kind() const { return static_cast<AttrKind>(index()); }
};

struct Attr {
  AttrKey key;
  AttrValue value;
};

std::string_view name(AttrKey key);
std::optional<AttrKey> parse_attr_key(std::string_view s);
std::string_view name(AttrKind kind);

// A view of one interned list, with typed access. The `get_*` forms give the default when the key
// is absent; `*` without default is an internal error then (the verifier has checked required
// keys).
class Attrs {
 public:
  Attrs() = default;
  explicit Attrs(const std::vector<Attr>* list) : list_(list) {}

  const AttrValue* find(AttrKey key) const;
  bool has(AttrKey key) const { return find(key) != nullptr; }
  int64_t integer(AttrKey key) const;
  int64_t integer_or(AttrKey key, int64_t absent) const;
  double real_or(AttrKey key, double absent) const;
  std::string string_or(AttrKey key, std::string absent) const;
  DType dtype(AttrKey key) const;
  const std::vector<int64_t>& ints(AttrKey key) const;  // empty when absent
  const std::vector<DimId>& dims(AttrKey key) const;    // empty when absent
  const std::vector<GraphId>& graphs(AttrKey key) const;
  ConstantId constant(AttrKey key) const;

  auto begin() const { return list_ ? list_->begin() : empty().begin(); }
  auto end() const { return list_ ? list_->end() : empty().end(); }
  size_t size() const { return list_ ? list_->size() : 0; }

 private:
  static const std::vector<Attr>& empty();
  const std::vector<Attr>* list_ = nullptr;
};

class AttrTable {
 public:
  AttrTable();
  AttrsId intern(std::vector<Attr> list);  // any order; duplicate keys are an internal error
  Attrs operator[](AttrsId id) const { return Attrs(&lists_[id.index]); }
  static AttrsId none() { return AttrsId(0); }

 private:
  StableVector<std::vector<Attr>> lists_{"attribute lists"};
  InternTable interned_;
};

}  // namespace gcomp
