// libFuzzer target of the binary reader: any bytes give a graph or a UserError, and a graph that was read
// verifies.
#include "gcomp/formats/binary.h"

#include <cstdlib>

#include "gcomp/ir/verify.h"
#include "gcomp/support/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Copied to a 64-byte boundary, as a mapped file is aligned.
  const size_t rounded = (size + 63) / 64 * 64 + 64;
  std::shared_ptr<void> owner(std::aligned_alloc(64, rounded), std::free);
  std::copy(data, data + size, static_cast<uint8_t*>(owner.get()));
  const gcomp::MappedFile file{{static_cast<const std::byte*>(owner.get()), size}, owner};
  try {
    gcomp::Context context;
    const auto graph = gcomp::formats::read_binary(context, file, "fuzz.gcb");
    if (!gcomp::verify(*graph).empty()) std::abort();
  } catch (const gcomp::UserError&) {
  }
  return 0;
}
