#pragma once
// What the headers written by `gcomp --header` are made of (C++17, header only).
//
// In<const float, -1, 3> is an input, Out<float, -1, 3> an output: extents that are the same in every run are
// numbers, the others -1. In<float, ...>, without const, is an input whose memory a run may overwrite.

#if __cplusplus < 201703L
#error "gcomp/runtime/model.hpp needs C++17"
#endif

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "gcomp/runtime/loader.hpp"

namespace gcomp {

// Their bits: C++17 has no such types.
struct float16 {  // NOLINT(readability-identifier-naming)
  uint16_t bits;
};
struct bfloat16 {  // NOLINT(readability-identifier-naming)
  uint16_t bits;
};

template <class T>
constexpr gcomp_dtype model_dtype() {
  using Element = std::remove_const_t<T>;
  if constexpr (std::is_same_v<Element, float16>) return {GCOMP_FLOAT, 16, 1};
  if constexpr (std::is_same_v<Element, bfloat16>) return {GCOMP_BFLOAT, 16, 1};
  return dtype_of<Element>();
}

// Extents as Python divides: rounded down; 0 divides to 0.
constexpr int64_t floor_div(int64_t a, int64_t b) {
  return b == 0 ? 0 : a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
}
constexpr int64_t floor_mod(int64_t a, int64_t b) { return a - b * floor_div(a, b); }

// The number of elements that a container always has; -1: known only when the program runs.
template <class C>
inline constexpr int64_t kFixedSize = -1;
template <class T, size_t N>
inline constexpr int64_t kFixedSize<std::array<T, N>> = N;
template <class T, size_t N>
inline constexpr int64_t kFixedSize<T[N]> = N;

// An input: a look at the caller's memory, which must outlive the call. Made of a vector, an array, a span, or
// a pointer and the number of elements, which has to be what the extents need: checked by the compiler where it
// knows both, else when the model is called.
template <class T, int64_t... Extents>
class In {
 public:
  static constexpr size_t kRank = sizeof...(Extents);
  static constexpr std::array<int64_t, kRank> kExtents = {Extents...};
  static constexpr int64_t kSize = ((Extents < 0) || ...) ? -1 : (int64_t{1} * ... * Extents);

  In() = default;
  In(T* data, size_t size) : data_(data), size_(size) {}
  template <class C, class = std::enable_if_t<
                         std::is_convertible_v<decltype(std::data(std::declval<C&>())), T*>>>
  In(C&& values) : In(std::data(values), std::size(values)) {
    constexpr int64_t kGiven = kFixedSize<std::remove_const_t<std::remove_reference_t<C>>>;
    static_assert(kGiven < 0 || kSize < 0 || kGiven == kSize,
                  "not as many elements as the input's extents need");
  }

  T* data() const { return data_; }
  size_t size() const { return size_; }

  // `extents` must outlive the tensor; `name` is for the message.
  gcomp_tensor tensor(const char* name, std::array<int64_t, kRank>& extents) const {
    uint64_t needed = 1;  // wraps; the runtime refuses such extents
    for (const int64_t e : extents) needed *= static_cast<uint64_t>(e);
    if (needed != size_) {
      throw ArtifactError(GCOMP_ERROR_CAPACITY,
                          std::string(name) + " has " + std::to_string(size_) +
                              " elements, its extents need " + std::to_string(needed));
    }
    return raw_tensor(const_cast<std::remove_const_t<T>*>(data_), model_dtype<T>(), extents.data(),
                      kRank);
  }

 private:
  T* data_ = nullptr;
  uint64_t size_ = 0;
};

template <class T>
class In<T> {  // of rank 0: the number itself
 public:
  static constexpr size_t kRank = 0;
  static constexpr std::array<int64_t, 0> kExtents = {};
  static constexpr int64_t kSize = 1;

  In() = default;
  In(T value) : value_(value) {}
  T value() const { return value_; }

  gcomp_tensor tensor(const char*, std::array<int64_t, 0>&) const {
    return raw_tensor(&value_, model_dtype<T>(), nullptr, 0);
  }

 private:
  mutable std::remove_const_t<T> value_ = {};  // a run may overwrite what is donated
};

// An output: memory of the model, to be read until its next call; or of the caller, who makes it of a pointer
// and the number of elements there is room for.
template <class T, int64_t... Extents>
class Out {
 public:
  static constexpr size_t kRank = sizeof...(Extents);
  static constexpr std::array<int64_t, kRank> kExtents = {Extents...};
  static constexpr int64_t kSize = ((Extents < 0) || ...) ? -1 : (int64_t{1} * ... * Extents);

