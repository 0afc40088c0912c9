#pragma once
// Writes a call plan (gcomp/runtime/plan.h): the compiler states values, buffers and steps in
// program order, the builder interns values, groups scalars, sorts everything by segment, derives
// lifetimes and packs the arena when it can.
//
//   PlanBuilder b;
//   const PlanValue n = b.symbol("n");
//   const PlanBufferId x = b.input("x", DType::kFloat32, {{n, "n"}});
//   const PlanBufferId y = b.output("y", DType::kFloat32, {{n, "n"}});
//   const PlanBufferId t = b.temporary(b.mul(n, b.constant(4)));
//   const PlanKernelId k = b.kernel("gcomp_k0");
//   b.call({.kernel = k, .buffers = {x, t}, .scalars = {n, 0.5}, .extent = n, .grain = 4096});
//   b.call({.kernel = k, .buffers = {t, y}, .scalars = {n, 2.0}, .extent = n, .grain = 4096});
//   PlanImage image = b.finish();
//
// Rules for the caller:
//  - All inputs and states before outputs and new states before steps; a symbol of an input must be an extent of its own of
//  some input or state (composite
//    extents are then checked against it).
//  - A call's grain 0 runs the whole range on one thread; else it is the least number of iterations
//  worth a task.
//  - Lifetimes span first to last mention, so operands and results of one step never share memory.
//  Loops: what is
//    created outside begin_loop/end_loop and mentioned inside lives through the whole loop; so
//    create buffers that carry a value from one iteration to the next before begin_loop. What an
//    alias step makes a buffer mean lives until that buffer's last mention.
//  - Data-dependent extents: bind() makes the symbols known; temporaries, views, outputs and
//  scalars that mention them
//    may only be used by later steps. They lie in an arena of that bind step, whose contents do not
//    survive the next execution of the same bind step (loops): values that must survive lie in
//    owned() buffers.
//  - Two devices: temporaries and owned buffers lie where they are created, inputs, outputs, states and
//  constants on the host; on_device() is their other self, whose contents the runtime takes care of. launch()
//  takes buffers of the device only, call() and control flow those of the host, copy() and fill() any.
//  - Errors of use are InternalErrors (finish() verifies the whole).

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gcomp/ir/device.h"
#include "gcomp/ir/dtype.h"
#include "gcomp/runtime/plan.h"
#include "gcomp/support/id.h"

namespace gcomp {

using PlanValue = Id<struct PlanValueTag>;  // an int64 known at run time at the latest
using PlanBufferId = Id<struct PlanBufferTag>;
using PlanKernelId = Id<struct PlanKernelTag>;
using PlanLabel = Id<struct PlanLabelTag>;

// One 64-bit kernel parameter: a value, an integer, or the bits of a floating-point number.
struct PlanScalar {
  PlanValue value;  // if valid
  int64_t bits = 0;
  // NOLINTBEGIN(google-explicit-constructor): lists of scalars mix all of these
  PlanScalar(PlanValue v) : value(v) {}
  PlanScalar(int64_t i) : bits(i) {}
  PlanScalar(int i) : bits(i) {}
  PlanScalar(double d) : bits(std::bit_cast<int64_t>(d)) {}
  PlanScalar(float f) : bits(std::bit_cast<uint32_t>(f)) {}
  // NOLINTEND(google-explicit-constructor)
};

struct PlanExtent {
  PlanValue value;
  std::string text;  // "2*n + 1": for describe and messages
};

// A matrix product or convolution that a library may do instead of the kernel of a launch (rt::PlanProduct).
struct PlanProductCall {
  rt::PlanProduct product;  // but for first_choice and num_choices
  PlanScalar batch = 1, rows = 1, columns = 1, depth = 1;
  std::vector<PlanScalar> convolution = {};  // as rt::PlanConvolution, of one
  std::vector<rt::PlanProductChoice> choices = {};
};

struct PlanCall {
  PlanKernelId kernel = {};
  std::vector<PlanBufferId> buffers = {};
  std::vector<PlanScalar> scalars = {};
  PlanScalar extent = 1;
  uint32_t grain = 0;
  // Not empty: the kernel may fail by lowering the int64 in the status() buffer to i, which ends
  // the run with messages[i].
  std::vector<std::string> messages = {};
  std::optional<PlanProductCall> product = {};  // launch() only
};

// Constant data: not copied, must stay valid until the artifact is written.
struct PlanConstant {
  std::span<const std::byte> data;
  bool appended;    // behind the ELF image and mapped, rather than in read-only data
  uint64_t offset;  // in its space, 64-byte aligned
};

struct PlanImage {
  std::vector<std::byte> block;             // begins with rt::Plan
  std::vector<std::string> kernels;         // symbol names, by kernel index
  std::vector<std::string> device_kernels;  // names, by index in kLaunch steps
  std::vector<PlanConstant> constants;
  uint64_t inline_bytes = 0;    // of all constants in read-only data
  uint64_t appended_bytes = 0;  // of all others
  uint64_t max_live_bytes = 0;  // lower bound of arena_bytes; both 0 unless all sizes are static
  uint64_t arena_bytes = 0;
  uint64_t device_arena_bytes = 0;

