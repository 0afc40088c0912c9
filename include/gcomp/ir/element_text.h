#pragma once
// Elements of constants as text and back: the shortest decimal that gives the same bits; integers
// exact; "inf", "-inf", "nan". Shared by every text format.

#include <string>
#include <string_view>
#include <vector>

#include "gcomp/ir/constant.h"

namespace gcomp {

std::string element_text(const Constant& c, int64_t i);

// False when some element is a NaN other than the default one: then text would lose its bits.
bool text_is_exact(const Constant& c);

// Appends the bytes of one element; false if the text is no such number or is out of range.
bool append_element(DType dtype, std::string_view text, std::vector<std::byte>* bytes);

}  // namespace gcomp
