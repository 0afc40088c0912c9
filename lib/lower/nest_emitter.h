#pragma once
// One loop nest over a group's space that computes elementwise nodes and reductions (README.md tells
// the method): every value is an *item*, a graph value at an *instance* (an index into it as Linears of
// the loop variables); layout ops only make new instances. Items are emitted at the outermost loop they
// depend on. Reductions divide the work of a row into passes; an item needed by a later pass is
// recomputed, read back from an output or kept in a row buffer.

#include <functional>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cuda_parts.h"
#include "gcomp/schedule/fusion.h"
#include "index_expr.h"
#include "kernel_spec.h"

namespace gcomp::lower {

// 0 <= index < extent, else the value is not read.
struct Guard {
  Linear index;
  DimId extent;
  friend bool operator==(const Guard&, const Guard&) = default;
};

struct Instance {
  Index index;
  std::vector<Guard> guards;
  friend bool operator==(const Instance&, const Instance&) = default;
};

enum class ItemKind : uint8_t {
  kLoad,     // element `linear` of the memory of `value`
  kLiteral,  // the number a constant is
  kIndex,    // `linear` as an integer, cast to the item's dtype
  kDims,     // element `linear` of the list of extents in node attribute `values`
  kOp,       // elementwise `op` of the operands
  kSelect,   // operand 0 where the guards hold, else operand 1
  kReduce,   // operand 0 reduced over the reduced loops
  kWrap,     // a gather's index made non-negative and checked: operand 0, extent `extent`
  kGiven,    // set from outside (the result of a contraction)
};

struct Item {
  ItemKind kind = ItemKind::kOp;
  ValueId value = {};  // what it computes (kWrap: the index)
  uint32_t instance = 0;
  std::vector<uint32_t> operands = {};
  AxisMask axes = 0;
  uint32_t stage = 0;  // the pass over the reduced loops from which on it can be computed
  DType dtype = DType::kFloat32;
  Linear linear = {};
  DimId extent = {};
  std::vector<Guard> guards = {};  // kLoad, kSelect, kWrap
};

// What a kernel does of a nest: all, or, where blocks of a GPU share a row, pass 0, 1, ... over parts of the rows; one
// more kernel stores what has not the reduced loops (nest_block.cpp).
constexpr int kAllPasses = -1;

// Sums of floats are done in blocks of this many terms (a lane), so that rounding errors grow with the
// length of a block and the number of blocks, not with their product. Shorter sums are one run.
constexpr int64_t kSumBlock = 512;

class NestEmitter {
 public:
  // `loops` and `reduced` replace the group's space by one with the same elements in the same order.
  NestEmitter(const Graph& graph, const schedule::Groups& groups, uint32_t group, KernelSpec& spec,
              std::vector<DimId> loops, std::vector<bool> reduced, int phase = kAllPasses);

  // Neighbouring loops that every access of the group walks as one: extents and flags after merging.
  std::pair<std::vector<DimId>, std::vector<bool>> merged_loops();

  // The kernels that the nest is to be, if blocks share rows: phases 0, 1, ... Else 0, and it is one.
  int num_phases();

  // Emits the kernel; gives the parallel extent and grain.
  std::pair<DimId, uint32_t> emit();

  // After emitting: outputs that may lie in the memory of something read, and what (a storage root).
  std::vector<std::pair<ValueId, ValueId>> overwrites();

  // ---- For a contraction, which makes the loops itself: the group's nodes after it are evaluated
  // and stored piece by piece. The nest's loops are rows and columns of the result.
  void begin_epilogue(ValueId given);  // outside all loops, before the first piece
  // `x`: `lanes` elements of `given` from (row, column) on.
  void emit_epilogue(kernel::Value row, kernel::Value column, kernel::Value x, int lanes);

 private:
  struct Sink {
    uint32_t item;
    bool is_output;  // else: a reduction's operand, or an item kept for later
  };

