#include "compile_cache.h"

#include <fcntl.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include "gcomp/codegen/cuda.h"
#include "gcomp/support/error.h"
#include "gcomp/support/files.h"
#include "generate.h"
#include "unique_name.h"

namespace gcomp::driver {
namespace {

using artifact::ContentHash;
using artifact::ContentHasher;

constexpr const char* kArtifact = "artifact";
constexpr const char* kWeights = "weights";
constexpr const char* kCode = "code";
constexpr const char* kHeader = "header";
constexpr int64_t kSettledSeconds = 2;  // no file system has coarser times

// ---- Files

std::optional<ContentHash> hash_file(int fd) {
  ContentHasher hasher;
  std::vector<std::byte> chunk(1 << 20);
  for (;;) {
    const ssize_t n = ::read(fd, chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::nullopt;
    if (n == 0) return hasher.finish();
    hasher.bytes(std::span(chunk).first(static_cast<size_t>(n)));
  }
}

bool is_other_than_a_file(const Path& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode);
}

// ---- The build

// The note that the linker wrote: a hash of all it linked. Empty if there is none.
std::string_view build_id(const dl_phdr_info& object) {
  for (int i = 0; i < object.dlpi_phnum; ++i) {
    const ElfW(Phdr)& header = object.dlpi_phdr[i];
    if (header.p_type != PT_NOTE) continue;
    const char* at = reinterpret_cast<const char*>(object.dlpi_addr + header.p_vaddr);
    const char* const end = at + header.p_memsz;
    while (at + sizeof(ElfW(Nhdr)) <= end) {
      ElfW(Nhdr) note;
      std::memcpy(&note, at, sizeof note);
      const char* const name = at + sizeof note;
      const char* const id = name + (note.n_namesz + 3) / 4 * 4;
      if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
          std::memcmp(name, "GNU", 4) == 0) {
        return {id, note.n_descsz};
      }
      at = id + (note.n_descsz + 3) / 4 * 4;
    }
  }
  return {};
}

int add_object(dl_phdr_info* object, size_t, void* data) {
  auto& hasher = *static_cast<ContentHasher*>(data);
  const std::string name = object->dlpi_name;
  if (name.starts_with("linux-vdso")) return 0;  // of the kernel: no code of it computes anything
  if (const std::string_view id = build_id(*object); !id.empty()) {
    hasher.field(id);
    return 0;
  }
  const int fd = ::open(name.empty() ? "/proc/self/exe" : name.c_str(), O_RDONLY | O_CLOEXEC);
  if (const auto hash = fd >= 0 ? hash_file(fd) : std::nullopt) hasher.field(*hash);
  if (fd >= 0) ::close(fd);
  return 0;
}

// ---- Options

void add(ContentHasher& hasher, const std::vector<std::string>& list) {
  hasher.field(list.size());
  for (const std::string& text : list) hasher.field(text);
}

void add(ContentHasher& hasher, const pass::Options& options) {
  // All fields by name, so that a new one does not compile before somebody thought of it here.
  const auto& [level, including, excluding, requiring, passes, dump_after, verify_each, fast_math,
               dump, verify, observers] = options;
  hasher.field(pass::find_level(level).name);
  add(hasher, including);
  add(hasher, excluding);
  add(hasher, requiring);
  add(hasher, passes);
  hasher.field(uint64_t{fast_math});
}

// The version of what makes machine code for GPUs, "" if nothing does. No value where it is not found: the
// compilation will tell, if it needs it.
std::optional<std::string> find_nvrtc(const CompileOptions& options) {
  if (!options.cuda) return "";
  try {
    return codegen::nvrtc_version({});
  } catch (const UserError&) {
    return std::nullopt;
  }
}

// What the output's bytes depend on beside the files that are read.
ContentHash hash_options(const CompileOptions& options, const ContentHash& build,
                         const std::string& nvrtc) {
  const auto& [input, output, emit, name, dims, mcpu, cuda, cuda_everything, allow_tf32,
               cuda_libraries, cuda_line_info, cuda_archs, code, cycle_detection, threads, jobs,
               depfile, depfile_target, header, if_changed, profile, rewrite_limit, explain, html,
               memory_map, pipeline, cache, tell] = options;
  ContentHasher hasher;
  hasher.field("artifact of gcomp");
  hasher.field(build);
  hasher.field(static_cast<uint64_t>(emit));
  hasher.field(name);
  hasher.field(dims.size());
  for (const auto& [symbol, extent] : dims) {
    hasher.field(symbol);
    hasher.field(static_cast<uint64_t>(extent));
  }
  hasher.field(mcpu);
  if (mcpu == "native") add(hasher, codegen::cpu_features(cpu_level(mcpu)));
  hasher.field(uint64_t{cuda});
  hasher.field(uint64_t{cuda_everything});
  hasher.field(uint64_t{allow_tf32});
  hasher.field(static_cast<uint64_t>(cuda_libraries));
  hasher.field(uint64_t{cuda_line_info});
  add(hasher, cuda_archs);
  hasher.field(nvrtc);
  hasher.field(static_cast<uint64_t>(code));
  hasher.field(static_cast<uint64_t>(cycle_detection));
  add(hasher, pipeline);
  return hasher.finish();
}

// The option that wants more than the output, or an output that is none of the cache's; "" if there is none.
std::string obstacle(const CompileOptions& o) {
  if (o.emit == Emit::kGraph)
    return "--emit=graph";  // as quick as the cache, and may name other files
  if (o.emit == Emit::kCuda) return "--emit=cuda";
  if (!o.explain.empty()) return "--explain";
  if (!o.html.empty()) return "--html";
  if (!o.memory_map.empty()) return "--memory-map";
  if (o.rewrite_limit) return "--rewrite-limit";
  if (o.pipeline.verify_each) return "--verify-each";
  if (!o.pipeline.dump_after.empty()) return "--dump-after";
  if (!o.pipeline.observers.empty()) return "an observer";
  return is_other_than_a_file(o.output) ? "--output" : "";
}

}  // namespace

