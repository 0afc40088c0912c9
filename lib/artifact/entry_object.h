#pragma once
// The object that makes an artifact of runtime, kernels and plan: descriptor, prefixed functions,
// kernel table, plan, constants in read-only data, JSON.

#include <cstddef>
#include <string>
#include <vector>

#include "gcomp/artifact/link.h"

namespace gcomp::artifact {

inline constexpr const char* kInfoSection = ".gcomp.info";  // rt::ArtifactInfo
inline constexpr const char* kPlanSection = ".gcomp.plan";  // begins with rt::Plan
inline constexpr const char* kCudaSection = ".gcomp.cuda";  // code for the GPU
inline constexpr const char* kJsonSection = ".gcomp.json";  // text, then one zero byte

// NAME_descriptor_v1, NAME_describe, ...: all an artifact exports.
std::vector<std::string> exported_symbols(const std::string& name);

// The plan whose constants are all of the file's.
const PlanImage& plan_with_constants(const LinkInput& input);

std::vector<std::byte> entry_object(const LinkInput& input);

}  // namespace gcomp::artifact
