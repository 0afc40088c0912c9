#include "batch_summary.h"

#include <algorithm>
#include <cstdio>
#include <unordered_map>

#include "gcomp/driver/batch.h"

namespace gcomp::driver {
namespace {

constexpr size_t kMostMessages = 20;
constexpr size_t kSlowest = 3;

template <class... Values>
std::string text(const char* format, Values... values) {
  char line[256];
  std::snprintf(line, sizeof line, format, values...);
  return line;
}

std::string size_text(uint64_t bytes) {
  const double mebibytes = static_cast<double>(bytes) / (1 << 20);
  return mebibytes < 1024 ? text("%.1f MiB", mebibytes) : text("%.2f GiB", mebibytes / 1024);
}

}  // namespace

std::string failure_text(const BatchResult& result) {
  const std::vector<BatchError>& errors = result.attempts.back().errors;
  std::string line = result.name + ": " + to_string(result.ending());
  if (!errors.empty()) {
    const BatchError& e = errors.front();
    const std::string hint =
        e.pass.empty() ? e.hint : "while: " + e.pass + (e.hint.empty() ? "" : "; ") + e.hint;
    line += ": " + format(Diagnostic{
                       .message = e.message, .place = e.place, .hint = hint, .file = e.file});
  }
  constexpr size_t kMost = 250;  // messages of libraries may be long
  line.erase(std::ranges::find(line, '\n'), line.end());
  if (line.size() > kMost) {
    line.resize(kMost);
    line += "...";
  }
  if (errors.size() > 1) line += " (and " + std::to_string(errors.size() - 1) + " more)";
  return line;
}

void BatchSummary::add(const BatchResult& result, From from) {
  ++graphs_;
  ++endings_[static_cast<size_t>(result.ending())];
  graph_bytes_ += result.graph_bytes;
  artifact_bytes_ += result.artifact_bytes;
  if (from == From::kCompiled) cpu_seconds_ += result.cpu_seconds();
  if (result.ending() != Ending::kOk) {
    ++failures_;
    if (messages_.size() < kMostMessages) messages_.push_back(failure_text(result));
  } else if (!result.same_as.empty()) {
    ++same_;
  } else {
    if (from == From::kKept) ++kept_;
    if (from == From::kCompiled && result.cached) ++cached_;
    if (!result.attempts.back().level.empty()) ++lower_;
  }
  const Row row{result.seconds(), result.peak_bytes(), result.name};
  if (row.peak_bytes > largest_.peak_bytes) largest_ = row;
  const auto place = std::ranges::lower_bound(slowest_, row.seconds, std::greater(), &Row::seconds);
  if (place != slowest_.end() || slowest_.size() < kSlowest) slowest_.insert(place, row);
  if (slowest_.size() > kSlowest) slowest_.pop_back();
}

// " (3 by an earlier run, 2 from the cache)"
std::string BatchSummary::origins() const {
  std::string all;
  const auto add = [&](size_t count, const char* what) {
    if (count != 0) all += (all.empty() ? " (" : ", ") + std::to_string(count) + " " + what;
  };
  add(kept_, "by an earlier run");
  add(cached_, "from the cache");
  add(lower_, "at another level");
  return all.empty() ? all : all + ")";
}

void BatchSummary::print_counts(std::ostream& out, double wall, size_t left) const {
  const auto row = [&](size_t count, const std::string& what) {
    if (count != 0) out << text("%8zu  ", count) << what << "\n";
  };
  out << text("%8zu  graphs", graphs_ + left);
  if (wall > 0) out << text(" in %.1f s (%.1f s of processors)", wall, cpu_seconds_);
  out << ", " << size_text(graph_bytes_) << " to " << size_text(artifact_bytes_) << "\n";
  row(endings_[0] - same_, "compiled" + origins());
  row(same_, "equal to one of these");
  row(failures_, "failed");
  constexpr const char* kMeaning[kEndings] = {"",
                                              "wrong or unsupported",
                                              "with wrong options",
                                              "a file cannot be used",
                                              "a bug in gcomp",
                                              "at the time limit",
                                              "at the memory limit",
                                              "did not end and were killed",
                                              "were killed by somebody else"};
  for (size_t i = 1; i < kEndings; ++i) {
    if (endings_[i] != 0) {
      out << text("%14zu  %s: ", endings_[i], to_string(static_cast<Ending>(i))) << kMeaning[i]
          << "\n";
    }
  }
  row(left, "not begun");
}

void BatchSummary::print(std::ostream& out, double wall, size_t left) const {
  print_counts(out, wall, left);
  if (largest_.peak_bytes != 0) {
    out << "most memory: " << size_text(largest_.peak_bytes) << ", " << largest_.name << "\n";
  }
  for (const Row& row : slowest_) {
    out << (&row == slowest_.data() ? "slowest:" : "        ") << text(" %.2f s, ", row.seconds)
        << row.name << "\n";
  }
  for (const std::string& message : messages_) {
    out << (&message == messages_.data() ? "failed: " : "        ") << message << "\n";
  }
  if (failures_ > messages_.size()) {
    out << "        and " << failures_ - messages_.size() << " more\n";
  }
}

// Two walks: which line is the last one of its graph, then those alone.
bool summarize_results(const std::vector<std::string>& files, std::ostream& out) {
  std::unordered_map<size_t, std::pair<uint32_t, uint32_t>> last;  // by the name's hash
  const std::hash<std::string> hash;
  for (uint32_t file = 0; file < files.size(); ++file) {
    for_each_result(files[file], [&](size_t line, const BatchResult& result) {
      last[hash(result.name)] = {file, static_cast<uint32_t>(line)};
    });
  }
  BatchSummary summary;
  for (uint32_t file = 0; file < files.size(); ++file) {
    for_each_result(files[file], [&](size_t line, const BatchResult& result) {
      const std::pair here(file, static_cast<uint32_t>(line));
      if (last.at(hash(result.name)) == here) summary.add(result);
    });
  }
  summary.print(out, 0, 0);
  return summary.failures() == 0;
}

}  // namespace gcomp::driver