ContentHash build_identity() {
  ContentHasher hasher;
  ::dl_iterate_phdr(add_object, &hasher);
  return hasher.finish();
}

// ---- CodeStore

Cache::Key CodeStore::key(const std::string& recipe) const {
  ContentHasher hasher;
  hasher.field("code");
  hasher.field(build_);
  hasher.field(recipe);
  return hasher.finish();
}

std::optional<std::string> CodeStore::get(const std::string& recipe) {
  auto found = cache_.find(kCode, key(recipe));
  ++(found ? hits_ : misses_);
  return found;
}

void CodeStore::put(const std::string& recipe, const std::string& code) {
  cache_.put(kCode, key(recipe), code);
}

// ---- CompileCache

CompileCache::CompileCache(const CompileOptions& options, Path output)
    : options_(options), output_(std::move(output)), target_(output_) {
  if (options.cache.folder.empty()) return;
  CacheOptions own = options.cache;
  if (!own.warn && options.tell) {
    own.warn = [&options](const Diagnostic& d) { options.tell(Severity::kWarning, d); };
  }
  build_ = build_identity();
  cache_.emplace(std::move(own));
  code_.emplace(*cache_, build_);
  const std::optional<std::string> nvrtc = find_nvrtc(options);
  if (const std::string why = nvrtc ? obstacle(options) : "--target: NVRTC is not found";
      !why.empty()) {
    report_ = {.result = "bypass", .why = why};
    tell(Code::kCacheBypassed, "the cache is not asked, because of " + why);
    return;
  }
  chosen_ = hash_options(options, build_, *nvrtc);
  graph_ = read_input(options.input);
  if (!graph_) return;  // the compilation will tell why
  report_ = {.result = "miss"};
  // Of the same extension, by which the format of some outputs is chosen.
  target_ = output_.parent_path() / (".new" + unique_name() + output_.extension().string());
  registered_ = Temporary(target_);
}

CompileCache::~CompileCache() {
  if (target_ != output_) ::unlink(target_.c_str());
}

void CompileCache::tell(Code code, const std::string& message) {
  if (!options_.tell) return;
  options_.tell(Severity::kNote,
                {.message = message, .code = code, .file = options_.output.string()});
}

std::optional<CompileCache::Input> CompileCache::read_input(const Path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return std::nullopt;
  struct stat info{};
  std::optional<ContentHash> hash;
  const bool good = ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  const int64_t now = ::time(nullptr);
  if (good) hash = hash_file(fd);
  ::close(fd);
  if (!hash) return std::nullopt;
  return Input{path, *hash, file_stamp(info), now - info.st_ctim.tv_sec > kSettledSeconds};
}

