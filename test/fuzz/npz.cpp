// libFuzzer target of the .npz reader: any bytes give arrays as large as their shapes say or a UserError.
#include "gcomp/formats/npz.h"

#include <cstdlib>

#include "gcomp/support/error.h"
#include "memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const MemoryFile file(data, size);
  try {
    for (const gcomp::formats::NamedArray& a : gcomp::formats::read_npz(file.path())) {
      const auto bytes = static_cast<size_t>(a.value.num_elements()) * byte_size(a.value.dtype);
      if (a.value.bytes.size() != bytes) std::abort();
    }
  } catch (const gcomp::UserError&) {
  }
  return 0;
}
