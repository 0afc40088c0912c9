#pragma once
// BLAKE3 of contents, for names by content: nobody can make two contents of one hash, so a cache may be
// shared by people who compile one another's graphs. The same on every machine; about 4 GB a second.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace gcomp::artifact {

struct ContentHash {
  std::array<uint8_t, 32> bytes = {};
  std::string hex() const;  // 64 digits
  friend bool operator==(const ContentHash&, const ContentHash&) = default;
};

class ContentHasher {
 public:
  ContentHasher();
  ~ContentHasher();
  ContentHasher(const ContentHasher&) = delete;
  ContentHasher& operator=(const ContentHasher&) = delete;

  void bytes(std::span<const std::byte> bytes);  // as they stream by
  // Fields are told apart: "ab" and "c" are not "a" and "bc".
  void field(std::string_view text);
  void field(uint64_t number);
  void field(const ContentHash& hash);
  ContentHash finish() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

ContentHash hash_content(std::span<const std::byte> bytes);

}  // namespace gcomp::artifact
