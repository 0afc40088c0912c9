#pragma once
// The op table as a document for people who write graphs: lib/ir/OPS.md, `gcomp list ops --markdown`.

#include <string>

namespace gcomp {

std::string op_document();  // Markdown

}  // namespace gcomp
