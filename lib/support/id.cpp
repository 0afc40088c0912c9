#include "gcomp/support/id.h"

#include <string>

#include "gcomp/support/error.h"

namespace gcomp {

void too_many_for_ids(const char* what) {
  graph_error(Code::kTooLarge, "too large: more than " + std::to_string(kMaxIds) + " " + what, "",
              "ids are 32 bits: compile the graph in parts");
}

}  // namespace gcomp
