#pragma once
// What the command line (or another front end) asks for: plain data, checked by whoever uses it.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gcomp/artifact/libraries.h"
#include "gcomp/driver/cache.h"
#include "gcomp/driver/diagnose.h"
#include "gcomp/pass/pass.h"
#include "gcomp/schedule/inplace.h"
#include "gcomp/support/jobserver.h"

namespace gcomp::driver {

using Path = std::filesystem::path;

// How an artifact holds what it does.
enum class CodeMode {
  kAuto,      // straight-line code for tiny graphs, else a plan
  kStraight,  // one function that calls or contains all kernels; an error where extents are not known
  kPlan,      // steps as data, executed by the runtime
};

enum class Emit { kSharedObject, kObject, kAssembly, kLlvm, kCuda, kKernels, kGraph };

struct CompileOptions {
  Path input;
  Path output;
  Emit emit = Emit::kSharedObject;
  std::string name = "gcomp_model";     // prefix of the artifact's symbols
  std::map<std::string, int64_t> dims;  // extents given to symbols
  std::string mcpu = "x86-64-v3";       // or x86-64-v2, x86-64-v4, native
  bool cuda = false;                    // what is worth it runs on a GPU, where there is one
  bool cuda_everything = false;         // all that can, whether or not it is worth it
  bool allow_tf32 = false;  // large products of float32 on the GPU round factors to 11 bits
  artifact::CudaLibraries cuda_libraries = artifact::CudaLibraries::kMeasured;
  bool cuda_line_info = false;  // profilers are told the kernels' lines and nodes
  std::vector<std::string> cuda_archs = {"sm_80", "sm_90", "sm_100"};
  CodeMode code = CodeMode::kAuto;  // the same numbers in all
  // How the stage `inplace` looks for cycles; the code is as good as the same in all.
  schedule::CycleDetection cycle_detection = schedule::CycleDetection::kIncremental;
  int threads = 1;                  // of the compiler; never changes the result
  std::shared_ptr<JobServer> jobs;  // whose tokens threads beyond the first need; null: none needed
  Path depfile;                     // empty: none
  Path depfile_target;              // what its rule makes; empty: the outputs
  Path header;                      // a typed interface for C and C++; empty: none
  bool if_changed = false;          // outputs that would not change are left alone, their times too
  std::string profile;              // "": no profile, "-": a table on stderr, else a JSON file
  std::optional<size_t>
      rewrite_limit;                 // changes of the graph; which was the last is told on stderr
  std::vector<std::string> explain;  // nodes whose history is printed on stderr
  Path html;                         // a page that shows the whole compilation; empty: none
  Path memory_map;                   // an SVG picture of the planned memory; empty: none
  pass::Options pipeline;
  CacheOptions cache;                                     // without a folder: none
  std::function<void(Severity, const Diagnostic&)> tell;  // remarks and warnings; null: not told
};

}  // namespace gcomp::driver
