#pragma once
// The runtime as it is linked into artifacts: an x86-64 ELF relocatable made when gcomp is built.

#include <cstddef>
#include <span>

namespace gcomp::runtime {

std::span<const std::byte> code_object();
// The part that artifacts with code for a GPU contain as well; it uses the other.
std::span<const std::byte> cuda_object();

}  // namespace gcomp::runtime
