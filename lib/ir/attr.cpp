#include "gcomp/ir/attr.h"

#include <algorithm>
#include <array>
#include <bit>

#include "gcomp/support/error.h"
#include "gcomp/support/hash.h"

namespace gcomp {
namespace {

constexpr std::string_view kKeyNames[] = {
#define GCOMP_KEY_NAME(name) #name,
    GCOMP_ATTR_KEYS(GCOMP_KEY_NAME)
#undef GCOMP_KEY_NAME
};
constexpr std::string_view kKindNames[] = {"int",  "float", "string", "dtype",
                                           "ints", "dims",  "graphs", "constant"};

size_t hash_value(const AttrValue& value) {
  size_t h = value.index();
  std::visit(
      [&h](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, double>) {
          h = hash_combine(h, std::bit_cast<uint64_t>(v));
        } else if constexpr (std::is_same_v<T, int64_t> || std::is_same_v<T, DType>) {
          h = hash_combine(h, static_cast<size_t>(v));
        } else if constexpr (std::is_same_v<T, std::string>) {
          h = hash_combine(h, std::hash<std::string>()(v));
        } else if constexpr (std::is_same_v<T, ConstantId>) {
          h = hash_combine(h, v.index);
        } else if constexpr (std::is_same_v<T, std::vector<int64_t>>) {
          for (int64_t x : v) h = hash_combine(h, static_cast<size_t>(x));
        } else {
          for (auto x : v) h = hash_combine(h, x.index);
        }
      },
      value);
  return h;
}

// Bitwise for doubles, so that NaN and -0.0 are kept apart and equal to themselves.
bool same_value(const AttrValue& a, const AttrValue& b) {
  if (a.index() != b.index()) return false;
  if (const double* x = std::get_if<double>(&a)) {
    return std::bit_cast<uint64_t>(*x) == std::bit_cast<uint64_t>(std::get<double>(b));
  }
  return static_cast<const AttrValue&>(a) == static_cast<const AttrValue&>(b);
}

bool same_list(const std::vector<Attr>& a, const std::vector<Attr>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Attr& x, const Attr& y) {
    return x.key == y.key && same_value(x.value, y.value);
  });
}

template <class T>
const T& get(const Attrs& attrs, AttrKey key) {
  const AttrValue* value = attrs.find(key);
  GCOMP_CHECK(value != nullptr, "missing attribute " + std::string(name(key)));
  const T* typed = std::get_if<T>(value);
  GCOMP_CHECK(typed != nullptr, "attribute of another kind: " + std::string(name(key)));
  return *typed;
}

template <class T>
const std::vector<T>& get_list(const Attrs& attrs, AttrKey key) {
  static const std::vector<T> kEmpty;
  return attrs.has(key) ? get<std::vector<T>>(attrs, key) : kEmpty;
}

}  // namespace

std::string_view name(AttrKey key) { return kKeyNames[static_cast<size_t>(key)]; }

std::string_view name(AttrKind kind) { return kKindNames[static_cast<size_t>(kind)]; }

std::optional<AttrKey> parse_attr_key(std::string_view s) {
  const auto* found = std::find(std::begin(kKeyNames), std::end(kKeyNames), s);
  if (found == std::end(kKeyNames)) return std::nullopt;
  return static_cast<AttrKey>(found - std::begin(kKeyNames));
}

const std::vector<Attr>& Attrs::empty() {
  static const std::vector<Attr> kEmpty;
  return kEmpty;
}

const AttrValue* Attrs::find(AttrKey key) const {
  for (const Attr& attr : *this) {
    if (attr.key == key) return &attr.value;
  }
  return nullptr;
}

int64_t Attrs::integer(AttrKey key) const { return get<int64_t>(*this, key); }

int64_t Attrs::integer_or(AttrKey key, int64_t absent) const {
  return has(key) ? get<int64_t>(*this, key) : absent;
}

double Attrs::real_or(AttrKey key, double absent) const {
  return has(key) ? get<double>(*this, key) : absent;
}

std::string Attrs::string_or(AttrKey key, std::string absent) const {
  return has(key) ? get<std::string>(*this, key) : absent;
}

DType Attrs::dtype(AttrKey key) const { return get<DType>(*this, key); }

const std::vector<int64_t>& Attrs::ints(AttrKey key) const { return get_list<int64_t>(*this, key); }

const std::vector<DimId>& Attrs::dims(AttrKey key) const { return get_list<DimId>(*this, key); }

const std::vector<GraphId>& Attrs::graphs(AttrKey key) const {
  return get_list<GraphId>(*this, key);
}

ConstantId Attrs::constant(AttrKey key) const { return get<ConstantId>(*this, key); }

AttrTable::AttrTable() { lists_.emplace_back(); }

AttrsId AttrTable::intern(std::vector<Attr> list) {
  if (list.empty()) return none();
  std::sort(list.begin(), list.end(), [](const Attr& a, const Attr& b) { return a.key < b.key; });
  size_t h = list.size();
  for (size_t i = 0; i < list.size(); ++i) {
    GCOMP_CHECK(i == 0 || list[i - 1].key != list[i].key, "duplicate attribute");
    h = hash_combine(hash_combine(h, static_cast<size_t>(list[i].key)), hash_value(list[i].value));
  }
  const auto found = interned_.find(h, [&](uint32_t id) { return same_list(lists_[id], list); });
  if (found) return AttrsId(*found);
  const AttrsId id(lists_.size());
  lists_.push_back(std::move(list));
  interned_.add(h, id.index);
  return id;
}

}  // namespace gcomp