  Out() = default;
  Out(T* data, size_t capacity) : data_(data), capacity_(capacity), lent_(false) {}

  T* data() const { return data_; }
  const std::array<int64_t, kRank>& extents() const { return extents_; }
  size_t size() const {
    size_t n = 1;
    for (const int64_t e : extents_) n *= static_cast<size_t>(e);
    return n;
  }
  T* begin() const { return data_; }
  T* end() const { return data_ + size(); }
  T& operator[](size_t i) const { return data_[i]; }
  T value() const {
    static_assert(kRank == 0, "several numbers");
    return *data_;
  }

  // For a run, which writes the extents; `take` keeps what it lends.
  gcomp_tensor tensor() {
    return raw_tensor(lent_ ? nullptr : data_, model_dtype<T>(), extents_.data(), kRank,
                      capacity_ * sizeof(T));
  }
  void take(const gcomp_tensor& t) { data_ = static_cast<T*>(t.data); }

 private:
  T* data_ = nullptr;
  size_t capacity_ = 0;
  bool lent_ = true;
  std::array<int64_t, kRank> extents_ = {};
};

// Tensors of one call: on the stack if they are few.
template <size_t N>
class Tensors {
 public:
  gcomp_tensor* data() { return tensors_.data(); }
  gcomp_tensor& operator[](size_t i) { return tensors_[i]; }

 private:
  static constexpr size_t kMostOnStack = 64;
  struct Heap : std::vector<gcomp_tensor> {
    Heap() : std::vector<gcomp_tensor>(N) {}
  };
  std::conditional_t<(N <= kMostOnStack), std::array<gcomp_tensor, N>, Heap> tensors_;
};

inline std::string dtype_name(gcomp_dtype t) {
  if (t.code == GCOMP_BOOL) return "bool";
  const char* kind = t.code == GCOMP_INT     ? "int"
                     : t.code == GCOMP_UINT  ? "uint"
                     : t.code == GCOMP_FLOAT ? "float"
                                             : "bfloat";
  return kind + std::to_string(t.bits);
}

// Inputs, outputs and states as text, as the header's `kSignature` has them.
inline std::string describe(const gcomp_descriptor& descriptor) {
  const gcomp_signature* s = descriptor.functions->describe(&descriptor);
  std::string text;
  const auto add = [&](const char* kind, const gcomp_value_info* infos, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      const auto& info = *reinterpret_cast<const gcomp_value_info*>(
          reinterpret_cast<const char*>(infos) + i * s->value_info_size);
      text += std::string(kind) + " " + info.name + ": " + dtype_name(info.dtype) + "[";
      for (int32_t d = 0; d < info.rank; ++d)
        text += std::string(d == 0 ? "" : ", ") + info.dims[d];
      text += (info.flags & GCOMP_DONATED) != 0 ? "] donated\n" : "]\n";
    }
  };
  add("input", s->inputs, s->num_inputs);
  add("output", s->outputs, s->num_outputs);
  add("state", s->states, s->num_states);
  return text;
}

// What generated models have in common: one context, of a linked or of a loaded artifact.
class BasicModel {
 public:
  std::string last_error() const { return context_.last_error(); }
  Context& context() { return context_; }

 protected:
  BasicModel(const gcomp_descriptor& descriptor, const char* signature,
             const gcomp_options& options)
      : context_(checked(descriptor, signature), options) {}
  BasicModel(const std::string& path, const char* name, const char* signature,
             const gcomp_options& options)
      : artifact_(std::make_unique<Artifact>(path, name)),
        context_(checked(artifact_->descriptor(), signature), options) {}

  std::unique_ptr<Artifact> artifact_;  // null: linked. It outlives the context.
  Context context_;

 private:
  static const gcomp_descriptor& checked(const gcomp_descriptor& descriptor,
                                         const char* signature) {
    const std::string found = describe(descriptor);
    if (found == signature) return descriptor;
    throw ArtifactError(GCOMP_ERROR_ABI,
                        "the artifact is another than the header was made for; it has\n" + found +
                            "and the header\n" + signature);
  }
};

}  // namespace gcomp
