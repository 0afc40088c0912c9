// An entry is FOLDER/v1/XX/YYYY.KIND, by the hexadecimal digits of its key: the blob, then a trailer that says
// what it should be. The blob comes first so that it could be cloned as it stands.
//
// Everything is correct without locks, since an entry appears by a rename, is never changed, and is believed only
// when key, size and digest fit: a reader sees the whole of an old or a new one, or a miss. Files beside the
// entries count by their length (hits, misses, what was added since the last trim): appending is atomic on a
// local file system; where it is not, counts are lost and nothing else.

#include "gcomp/driver/cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <map>
#include <tuple>
#include <utility>

#include "gcomp/support/files.h"
#include "gcomp/support/temporaries.h"
#include "unique_name.h"

namespace gcomp::driver {
namespace {

using Path = std::filesystem::path;
using artifact::ContentHasher;

constexpr char kVersionFolder[] = "v1";  // another name when the form of entries changes
constexpr size_t kChunk = 1 << 20;
constexpr uint64_t kGranule = 4096;  // what a byte of "added" stands for
constexpr uint64_t kMostAdded = uint64_t{1} << 30;
constexpr int kTrimShare = 16;             // trimmed after 1/16 of the size was added, by as much
constexpr time_t kTouchSeconds = 60;       // the use of an entry is noted as coarsely as that
constexpr time_t kStaleSeconds = 60 * 60;  // a temporary file of this age has no owner any more
constexpr std::string_view kTemporary = ".tmp-";
constexpr size_t kHexDigits = 62;  // of a file name, beside the two of its folder

struct Trailer {
  char magic[8];
  uint64_t size;
  std::array<uint8_t, 32> key, digest;
  char kind[16];
};
static_assert(sizeof(Trailer) == 96);

Trailer make_trailer(std::string_view kind, const Cache::Key& key, uint64_t size) {
  Trailer t{};
  std::memcpy(t.magic, "gcompca1", sizeof t.magic);
  t.size = size;
  t.key = key.bytes;
  GCOMP_CHECK(kind.size() < sizeof t.kind, "cache: a kind is a short word");
  std::ranges::copy(kind, t.kind);
  return t;
}

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  explicit operator bool() const { return fd_ >= 0; }
  int fd() const { return fd_; }

  bool read(uint64_t at, void* to, size_t size) const {
    for (char* p = static_cast<char*>(to); size > 0;) {
      const ssize_t n = ::pread(fd_, p, size, static_cast<off_t>(at));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      p += n;
      at += static_cast<uint64_t>(n);
      size -= static_cast<size_t>(n);
    }
    return true;
  }

  bool write(const void* from, size_t size) {
    for (const char* p = static_cast<const char*>(from); size > 0;) {
      const ssize_t n = ::write(fd_, p, size);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return false;
      p += n;
      size -= static_cast<size_t>(n);
    }
    return true;
  }

  bool close() { return ::close(std::exchange(fd_, -1)) == 0; }  // NFS tells of a full disk here

