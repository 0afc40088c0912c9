// libFuzzer target of the JSON reader: any bytes give a graph or a UserError, and a graph that was read
// verifies and is written and read back as the same text.
#include "gcomp/formats/json.h"

#include <cstdlib>

#include "gcomp/ir/verify.h"
#include "gcomp/support/error.h"

namespace {

std::string written(const gcomp::Graph& g) {
  std::string text;
  gcomp::formats::write_json(g, {}, [&](std::string_view s) { text += s; });
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::string once;
  try {
    gcomp::Context context;
    const auto graph = gcomp::formats::read_json(context, text, "/nonexistent", "fuzz.json");
    if (!gcomp::verify(*graph).empty()) std::abort();
    once = written(*graph);
  } catch (const gcomp::UserError&) {
    return 0;
  }
  gcomp::Context context;
  const auto again = gcomp::formats::read_json(context, once, "/nonexistent", "fuzz.json");
  if (written(*again) != once) std::abort();
  return 0;
}
