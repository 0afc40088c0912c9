#pragma once
// Names of instructions, roles and ops, for the printer and the verifier's messages.

#include <string>
#include <string_view>

#include "gcomp/kernel/kernel.h"

namespace gcomp::kernel {

std::string_view code_name(Code code);
std::string_view role_name(Role role);
std::string_view mma_format_name(MmaFormat format);
std::string_view op_name(Op op);
std::string type_name(Type type);  // "float32x8", "int64"

}  // namespace gcomp::kernel