  // --- building
  uint32_t instance(Instance i);
  uint32_t native_instance(ValueId v);
  Linear place_of(ValueId v);  // in its memory, at the loops' element
  bool is_of_row(ValueId v);   // one element for all of a row
  uint32_t item(ValueId v, uint32_t instance);
  bool build(ValueId v, uint32_t instance);
  uint32_t need(ValueId v, const Instance& i);
  bool build_layout(ValueId v, const Node& node, const Instance& at, uint64_t key);
  bool build_gather(ValueId v, const Node& node, const Instance& at, uint64_t key);
  bool build_reduce(ValueId v, const Node& node, const Instance& at, uint64_t key);
  void build_load(ValueId v, const Instance& at, uint64_t key);
  uint32_t add_item(uint64_t key, Item item);
  bool is_expanded(ValueId v) const;
  bool is_deep(const Item& i) const { return (i.axes & reduced_mask_) != 0; }

  // --- planning
  void build_outputs();
  int choose_lane_axis();
  bool lanes_pay_across(uint32_t rows);
  void choose_levels();
  int choose_lanes();
  int choose_access_lanes();
  int lanes_for_map(int most) const;
  int lanes_for_row(int most) const;
  int most_live(AxisMask lane) const;
  void plan();
  void count_passes();
  void plan_passes();
  void need_operands(uint32_t item, std::vector<bool>* needed) const;
  void find_items_of_phase();
  uint32_t num_accumulators(uint32_t reduction) const;
  uint32_t recompute_weight(uint32_t item) const;
  uint32_t max_recompute_weight() const;
  bool keep(uint32_t item);
  std::vector<bool> needed_in_pass(uint32_t pass) const;
  bool is_stored(ValueId output, uint32_t item);
  bool is_read_back(uint32_t item, uint32_t pass) const;
  uint32_t first_store(ValueId output, uint32_t item) const;
  int level_of(AxisMask axes) const;
  uint32_t total_weight() const;

  // --- emission
  struct Address {
    Linear linear;
    std::vector<std::pair<int, kernel::Value>>
        prefix;  // (level, sum of constants and terms so far)
  };
  void open_level(int level, const std::vector<bool>& needed);
  void close_level(int level);
  void emit_items(int level, const std::vector<bool>& needed, int lanes);
  void emit_item(uint32_t item, int lanes);
  kernel::Value emit_load(const Linear& at, const std::vector<Guard>& guards, kernel::Buffer buffer,
                          DType dtype, bool varies, int lanes);
  void emit_store(const Linear& at, kernel::Buffer buffer, kernel::Value v, int lanes);
  kernel::Value guard_mask(const std::vector<Guard>& guards, int lanes);
  kernel::Value prefix(const Linear& a, int level);
  kernel::Value term_value(uint32_t term, int lanes);
  kernel::Value base_of(const Linear& a);              // lane 0; only terms equal in all lanes vary
  kernel::Value lanes_of(const Linear& a, int lanes);  // the index in every lane
  bool general_in_lanes(const Linear& a) const;        // varies otherwise than by the lane loop
  kernel::Value value_of(uint32_t item) const { return values_[item]; }
  void set_value(uint32_t item, int level, kernel::Value v);
  void emit_row(int lanes);
  void begin_pass(uint32_t pass);
  kernel::Values first_accumulators(int lanes);
  kernel::Values join_block(std::span<const kernel::Value> total,
                            std::span<const kernel::Value> block);
  void emit_pass(uint32_t pass, int row_lanes);
  void emit_blocks(DimId extent, kernel::Value lo, kernel::Value hi, int step,
                   kernel::Values* carried,
                   const std::function<void(kernel::Value, kernel::Value, kernel::Values*)>& body);
  void emit_reduced_loop(size_t depth, kernel::Value lo, kernel::Value hi, uint32_t pass,
                         int row_lanes, kernel::Values* carried);
  void emit_reduced_turn(size_t depth, kernel::Value i, uint32_t pass, int row_lanes,
                         kernel::Values* carried);
  void emit_reduced_loops(size_t depth, uint32_t pass, int row_lanes, kernel::Values* carried);
  void emit_innermost(uint32_t pass, kernel::Value lo, kernel::Value hi, kernel::Values* carried);
  void emit_body(uint32_t pass, int lanes, bool scalar_part, kernel::Values* carried);
  void emit_deep_item(uint32_t item, uint32_t pass, int lanes);
  void decode(int level, kernel::Value p);
  kernel::Values reduce_init(uint32_t item, int lanes);
  void reduce_step(uint32_t item, int lanes, std::span<kernel::Value> acc);
  kernel::Values reduce_lanes(uint32_t item, std::span<const kernel::Value> acc);
  kernel::Values reduce_join(uint32_t item, std::span<const kernel::Value> a,
                             std::span<const kernel::Value> b);
  kernel::Value reduce_finish(uint32_t item, std::span<const kernel::Value> acc);
  void store_of_row(const Linear& at, kernel::Buffer buffer, kernel::Value v, int lanes);

