#pragma once
// A compilation in the cache: what its key is made of, and what happens on a hit and a miss.
//
// The key: gcomp itself (build_identity), every option that the bytes of the output depend on, the bytes of the
// graph and of the weights files that it names, and those names; never where these files lie. Which weights files
// a graph names is an entry of its own, so that a hit needs no reader of graphs.

#include <atomic>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "gcomp/codegen/code_cache.h"
#include "gcomp/driver/cache.h"
#include "gcomp/driver/options.h"
#include "gcomp/ir/graph.h"
#include "gcomp/support/files.h"
#include "gcomp/support/temporaries.h"

namespace gcomp::driver {

// This program and the libraries it runs with, by their build ids: another build is never given what this one
// made.
artifact::ContentHash build_identity();

// For --profile.
struct CacheReport {
  std::string result = {};                  // "hit", "miss", "bypass"
  std::string why = {};                     // of a bypass: the option
  std::string key = {};                     // of a hit or miss: 64 hexadecimal digits
  uint64_t code_hits = 0, code_misses = 0;  // of a miss: modules of machine code
};

// Machine code in the same store: what one layer's change leaves as it is need not be compiled again.
class CodeStore : public codegen::CodeCache {
 public:
  CodeStore(Cache& cache, const artifact::ContentHash& build) : cache_(cache), build_(build) {}
  std::optional<std::string> get(const std::string& recipe) override;
  void put(const std::string& recipe, const std::string& code) override;
  uint64_t hits() const { return hits_; }
  uint64_t misses() const { return misses_; }

 private:
  Cache::Key key(const std::string& recipe) const;
  Cache& cache_;
  artifact::ContentHash build_;
  std::atomic<uint64_t> hits_ = 0, misses_ = 0;
};

class CompileCache {
 public:
  // `output`: what is to be made for options.output.
  CompileCache(const CompileOptions& options, Path output);
  ~CompileCache();
  CompileCache(const CompileCache&) = delete;
  CompileCache& operator=(const CompileCache&) = delete;

  struct Found {
    std::vector<std::string> files;  // all it was made from, as Context::files has them
    std::string header;              // if options.header is given
  };
  // If anything, the output is there.
  std::optional<Found> restore();
  // Where to write what is to become the output: nobody else writes there.
  const Path& target() const { return target_; }
  // When the graph has been read, and no sooner than its weights.
  void loaded(const Context& context);
  // The text of options.header, which goes with the output.
  void keep_header(std::string text) { header_ = std::move(text); }
  // The target has been written: it goes into the cache, unless files changed meanwhile, and becomes the output.
  void finish();

  const std::optional<CacheReport>& report() const { return report_; }
  // For modules of machine code; null: no cache.
  codegen::CodeCache* code() { return code_ ? &*code_ : nullptr; }

 private:
  // What a file was when it was read.
  struct Input {
    Path path;
    artifact::ContentHash hash;
    FileStamp stamp;
    bool settled;  // changed so long ago that another change would show in the stamp
  };
  static std::optional<Input> read_input(const Path& path);
  static bool is_unchanged(const Input& input);
  std::optional<Input> read_weights(const std::string& name) const;
  artifact::ContentHash key() const;
  artifact::ContentHash weights_key() const;
  bool restore_weights();
  std::optional<Found> install();
  void keep();
  void tell(Code code, const std::string& message);

  const CompileOptions& options_;
  std::optional<Cache> cache_;
  std::optional<CodeStore> code_;
  std::optional<CacheReport> report_;
  artifact::ContentHash build_, chosen_;  // chosen_: of the options
  std::optional<Input> graph_;
  bool changed_ = false;                  // a file, while it was read: nothing is kept
  std::map<std::string, Input> weights_;  // by the name in the graph
  std::string header_;
  Path output_, target_;
  Temporary registered_;
};

}  // namespace gcomp::driver
