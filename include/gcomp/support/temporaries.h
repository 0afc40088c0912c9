#pragma once
// What must not stay behind when the process ends at once: by a signal, or at a limit of time or memory.

#include <filesystem>

namespace gcomp {

// A file or an empty folder that is gone, at the latest, when the process ends. Registering is all this
// does: whoever made the file removes or renames it before the object dies. Objects die in the reverse
// order of their making, as folders need it. More than 16 at a time, or paths beyond 4095 bytes, are
// not registered.
class Temporary {
 public:
  Temporary() = default;
  explicit Temporary(const std::filesystem::path& path);
  ~Temporary();
  Temporary(Temporary&& other) noexcept;
  Temporary& operator=(Temporary&& other) noexcept;

 private:
  int slot_ = -1;
};

// Removes everything registered, the newest first. May be called in a signal handler.
void remove_temporaries() noexcept;

}  // namespace gcomp