  std::pair<DimId, uint32_t> emit_accesses(const std::vector<bool>& early);

  // --- the vectorised loop of rows; long columns (nest_columns.cpp)
  // Vectors from lo to middle, single elements from there to hi.
  struct Vectors {
    kernel::Value lo, middle, hi;
    bool has_rest = true;
  };
  using VectorBody = std::function<void(kernel::Value, int lanes)>;
  void for_vectors(const Vectors& range, const VectorBody& body);
  void in_vector(kernel::Value i, int lanes, const std::vector<bool>& early,
                 const std::function<void()>& body);
  void choose_columns();
  void sum_columns(const Vectors& range, const std::vector<bool>& early);
  void add_rows(const Vectors& range, const std::vector<bool>& early, kernel::Value lo,
                kernel::Value hi, std::span<const kernel::Buffer> sums);
  kernel::Values load_columns(std::span<const kernel::Buffer> sums, int lanes);
  void store_columns(std::span<const kernel::Buffer> sums, const kernel::Values& values);

  // --- blocks of threads (nest_block_plan.cpp, nest_block.cpp)
  // `along` threads do a row together, each every so many of its elements; a block does `across` rows, or as many times
  // row_lanes(). Neighbouring threads are in one row, or (columns) in neighbouring ones. No threads: a thread does a row.
  struct BlockShape {
    bool columns = false;
    uint32_t across = 1, along = 0;
    uint32_t threads() const { return across * along; }
    uint32_t warps_of_row() const;
    int64_t sums() const;  // of each lane that its warps leave in shared memory
  };
  // Neighbours in the row, or in as many rows, that a thread does at once.
  struct Piece {
    kernel::Value at = {};       // the first's place in the row
    bool is_rest = false;        // of what fills no vector
    kernel::Value inside = {};   // whether there are such elements; invalid: there are
    kernel::Values values = {};  // by item: what was loaded early, or an earlier pass has found
  };
  void choose_block();
  BlockShape block_of_rows() const;
  BlockShape block_of_columns() const;
  void choose_parts();
  void choose_pieces();
  int row_lanes() const { return lanes_reduced_ ? 1 : lanes_; }
  int piece_lanes() const { return lanes_reduced_ ? lanes_ : 1; }
  bool is_part() const { return phase_ >= 0 && phase_ < static_cast<int>(num_passes_); }
  bool joins(uint32_t pass) const { return phase_ > static_cast<int>(pass); }
  std::pair<DimId, uint32_t> emit_tiles(const std::vector<bool>& early);
  void begin_block();
  void begin_tile(kernel::Value p);
  void begin_pieces();
  std::vector<bool> early_loads(uint32_t pass) const;
  int64_t pieces_at_once(const std::vector<bool>& loads) const;
  void emit_block_pass(uint32_t pass, kernel::Values* carried);
  void emit_strided(uint32_t pass, const std::vector<bool>& loads, kernel::Values* carried);
  void emit_pieces(uint32_t pass, std::span<Piece> pieces, const std::vector<bool>& loads,
                   kernel::Values* carried);
  void in_piece(Piece& piece, const std::vector<bool>& results, kernel::Values* carried,
                const std::function<void(kernel::Values*)>& body);
  kernel::Buffer part_buffer(uint32_t reduction, size_t accumulator, DType dtype);
  void store_part(uint32_t reduction, std::span<const kernel::Value> acc);
  void join_parts(kernel::Values* carried);
  void by_first_thread(const std::function<void()>& body);  // of each row
  kernel::Values reduce_threads(uint32_t item, const kernel::Values& acc);
  void join_warps(uint32_t item, std::vector<kernel::Values>* sums);

