// Reading the manifest of any bytes: an error or a manifest, nothing else.

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "gcomp/artifact/manifest.h"
#include "gcomp/support/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const int kFile = memfd_create("artifact", MFD_CLOEXEC);
  static const std::string kPath = "/proc/self/fd/" + std::to_string(kFile);
  if (ftruncate(kFile, 0) != 0 || pwrite(kFile, data, size, 0) != static_cast<ssize_t>(size)) {
    return 0;
  }
  try {
    gcomp::artifact::read_manifest(kPath);
    gcomp::artifact::verify_weights(kPath);
  } catch (const gcomp::UserError&) {
  }
  return 0;
}