// Read again where the times could not show a change.
bool CompileCache::is_unchanged(const Input& input) {
  struct stat info{};
  if (::stat(input.path.c_str(), &info) != 0 || file_stamp(info) != input.stamp) return false;
  if (input.settled) return true;
  const auto again = read_input(input.path);
  return again && again->hash == input.hash;
}

std::optional<CompileCache::Input> CompileCache::read_weights(const std::string& name) const {
  try {
    return read_input(resolve_inside(options_.input.parent_path(), name, ""));
  } catch (const UserError&) {  // it leads out of the folder now: the compilation will tell
    return std::nullopt;
  }
}

ContentHash CompileCache::key() const {
  ContentHasher hasher;
  hasher.field(chosen_);
  hasher.field(graph_->hash);
  hasher.field(weights_.size());
  for (const auto& [name, input] : weights_) {
    hasher.field(name);
    hasher.field(input.hash);
  }
  return hasher.finish();
}

ContentHash CompileCache::weights_key() const {
  ContentHasher hasher;
  hasher.field("weights of a graph");
  hasher.field(build_);
  hasher.field(graph_->hash);
  return hasher.finish();
}

// The weights files that this graph named when it was compiled before, as they are now.
bool CompileCache::restore_weights() {
  const auto names = cache_->find(kWeights, weights_key());
  if (!names) return false;
  for (size_t at = 0; at < names->size();) {
    const size_t end = names->find('\0', at);
    const std::string name = names->substr(at, end - at);
    auto input = read_weights(name);
    if (!input) return false;
    weights_.emplace(name, std::move(*input));
    at = end + 1;
  }
  return true;
}

std::optional<CompileCache::Found> CompileCache::install() {
  report_->key = key().hex();
  Found found;
  if (!options_.header.empty()) {
    auto header = cache_->find(kHeader, key());
    if (!header) return std::nullopt;
    found.header = std::move(*header);
  }
  const unsigned mode = options_.emit == Emit::kSharedObject ? 0777 : 0666;
  if (!cache_->install(kArtifact, key(), output_, mode)) return std::nullopt;
  found.files.push_back(options_.input.string());
  for (const auto& [name, input] : weights_) found.files.push_back(input.path.string());
  return found;
}

std::optional<CompileCache::Found> CompileCache::restore() {
  if (target_ == output_) return std::nullopt;
  auto found = install();
  if (!found && restore_weights()) found = install();
  cache_->count(found.has_value());
  if (!found) return std::nullopt;
  report_->result = "hit";
  tell(Code::kCacheHit, "taken from the cache");
  return found;
}

void CompileCache::loaded(const Context& context) {
  if (target_ == output_) return;
  std::map<std::string, Input> known;
  known.swap(weights_);
  for (const auto& [name, stamp] : context.weights) {
    const auto found = known.find(name);
    auto input = found != known.end() ? found->second : read_weights(name);
    if (!input || input->stamp != stamp) {  // changed since it was opened
      changed_ = true;
      return;
    }
    weights_.emplace(name, std::move(*input));
  }
}

void CompileCache::finish() {
  if (report_) {
    report_->code_hits = code_->hits();
    report_->code_misses = code_->misses();
  }
  if (target_ == output_) return;
  bool unchanged = !changed_ && is_unchanged(*graph_);
  for (const auto& [name, input] : weights_) unchanged = unchanged && is_unchanged(input);
  if (unchanged) keep();
  if (::rename(target_.c_str(), output_.c_str()) != 0) {
    file_error(Code::kCannotWrite, std::string("cannot replace: ") + std::strerror(errno),
               output_.string());
  }
  target_ = output_;
}

void CompileCache::keep() {
  report_->key = key().hex();
  std::string names;
  for (const auto& [name, input] : weights_) names += name + '\0';
  if (!names.empty()) cache_->put(kWeights, weights_key(), names);
  if (!options_.header.empty()) cache_->put(kHeader, key(), header_);
  cache_->put_file(kArtifact, key(), target_);
  tell(Code::kCacheMiss, "compiled, as it was not in the cache");
}

}  // namespace gcomp::driver