  const rt::Plan& plan() const { return *reinterpret_cast<const rt::Plan*>(block.data()); }
};

struct PlanOptions {
  // Constants of more bytes in total than this are appended to the file rather than linked (only
  // those of 1 KiB and up). UINT64_MAX: never (--emit=obj).
  uint64_t inline_constants = 64 << 10;
  // Of the other plan in the same file: its constants keep their places and come first among this one's.
  const struct PlanImage* shared = nullptr;
};

class PlanBuilder {
 public:
  PlanBuilder();
  ~PlanBuilder();
  PlanBuilder(PlanBuilder&&) noexcept;
  PlanBuilder& operator=(PlanBuilder&&) noexcept;

  // Values. Equal ones are the same; constants fold. floor_div and mod round to -infinity.
  PlanValue constant(int64_t v);
  PlanValue symbol(std::string name);  // a new one each time
  PlanValue op(rt::DimOp op, PlanValue a, PlanValue b);
  PlanValue add(PlanValue a, PlanValue b) { return op(rt::DimOp::kAdd, a, b); }
  PlanValue mul(PlanValue a, PlanValue b) { return op(rt::DimOp::kMul, a, b); }
  PlanValue floor_div(PlanValue a, PlanValue b) { return op(rt::DimOp::kFloorDiv, a, b); }
  PlanValue mod(PlanValue a, PlanValue b) { return op(rt::DimOp::kMod, a, b); }
  PlanValue min(PlanValue a, PlanValue b) { return op(rt::DimOp::kMin, a, b); }
  PlanValue max(PlanValue a, PlanValue b) { return op(rt::DimOp::kMax, a, b); }

  // Buffers.
  PlanBufferId input(std::string name, DType dtype, std::vector<PlanExtent> extents,
                     bool donated = false);
  // alias: the input whose memory the caller may give for this output as well.
  PlanBufferId output(std::string name, DType dtype, std::vector<PlanExtent> extents,
                      uint32_t alias = rt::kNone);
  // States, by number: the buffer of the value before the run, that of the new value (where
  // steps write one), the initial value (a constant; without it, it must be set), and which pieces of
  // memory trade places after a run (plan.h).
  PlanBufferId state(uint32_t number, std::string name, DType dtype,
                     std::vector<PlanExtent> extents);
  PlanBufferId next_state(uint32_t state);
  void initial_state(uint32_t state, PlanBufferId constant, std::span<const int64_t> extents);
  void swap_states(uint32_t piece, uint32_t other);
  // Steps write to the buffer of its value on that device.
  void overwrite_state(uint32_t state, Device device = Device::kHost);
  PlanBufferId constant(std::span<const std::byte> data);
  PlanBufferId temporary(PlanValue bytes, Device device = Device::kHost);
  PlanBufferId view(PlanBufferId base, PlanValue byte_offset);  // base: not owned()
  PlanBufferId owned(Device device = Device::kHost);            // memory through reserve()
  PlanBufferId status();                                        // one int64, see PlanCall::messages
  // Of an input, output, constant, state or new state; the same each time.
  PlanBufferId on_device(PlanBufferId buffer);

  // Steps, in program order.
  PlanKernelId kernel(std::string symbol);  // equal names are the same kernel
  PlanKernelId device_kernel(std::string name);
  void call(const PlanCall& call);
  // Of a device_kernel(), without a grain; an invalid buffer is the status of this call.
  void launch(const PlanCall& call);
  void bind(PlanBufferId int64s, std::span<const PlanValue> symbols);
  // All at once: the values may depend on the symbols.
  void bind_values(std::span<const PlanValue> symbols, std::span<const PlanScalar> values);
  void copy(PlanBufferId to, PlanBufferId from, PlanScalar bytes);
  void fill(PlanBufferId to, PlanScalar bytes, uint8_t byte);
  void store(PlanBufferId to, std::span<const PlanScalar> int64s);
  void check(PlanBufferId bools, PlanScalar number, std::string message);
  void reserve(PlanBufferId owned, PlanScalar bytes, bool keep_contents);
  void alias(PlanBufferId to, PlanBufferId from);  // `from` lives as long as `to`
  void swap(PlanBufferId a, PlanBufferId b);
  void fail(std::string message);
  // Further steps run only if no launch() failed: before states are overwritten.
  void verify_launches();
  void mention(PlanBufferId buffer);  // no step: keeps the buffer alive up to here

  // Control flow. A label is placed once; jumps may go both ways, backward ones only inside
  // begin_loop/end_loop.
  PlanLabel label();
  void place(PlanLabel label);
  void jump(PlanLabel target);
  void jump_unless(PlanBufferId one_bool, PlanLabel target);
  void jump_unless_less(PlanValue a, PlanValue b, PlanLabel target);
  // ++counter; jumps if it is less than `limit` (both one int64) and the bool `condition` (invalid:
  // none) is true.
  void turn(PlanBufferId counter, PlanBufferId limit, PlanBufferId condition, PlanLabel target);
  // `row` (owned) becomes row number `counter` of `stack`; grows: the stack, owned, gets room for it.
  void row(PlanBufferId row, PlanBufferId stack, PlanBufferId counter, PlanScalar bytes,
           bool grows);
  void begin_loop();
  void end_loop();

  uint64_t num_steps() const;
  PlanImage finish(const PlanOptions& options = {});

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gcomp
