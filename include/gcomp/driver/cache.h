#pragma once
// A store of blobs by the hash of what they were made from, in a folder that many processes and machines may
// share: no locks, atomic renames, a digest in every entry. Nothing of graphs or LLVM is needed to ask it. Its
// own faults are never errors of a compilation: what cannot be read is a miss, what cannot be written is told
// once and left.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gcomp/artifact/content_hash.h"
#include "gcomp/support/error.h"

namespace gcomp::driver {

struct CacheOptions {
  std::filesystem::path folder;                 // empty: no cache
  uint64_t size = uint64_t{5} << 30;            // bytes; the least recently used goes first
  double age = 0;                               // seconds since the last use; 0: any
  std::function<void(const Diagnostic&)> warn;  // null: nobody is told
};

class Cache {
 public:
  using Key = artifact::ContentHash;

  explicit Cache(CacheOptions options);  // touches nothing
  ~Cache();                              // notes the counts
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;

  // A kind is a short word ("artifact", "weights", "code", "cubin") in the entry's file name. All may be called
  // by several threads.
  std::optional<std::string> find(std::string_view kind, const Key& key);
  // The entry as a new file of `mode`, whole or not at all. UserError (kFiles) if `output` cannot be written.
  bool install(std::string_view kind, const Key& key, const std::filesystem::path& output,
               unsigned mode);
  void put(std::string_view kind, const Key& key, std::string_view bytes);
  // `file` must belong to the caller alone.
  void put_file(std::string_view kind, const Key& key, const std::filesystem::path& file);

  // For `gcomp cache stats`: what the caller was looking for was there, or not.
  void count(bool hit) { ++(hit ? hits_ : misses_); }

 private:
  using Sink = std::function<void(std::span<const std::byte>)>;
  using Source = std::function<void(const Sink&)>;
  bool read(std::string_view kind, const Key& key, const std::function<Sink(uint64_t)>& begin,
            const std::function<void()>& commit);
  void write(std::string_view kind, const Key& key, uint64_t bytes, const Source& source);
  void count_added(uint64_t bytes);
  void warn(Code code, const std::string& message, const std::filesystem::path& path);

  CacheOptions options_;
  std::filesystem::path root_;
  std::atomic<uint64_t> hits_ = 0, misses_ = 0;
  std::atomic<bool> warned_ = false, unwritable_ = false;
};

// ---- `gcomp cache`

struct CacheKindStats {
  std::string kind;
  uint64_t entries = 0, bytes = 0;
};
struct CacheStats {
  std::vector<CacheKindStats> kinds;  // by name
  uint64_t entries = 0, bytes = 0;
  uint64_t hits = 0, misses = 0;  // since the cache was made or cleared
  double oldest = 0;              // seconds since the last use of the entry used longest ago
};
CacheStats cache_stats(const std::filesystem::path& folder);

// Reads every entry; damaged ones are removed. Their paths.
std::vector<std::string> verify_cache(const std::filesystem::path& folder);

// Removes all entries; how many there were.
uint64_t clear_cache(const std::filesystem::path& folder);

// Removes what is over the limits: called by Cache itself now and then.
void trim_cache(const CacheOptions& options);

}  // namespace gcomp::driver
