#include "if_changed.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "gcomp/support/error.h"
#include "gcomp/support/files.h"
#include "gcomp/support/temporaries.h"

namespace gcomp::driver {
namespace {

using Path = std::filesystem::path;

// Removed at the end, unless it was renamed.
class NewFile {
 public:
  explicit NewFile(const Path& output)
      : path_(output.parent_path() /
              (".new" + std::to_string(::getpid()) + "-" + output.filename().string())),
        registered_(path_) {}
  ~NewFile() { ::unlink(path_.c_str()); }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  const Path& path() const { return path_; }

 private:
  Path path_;
  Temporary registered_;
};

}  // namespace

bool same_bytes(const Path& a, const Path& b) {
  std::error_code error;
  if (std::filesystem::file_size(a, error) != std::filesystem::file_size(b, error)) return false;
  return !error && std::ranges::equal(map_file(a).bytes, map_file(b).bytes);
}

void write_as(const Path& path, const Path& output, const std::function<void(const Path&)>& write) {
  try {
    write(path);
  } catch (const UserError& error) {
    std::vector<Diagnostic> all = error.diagnostics();
    for (Diagnostic& d : all) {
      if (d.file == path.string()) d.file = output.string();
    }
    throw UserError(error.code(), std::move(all));
  }
}

void write_if_changed(const Path& output, const std::function<void(const Path&)>& write) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(output, error)) return write(output);
  const NewFile made(output);
  write_as(made.path(), output, write);
  if (same_bytes(made.path(), output)) return;
  if (::rename(made.path().c_str(), output.c_str()) != 0) {
    file_error(Code::kCannotWrite, std::string("cannot replace: ") + std::strerror(errno),
               output.string());
  }
}

}  // namespace gcomp::driver
