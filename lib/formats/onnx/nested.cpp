#include "onnx/nested.h"

#include <unordered_set>

namespace gcomp::formats::onnx {

Type InnerExtents::inner(const Type& outer) {
  Type type = outer;
  for (DimId& d : type.dims) {
    if (dims_.constant_value(d) || dims_.as_symbol(d)) continue;
    const auto [found, added] = renamed_.try_emplace(d, d);
    if (added) found->second = dims_.fresh_symbol("inner");
    d = found->second;
  }
  return type;
}

Captures::Captures(NodeImport& n, const FreeNames& names) : n_(n) {
  for (std::string_view name : names) {
    const ValueId v = n.importer().lookup(name);
    if (!v.valid()) continue;
    all_.emplace_back(name, v);
    if (n.b.constant_of(v) == nullptr) operands_.push_back(v);
  }
}

std::vector<std::pair<std::string_view, ValueId>> Captures::declare(Body& body,
                                                                    InnerExtents& extents) {
  GraphBuilder& b = body.builder;
  std::vector<std::pair<std::string_view, ValueId>> names;
  for (const auto& [name, v] : all_) {
    if (n_.b.constant_of(v) != nullptr) {
      const Attrs attrs = n_.b.graph().attrs(n_.b.graph().producer(v));
      names.emplace_back(name, b.constant(attrs.constant(AttrKey::value)));
    } else {
      names.emplace_back(name, b.input(std::string(name), extents.inner(n_.b.type(v))));
    }
  }
  for (size_t i = 0; i < all_.size(); ++i) {
    const ValueId outer = all_[i].second;
    if (n_.b.constant_of(outer) != nullptr) continue;
    const auto known = n_.b.dim_values(outer);
    const Type type = n_.b.type(outer);
    if (!known || !is_int(type.dtype) || type.rank() > 1 || b.needs_carrier(*known)) continue;
    Emitter e(body);
    ValueId v = e.shape_value(*known);
    if (type.rank() == 0) v = e.reshape(v, {});
    names[i].second = e.cast(v, type.dtype);
  }
  return names;
}

FreeNames join(const FreeNames& a, const FreeNames& c) {
  FreeNames all = a;
  std::unordered_set<std::string_view> seen(a.begin(), a.end());
  for (std::string_view name : c) {
    if (seen.insert(name).second) all.push_back(name);
  }
  return all;
}

}  // namespace gcomp::formats::onnx
