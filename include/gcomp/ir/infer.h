#pragma once
// What an op's inference function sees (operand types, attributes, known element values of small
// integer operands) and how it answers (result types, or an error text without the place, which the
// caller adds).

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gcomp/ir/graph.h"

namespace gcomp {

class TypeInference {
 public:
  TypeInference(Context& context, Op op, std::span<const Type* const> operands, Attrs attrs)
      : context_(context), op_(op), operands_(operands), attrs_(attrs) {}

  Context& context() { return context_; }
  DimTable& dims() { return context_.dims; }
  Op op() const { return op_; }
  int num_operands() const { return static_cast<int>(operands_.size()); }
  const Type& operand(int i) const { return *operands_[i]; }
  Attrs attrs() const { return attrs_; }

  void result(DType dtype, std::vector<DimId> dims) {
    results_.push_back({dtype, std::move(dims)});
  }
  void result(Type t) { results_.push_back(std::move(t)); }
  void fail(std::string message) {
    if (!error_) error_ = std::move(message);
  }
  bool failed() const { return error_.has_value(); }
  // Fails with `message` unless `condition`; returns condition.
  bool require(bool condition, std::string_view message);
  // `axis` within [0, rank); reports and returns false otherwise.
  bool check_axis(int64_t axis, int rank);
  // Extents that are the same expression, or could be equal at run time (then the kernel checks).
  bool compatible(DimId a, DimId b) const;
  std::string show(const Type& t) const;

  const std::vector<Type>& results() const { return results_; }
  const std::optional<std::string>& error() const { return error_; }

 private:
  Context& context_;
  Op op_;
  std::span<const Type* const> operands_;
  Attrs attrs_;
  std::vector<Type> results_;
  std::optional<std::string> error_;
};

// Checks arity and attributes against the op table, infers, and throws UserError at `loc` on a
// mistake.
std::vector<TypeId> infer_types(Context& context, Op op, std::span<const Type* const> operands,
                                AttrsId attrs, LocId loc);

std::string to_string(const Context& context, const Type& t);  // "float32[N, 3]"

}  // namespace gcomp
