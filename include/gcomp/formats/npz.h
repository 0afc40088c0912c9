#pragma once
// NumPy's .npz files: named arrays, what `gcomp run` takes and gives. Uncompressed entries only, as
// numpy.savez writes them. bfloat16, which NumPy has not, travels as uint16.

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "gcomp/ir/constant.h"

namespace gcomp::formats {

struct NamedArray {
  std::string name;  // the key: without ".npy"
  Constant value;
};

// Arrays in the file's order, row-major, copied out of it. A malformed or compressed file is a
// UserError (kFiles) naming it.
std::vector<NamedArray> read_npz(const std::filesystem::path& path);

// Whole or not at all; the same arrays give the same bytes.
void write_npz(const std::filesystem::path& path, std::span<const NamedArray> arrays);

}  // namespace gcomp::formats