 private:
  int fd_;
};

Path entry_path(const Path& root, std::string_view kind, const Cache::Key& key) {
  const std::string hex = key.hex();
  return root / hex.substr(0, 2) / (hex.substr(2) + "." + std::string(kind));
}

void make_folders(const Path& root, const Path& folder) {
  std::error_code ignored;  // what follows will fail, and tell
  const bool fresh = std::filesystem::create_directories(root, ignored);
  std::filesystem::create_directories(folder, ignored);
  if (!fresh) return;
  // https://bford.info/cachedir: backups leave the folder out.
  File tag(
      ::open((root.parent_path() / "CACHEDIR.TAG").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
  constexpr std::string_view kTag =
      "Signature: 8a477f597d28d172789f06886806bc55\n# A cache of gcomp: it may be removed at any "
      "time.\n";
  if (tag) tag.write(kTag.data(), kTag.size());
}

// A file that appears under the name `path` when commit() succeeded; errno tells why something did not.
class NewEntry {
 public:
  NewEntry(const Path& root, Path path)
      : path_(std::move(path)),
        temporary_(path_.parent_path() / (std::string(kTemporary) + unique_name())),
        registered_(temporary_),
        file_(create(root)) {}
  ~NewEntry() {
    if (file_) ::unlink(temporary_.c_str());
  }
  NewEntry(const NewEntry&) = delete;
  NewEntry& operator=(const NewEntry&) = delete;

  explicit operator bool() const { return static_cast<bool>(file_); }
  bool write(const void* from, size_t size) { return file_.write(from, size); }
  bool commit() {
    const bool whole = file_.close() && ::rename(temporary_.c_str(), path_.c_str()) == 0;
    const int error = errno;
    if (!whole) ::unlink(temporary_.c_str());
    errno = error;
    return whole;
  }

 private:
  int create(const Path& root) {
    const auto open = [this] {
      return ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    };
    const int fd = open();
    if (fd >= 0 || errno != ENOENT) return fd;
    make_folders(root, path_.parent_path());
    return open();
  }

  Path path_, temporary_;
  Temporary registered_;
  File file_;
};

void append(const Path& path, uint64_t bytes) {
  const std::string zeros(std::min<uint64_t>(bytes, kChunk), '\0');
  File file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  if (file && !zeros.empty()) file.write(zeros.data(), zeros.size());
}

uint64_t size_of(const Path& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
}

bool matches(const Trailer& found, const Trailer& wanted) {
  return std::memcmp(found.magic, wanted.magic, sizeof found.magic) == 0 &&
         found.size == wanted.size && found.key == wanted.key &&
         std::memcmp(found.kind, wanted.kind, sizeof found.kind) == 0;
}

enum class Reading { kWhole, kCorrupt, kFailed };

// Hands the blob to `sink` piece by piece. What was handed on is to be believed only when it was kWhole.
Reading read_blob(const File& file, uint64_t file_size, std::string_view kind,
                  const Cache::Key& key,
                  const std::function<void(std::span<const std::byte>)>& sink) {
  Trailer trailer;
  if (file_size < sizeof trailer) return Reading::kCorrupt;
  const uint64_t size = file_size - sizeof trailer;
  if (!file.read(size, &trailer, sizeof trailer)) return Reading::kFailed;
  if (!matches(trailer, make_trailer(kind, key, size))) return Reading::kCorrupt;
  ContentHasher hasher;
  std::vector<std::byte> chunk(std::min<uint64_t>(size, kChunk));
  for (uint64_t at = 0; at < size; at += chunk.size()) {
    chunk.resize(std::min<uint64_t>(size - at, kChunk));
    if (!file.read(at, chunk.data(), chunk.size())) return Reading::kFailed;
    hasher.bytes(chunk);
    sink(chunk);
  }
  return hasher.finish().bytes == trailer.digest ? Reading::kWhole : Reading::kCorrupt;
}

// ---- All entries

struct Found {
  Path path;
  std::string folder, name;
  uint64_t bytes = 0;  // that it takes
  time_t used = 0;
  bool temporary = false;
};

bool is_entry_name(const std::string& name) {
  const size_t digits = name.find_first_not_of("0123456789abcdef");
  return digits == kHexDigits && name[digits] == '.' && name.size() > kHexDigits + 1;
}

std::vector<std::string> names_in(const Path& folder) {
  std::vector<std::string> names;
  DIR* const open = ::opendir(folder.c_str());
  if (open == nullptr) return names;
  while (const dirent* e = ::readdir(open)) names.emplace_back(e->d_name);
  ::closedir(open);
  return names;
}

// Files that are nothing of the cache's are never looked at again.
std::vector<Found> find_all(const Path& root) {
  std::vector<Found> all;
  for (const std::string& folder : names_in(root)) {
    if (folder.size() != 2 || folder.find_first_not_of("0123456789abcdef") != folder.npos) continue;
    for (std::string& name : names_in(root / folder)) {
      const bool temporary = name.starts_with(kTemporary);
      if (!temporary && !is_entry_name(name)) continue;
      Path path = root / folder / name;
      struct stat info{};
      if (::lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
      const uint64_t bytes =
          (static_cast<uint64_t>(info.st_size) + kGranule - 1) / kGranule * kGranule;
      all.push_back({std::move(path), folder, std::move(name), bytes, info.st_mtime, temporary});
    }
  }
  return all;
}

Cache::Key key_of(const Found& f) {
  const std::string hex = f.folder + f.name.substr(0, kHexDigits);
  Cache::Key key;
  for (size_t i = 0; i < key.bytes.size(); ++i) {
    key.bytes[i] = static_cast<uint8_t>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  }
  return key;
}

std::string kind_of(const Found& f) { return f.name.substr(kHexDigits + 1); }

}  // namespace

// ---- Cache

Cache::Cache(CacheOptions options)
    : options_(std::move(options)), root_(options_.folder / kVersionFolder) {}

Cache::~Cache() {
  if (hits_ > 0) append(root_ / "hits", hits_);
  if (misses_ > 0) append(root_ / "misses", misses_);
}

void Cache::warn(Code code, const std::string& message, const Path& path) {
  if (warned_.exchange(true) || !options_.warn) return;
  options_.warn({.message = message, .code = code, .file = path.string()});
}

// `begin` is told the size and gives what takes the pieces; `commit` follows if they can be believed.
bool Cache::read(std::string_view kind, const Key& key, const std::function<Sink(uint64_t)>& begin,
                 const std::function<void()>& commit) {
  const Path path = entry_path(root_, kind, key);
  const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info{};
  const auto is_young = [&] {
    return options_.age <= 0 || std::difftime(::time(nullptr), info.st_mtime) <= options_.age;
  };
  Reading result = Reading::kFailed;
  if (file && ::fstat(file.fd(), &info) == 0 && S_ISREG(info.st_mode) && is_young()) {
    const auto size = static_cast<uint64_t>(info.st_size);
    result = read_blob(file, size, kind, key, begin(size - std::min(size, sizeof(Trailer))));
  } else if (!file && errno != ENOENT && errno != ENOTDIR) {
    warn(Code::kCacheUnusable, std::string("the cache cannot be read: ") + std::strerror(errno),
         path);
  }
  if (result == Reading::kCorrupt) {
    ::unlink(path.c_str());
    warn(Code::kCacheCorrupt, "a damaged entry of the cache is not used", path);
  }
  if (result != Reading::kWhole) return false;
  commit();
  if (::time(nullptr) - info.st_mtime > kTouchSeconds) ::futimens(file.fd(), nullptr);
  return true;
}

std::optional<std::string> Cache::find(std::string_view kind, const Key& key) {
  std::string blob;
  const auto begin = [&](uint64_t size) {
    blob.reserve(size);
    return [&](std::span<const std::byte> piece) {
      blob.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    };
  };
  if (!read(kind, key, begin, [] {})) return std::nullopt;
  return blob;
}

bool Cache::install(std::string_view kind, const Key& key, const Path& output, unsigned mode) {
  std::optional<AtomicFile> file;
  const auto begin = [&](uint64_t) {
    file.emplace(output, mode);
    return [&](std::span<const std::byte> piece) { file->write(piece); };
  };
  return read(kind, key, begin, [&] { file->commit(); });
}

void Cache::write(std::string_view kind, const Key& key, uint64_t bytes, const Source& source) {
  if (unwritable_ || bytes + sizeof(Trailer) > options_.size) return;
  NewEntry entry(root_, entry_path(root_, kind, key));
  int error = entry ? 0 : errno;
  ContentHasher hasher;
  uint64_t size = 0;
  if (error == 0) {
    source([&](std::span<const std::byte> piece) {
      if (error == 0 && !entry.write(piece.data(), piece.size())) error = errno;
      hasher.bytes(piece);
      size += piece.size();
    });
  }
  Trailer trailer = make_trailer(kind, key, size);
  trailer.digest = hasher.finish().bytes;
  const auto finish = [&] { return entry.write(&trailer, sizeof trailer) && entry.commit(); };
  if (error == 0 && !finish()) error = errno;
  if (error == 0) return count_added(size + sizeof trailer);
  unwritable_ = true;
  warn(Code::kCacheUnusable, std::string("the cache cannot be written: ") + std::strerror(error),
       options_.folder);
}

void Cache::put(std::string_view kind, const Key& key, std::string_view bytes) {
  write(kind, key, bytes.size(), [&](const Sink& sink) { sink(std::as_bytes(std::span(bytes))); });
}

void Cache::put_file(std::string_view kind, const Key& key, const Path& path) {
  const MappedFile file = map_file(path);
  write(kind, key, file.bytes.size(), [&](const Sink& sink) {
    for (size_t at = 0; at < file.bytes.size(); at += kChunk) {
      sink(file.bytes.subspan(at, std::min(kChunk, file.bytes.size() - at)));
    }
  });
}

void Cache::count_added(uint64_t bytes) {
  const uint64_t most = std::min(options_.size / kTrimShare, kMostAdded);
  const Path path = root_ / "added";
  if (bytes < most) {
    append(path, (bytes + kGranule - 1) / kGranule);
    if (size_of(path) * kGranule < most) return;
  }
  trim_cache(options_);
}

// ---- All entries

void trim_cache(const CacheOptions& options) {
  const Path root = options.folder / kVersionFolder;
  std::vector<Found> all = find_all(root);
  const time_t now = ::time(nullptr);
  uint64_t bytes = 0;
  std::erase_if(all, [&](const Found& f) {
    const double idle = std::difftime(now, f.used);
    const bool over = f.temporary ? idle > kStaleSeconds : options.age > 0 && idle > options.age;
    if (over) ::unlink(f.path.c_str());
    if (!over) bytes += f.bytes;
    return over || f.temporary;
  });
  // By name where times are equal, so that processes that trim at once remove the same.
  std::ranges::sort(all, [](const Found& a, const Found& b) {
    return std::tie(a.used, a.folder, a.name) < std::tie(b.used, b.folder, b.name);
  });
  const uint64_t most = options.size - options.size / kTrimShare;
  for (auto f = all.begin(); f != all.end() && bytes > most; ++f) {
    ::unlink(f->path.c_str());
    bytes -= f->bytes;
  }
  [[maybe_unused]] const int result = ::truncate((root / "added").c_str(), 0);
}

CacheStats cache_stats(const Path& folder) {
  const Path root = folder / kVersionFolder;
  CacheStats stats;
  std::map<std::string, CacheKindStats> kinds;
  const time_t now = ::time(nullptr);
  for (const Found& f : find_all(root)) {
    if (f.temporary) continue;
    CacheKindStats& kind = kinds[kind_of(f)];
    ++kind.entries;
    kind.bytes += f.bytes;
    ++stats.entries;
    stats.bytes += f.bytes;
    stats.oldest = std::max(stats.oldest, std::difftime(now, f.used));
  }
  for (auto& [name, kind] : kinds) {
    kind.kind = name;
    stats.kinds.push_back(kind);
  }
  stats.hits = size_of(root / "hits");
  stats.misses = size_of(root / "misses");
  return stats;
}

std::vector<std::string> verify_cache(const Path& folder) {
  std::vector<std::string> damaged;
  for (const Found& f : find_all(folder / kVersionFolder)) {
    if (f.temporary) continue;
    const File file(::open(f.path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat info{};
    if (!file || ::fstat(file.fd(), &info) != 0) continue;  // gone meanwhile
    const std::string kind = kind_of(f);
    const bool good = kind.size() < sizeof(Trailer::kind) &&
                      read_blob(
                          file, static_cast<uint64_t>(info.st_size), kind, key_of(f),
                          [](std::span<const std::byte>) {}) == Reading::kWhole;
    if (good) continue;
    damaged.push_back(f.path.string());
    ::unlink(f.path.c_str());
  }
  std::ranges::sort(damaged);
  return damaged;
}

uint64_t clear_cache(const Path& folder) {
  const Path root = folder / kVersionFolder;
  uint64_t entries = 0;
  for (const Found& f : find_all(root)) {
    if (::unlink(f.path.c_str()) == 0 && !f.temporary) ++entries;
  }
  for (const char* counter : {"hits", "misses", "added"}) ::unlink((root / counter).c_str());
  return entries;
}

}  // namespace gcomp::driver
