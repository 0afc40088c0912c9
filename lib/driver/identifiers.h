#pragma once
// Names of graphs as names in C and C++.

#include <string>
#include <string_view>
#include <unordered_set>

namespace gcomp::driver {

// `name` with _ for every byte that is no ASCII letter or digit and before a leading digit; a word that C or C++
// reserves, or that common headers define as a macro, gets a _ at its end. Never empty.
std::string identifier(std::string_view name);

// The same, different from all before: by _2, _3, ... at the end.
class Identifiers {
 public:
  std::string add(std::string_view name);

 private:
  std::unordered_set<std::string> taken_;
};

}  // namespace gcomp::driver
