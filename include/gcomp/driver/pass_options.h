#pragma once
// For as long as lib/pass has not landed: its options and profile, which then do nothing.
#if __has_include("gcomp/pass/pass.h")
#include "gcomp/pass/pass.h"
#include "gcomp/pass/profile.h"
#else
#define GCOMP_NO_PASSES
#include <string>
#include <vector>
namespace gcomp::pass {
struct Options {
  std::string level = "fast_run";
  std::vector<std::string> including, excluding, requiring, passes, dump_after;
  bool verify_each = false, fast_math = false;
};
struct Profile {};
inline std::string to_table(const Profile&) { return ""; }
inline std::string to_json(const Profile&) { return "{}"; }
inline std::vector<std::string> split_list(const std::string& text) { return {text}; }
}  // namespace gcomp::pass
#endif
