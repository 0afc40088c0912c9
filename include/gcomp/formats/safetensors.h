#pragma once
// safetensors files (8-byte header length, JSON header, raw little-endian data): tensors beside a
// graph.

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <utility>

#include "gcomp/ir/constant.h"
#include "gcomp/support/files.h"

namespace gcomp::formats {

class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);  // maps; UserError if malformed
  // The tensor, mapped where its alignment allows, else copied; UserError if there is none.
  Constant tensor(const std::string& name) const;
  const FileStamp& stamp() const { return file_.stamp; }

 private:
  struct Entry;
  std::filesystem::path path_;
  MappedFile file_;
  std::shared_ptr<const void> entries_;  // name -> Entry
};

void write_safetensors(const std::filesystem::path& path,
                       std::span<const std::pair<std::string, const Constant*>> tensors);

}  // namespace gcomp::formats
