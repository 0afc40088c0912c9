#pragma once
// How diagnostics reach a person or a program: --diagnostics=text|json|sarif, on stderr.

#include <iosfwd>
#include <string>
#include <utility>
#include <vector>

#include "gcomp/support/error.h"

namespace gcomp::driver {

enum class Severity { kNote, kWarning, kError };
enum class DiagnosticFormat {
  kText,   // "gcomp: file: place: message (hint)"
  kJson,   // an object a line, in the order in which they come
  kSarif,  // one SARIF 2.1.0 document, when the command ends
};

class DiagnosticPrinter {
 public:
  DiagnosticPrinter(DiagnosticFormat format, std::ostream& out) : format_(format), out_(out) {}

  // `pass`: what gcomp was doing ("read", "canonicalize").
  void print(Severity severity, const Diagnostic& d, const std::string& pass);
  void print(const UserError& error, const std::string& pass);
  // From now on crashes and limits end the command in this format too (what was kept for SARIF is lost then).
  void prepare_last_words() const;
  // After everything: SARIF is written here, also when there is nothing to tell.
  void finish(ExitCode code);

 private:
  struct Entry {
    Severity severity;
    Diagnostic diagnostic;
    std::string pass;
  };
  DiagnosticFormat format_;
  std::ostream& out_;
  std::vector<Entry> entries_;  // SARIF's, until the end
};

}  // namespace gcomp::driver
