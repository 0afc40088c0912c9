#include "gcomp/artifact/content_hash.h"

#include <llvm/Support/BLAKE3.h>

#include <algorithm>

namespace gcomp::artifact {

std::string ContentHash::hex() const {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t b : bytes) {
    text += kDigits[b >> 4];
    text += kDigits[b & 15];
  }
  return text;
}

struct ContentHasher::State {
  llvm::BLAKE3 hash;
};

ContentHasher::ContentHasher() : state_(std::make_unique<State>()) {}
ContentHasher::~ContentHasher() = default;

void ContentHasher::bytes(std::span<const std::byte> bytes) {
  state_->hash.update(llvm::ArrayRef(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
}

void ContentHasher::field(uint64_t number) {
  uint8_t bytes[8];
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(number >> (8 * i));
  state_->hash.update(llvm::ArrayRef<uint8_t>(bytes));
}

void ContentHasher::field(std::string_view text) {
  field(text.size());
  bytes(std::as_bytes(std::span(text)));
}

void ContentHasher::field(const ContentHash& hash) {
  state_->hash.update(llvm::ArrayRef<uint8_t>(hash.bytes));
}

ContentHash ContentHasher::finish() const {
  ContentHash result;
  std::ranges::copy(state_->hash.final(), result.bytes.begin());
  return result;
}

ContentHash hash_content(std::span<const std::byte> bytes) {
  ContentHasher hasher;
  hasher.bytes(bytes);
  return hasher.finish();
}

}  // namespace gcomp::artifact
