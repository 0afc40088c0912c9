// The elementwise nodes after a contraction, evaluated on pieces of its result while they are in
// registers: the nest has two loops, rows and columns, and the contraction drives them.

#include "gcomp/support/error.h"
#include "nest_emitter.h"

namespace gcomp::lower {

using kernel::Value;

void NestEmitter::begin_epilogue(ValueId given) {
  GCOMP_CHECK(loops_.size() == 2, "an epilogue has rows and columns");
  given_ = given;
  build_outputs();
  find_items_of_phase();
  axis_level_ = {1, 2};
  lane_axis_ = 1;
  row_level_ = 2;
  level_log_.resize(4);
  level_terms_.resize(4);
  values_.assign(items_.size(), Value());
  axis_value_.assign(loops_.size(), Value());
  term_values_.assign(table_.num_terms(), Value());
  for (const Item& i : items_) {
    if (i.kind == ItemKind::kLoad) spec_.input(groups_.storage[i.value.index]);
  }
  for (const auto& [v, i] : outputs_) spec_.output(v);
  const std::vector<bool> all(items_.size(), true);
  open_level(0, all);
  emit_items(0, all, 1);
}

void NestEmitter::emit_epilogue(Value row, Value column, Value x, int lanes) {
  const std::vector<bool> all(items_.size(), true);
  current_lanes_ = lanes;
  axis_value_[0] = row;
  open_level(1, all);
  emit_items(1, all, lanes);
  axis_value_[1] = column;
  open_level(2, all);
  for (uint32_t i = 0; i < items_.size(); ++i) {
    if (items_[i].kind == ItemKind::kGiven) set_value(i, 2, x);
  }
  emit_items(2, all, lanes);
  for (const auto& [v, i] : outputs_) {
    const Linear at = place_of(v);
    emit_store(at, spec_.output(v), values_[i], lanes);
  }
  close_level(2);
  close_level(1);
  current_lanes_ = 1;
}

}  // namespace gcomp::lower
