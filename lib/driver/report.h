#pragma once
// What a compilation tells of itself: --profile, --explain, --html. Nothing is recorded for what is not
// asked for.

#include <optional>

#include "gcomp/driver/options.h"
#include "gcomp/lower/lower.h"
#include "gcomp/pass/lineage.h"
#include "gcomp/passes/placement.h"
#include "phases.h"

namespace gcomp::driver {

class Report {
 public:
  Report(const CompileOptions& options, Phases& phases);

  bool is_profiled() const { return profiled_; }
  // Where passes and lowering write their parts; null: not wanted.
  pass::Profile* profile() { return profiled_ ? &phases_.passes : nullptr; }
  pass::Lineage* lineage() { return lineage_ ? &*lineage_ : nullptr; }
  bool wants_trace() const { return profiled_ || lineage_; }

  void placed(const Graph& graph, const passes::Placement& placement);
  void libraries_chosen(const lower::LoweredModule& both);
  // When the last graph is there, and lowered (null: it will not be; `placement` null: for one device).
  // UserError if a node that is to be explained is not there.
  void explain(const Graph& graph, const lower::LoweredModule* module,
               const passes::Placement* placement = nullptr);
  // At the end, when all phases are over.
  void write(const lower::LoweredModule* module) const;

 private:
  const CompileOptions& options_;
  Phases& phases_;
  bool profiled_;
  std::optional<pass::Lineage> lineage_;
};

}  // namespace gcomp::driver
