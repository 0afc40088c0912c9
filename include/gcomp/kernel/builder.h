#pragma once
// Builds one Kernel, folding as it goes: constants, x+0, x*1, x*0 on integers, where(const), ...
//
//   Builder b;
//   Buffer x = b.parameter(DType::kFloat32, Role::kIn), y = b.parameter(DType::kFloat32,
//   Role::kOut); b.vector_loop(b.range_begin(), b.range_end(), 8, [&](Value i, int lanes) {
//     b.store(y, i, b.mul(b.load(x, i, lanes), b.f32(2)));
//   });
//   Kernel k = b.finish();
//
// Operands of one elementwise operation need equal dtypes; a one-lane operand is splat to the lanes
// of the others. Wrong types are bugs of the caller: InternalError.

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "gcomp/kernel/kernel.h"

namespace gcomp::kernel {

using Values = std::vector<Value>;

class Builder {
 public:
  Builder();
  ~Builder();
  Builder(const Builder&) = delete;
  Builder& operator=(const Builder&) = delete;

  // --- what the kernel is called with
  Buffer parameter(DType dtype, Role role);  // the next entry of the `buffers` argument
  Value scalar(DType dtype);                 // the next entry of `scalars`, one lane
  Value range_begin();                       // of the part of the parallel range to do, int64
  Value range_end();
  Value argument(Type type);  // for back ends: a value handed in (Value of ValueKind::kArgument)
  Buffer local(DType dtype, uint32_t size);  // small stack array (a few KB); not initialised
  Buffer table(DType dtype, std::span<const uint64_t> element_bits);
  // --- for GPUs: an iteration of the range is done by a block of so many threads
  void set_block(uint32_t threads);
  Buffer shared(DType dtype, uint32_t size);
  Value thread();                      // in the block, int64
  void barrier();                      // all threads of the block
  Value warp_xor(Value v, int lanes);  // v of the thread whose index differs in that bit
  // A warp's a (16 rows, 8 words in depth) times b (8 words, 8 columns) plus c (16 rows, 8 columns), by the
  // matrix units of GPUs from 8.0 on. Thread 4 * g + t of the warp holds, as lanes:
  //   a, 4 of uint32: words (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4)
  //   b, 2 of uint32: words (t, g), (t + 4, g)
  //   c and the result, 4 of float32: (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1)
  // Products are exact; they are added in float32 or wider, in an order and with a rounding that are the GPU's.
  Value warp_mma(MmaFormat format, Value a, Value b, Value c);
  // Four matrices of 8 rows of 8 elements of 16 bits, from the shared array: thread 8 * m + r of the warp gives
  // where row r of matrix m begins, a multiple of 8 elements. Thread 4 * g + t gets, as 4 of uint32, elements 2t and
  // 2t + 1 of row g of each; where `transposed`, of column g.
  Value warp_load(Buffer shared, Value row, bool transposed);
  // Whether an element's address is a multiple of kAccessBytes.
  Value is_aligned(Buffer buffer, Value index);
  // Begins to copy kAccessBytes from a parameter to a shared array, zeros unless `inside` (nothing is read then). Both
  // addresses are multiples of kAccessBytes. What the thread copied may be read by it after wait_copies, by others
  // after a barrier after that.
  void copy_async(Buffer to, Value at, Buffer from, Value index, Value inside);
  void commit_copies();           // those begun since the last one are a group
  void wait_copies(int pending);  // until at most so many groups of the thread are on their way

  // --- constants (interned; usable in any region)
  Value constant_bits(Type type, uint64_t bits);  // every lane has these bits
  Value constant(Type type, double value);        // converted as Op::cast would
  Value index(int64_t value);                     // int64, one lane
  Value f32(float value);
  Value f64(double value);
  Value boolean(bool value);
  Value like(Value v, double value) { return constant(type(v), value); }
  bool constant_value(Value v, int64_t* value) const;  // true for an integer or bool constant

  Type type(Value v) const;
  const BufferInfo& info(Buffer buffer) const;

  // --- elementwise: any op of the graph with that trait, and the frequent ones by name
  Value op(Op op, std::span<const Value> args);
  // NOLINTNEXTLINE(misc-no-recursion): to the one above
  Value op(Op op, std::initializer_list<Value> args) {
    return this->op(op, {args.begin(), args.size()});
  }
  Value cast(Value v, DType to);
  Value bitcast(Value v, DType to);
  Value add(Value a, Value b);
  Value sub(Value a, Value b);
  Value mul(Value a, Value b);
  Value div(Value a, Value b);  // integers: toward zero, x/0 = 0
  Value min(Value a, Value b);  // floats: NaN if either is
  Value max(Value a, Value b);
  Value neg(Value v);
  Value abs(Value v);
  Value sqrt(Value v);
  Value floor(Value v);
  Value round(Value v);  // half to even
  Value eq(Value a, Value b);
  Value ne(Value a, Value b);
  Value lt(Value a, Value b);
  Value le(Value a, Value b);
  Value gt(Value a, Value b);
  Value ge(Value a, Value b);
  Value bit_and(Value a, Value b);  // on bool: logical
  Value bit_or(Value a, Value b);
  Value bit_xor(Value a, Value b);
  Value bit_not(Value v);
  Value shl(Value a, Value b);
  Value shr(Value a, Value b);
  Value where(Value condition, Value a, Value b);  // both sides are evaluated
  Value fma(Value a, Value b, Value c);            // one rounding, always
  Value mul_add(Value a, Value b,
                Value c);             // one rounding where the CPU has fma: the one for speed
  Value index_div(Value a, Value b);  // int64, a >= 0, b > 0: cheaper than floor_div
  Value index_rem(Value a, Value b);
  Value index_mul_add(Value a, Value b, Value c) { return add(mul(a, b), c); }
  Value libm(Op op, std::span<const Value> args);  // one-lane float32/float64 call into libm

