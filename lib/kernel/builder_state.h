#pragma once
// What Builder accumulates; shared by the files that implement it.

#include <initializer_list>
#include <span>
#include <unordered_map>
#include <vector>

#include "gcomp/kernel/builder.h"

namespace gcomp::kernel {

struct Builder::State {
  // An open region: what its end marker must yield.
  struct Region {
    Code code;
    std::vector<Type> carried;
    bool has_carried = false;  // false while the then-part of an if is open
  };

  Kernel kernel;
  std::vector<Region> open;
  std::unordered_map<uint64_t, std::vector<Value>> constants;  // by hash of type and bits
  Value begin;
  Value end;
  Buffer error;

  Type type(Value v) const { return kernel.values[v.index].type; }
  bool is_const(Value v) const { return kernel.values[v.index].kind == ValueKind::kConst; }
  uint64_t bits(Value v) const { return kernel.values[v.index].bits; }
  // The instruction that defines `v`, or null for constants and parameters.
  const Inst* def(Value v) const;
  Value operand(const Inst& inst, size_t i) const {
    return Value(kernel.operands[inst.first_operand + i]);
  }

  Value add_value(ValueInfo info);
  // Appends an instruction; `defined` are the types of the values it defines.
  Inst& append(Code code, Type type, std::span<const Value> operands,
               std::span<const Type> defined);
  Value append_one(Code code, Type type, std::span<const Value> operands);
  Value append_one(Code code, Type type, std::initializer_list<Value> operands) {
    return append_one(code, type, std::span<const Value>(operands.begin(), operands.size()));
  }
  Values results_of(const Inst& inst) const;
  std::vector<Type> types_of(std::span<const Value> values) const;
};

}  // namespace gcomp::kernel
