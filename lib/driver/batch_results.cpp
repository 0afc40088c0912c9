#include "batch_results.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "gcomp/artifact/content_hash.h"
#include "gcomp/support/files.h"
#include "gcomp/support/hash.h"

namespace gcomp::driver {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kEndingNames[kEndings] = {"ok",   "graph",  "usage", "files", "crash",
                                                "time", "memory", "hang",  "killed"};
constexpr size_t kMostErrors = 20;  // of one graph; the number of the others is told

Ending ending_of(const std::string& name) {
  const auto found = std::ranges::find(kEndingNames, name);
  if (found == std::end(kEndingNames)) throw json::other_error::create(501, "no status", nullptr);
  return static_cast<Ending>(found - std::begin(kEndingNames));
}

void add_text(ordered_json& to, const char* key, const std::string& text) {
  if (!text.empty()) to[key] = text;
}

ordered_json errors_json(const std::vector<BatchError>& errors) {
  ordered_json all = ordered_json::array();
  for (const BatchError& error : errors) {
    if (all.size() == kMostErrors) {
      all.push_back({{"message", "and " + std::to_string(errors.size() - kMostErrors) + " more"}});
      break;
    }
    ordered_json one;
    add_text(one, "code", error.code);
    one["message"] = error.message;
    add_text(one, "file", error.file);
    add_text(one, "place", error.place);
    add_text(one, "pass", error.pass);
    add_text(one, "hint", error.hint);
    all.push_back(std::move(one));
  }
  return all;
}

std::vector<BatchError> errors_of(const json& all) {
  std::vector<BatchError> errors;
  for (const json& one : all) {
    const auto text = [&](const char* key) { return one.value(key, std::string()); };
    errors.push_back(
        {text("code"), text("message"), text("file"), text("place"), text("pass"), text("hint")});
  }
  return errors;
}

double rounded(double seconds) { return std::round(seconds * 1e6) / 1e6; }

// What belongs to one process.
void add_attempt(ordered_json& to, const Attempt& attempt) {
  add_text(to, "level", attempt.level);
  to["seconds"] = rounded(attempt.seconds);
  to["cpu_seconds"] = rounded(attempt.cpu_seconds);
  to["peak_bytes"] = attempt.peak_bytes;
  if (!attempt.errors.empty()) to["errors"] = errors_json(attempt.errors);
  add_text(to, "reproducer", attempt.reproducer);
}

Attempt attempt_of(const json& from) {
  Attempt attempt;
  attempt.ending = ending_of(from.at("status").get<std::string>());
  attempt.level = from.value("level", "");
  attempt.seconds = from.value("seconds", 0.0);
  attempt.cpu_seconds = from.value("cpu_seconds", 0.0);
  attempt.peak_bytes = from.value("peak_bytes", uint64_t{0});
  if (from.contains("errors")) attempt.errors = errors_of(from["errors"]);
  attempt.reproducer = from.value("reproducer", "");
  return attempt;
}

BatchResult result_of(const json& from) {
  BatchResult result;
  result.name = from.at("name").get<std::string>();
  result.graph = from.value("graph", "");
  result.key = from.value("key", "");
  result.artifact = from.value("artifact", "");
  result.hash = from.value("hash", "");
  result.cached = from.value("cached", false);
  result.same_as = from.value("same_as", "");
  result.command = from.value("command", "");
  result.graph_bytes = from.value("graph_bytes", uint64_t{0});
  result.artifact_bytes = from.value("artifact_bytes", uint64_t{0});
  for (const json& file : from.value("files", json::array())) {
    result.files.push_back({file.at("path").get<std::string>(), file.at("bytes").get<uint64_t>(),
                            file.at("modified").get<int64_t>()});
  }
  for (const json& attempt : from.value("attempts", json::array())) {
    result.attempts.push_back(attempt_of(attempt));
  }
  result.attempts.push_back(attempt_of(from));
  return result;
}

[[noreturn]] void fail(const char* what, const Path& path) {
  file_error(Code::kFile, std::string(what) + ": " + std::strerror(errno), path);
}

uint64_t hash_of(const std::string& text) { return hash_bytes(std::as_bytes(std::span(text))); }

}  // namespace

BatchError batch_error(Code code, const std::string& message, const std::string& file) {
  return {gcomp::to_string(code), message, file, ""};
}

const char* to_string(Ending ending) { return kEndingNames[static_cast<int>(ending)]; }

double BatchResult::seconds() const {
  double sum = 0;
  for (const Attempt& attempt : attempts) sum += attempt.seconds;
  return sum;
}

double BatchResult::cpu_seconds() const {
  double sum = 0;
  for (const Attempt& attempt : attempts) sum += attempt.cpu_seconds;
  return sum;
}

uint64_t BatchResult::peak_bytes() const {
  uint64_t most = 0;
  for (const Attempt& attempt : attempts) most = std::max(most, attempt.peak_bytes);
  return most;
}

