#pragma once
// From a graph file to an artifact.

#include "gcomp/driver/options.h"

namespace gcomp::driver {

// Writes options.output (and options.header, options.depfile). UserError for what the user can mend; nothing is left
// behind unless the whole was written.
void compile(const CompileOptions& options);

// Writes options.output, header and depfile from options.cache, if they are there, and gives the files that they were
// made from, the graph first: neither is a graph loaded nor anything compiled. Nothing also for what only a
// compilation can tell to be wrong. UserError (kFiles) if the output cannot be written. compile() asks by itself.
std::optional<std::vector<std::string>> restore_from_cache(const CompileOptions& options);

// `gcomp opt`: the graph as the pipeline leaves it, written as .json or .gcb.
void optimize_to_file(const CompileOptions& options);

// What both look at first, before anything is read: levels, CPUs, tags and names. UserError (kUsage).
void check_compile_options(const CompileOptions& options);

}  // namespace gcomp::driver
