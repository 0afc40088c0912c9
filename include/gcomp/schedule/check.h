#pragma once
// The judge of an order and its overwrites: a walk over the nodes that notes what every piece of memory
// holds. It shares no code with what decides them.

#include <optional>
#include <string>

#include "gcomp/schedule/tables.h"

namespace gcomp::schedule {

// What is wrong, with the nodes named; nullopt: every operand still has its value when it is read,
// every output at the end, and nothing is overwritten that must not be. Linear.
std::optional<std::string> find_interference(const ScheduleTables& tables, const InplacePlan& plan);

// Throws InternalError with what is found.
void check_plan(const ScheduleTables& tables, const InplacePlan& plan);

}  // namespace gcomp::schedule
