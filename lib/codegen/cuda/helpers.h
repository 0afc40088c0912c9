#pragma once
// The device functions that printed kernels call: a module's text holds those it uses.

#include <cstdint>
#include <string>

namespace gcomp::codegen {

enum class Helper : uint8_t {
  kIsNan,
  kIsInf,
  kMinOf,
  kMaxOf,
  kSignOf,
  kWrapAdd,
  kWrapSub,
  kWrapMul,
  kWrapNeg,
  kWrapAbs,
  kIntDiv,
  kIntRem,
  kIntFloorDiv,
  kIntMod,
  kShiftLeft,
  kShiftRight,
  kSaturate,
  kHalfToFloat,
  kFloatToHalf,
  kBFloatToFloat,
  kFloatToBFloat,
  kSigmoid,
  kSoftplus,
  kLog1mexp,
  kLanes,
  kMmaF16,
  kMmaBF16,
  kMmaTf32,
  kWarpLoad,
  kIsAligned,
  kCopyAsync,
  kCount,
};

// What every text begins with: types, the parameter of kernels.
std::string cuda_preamble();
// Definitions of the functions in `used` (bits by Helper), in the order of the enumeration.
std::string cuda_helpers(uint64_t used);

}  // namespace gcomp::codegen
