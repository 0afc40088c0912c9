#include "gcomp/support/memory.h"

#include <fstream>
#include <string>

namespace gcomp {

// Not getrusage: its peak counts what the process was before exec.
MemoryUse memory_use() {
  MemoryUse use;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    const auto kilobytes = [&](const char* field, size_t* bytes) {
      if (line.starts_with(field)) *bytes = std::stoull(line.substr(line.find(':') + 1)) * 1024;
    };
    kilobytes("VmRSS:", &use.resident);
    kilobytes("VmHWM:", &use.peak);
  }
  return use;
}

}  // namespace gcomp
