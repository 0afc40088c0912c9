#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "gcomp/support/temporaries.h"

namespace gcomp::artifact {

// A file that has no name until it is whole (O_TMPFILE where the file system has it, so that not even a killed process
// leaves anything). Errors: UserError (kFiles) naming the path.
class OutputFile {
 public:
  OutputFile(std::string path, unsigned mode);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void append(std::span<const std::byte> bytes);
  void append_zeros_up_to(uint64_t offset);
  void overwrite(uint64_t offset, std::span<const std::byte> bytes);
  uint64_t size() const { return size_; }
  void commit();

 private:
  [[noreturn]] void fail(const char* what) const;
  void write_at(uint64_t offset, std::span<const std::byte> bytes);

  std::string path_;
  std::string temporary_;  // its name while it is not whole; "" if it has none
  Temporary registered_;
  int fd_ = -1;
  uint64_t size_ = 0;
};

}  // namespace gcomp::artifact
