#include "batch_jobs.h"

#include <glob.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iostream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>
#include <unordered_map>

#include "compile_cache.h"
#include "gcomp/artifact/content_hash.h"
#include "gcomp/support/error.h"
#include "gcomp/support/files.h"

namespace gcomp::driver {
namespace {

namespace fs = std::filesystem;

// Seconds for a file of a kind: the start of a process, and so many for the square root of its megabytes, as larger
// graphs repeat more. Measured on user-group graphs of 10 KB to 80 MB and on real models; only the order of jobs and
// the first estimate of the time left rest on them.
struct Kind {
  const char* extension;
  double seconds;
};
constexpr double kStart = 0.04;
constexpr std::array kKinds{Kind{".json", 1.1}, Kind{".gcb", 3.0}, Kind{".onnx", 0.25}};

const Kind* kind_of(const Path& path) {
  const auto found = std::ranges::find_if(
      kKinds, [&](const Kind& kind) { return path.extension() == kind.extension; });
  return found == kKinds.end() ? nullptr : &*found;
}

[[noreturn]] void refuse(const std::string& what, const std::string& place,
                         const std::string& hint) {
  graph_error(Code::kManifest, what, place, hint);
}

Diagnostic missing(const std::string& what, const Path& file, const std::string& hint = "") {
  return {.message = what, .hint = hint, .code = Code::kCannotRead, .file = file};
}

bool is_utf8(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::ignore) ==
         nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// A name becomes a path below the output folder and a word in files of JSON.
void check_name(const std::string& name, const std::string& place) {
  const Path path(name);
  const bool inside = !name.empty() && name.back() != '/' && path.is_relative() &&
                      std::ranges::none_of(path, [](const Path& p) { return p == ".."; });
  if (!inside) {
    refuse("'" + name + "' cannot be the name of an artifact", place,
           "a path below the output folder");
  }
  if (!is_utf8(name)) {
    refuse("the name is not UTF-8", place, "name it in a manifest, or rename the file");
  }
}

class Collector {
 public:
  explicit Collector(const BatchOptions& options) : options_(options) {}

  std::vector<BatchJob> collect() {
    for (const std::string& input : options_.inputs) add_input(input);
    missing_.checkpoint(ExitCode::kFiles);
    if (!options_.manifest.empty()) add_manifest();
    refuse_equal_names();
    return std::move(jobs_);
  }

 private:
  void add(std::string name, const Path& graph, std::vector<std::string> options,
           const std::string& place) {
    check_name(name, place);
    BatchJob job{std::move(name), graph, std::move(options)};
    std::error_code error;
    const auto size = fs::file_size(graph, error);
    job.bytes = error ? 0 : size;
    const Kind* kind = kind_of(graph);
    job.expected = kStart + (kind == nullptr ? kKinds[0] : *kind).seconds *
                                std::sqrt(1e-6 * static_cast<double>(job.bytes));
    jobs_.push_back(std::move(job));
  }

  // Named by its place below `root`.
  void add_file(const Path& file, const Path& root) {
    const Path relative = root.empty() ? file.filename() : file.lexically_relative(root);
    add(Path(relative).replace_extension().generic_string(), file, {}, file.string());
  }

  // Not what an earlier batch wrote: its folder, and copies of graphs in reproducers.
  bool is_output(const Path& folder) const {
    std::error_code error;
    return folder.extension() == ".reproducer" ||
           folder.filename().string().starts_with("gcomp-reproducer-") ||
           fs::equivalent(folder, options_.output, error);
  }

  void add_folder(const Path& folder, const Path& root) {
    const size_t before = jobs_.size();
    try {
      for (fs::recursive_directory_iterator at(folder), end; at != end; ++at) {
        if (at->is_directory()) {
          if (is_output(at->path())) at.disable_recursion_pending();
        } else if (kind_of(at->path()) != nullptr && at->is_regular_file()) {
          add_file(at->path(), root);
        }
      }
    } catch (const fs::filesystem_error& error) {
      missing_.error(missing("cannot read: " + error.code().message(), error.path1()));
    }
    if (jobs_.size() == before) {
      missing_.error(missing("no graph in this folder", folder, "*.json, *.gcb or *.onnx"));
    }
  }

  void add_pattern(const std::string& pattern) {
    Path root;
    for (const Path& part : Path(pattern).parent_path()) {
      if (part.string().find_first_of("*?[") != std::string::npos) break;
      root /= part;
    }
    glob_t found{};
    const int error = ::glob(pattern.c_str(), 0, nullptr, &found);
    for (size_t i = 0; i < found.gl_pathc; ++i) {
      const Path path = found.gl_pathv[i];
      if (root.empty()) {
        fs::is_directory(path) ? add_folder(path, ".") : add_file("." / path, ".");
      } else {
        fs::is_directory(path) ? add_folder(path, root) : add_file(path, root);
      }
    }
    ::globfree(&found);
    if (error != 0) missing_.error(missing("no file is named so", pattern));
  }

  void add_input(const std::string& input) {
    std::error_code error;
    if (fs::is_directory(input, error)) {
      add_folder(input, input);
    } else if (fs::exists(input, error)) {
      add_file(input, {});
    } else if (input.find_first_of("*?[") != std::string::npos) {
      add_pattern(input);
    } else {
      missing_.error(missing("no such file or folder", input));
    }
  }

