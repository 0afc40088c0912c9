// The store: whole or absent, whatever happens to it, and within its limits.
#include "gcomp/driver/cache.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <sstream>
#include <thread>

using namespace gcomp;
using driver::Cache;
using driver::CacheOptions;
using std::filesystem::path;

namespace {

struct Folder {
  path at =
      std::filesystem::temp_directory_path() / ("gcomp-cache-test-" + std::to_string(::getpid()));
  Folder() {
    std::filesystem::remove_all(at);
    std::filesystem::create_directories(at);
  }
  ~Folder() { std::filesystem::remove_all(at); }
  path cache() const { return at / "cache"; }
};

Cache::Key key(int i) {
  const std::string text = "key " + std::to_string(i);
  return artifact::hash_content(std::as_bytes(std::span(text)));
}

std::string blob(int i, size_t bytes) {
  std::string text;
  for (size_t at = 0; at < bytes; ++at) {
    text += static_cast<char>(static_cast<size_t>(i) * 31 + at * at / 7 + at);
  }
  return text;
}

std::string content(const path& file) {
  std::stringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

std::vector<path> entries(const path& cache) {
  std::vector<path> found;
  for (const auto& e : std::filesystem::recursive_directory_iterator(cache)) {
    if (e.is_regular_file() && e.path().filename().string().size() > 60) found.push_back(e.path());
  }
  return found;
}

// As if last used so many seconds ago.
void make_old(const path& file, int64_t seconds) {
  const timespec then{::time(nullptr) - seconds, 0};
  const timespec times[2] = {then, then};
  REQUIRE(::utimensat(AT_FDCWD, file.c_str(), times, 0) == 0);
}

path entry_of(const path& cache, const Cache::Key& k, const std::string& kind) {
  return cache / "v1" / k.hex().substr(0, 2) / (k.hex().substr(2) + "." + kind);
}

struct Warnings {
  std::vector<Diagnostic> told;
  CacheOptions options(const path& folder) {
    CacheOptions o;
    o.folder = folder;
    o.warn = [this](const Diagnostic& d) { told.push_back(d); };
    return o;
  }
};

}  // namespace

TEST_CASE("what is put is found again, by key and kind, and installed") {
  const Folder folder;
  Warnings warnings;
  const size_t sizes[] = {0, 1, 4096, (1 << 20) - 1, 1 << 20, (3 << 20) + 5};
  {
    Cache cache(warnings.options(folder.cache()));
    CHECK(!cache.find("blob", key(0)));
    CHECK(!std::filesystem::exists(folder.cache()));  // looking makes nothing
    for (int i = 0; i < 6; ++i) cache.put("blob", key(i), blob(i, sizes[i]));
    for (int i = 0; i < 6; ++i) {
      CHECK(cache.find("blob", key(i)) == blob(i, sizes[i]));
      CHECK(!cache.find("other", key(i)));
      CHECK(cache.install("blob", key(i), folder.at / "out", 0755));
      CHECK(content(folder.at / "out") == blob(i, sizes[i]));
      struct stat info{};
      REQUIRE(::stat((folder.at / "out").c_str(), &info) == 0);
      CHECK((info.st_mode & 0700) == 0700);
    }
    CHECK(!cache.install("blob", key(7), folder.at / "absent", 0644));
    CHECK(!std::filesystem::exists(folder.at / "absent"));
    std::ofstream(folder.at / "file") << blob(9, 100'000);
    cache.put_file("file", key(9), folder.at / "file");
    CHECK(cache.find("file", key(9)) == blob(9, 100'000));
    cache.count(true);
    cache.count(true);
    cache.count(false);
  }
  CHECK(warnings.told.empty());
  const driver::CacheStats stats = driver::cache_stats(folder.cache());
  CHECK(stats.hits == 2);
  CHECK(stats.misses == 1);
  CHECK(stats.entries == 7);
  REQUIRE(stats.kinds.size() == 2);
  CHECK(stats.kinds[0].kind == "blob");
  CHECK(stats.kinds[0].entries == 6);
  CHECK(std::filesystem::exists(folder.cache() / "CACHEDIR.TAG"));
  CHECK(driver::verify_cache(folder.cache()).empty());
  std::ofstream(folder.cache() / "v1" / "mine") << "not the cache's";
  CHECK(driver::clear_cache(folder.cache()) == 7);
  CHECK(driver::cache_stats(folder.cache()).entries == 0);
  CHECK(driver::cache_stats(folder.cache()).hits == 0);
  CHECK(std::filesystem::exists(folder.cache() / "v1" / "mine"));
}

TEST_CASE("every truncation and every flipped bit is a miss, is removed and can be replaced") {
  const Folder folder;
  const std::string good = blob(1, 100);
  Warnings nobody;
  Cache(nobody.options(folder.cache())).put("blob", key(1), good);
  const path entry = entry_of(folder.cache(), key(1), "blob");
  const std::string whole = content(entry);
  REQUIRE(whole.size() > good.size());
  std::vector<std::string> damaged;
  for (size_t n = 0; n < whole.size(); ++n) damaged.push_back(whole.substr(0, n));
  for (size_t n = 0; n < whole.size() * 8; ++n) {
    damaged.push_back(whole);
    damaged.back()[n / 8] = static_cast<char>(damaged.back()[n / 8] ^ (1 << (n % 8)));
  }
  damaged.push_back(whole + "x");
  damaged.push_back(whole + whole);
  for (const std::string& bytes : damaged) {
    std::ofstream(entry, std::ios::binary) << bytes;
    Warnings warnings;
    Cache cache(warnings.options(folder.cache()));
    REQUIRE(!cache.install("blob", key(1), folder.at / "out", 0644));
    REQUIRE(!std::filesystem::exists(folder.at / "out"));
    REQUIRE(!std::filesystem::exists(entry));
    REQUIRE(warnings.told.size() == 1);
    REQUIRE(warnings.told[0].code == Code::kCacheCorrupt);
  }
  Warnings warnings;
  Cache cache(warnings.options(folder.cache()));
  cache.put("blob", key(1), good);
  CHECK(cache.find("blob", key(1)) == good);
  // An entry under the name of another.
  std::filesystem::create_directories(entry_of(folder.cache(), key(2), "blob").parent_path());
  std::filesystem::copy_file(entry, entry_of(folder.cache(), key(2), "blob"));
  CHECK(!cache.find("blob", key(2)));
}

TEST_CASE("verify finds what is damaged, names and removes it") {
  const Folder folder;
  Warnings warnings;
  Cache cache(warnings.options(folder.cache()));
  for (int i = 0; i < 20; ++i) cache.put("blob", key(i), blob(i, 1000));
  const path entry = entry_of(folder.cache(), key(7), "blob");
  std::filesystem::resize_file(entry, 500);
  CHECK(driver::verify_cache(folder.cache()) == std::vector<std::string>{entry.string()});
  CHECK(!std::filesystem::exists(entry));
  CHECK(driver::verify_cache(folder.cache()).empty());
  CHECK(driver::cache_stats(folder.cache()).entries == 19);
}

TEST_CASE("the size is kept, and what was used last stays") {
  const Folder folder;
  CacheOptions options;
  options.folder = folder.cache();
  options.size = 1 << 20;
  Cache cache(options);
  for (int i = 0; i < 200; ++i) {
    cache.put("blob", key(i), blob(i, 10'000));
    make_old(entry_of(folder.cache(), key(i), "blob"), 10'000 - i);
    if (i >= 10) {  // used again and again
      REQUIRE(cache.find("blob", key(3)));
      make_old(entry_of(folder.cache(), key(3), "blob"), 1);
    }
    REQUIRE(driver::cache_stats(folder.cache()).bytes <= options.size);
  }
  CHECK(cache.find("blob", key(3)));
  CHECK(cache.find("blob", key(199)));
  CHECK(!cache.find("blob", key(4)));
  CHECK(driver::cache_stats(folder.cache()).bytes > options.size * 3 / 4);
  cache.put("blob", key(500), blob(5, 2 << 20));  // larger than all of it
  CHECK(!cache.find("blob", key(500)));
  CHECK(cache.find("blob", key(199)));
}

TEST_CASE("what was not used for the limit of age is not given, and goes") {
  const Folder folder;
  CacheOptions options;
  options.folder = folder.cache();
  options.age = 100;
  Cache cache(options);
  cache.put("blob", key(1), blob(1, 10));
  cache.put("blob", key(2), blob(2, 10));
  make_old(entry_of(folder.cache(), key(1), "blob"), 200);
  make_old(entry_of(folder.cache(), key(2), "blob"), 90);
  CHECK(!cache.find("blob", key(1)));
  CHECK(cache.find("blob", key(2)));  // a use, which is noted
  const path left = folder.cache() / "v1" / "00" / ".tmp-left";
  const path fresh = folder.cache() / "v1" / "00" / ".tmp-fresh";
  std::filesystem::create_directories(left.parent_path());
  std::ofstream(left) << "of a process that was killed";
  std::ofstream(fresh) << "of one that writes";
  make_old(left, 10'000);
  driver::trim_cache(options);
  CHECK(!std::filesystem::exists(entry_of(folder.cache(), key(1), "blob")));
  CHECK(std::filesystem::exists(entry_of(folder.cache(), key(2), "blob")));
  CHECK(!std::filesystem::exists(left));
  CHECK(std::filesystem::exists(fresh));
  struct stat info{};
  REQUIRE(::stat(entry_of(folder.cache(), key(2), "blob").c_str(), &info) == 0);
  CHECK(::time(nullptr) - info.st_mtime < 60);
}

TEST_CASE("sixteen processes put, find, damage, trim and clear at once: a hit is always right") {
  const Folder folder;
  constexpr int kProcesses = 16, kKeys = 40, kTurns = 150;
  constexpr uint64_t kSize = 1 << 19;  // all blobs together take three times as much
  std::vector<pid_t> children;
  for (int p = 0; p < kProcesses; ++p) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child > 0) {
      children.push_back(child);
      continue;
    }
    uint64_t random = static_cast<uint64_t>(p) + 1;
    const auto below = [&random](uint64_t n) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      return static_cast<int>((random >> 33) % n);
    };
    CacheOptions options;
    options.folder = folder.cache();
    options.size = kSize;
    int hits = 0;
    for (int turn = 0; turn < kTurns; ++turn) {
      const int i = below(kKeys);
      const std::string wanted = blob(i, static_cast<size_t>(i) * 2000);
      Cache cache(options);
      if (const auto found = cache.find("blob", key(i))) {
        if (*found != wanted) ::_exit(1);
        ++hits;
      } else {
        cache.put("blob", key(i), wanted);
      }
      const path entry = entry_of(folder.cache(), key(below(kKeys)), "blob");
      std::error_code ignored;
      switch (below(12)) {
        case 0: std::filesystem::resize_file(entry, 100, ignored); break;
        case 1: driver::trim_cache(options); break;
        case 2:
          if (p == 0) driver::clear_cache(folder.cache());
          break;
        case 3: driver::verify_cache(folder.cache()); break;
        default: break;
      }
    }
    ::_exit(hits > 0 ? 0 : 2);
  }
  for (const pid_t child : children) {
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
  }
  driver::verify_cache(folder.cache());
  // Over the size by no more than what may have been put while somebody else trimmed.
  CHECK(driver::cache_stats(folder.cache()).bytes < 2 * kSize);
  for (const auto& e : std::filesystem::recursive_directory_iterator(folder.cache())) {
    CHECK(!e.path().filename().string().starts_with(".tmp-"));
  }
}

TEST_CASE("threads of one process share a cache") {
  const Folder folder;
  Warnings warnings;
  Cache cache(warnings.options(folder.cache()));
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        cache.put("blob", key(i), blob(i, 1000));
        if (cache.find("blob", key(i)) != blob(i, 1000)) ++wrong;
      }
    });
  }
  for (std::thread& t : threads) t.join();
  CHECK(wrong == 0);
  CHECK(entries(folder.cache()).size() == 100);
}

TEST_CASE("a cache that cannot be written is told once and does no harm") {
  const Folder folder;
  Warnings warnings;
  SUBCASE("its place is a file") { std::ofstream(folder.cache()) << "a file"; }
  SUBCASE("its folder may not be written") {
    if (::geteuid() == 0) {  // who may write everywhere but where no folder can be made
      warnings.options(path("/proc/gcomp-cache"));
      Cache cache(warnings.options("/proc/gcomp-cache"));
      cache.put("blob", key(1), "text");
      cache.put("blob", key(2), "text");
      CHECK(!cache.find("blob", key(1)));
      REQUIRE(warnings.told.size() == 1);
      CHECK(warnings.told[0].code == Code::kCacheUnusable);
      return;
    }
    std::filesystem::create_directory(folder.cache());
    std::filesystem::permissions(folder.cache(), std::filesystem::perms::owner_read);
  }
  Cache cache(warnings.options(folder.cache()));
  for (int i = 0; i < 3; ++i) {
    cache.put("blob", key(i), blob(i, 100));
    CHECK(!cache.find("blob", key(i)));
  }
  REQUIRE(warnings.told.size() == 1);
  CHECK(warnings.told[0].code == Code::kCacheUnusable);
}

TEST_CASE("a blob that does not fit on the disk leaves nothing") {
  const Folder folder;
  Warnings nobody;
  Cache(nobody.options(folder.cache())).put("blob", key(0), blob(0, 100));
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    Warnings warnings;
    Cache cache(warnings.options(folder.cache()));
    cache.put("blob", key(1), blob(1, 5000));
    const bool told = warnings.told.size() == 1 && warnings.told[0].code == Code::kCacheUnusable &&
                      warnings.told[0].message.find("File too large") != std::string::npos;
    ::_exit(told && cache.find("blob", key(0)) == blob(0, 100) ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(entries(folder.cache()).size() == 1);
}
