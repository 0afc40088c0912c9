// libFuzzer target of the safetensors reader: any bytes are refused with a UserError, or hold tensors as
// large as their shapes say.
#include "gcomp/formats/safetensors.h"

#include <cstdlib>

#include "gcomp/support/error.h"
#include "memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const MemoryFile memory(data, size);
  try {
    const gcomp::formats::SafetensorsFile file(memory.path());
    for (const char* name : {"w", "bias", ""}) {
      try {
        const gcomp::Constant c = file.tensor(name);
        const auto bytes = static_cast<size_t>(c.num_elements()) * byte_size(c.dtype);
        if (c.bytes.size() != bytes) std::abort();
      } catch (const gcomp::UserError&) {
      }
    }
  } catch (const gcomp::UserError&) {
  }
  return 0;
}