std::string to_line(const BatchResult& result) {
  ordered_json line{{"name", result.name},
                    {"status", to_string(result.ending())},
                    {"graph", result.graph},
                    {"graph_bytes", result.graph_bytes}};
  add_attempt(line, result.attempts.back());
  add_text(line, "artifact", result.artifact);
  if (result.artifact_bytes != 0) line["artifact_bytes"] = result.artifact_bytes;
  add_text(line, "hash", result.hash);
  if (result.cached) line["cached"] = true;
  add_text(line, "same_as", result.same_as);
  for (size_t i = 0; i + 1 < result.attempts.size(); ++i) {
    ordered_json attempt{{"status", to_string(result.attempts[i].ending)}};
    add_attempt(attempt, result.attempts[i]);
    line["attempts"].push_back(std::move(attempt));
  }
  for (const ReadFile& file : result.files) {
    line["files"].push_back(
        {{"path", file.path}, {"bytes", file.bytes}, {"modified", file.modified}});
  }
  add_text(line, "command", result.command);
  line["key"] = result.key;
  return line.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::optional<BatchResult> parse_result(const std::string& line) {
  try {
    return result_of(json::parse(line));
  } catch (const json::exception&) {
    return std::nullopt;
  }
}

std::string hash_file(const Path& path) {
  return artifact::hash_content(map_file(path).bytes).hex();
}

ReadFile stat_file(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return {path};
  return {path, static_cast<uint64_t>(info.st_size),
          int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec};
}

bool is_current(const BatchResult& result, const Path& folder) {
  for (const ReadFile& file : result.files) {
    const ReadFile now = stat_file(file.path);
    if (now.bytes != file.bytes || now.modified != file.modified) return false;
  }
  const Path artifact = folder / result.artifact;
  if (stat_file(artifact).bytes != result.artifact_bytes) return false;
  try {
    return hash_file(artifact) == result.hash;
  } catch (const UserError&) {  // no file that can be read
    return false;
  }
}

ResultsFile::ResultsFile(const Path& path, bool resume) : path_(path) {
  if (path == "-") {
    descriptor_ = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
    if (descriptor_ < 0) fail("cannot write", path_);
    return;
  }
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail("cannot open", path_);
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    const bool busy = errno == EWOULDBLOCK;
    ::close(descriptor_);
    if (!busy) fail("cannot lock", path_);
    file_error(Code::kBatchRuns, "another batch is writing these results", path_,
               "wait for it, or give --results another file");
  }
  if (resume) {
    read_places();
  } else if (::ftruncate(descriptor_, 0) != 0 && errno != EINVAL) {  // a device cannot be cut
    fail("cannot empty", path_);
  }
}

ResultsFile::~ResultsFile() { ::close(descriptor_); }

// A line without an end was torn: what it tells of is done again.
void ResultsFile::read_places() {
  std::ifstream file(path_, std::ios::binary);
  std::string line;
  uint64_t at = 0;
  while (std::getline(file, line) && !file.eof()) {
    if (const auto result = parse_result(line)) places_[hash_of(result->name)] = at;
    at += line.size() + 1;
  }
  if (::ftruncate(descriptor_, static_cast<off_t>(at)) != 0) fail("cannot cut", path_);
}

std::string ResultsFile::read_line(uint64_t at) const {
  std::string line;
  char block[4096];
  for (;;) {
    const ssize_t n = ::pread(descriptor_, block, sizeof block, static_cast<off_t>(at));
    if (n <= 0) fail("cannot read", path_);
    const char* end = static_cast<const char*>(std::memchr(block, '\n', static_cast<size_t>(n)));
    line.append(block, static_cast<size_t>(end != nullptr ? end - block : n));
    if (end != nullptr) return line;
    at += static_cast<uint64_t>(n);
  }
}

std::optional<BatchResult> ResultsFile::recorded(const std::string& name) const {
  const auto place = places_.find(hash_of(name));
  if (place == places_.end()) return std::nullopt;
  std::optional<BatchResult> result = parse_result(read_line(place->second));
  if (result && result->name != name) return std::nullopt;
  return result;
}

// One call of the system, so that a line is torn only when the file system or the machine fails, or the process is
// killed within it.
void ResultsFile::append(const BatchResult& result) {
  const std::string line = to_line(result) + "\n";
  for (size_t at = 0; at < line.size();) {
    const ssize_t n = ::write(descriptor_, line.data() + at, line.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("cannot write", path_);
    at += static_cast<size_t>(n);
  }
}

void for_each_result(const Path& path,
                     const std::function<void(size_t, const BatchResult&)>& take) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail("cannot open", path);
  std::string line;
  for (size_t number = 0; std::getline(file, line) && !file.eof(); ++number) {
    if (const auto result = parse_result(line)) take(number, *result);
  }
  if (file.bad()) fail("cannot read", path);
}

}  // namespace gcomp::driver
