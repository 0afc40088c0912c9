#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace gcomp::artifact {

// Makes every defined global symbol of a relocatable ELF object local, except `keep`: so that several artifacts, each with
// its own copy of the runtime, link into one program. The object is our own linker's output, hence well-formed.
void localize_symbols(std::vector<std::byte>& object, const std::vector<std::string>& keep);

}  // namespace gcomp::artifact
