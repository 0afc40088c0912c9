#pragma once
// What became of a graph, and the file of such results: JSON lines, only ever appended to.

#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "gcomp/driver/options.h"
#include "gcomp/support/error.h"

namespace gcomp::driver {

// How a worker, or a job, ended.
enum class Ending {
  kOk,
  kGraph,   // the graph is wrong or unsupported
  kUsage,   // options of the manifest are wrong
  kFiles,   // a file cannot be read or written
  kCrash,   // a bug in gcomp
  kTime,    // --time-limit
  kMemory,  // --max-memory
  kHang,    // did not end at its time limit and was killed
  kKilled,  // by somebody else: the system, when memory ran out
};
constexpr int kEndings = 9;
const char* to_string(Ending ending);

// A line of --diagnostics=json; each may be empty but the message.
struct BatchError {
  std::string code;  // "GC1006"
  std::string message, file, place;
  std::string pass = {};  // what gcomp was doing
  std::string hint = {};
};
BatchError batch_error(Code code, const std::string& message, const std::string& file);

// What one process took and said.
struct Attempt {
  std::string level;  // empty: as the options say
  Ending ending = Ending::kOk;
  double seconds = 0;      // on the clock
  double cpu_seconds = 0;  // of both modes, all threads
  uint64_t peak_bytes = 0;
  std::vector<BatchError> errors = {};
  std::string reproducer = {};  // a folder; empty: none
};

// A file other than the graph that the artifact was made of.
struct ReadFile {
  std::string path;
  uint64_t bytes = 0;
  int64_t modified = 0;  // nanoseconds since 1970
};

struct BatchResult {
  std::string name;
  std::string graph;
  std::string key;       // job_key
  std::string artifact;  // below the output folder
  std::string hash;      // of the artifact
  bool cached = false;   // the cache had it
  std::string same_as;   // the name of the equal graph that was compiled
  std::string command;   // to do it again by hand, of a failure
  uint64_t graph_bytes = 0;
  uint64_t artifact_bytes = 0;
  std::vector<ReadFile> files;
  std::vector<Attempt> attempts;  // the last one is what counts; at least one

  Ending ending() const { return attempts.back().ending; }
  double seconds() const;  // of all attempts
  double cpu_seconds() const;
  uint64_t peak_bytes() const;
};

std::string to_line(const BatchResult& result);  // without its end
// Nothing for a line that is no result.
std::optional<BatchResult> parse_result(const std::string& line);

// BLAKE3 of the bytes: 64 hex digits. UserError (kFiles).
std::string hash_file(const Path& path);
ReadFile stat_file(const std::string& path);  // zeros when it is not there
// The artifact in `folder` and the files it was made of are still those of the result.
bool is_current(const BatchResult& result, const Path& folder);

// The file. Nobody else may write it as long as this lives: UserError (kFiles).
class ResultsFile {
 public:
  // `resume`: its lines stay, but for a torn last one, which is cut off; else it begins empty.
  ResultsFile(const Path& path, bool resume);
  ~ResultsFile();
  ResultsFile(const ResultsFile&) = delete;
  ResultsFile& operator=(const ResultsFile&) = delete;

  // The last result of this name that was there at the begin. Only places of lines are kept in memory.
  std::optional<BatchResult> recorded(const std::string& name) const;
  void append(const BatchResult& result);

 private:
  void read_places();
  std::string read_line(uint64_t at) const;

  Path path_;
  int descriptor_ = -1;
  std::unordered_map<uint64_t, uint64_t> places_;  // hash of the name -> begin of its last line
};

// Every result of a file of any size, in order, with its line's number (the first is 0).
void for_each_result(const Path& path, const std::function<void(size_t, const BatchResult&)>& take);

}  // namespace gcomp::driver
