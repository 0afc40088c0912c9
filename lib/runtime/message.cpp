// Error messages and the names of status codes.

#include <stdio.h>

#include "context.h"

namespace gcomp::rt {

gcomp_status fail(gcomp_context& c, gcomp_status status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(c.message, sizeof c.message, format, arguments);
  va_end(arguments);
  return status;
}

const char* status_name(gcomp_status status) {
  switch (status) {
    case GCOMP_OK: return "GCOMP_OK";
    case GCOMP_ERROR_NULL: return "GCOMP_ERROR_NULL";
    case GCOMP_ERROR_STRUCT: return "GCOMP_ERROR_STRUCT";
    case GCOMP_ERROR_COUNT: return "GCOMP_ERROR_COUNT";
    case GCOMP_ERROR_DTYPE: return "GCOMP_ERROR_DTYPE";
    case GCOMP_ERROR_DEVICE: return "GCOMP_ERROR_DEVICE";
    case GCOMP_ERROR_RANK: return "GCOMP_ERROR_RANK";
    case GCOMP_ERROR_SHAPE: return "GCOMP_ERROR_SHAPE";
    case GCOMP_ERROR_SYMBOL: return "GCOMP_ERROR_SYMBOL";
    case GCOMP_ERROR_STRIDES: return "GCOMP_ERROR_STRIDES";
    case GCOMP_ERROR_ALIGNMENT: return "GCOMP_ERROR_ALIGNMENT";
    case GCOMP_ERROR_CAPACITY: return "GCOMP_ERROR_CAPACITY";
    case GCOMP_ERROR_ALIAS: return "GCOMP_ERROR_ALIAS";
    case GCOMP_ERROR_CHECK: return "GCOMP_ERROR_CHECK";
    case GCOMP_ERROR_MEMORY: return "GCOMP_ERROR_MEMORY";
    case GCOMP_ERROR_CPU: return "GCOMP_ERROR_CPU";
    case GCOMP_ERROR_WEIGHTS: return "GCOMP_ERROR_WEIGHTS";
    case GCOMP_ERROR_BUSY: return "GCOMP_ERROR_BUSY";
    case GCOMP_ERROR_ABI: return "GCOMP_ERROR_ABI";
    case GCOMP_ERROR_PLAN: return "GCOMP_ERROR_PLAN";
    case GCOMP_ERROR_STATE: return "GCOMP_ERROR_STATE";
    case GCOMP_ERROR_CUDA: return "GCOMP_ERROR_CUDA";
  }
  return "unknown status";
}

}  // namespace gcomp::rt
