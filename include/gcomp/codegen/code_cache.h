#pragma once
// Results of earlier compilations, asked for by several threads at once.

#include <optional>
#include <string>

namespace gcomp::codegen {

class CodeCache {
 public:
  virtual ~CodeCache() = default;
  // `recipe`: bytes that say all that the code depends on, but for the build of gcomp.
  virtual std::optional<std::string> get(const std::string& recipe) = 0;
  virtual void put(const std::string& recipe, const std::string& code) = 0;
};

}  // namespace gcomp::codegen
