#pragma once
// One kernel's stream as CUDA C++: a statement for each instruction and lane, in order. A value of n lanes is n
// variables. What costs nothing and is read once stands where it is read.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gcomp/kernel/kernel.h"
#include "helpers.h"
#include "index_width.h"

namespace gcomp::codegen {

std::string_view cuda_type(DType t);  // "f32", "i64"

class KernelPrinter {
 public:
  // `kernel` is already expanded (expand_for_cuda).
  KernelPrinter(const kernel::Kernel& kernel, std::string_view name, int64_t most_iterations);
  std::string run();
  uint64_t used_helpers() const { return helpers_; }
  // Kernels without one are the whole function; tables stand before it.
  std::string tables() const { return tables_; }

 private:
  using Inst = kernel::Inst;
  // A value as text. Atoms need no brackets where they are operands.
  struct Text {
    std::string text;
    bool atom = true;
  };
  struct Region {  // an open loop or branch
    const Inst* open = nullptr;
    bool loop = true;                       // false: a loop of exactly one turn, printed as a block
    std::vector<std::string> carried = {};  // variables, by value and lane
  };

  // --- values
  kernel::Type type(uint32_t value) const { return k_.values[value].type; }
  uint32_t operand_id(const Inst& inst, size_t i) const {
    return k_.operands[inst.first_operand + i];
  }
  kernel::Type operand_type(const Inst& inst, size_t i) const { return type(operand_id(inst, i)); }
  size_t lane_slot(uint32_t value, int lane) const {
    return first_text_[value] + static_cast<size_t>(lane);
  }
  std::string_view type_name_of(uint32_t value) const;
  std::string variable(uint32_t value, int lane) const;
  Text value(uint32_t id, int lane) const;
  std::string atom(uint32_t id, int lane) const;
  std::string raw(const Inst& inst, size_t i, int lane) const;  // as a function's argument
  std::string arg(const Inst& inst, size_t i, int lane) const;  // as an operator's operand
  bool needs_wide_operands(const Inst& inst) const;
  std::string narrowed(const Inst& inst, std::string text) const;
  std::string literal(kernel::Type type, uint64_t bits) const;
  void define(const Inst& inst, int lane, std::string expression);
  void alias(const Inst& inst, int lane, uint32_t id, int from);
  bool stands_where_read(const Inst& inst, size_t length) const;

  // --- statements
  void line(std::string_view text);
  void open_line(std::string_view text);
  void close_line(std::string_view text = "}");
  void use(Helper h) { helpers_ |= uint64_t{1} << static_cast<unsigned>(h); }
  std::string call(Helper h, std::string_view name, const Inst& inst, int lane);

  void count_uses();
  void print_parameters();
  void print_arrays();
  void print_table(size_t buffer);
  void print(const Inst& inst);
  std::string op(const Inst& inst, int lane);
  std::string cast(const Inst& inst, int lane);
  std::string float_to_int(const Inst& inst, int lane);
  std::string bitcast(const Inst& inst, int lane) const;
  std::string arguments(const Inst& inst, int lane) const;
  std::string lane_expression(const Inst& inst, int lane);
  void print_value(const Inst& inst);
  std::string reduce(const Inst& inst);
  void print_memory(const Inst& inst);
  void print_access(const Inst& inst);
  void print_block(const Inst& inst);
  std::string warp_xor(const Inst& inst) const;
  std::string declare_lanes(const Inst& inst);
  void print_mma(const Inst& inst);
  void print_warp_load(const Inst& inst);
  void print_copy(const Inst& inst);
  void print_structure(const Inst& inst);
  void print_for(const Inst& inst);
  void print_while(const Inst& inst);
  void print_if(const Inst& inst);
  void end_loop(const Inst& inst);
  void open_region(const Inst& inst, size_t first_init, uint32_t first_value);
  void assign_yields(const Inst& inst);
  std::string combine(Op op, DType t, const std::string& a, const std::string& b);
  std::string int_op(const Inst& inst, DType t, int lane);
  std::string float_op(const Inst& inst, DType t, int lane);
  std::string bool_op(const Inst& inst, int lane);
  std::string element(const Inst& inst, int lane) const;
  std::string element_at(const Inst& inst, const std::string& index) const;
  std::string from_memory(const Inst& inst, std::string text);

  const kernel::Kernel& k_;
  std::string name_;
  IndexWidths widths_;
  std::vector<size_t> first_text_;  // by value
  std::vector<Text> texts_;         // by value and lane
  std::vector<uint32_t> uses_;      // by value
  std::vector<uint32_t> reader_region_;
  std::vector<uint32_t> value_region_;
  std::vector<uint32_t> end_of_;  // by instruction: kIf -> its kEndIf
  std::vector<Region> regions_;
  bool wide_operands_ =
      false;  // of the instruction at hand: int64 operands that are 32-bit are cast
  uint64_t helpers_ = 0;
  std::string tables_;
  std::string out_;
  int depth_ = 1;
};

// Whether CUDA, or a helper, has a function for `op`; else it is expanded.
bool has_cuda_function(Op op, DType t);
kernel::Kernel expand_for_cuda(const kernel::Kernel& kernel);

}  // namespace gcomp::codegen
