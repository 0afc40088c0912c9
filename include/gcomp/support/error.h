#pragma once
// Two kinds of error, never mixed: UserError (the graph, the options or the files are wrong:
// located, collected, with a cure) and InternalError (a bug in gcomp: names the pass, writes a
// reproducer).

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "gcomp/support/diagnostic_codes.h"

namespace gcomp {

// Exit codes of the command line tool, documented in the README.
enum class ExitCode {
  kDone = 0,
  kGraph = 1,     // the graph is wrong or unsupported
  kUsage = 2,     // the command line is wrong
  kFiles = 3,     // a file cannot be read or written
  kInternal = 4,  // a bug in gcomp
  kLimit = 5,     // a time or memory limit was reached
  kRun = 6,       // the compiled graph failed when run
  kDiffers = 7,   // gcomp bisect found a difference
  kBatch = 9,     // graphs of gcomp batch failed
};

struct Diagnostic {
  std::string message;      // what is wrong
  std::string place = {};   // where: node name, JSON path or option; may be empty
  std::string hint = {};    // what to do; may be empty
  Code code = Code::kNone;  // once in a UserError: never kNone
  std::string file = {};    // may be empty
};

// "file: place: message (hint)"
std::string format(const Diagnostic& d);

class UserError : public std::runtime_error {
 public:
  UserError(ExitCode code, std::vector<Diagnostic> diagnostics);
  UserError(ExitCode code, Diagnostic d) : UserError(code, std::vector<Diagnostic>{std::move(d)}) {}
  ExitCode code() const { return code_; }
  const std::vector<Diagnostic>& diagnostics() const { return diagnostics_; }

 private:
  ExitCode code_;
  std::vector<Diagnostic> diagnostics_;
};

class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// Collects errors so that one run reports them all; `checkpoint` throws when any was added.
class Diagnostics {
 public:
  void error(Diagnostic d) { errors_.push_back(std::move(d)); }
  bool any() const { return !errors_.empty(); }
  const std::vector<Diagnostic>& errors() const { return errors_; }
  void checkpoint(ExitCode code) const;

 private:
  std::vector<Diagnostic> errors_;
};

// A UserError of kGraph, kFiles or kUsage.
[[noreturn]] void graph_error(Code code, std::string message, std::string place = "",
                              std::string hint = "");
[[noreturn]] void graph_error(Diagnostic d);
[[noreturn]] void file_error(Code code, std::string message, std::string file,
                             std::string hint = "");
[[noreturn]] void usage_error(Code code, std::string message, std::string option,
                              std::string hint = "");
[[noreturn]] void internal_error(const char* file, int line, const std::string& message);

// The nearest of `candidates` to `word` by edit distance, or "" when none is near: for "did you
// mean".
std::string suggest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace gcomp

// An invariant of gcomp itself; never for user input.
#define GCOMP_CHECK(condition, message)                                       \
  do {                                                                        \
    if (!(condition)) ::gcomp::internal_error(__FILE__, __LINE__, (message)); \
  } while (false)
