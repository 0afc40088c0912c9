#include "phases.h"

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "gcomp/support/files.h"

namespace gcomp::driver {

void Phases::begin(const std::string& name) {
  end();
  progress_.stage(name);
  phases_.push_back({name});
  begin_ = Clock::now();
  open_ = true;
}

void Phases::end() {
  if (!open_) return;
  phases_.back().seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
  open_ = false;
}

void Phases::report(const std::string& where) const {
  if (where.empty()) return;
  if (where == "-") {
    std::cerr << table();
  } else {
    write_file(where, json());
  }
}

std::string Phases::table() const {
  std::string text = "phase              ms\n";
  double total = 0;
  char line[128];
  for (const Phase& phase : phases_) {
    std::snprintf(line, sizeof line, "%-14s %8.2f\n", phase.name.c_str(), phase.seconds * 1e3);
    text += line;
    total += phase.seconds;
  }
  std::snprintf(line, sizeof line, "%-14s %8.2f\n\n", "all", total * 1e3);
  return text + line + pass::to_table(passes);
}

std::string Phases::json() const {
  nlohmann::ordered_json all;
  all["phases"] = nlohmann::ordered_json::array();
  for (const Phase& phase : phases_) {
    all["phases"].push_back({{"name", phase.name}, {"seconds", phase.seconds}});
  }
  all["passes"] = nlohmann::ordered_json::parse(pass::to_json(passes));
  return all.dump(2) + "\n";
}

}  // namespace gcomp::driver
