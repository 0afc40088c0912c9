#pragma once
// Bodies of control flow: closed graphs whose captures are operands of the node.

#include <map>
#include <memory>

#include "onnx/importer.h"

namespace gcomp::formats::onnx {

// The extents that a body's inputs have: numbers and plain symbols as outside, other expressions (which
// a call could not be solved for) as symbols of their own.
class InnerExtents {
 public:
  explicit InnerExtents(DimTable& dims) : dims_(dims) {}
  Type inner(const Type& outer);

 private:
  DimTable& dims_;
  std::map<DimId, DimId> renamed_;
};

// What nested graphs take from the graph around them.
class Captures {
 public:
  // `names`: free names of the nested graphs, each once. Names that are not defined are left out; the
  // import of the nested graph reports them.
  Captures(NodeImport& n, const FreeNames& names);

  // Operands of the node, in the order in which `declare` makes inputs for them.
  const Values& operands() const { return operands_; }
  // Makes the inputs in a body and gives the values that the names have there. Constants are made
  // anew, and known extents stay known where the body's inputs determine them.
  std::vector<std::pair<std::string_view, ValueId>> declare(Body& body, InnerExtents& extents);
  // The names with their values as they are: for a graph that is imported in place.
  const std::vector<std::pair<std::string_view, ValueId>>& outside() const { return all_; }

 private:
  NodeImport& n_;
  std::vector<std::pair<std::string_view, ValueId>> all_;
  Values operands_;
};

// a, then those of c that a lacks.
FreeNames join(const FreeNames& a, const FreeNames& c);

}  // namespace gcomp::formats::onnx
