#include "gcomp/support/error.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace gcomp {
namespace {

std::string join(const std::vector<Diagnostic>& diagnostics) {
  std::string text;
  for (const Diagnostic& d : diagnostics) {
    if (!text.empty()) text += '\n';
    text += format(d);
  }
  return text;
}

Code general_code(ExitCode code) { return static_cast<Code>(1000 * static_cast<int>(code)); }

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substitute = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitute});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string format(const Diagnostic& d) {
  std::string text;
  if (!d.file.empty()) text += d.file + ": ";
  if (!d.place.empty()) text += d.place + ": ";
  text += d.message;
  if (!d.hint.empty()) text += " (" + d.hint + ")";
  return text;
}

UserError::UserError(ExitCode code, std::vector<Diagnostic> diagnostics)
    : std::runtime_error(join(diagnostics)), code_(code), diagnostics_(std::move(diagnostics)) {
  for (Diagnostic& d : diagnostics_) {
    if (d.code == Code::kNone) d.code = general_code(code);
  }
}

void Diagnostics::checkpoint(ExitCode code) const {
  if (any()) throw UserError(code, errors_);
}

void graph_error(Diagnostic d) { throw UserError(ExitCode::kGraph, std::move(d)); }

void graph_error(Code code, std::string message, std::string place, std::string hint) {
  graph_error({std::move(message), std::move(place), std::move(hint), code});
}

void file_error(Code code, std::string message, std::string file, std::string hint) {
  throw UserError(ExitCode::kFiles,
                  {std::move(message), "", std::move(hint), code, std::move(file)});
}

void usage_error(Code code, std::string message, std::string option, std::string hint) {
  throw UserError(ExitCode::kUsage, {std::move(message), std::move(option), std::move(hint), code});
}

void internal_error(const char* file, int line, const std::string& message) {
  const char* slash = std::strrchr(file, '/');
  throw InternalError(std::string(slash ? slash + 1 : file) + ":" + std::to_string(line) + ": " +
                      message);
}

std::string suggest(std::string_view word, const std::vector<std::string>& candidates) {
  if (word.size() > 64) return "";  // no misspelling, and the distance would take long
  std::string best;
  size_t best_distance = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace gcomp
