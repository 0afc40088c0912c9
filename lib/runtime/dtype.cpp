// Element types in DLPack's terms.

#include <stdio.h>

#include "context.h"

namespace gcomp::rt {
namespace {

struct Row {
  uint8_t code, bits;
};

constexpr Row kRows[] = {{GCOMP_BOOL, 8},  {GCOMP_INT, 8},    {GCOMP_INT, 16},    {GCOMP_INT, 32},
                         {GCOMP_INT, 64},  {GCOMP_UINT, 8},   {GCOMP_UINT, 16},   {GCOMP_UINT, 32},
                         {GCOMP_UINT, 64}, {GCOMP_FLOAT, 16}, {GCOMP_BFLOAT, 16}, {GCOMP_FLOAT, 32},
                         {GCOMP_FLOAT, 64}};

const char* code_name(uint8_t code) {
  switch (code) {
    case GCOMP_INT: return "int";
    case GCOMP_UINT: return "uint";
    case GCOMP_FLOAT: return "float";
    case GCOMP_BFLOAT: return "bfloat";
    default: return nullptr;
  }
}

}  // namespace

gcomp_dtype dlpack(PlanDType t) {
  const Row row = kRows[static_cast<unsigned>(t)];
  return {row.code, row.bits, 1};
}

uint32_t element_bytes(PlanDType t) { return kRows[static_cast<unsigned>(t)].bits / 8u; }

const char* dtype_name(gcomp_dtype t, char* scratch_32) {
  if (t.code == GCOMP_BOOL && t.bits == 8 && t.lanes == 1) return "bool";
  const char* const name = code_name(t.code);
  if (name != nullptr && t.lanes == 1) {
    snprintf(scratch_32, 32, "%s%u", name, unsigned{t.bits});
  } else {
    snprintf(scratch_32, 32, "code %u, %u bits x %u", unsigned{t.code}, unsigned{t.bits},
             unsigned{t.lanes});
  }
  return scratch_32;
}

}  // namespace gcomp::rt
