#include "temporary_folder.h"

#include <sys/stat.h>

#include <cerrno>
#include <random>

#include "gcomp/support/error.h"

namespace gcomp::driver {

TemporaryFolder::TemporaryFolder(std::initializer_list<std::string> files) {
  std::random_device random;
  do {
    path_ = std::filesystem::temp_directory_path() /
            ("gcomp-" + std::to_string(random()) + std::to_string(random()));
    forget();
    registered_.emplace_back(path_);  // before it is there: a signal at any time leaves nothing
    for (const std::string& name : files) registered_.emplace_back(file(name));
  } while (::mkdir(path_.c_str(), 0700) != 0 && errno == EEXIST);
  std::error_code ignored;
  if (!std::filesystem::is_directory(path_, ignored)) {
    file_error(Code::kCannotWrite, "no temporary folder can be made", path_.string());
  }
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
  forget();
}

// In the reverse order of their making, as temporaries must.
void TemporaryFolder::forget() {
  while (!registered_.empty()) registered_.pop_back();
}

}  // namespace gcomp::driver
