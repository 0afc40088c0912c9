#include "gcomp/driver/diagnose.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>
#include <sstream>

#include "gcomp/driver/crash.h"

namespace gcomp::driver {
namespace {

using Json = nlohmann::ordered_json;

const char* word(Severity severity) {  // in JSON, and SARIF's level
  switch (severity) {
    case Severity::kNote: return "note";
    case Severity::kWarning: return "warning";
    case Severity::kError: return "error";
  }
  return "";
}

// Names and paths may hold any bytes.
std::string to_text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json to_json(Severity severity, const Diagnostic& d, const std::string& pass) {
  return {{"severity", word(severity)},
          {"code", to_string(d.code)},
          {"message", d.message},
          {"file", d.file},
          {"place", d.place},
          {"pass", pass},
          {"hint", d.hint}};
}

// A path as a URI reference (RFC 3986): absolute ones with a scheme, as SARIF wants them.
std::string uri(const std::string& path) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  constexpr std::string_view kPlain = "-._~/!$&'()*+,;=@";
  std::string text = path.starts_with('/') ? "file://" : "";
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (byte < 128 && std::isalnum(byte) != 0) || kPlain.find(c) != kPlain.npos;
    if (plain) {
      text += c;
    } else {
      text += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return text;
}

Json locations(const Diagnostic& d) {
  Json location = Json::object();
  if (!d.file.empty()) {
    location["physicalLocation"] = {{"artifactLocation", {{"uri", uri(d.file)}}}};
  }
  if (!d.place.empty()) {
    location["logicalLocations"] = Json::array({{{"fullyQualifiedName", d.place}}});
  }
  return location.empty() ? Json::array() : Json::array({location});
}

Json sarif_result(Severity severity, const Diagnostic& d, const std::string& pass, size_t rule) {
  const std::string text = d.message + (d.hint.empty() ? "" : " (" + d.hint + ")");
  return {{"ruleId", to_string(d.code)}, {"ruleIndex", rule},
          {"level", word(severity)},     {"message", {{"text", text}}},
          {"locations", locations(d)},   {"properties", {{"pass", pass}, {"hint", d.hint}}}};
}

Json sarif_document(const Json& rules, const Json& results, ExitCode code) {
  const Json driver = {{"name", "gcomp"}, {"version", GCOMP_VERSION}, {"rules", rules}};
  const Json invocation = {{"executionSuccessful", code == ExitCode::kDone},
                           {"exitCode", static_cast<int>(code)}};
  const Json run = {{"tool", {{"driver", driver}}},
                    {"invocations", Json::array({invocation})},
                    {"results", results}};
  return {{"$schema", "https://json.schemastore.org/sarif-2.1.0.json"},
          {"version", "2.1.0"},
          {"runs", Json::array({run})}};
}

Json sarif_rule(Code code) {
  const CodeInfo& row = info(code);
  return {{"id", to_string(code)},
          {"shortDescription", {{"text", row.means}}},
          {"help", {{"text", row.cure}}}};
}

}  // namespace

void DiagnosticPrinter::print(Severity severity, const Diagnostic& d, const std::string& pass) {
  if (format_ == DiagnosticFormat::kSarif) {
    entries_.push_back({severity, d, pass});
  } else if (format_ == DiagnosticFormat::kJson) {
    out_ << to_text(to_json(severity, d, pass)) << std::endl;
  } else {
    out_ << "gcomp: " << (severity == Severity::kWarning ? "warning: " : "") << format(d)
         << std::endl;
  }
}

void DiagnosticPrinter::print(const UserError& error, const std::string& pass) {
  for (const Diagnostic& d : error.diagnostics()) print(Severity::kError, d, pass);
}

void DiagnosticPrinter::prepare_last_words() const {
  if (format_ == DiagnosticFormat::kText) return;
  const std::pair<Code, ExitCode> ends[] = {{Code::kCrash, ExitCode::kInternal},
                                            {Code::kTimeLimit, ExitCode::kLimit},
                                            {Code::kMemory, ExitCode::kLimit}};
  for (const auto& [code, exit_code] : ends) {
    const Diagnostic d{.message = "\x01", .hint = "\x03", .code = code};
    std::ostringstream text;
    DiagnosticPrinter printer(format_, text);
    printer.print(Severity::kError, d, "\x02");
    printer.finish(exit_code);
    const bool kept = set_last_words(static_cast<int>(code), text.str());
    GCOMP_CHECK(kept, "no room for the last words");
  }
}

void DiagnosticPrinter::finish(ExitCode code) {
  if (format_ != DiagnosticFormat::kSarif) return;
  std::vector<Code> codes;
  for (const Entry& e : entries_) codes.push_back(e.diagnostic.code);
  std::ranges::sort(codes);
  codes.erase(std::ranges::unique(codes).begin(), codes.end());
  Json rules = Json::array(), results = Json::array();
  for (const Code c : codes) rules.push_back(sarif_rule(c));
  for (const Entry& e : entries_) {
    const auto rule = std::ranges::lower_bound(codes, e.diagnostic.code) - codes.begin();
    results.push_back(sarif_result(e.severity, e.diagnostic, e.pass, static_cast<size_t>(rule)));
  }
  out_ << to_text(sarif_document(rules, results, code)) << std::endl;
}

}  // namespace gcomp::driver
