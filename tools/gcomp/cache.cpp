#include "gcomp/driver/cache.h"

#include <cstdio>
#include <iostream>

#include "command.h"

namespace gcomp::cli {
namespace {

std::string in_unit(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  return text;
}

void print(const driver::CacheStats& stats) {
  std::cout << stats.entries << " entries, " << in_unit(stats.bytes) << "\n";
  for (const driver::CacheKindStats& kind : stats.kinds) {
    std::cout << "  " << kind.kind << ": " << kind.entries << ", " << in_unit(kind.bytes) << "\n";
  }
  std::cout << stats.hits << " hits, " << stats.misses << " misses\n";
  if (stats.entries == 0) return;
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", stats.oldest / 3600);
  std::cout << "unused for at most " << text << " hours\n";
}

void verify(const driver::Path& folder) {
  std::vector<Diagnostic> damaged;
  for (const std::string& path : driver::verify_cache(folder)) {
    damaged.push_back(
        {.message = "was damaged, and is removed", .code = Code::kCacheCorrupt, .file = path});
  }
  if (!damaged.empty()) throw UserError(ExitCode::kFiles, std::move(damaged));
  std::cout << driver::cache_stats(folder).entries << " entries are whole\n";
}

}  // namespace

void cache_command(const Arguments& arguments, driver::DiagnosticPrinter&) {
  const auto parser = make_parser("gcomp cache", "Shows, checks or empties a cache of artifacts.",
                                  "gcomp cache stats|verify|clear [--cache-dir DIR]");
  std::string what;
  driver::Path folder;
  parser
      ->add_option("WHAT", what,
                   "stats, verify (damaged entries are removed: exit code 3) or clear")
      ->required();
  parser->add_option("--cache-dir", folder, "Its folder (GCOMP_CACHE_DIR)")
      ->envname("GCOMP_CACHE_DIR")
      ->required()
      ->type_name("DIR");
  if (!parse(*parser, arguments)) return;
  if (what == "stats") return print(driver::cache_stats(folder));
  if (what == "verify") return verify(folder);
  if (what == "clear") {
    std::cout << driver::clear_cache(folder) << " entries removed\n";
    return;
  }
  const std::string near = suggest(what, {"stats", "verify", "clear"});
  usage_error(Code::kUnknownName, "a cache has no '" + what + "'", "gcomp cache",
              near.empty() ? "stats, verify and clear are there" : "did you mean '" + near + "'?");
}

}  // namespace gcomp::cli