  // --- lanes
  Value splat(Value v, int lanes);
  Value extract(Value v, int lane);
  Value insert(Value v, int lane, Value element);
  Value iota(DType dtype, int lanes);  // 0, 1, 2, ...
  Value reduce(Op op, Value v);        // see Code::kReduce; one lane: itself
  Value any(Value mask);               // one-lane bool
  Value all(Value mask);
  Value shuffle(Value a, Value b, std::span<const int> lanes);  // indices into concat(a, b)
  Value shuffle(Value a, std::span<const int> lanes) { return shuffle(a, a, lanes); }
  Value concat(Value a, Value b);
  Value slice_lanes(Value v, int first, int lanes);
  Value interleave_low(Value a, Value b);  // a0 b0 a1 b1 ... of the lower halves
  Value interleave_high(Value a, Value b);
  // n vectors of n lanes each (n a power of two): result[i] lane j = rows[j] lane i.
  Values transpose(const Values& rows);

  // --- memory; `index` counts elements
  Value load(Buffer buffer, Value index, int lanes = 1);
  Value load_splat(Buffer buffer, Value index, int lanes);  // one element to all lanes (vbroadcast)
  Value gather(Buffer buffer, Value indices);
  Value masked_load(Buffer buffer, Value index, Value mask, Value otherwise);
  void store(Buffer buffer, Value index, Value v);  // dtype must be the buffer's
  void scatter(Buffer buffer, Value indices, Value v);
  void masked_store(Buffer buffer, Value index, Value mask, Value v);

  // --- effects
  // Reports a failure: *error = min(*error, code), atomically. The runtime starts a run with
  // *error = INT64_MAX; the plan hands codes that grow in node order, so the first node wins for
  // any number of threads. Adds the kError parameter on first use unless `parameter` made one.
  void set_error(Value code);

  // --- structure. Bodies return what they yield: as many values, of the same types, as were
  // carried.
  using ForBody = std::function<Values(Value i, std::span<const Value> carried)>;
  Values for_loop(Value lo, Value hi, Value step, const Values& init, const ForBody& body);
  void for_loop(Value lo, Value hi, Value step, const std::function<void(Value i)>& body);
  using WhileTest = std::function<Value(std::span<const Value> carried)>;
  using WhileBody = std::function<Values(std::span<const Value> carried)>;
  Values while_loop(const Values& init, const WhileTest& test, const WhileBody& body);
  using Arm = std::function<Values()>;
  Values if_else(Value condition, const Arm& then, const Arm& otherwise);
  void if_then(Value condition, const std::function<void()>& then);

  // i = lo, lo+lanes, ... while a whole vector fits, then one by one: body(i, lanes) and body(i,
  // 1).
  void vector_loop(Value lo, Value hi, int lanes,
                   const std::function<void(Value i, int lanes)>& body);
  // The same with carried values (of any lanes: the body must yield the types it was given, e.g.
  // combining a vector into an accumulator, or into lane 0 of it when lanes is 1).
  using VectorBody = std::function<Values(Value i, int lanes, std::span<const Value> carried)>;
  Values vector_loop(Value lo, Value hi, int lanes, const Values& init, const VectorBody& body);

  // Closes the kernel; throws InternalError when it does not verify. The builder is spent.
  Kernel finish();

  // Marker-level interface, for passes that copy streams; prefer the lambdas.
  Values begin_for(Value lo, Value hi, Value step, std::span<const Value> init,
                   uint8_t flags = 0);  // i, carried...
  Values end_for(std::span<const Value> yields);
  Values begin_while(std::span<const Value> init);
  void while_test(Value condition);
  Values end_while(std::span<const Value> yields);
  void begin_if(Value condition);
  void begin_else(std::span<const Value> yields);
  Values end_if(std::span<const Value> yields);

 private:
  Value simplify(Op op, Value a, Value b);
  Value add_offset(Op op, Value a, Value c);
  Value fused(Code code, Value a, Value b, Value c);
  Value narrow_once(Value v);

  struct State;
  std::unique_ptr<State> s_;
};

}  // namespace gcomp::kernel
