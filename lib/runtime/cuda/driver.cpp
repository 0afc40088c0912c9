// The driver's functions, by name.

#include "driver.h"

#include <dlfcn.h>
#include <string.h>

namespace gcomp::rt::cuda {

const char* load_driver(Driver& driver) {
  // Never closed: the driver keeps threads of its own.
  void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return nullptr;
  struct Row {
    const char* symbol;
    void* member;
  };
  const Row rows[] = {
#define GCOMP_CUDA_ROW(member, symbol, parameters) {symbol, &driver.member},
      GCOMP_CUDA_DRIVER(GCOMP_CUDA_ROW)
#undef GCOMP_CUDA_ROW
  };
  for (const Row& row : rows) {
    void* const function = dlsym(library, row.symbol);
    if (function == nullptr) return row.symbol;
    memcpy(row.member, &function, sizeof function);
  }
  return "";
}

}  // namespace gcomp::rt::cuda