  void add_manifest() {
    const bool standard_input = options_.manifest == "-";
    const std::string text = standard_input
                                 ? std::string(std::istreambuf_iterator<char>(std::cin), {})
                                 : read_file(options_.manifest);
    const Path folder = standard_input ? Path() : options_.manifest.parent_path();
    Diagnostics wrong;
    size_t number = 0;
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size());
      const std::string line = text.substr(at, end - at);
      at = end + 1;
      const std::string place = options_.manifest.string() + ":" + std::to_string(++number);
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      try {
        add_line(line, folder, place);
      } catch (const nlohmann::json::exception& error) {
        wrong.error({error.what(), place, R"(as in {"graph": "a.onnx", "options": ["-O", "o3"]})",
                     Code::kManifest});
      } catch (const UserError& error) {
        for (const Diagnostic& d : error.diagnostics()) wrong.error(d);
      }
    }
    wrong.checkpoint(ExitCode::kGraph);
  }

  void add_line(const std::string& line, const Path& folder, const std::string& place) {
    const auto json = nlohmann::json::parse(line);
    if (json.contains("batch")) return;  // the head of a plan
    for (const auto& [key, value] : json.get<std::map<std::string, nlohmann::json>>()) {
      if (key != "graph" && key != "name" && key != "options" && key != "key") {
        refuse("there is no field '" + key + "'", place, "graph, name and options are known");
      }
    }
    const Path graph = json.at("graph").get<std::string>();
    const std::string stem = Path(graph.filename()).replace_extension().string();
    auto options = json.value("options", std::vector<std::string>());
    try {
      parsed(options);
    } catch (const UserError& error) {
      const Diagnostic& d = error.diagnostics().front();
      refuse(d.place.empty() ? d.message : d.place + ": " + d.message, place, d.hint);
    }
    add(json.value("name", stem), folder / graph, std::move(options), place);
  }

  // Checked once for all lines that have the same.
  void parsed(const std::vector<std::string>& options) {
    if (options.empty() || !seen_.insert(options).second) return;
    std::vector<std::string> all = options_.arguments;
    all.insert(all.end(), options.begin(), options.end());
    options_.parse(all);
  }

  void refuse_equal_names() const {
    std::unordered_map<std::string_view, const BatchJob*> jobs;
    Diagnostics equal;
    for (const BatchJob& job : jobs_) {
      const auto [other, is_new] = jobs.emplace(job.name, &job);
      if (is_new || equal.errors().size() == 10) continue;
      equal.error({.message = "both " + other->second->graph.string() + " and " +
                              job.graph.string() + " would become this file",
                   .hint = "give their common folder, or names in a manifest",
                   .code = Code::kEqualNames,
                   .file = options_.output / (job.name + options_.suffix)});
    }
    equal.checkpoint(ExitCode::kUsage);
  }

  const BatchOptions& options_;
  std::vector<BatchJob> jobs_;
  std::set<std::vector<std::string>> seen_;
  Diagnostics missing_;
};

void keep_shard(const BatchOptions& options, std::vector<BatchJob>& jobs) {
  if (options.shards == 1) return;
  size_t kept = 0;
  const auto shards = static_cast<size_t>(options.shards);
  for (size_t i = static_cast<size_t>(options.shard - 1); i < jobs.size(); i += shards) {
    if (kept != i) jobs[kept] = std::move(jobs[i]);
    ++kept;
  }
  jobs.resize(kept);
}

// Such an option changes no result.
bool is_about_cache(const std::string& word) {
  return word.starts_with("--cache-") || word.starts_with("--verbose") || word == "-v";
}

}  // namespace

std::vector<BatchJob> collect_jobs(const BatchOptions& options) {
  std::vector<BatchJob> jobs = Collector(options).collect();
  std::ranges::sort(jobs, [](const BatchJob& a, const BatchJob& b) {
    return std::tie(b.expected, a.name) < std::tie(a.expected, b.name);
  });
  keep_shard(options, jobs);
  return jobs;
}

std::string plan_head(const BatchOptions& options, const Path& results) {
  std::vector<std::string> arguments{"-o", fs::absolute(options.output).string()};
  for (const std::string& level : options.fallback) arguments.push_back("--fallback=" + level);
  arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
  const nlohmann::ordered_json head{{"arguments", arguments},
                                    {"results", fs::absolute(results).string()},
                                    {"keep_going", options.keep_going},
                                    {"resume", options.resume}};
  return nlohmann::ordered_json{{"batch", head}}.dump(-1, ' ', false,
                                                      nlohmann::json::error_handler_t::replace);
}

std::string manifest_line(const BatchJob& job, const std::string& key) {
  nlohmann::ordered_json line{{"name", job.name}, {"graph", fs::absolute(job.graph).string()}};
  if (!job.options.empty()) line["options"] = job.options;
  line["key"] = key;
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string job_key(const BatchOptions& options, const BatchJob& job) {
  artifact::ContentHasher hasher;
  hasher.field(build_identity());
  for (const auto* words : {&options.arguments, &job.options, &options.fallback}) {
    std::vector<std::string> counted = *words;
    std::erase_if(counted, is_about_cache);
    hasher.field(counted.size());
    for (const std::string& word : counted) hasher.field(word);
  }
  try {
    hasher.bytes(map_file(job.graph).bytes);
  } catch (const UserError&) {  // the worker will say so
  }
  return hasher.finish().hex();
}

}  // namespace gcomp::driver
