#pragma once
// A folder that is gone, with what lies in it, when the object is; a signal leaves nothing either.

#include <filesystem>
#include <initializer_list>
#include <string>
#include <vector>

#include "gcomp/support/temporaries.h"

namespace gcomp::driver {

class TemporaryFolder {
 public:
  // `files`: what will lie in it. UserError (kFiles) if it cannot be made.
  explicit TemporaryFolder(std::initializer_list<std::string> files);
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::filesystem::path file(const std::string& name) const { return path_ / name; }

 private:
  void forget();

  std::filesystem::path path_;
  std::vector<Temporary> registered_;  // the folder first
};

}  // namespace gcomp::driver