  // --- squares in shared memory (nest_transpose.cpp)
  struct Tiled {
    uint32_t item;  // a load
    kernel::Buffer square;
  };
  void choose_tile();
  void begin_square();
  void for_square(uint32_t across, uint32_t down, const std::vector<kernel::Value>& first,
                  const std::function<void(kernel::Value)>& body);
  std::pair<DimId, uint32_t> emit_squares(const std::vector<bool>& early);

  const Graph& graph_;
  const schedule::Groups& groups_;
  const uint32_t group_number_;
  const schedule::Group& group_;
  KernelSpec& spec_;
  kernel::Builder& b_;
  DimTable& dims_;
  IndexTable table_;
  std::vector<DimId> loops_;
  std::vector<bool> reduced_;
  AxisMask reduced_mask_ = 0;
  DimId rows_, length_;  // elements of the loops that are not reduced, and of those that are
  const int phase_;
  bool planned_ = false;
  std::vector<bool> in_phase_;  // items that this kernel computes
  ValueId given_;

  std::vector<Instance> instances_;
  std::unordered_map<size_t, std::vector<uint32_t>> instance_ids_;
  std::vector<Item> items_;
  std::unordered_map<uint64_t, uint32_t> item_of_;
  std::vector<std::pair<ValueId, uint32_t>> missing_;
  std::vector<std::pair<ValueId, uint32_t>> outputs_;  // value, item

  // Levels of the emitted nest: 0 outside all loops, 1 the parallel range, then one a loop.
  std::vector<int> axis_level_;
  int row_level_ = 1;
  int lane_axis_ = -1;  // the vectorised loop, or -1
  bool lanes_reduced_ = false;
  std::vector<uint32_t> reduced_outer_;  // reduced loops but the vectorised one
  uint32_t num_passes_ = 0;
  std::vector<uint32_t> reductions_;  // items
  // Of the pass being emitted: its reductions, their first accumulators, and whether they sum in blocks.
  std::vector<uint32_t> pass_reductions_;
  kernel::Values fresh_;
  bool in_blocks_ = false;
  // Columns that are summed together in memory, and their accumulators; 0: each vector's on its own.
  int64_t columns_ = 0, rows_at_once_ = 1;
  std::vector<kernel::Buffer> column_sums_;
  kernel::Value first_column_;
  // Items read back in later passes, and from where.
  struct Kept {
    ValueId output;         // in the memory of this output ...
    kernel::Buffer buffer;  // ... or in a local array indexed by the reduced loops
    bool local = false;
    Linear at;
  };
  std::map<uint32_t, Kept> kept_;
  int lanes_ = 1;
  BlockShape block_;
  bool has_rest_ = false;  // of a row, that fills no vector
  // Of a thread that keeps all of its row in registers (else there are none); by item: the first pass that computes it,
  // and whether later ones need what it has found.
  int64_t num_pieces_ = 0;
  std::vector<Piece> pieces_;
  std::vector<uint32_t> first_pass_;
  std::vector<bool> held_;
  std::vector<Tiled> tiled_;
  uint32_t tile_axis_ = 0;  // along which their neighbours lie
  int tile_side_ = 0;       // of the squares, in elements
  Parts parts_;             // of a row, where blocks share it
  // Of a thread: its place in the block, its row (has_row_: there is one) and part, its block's elements (those from
  // middle_ on fill no vector).
  kernel::Value warp_, lane_, column_, along_, row_, has_row_, part_, from_, middle_, to_;

  std::vector<kernel::Value> axis_value_;
  std::vector<kernel::Value> values_;
  std::vector<std::vector<uint32_t>> level_log_;  // items set at each level
  std::vector<std::vector<uint32_t>> level_terms_;
  std::vector<kernel::Value> term_values_;
  std::vector<Address> addresses_;
  std::unordered_map<size_t, std::vector<uint32_t>> address_ids_;
  int level_ = 0;
  int current_lanes_ = 1;
  std::vector<bool> needed_;
};

}  // namespace gcomp::lower
