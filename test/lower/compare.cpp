#include "compare.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>

#include "../sanitized.h"
#include "cuda_mode.h"
#include "gcomp/artifact/straight_line.h"
#include "gcomp/ir/text.h"
#include "gcomp/lower/arrange.h"
#include "gcomp/passes/placement.h"
#include "gcomp/support/error.h"
#include "run_artifact.h"

namespace gcomp::test {

interp::Tensor random_tensor(DType t, std::vector<int64_t> shape, std::mt19937& rng) {
  interp::Tensor x{.dtype = t, .shape = std::move(shape), .bytes = {}};
  const auto n = static_cast<size_t>(x.num_elements());
  x.bytes.resize(n * byte_size(t));
  std::normal_distribution<double> normal(0, 1.5);
  for (size_t i = 0; i < n; ++i) {
    const double d = normal(rng);
    switch (t) {
      case DType::kBool: x.data<uint8_t>()[i] = rng() & 1; break;
      case DType::kInt8: x.data<int8_t>()[i] = static_cast<int8_t>(rng()); break;
      case DType::kInt16: x.data<int16_t>()[i] = static_cast<int16_t>(rng()); break;
      case DType::kInt32: x.data<int32_t>()[i] = static_cast<int32_t>(rng() % 2001) - 1000; break;
      case DType::kInt64: x.data<int64_t>()[i] = static_cast<int64_t>(rng() % 2001) - 1000; break;
      case DType::kUInt8: x.data<uint8_t>()[i] = static_cast<uint8_t>(rng()); break;
      case DType::kUInt16: x.data<uint16_t>()[i] = static_cast<uint16_t>(rng()); break;
      case DType::kUInt32: x.data<uint32_t>()[i] = static_cast<uint32_t>(rng()); break;
      case DType::kUInt64: x.data<uint64_t>()[i] = rng(); break;
      case DType::kFloat16: x.data<uint16_t>()[i] = double_to_half(d); break;
      case DType::kBFloat16: x.data<uint16_t>()[i] = double_to_bfloat16(d); break;
      case DType::kFloat32: x.data<float>()[i] = static_cast<float>(d); break;
      case DType::kFloat64: x.data<double>()[i] = d; break;
    }
  }
  return x;
}

std::vector<interp::Tensor> random_inputs(const Graph& g, int64_t symbol_extent, uint32_t seed) {
  std::mt19937 rng(seed);
  DimTable& dims = g.context().dims;
  const std::vector<int64_t> symbols(dims.num_symbols(), symbol_extent);
  std::vector<interp::Tensor> inputs;
  for (const Port& p : g.inputs()) {
    std::vector<int64_t> shape;
    for (DimId d : g.type(p.value).dims) shape.push_back(dims.evaluate(d, symbols));
    inputs.push_back(random_tensor(g.type(p.value).dtype, shape, rng));
  }
  return inputs;
}

namespace {

double element(const interp::Tensor& t, size_t i) {
  switch (t.dtype) {
    case DType::kFloat16: return half_to_float(t.data<uint16_t>()[i]);
    case DType::kBFloat16: return bfloat16_to_float(t.data<uint16_t>()[i]);
    case DType::kFloat32: return t.data<float>()[i];
    default: return t.data<double>()[i];
  }
}

std::string difference(const interp::Tensor& want, const interp::Tensor& got,
                       const Tolerance& tol) {
  if (want.dtype != got.dtype || want.shape != got.shape) {
    return "is " + to_string(got) + ", not " + to_string(want);
  }
  if (!is_float(want.dtype)) {
    if (want.bytes == got.bytes) return "";
    const size_t size = byte_size(want.dtype);
    for (size_t i = 0; i < want.bytes.size() / size; ++i) {
      if (std::memcmp(&want.bytes[i * size], &got.bytes[i * size], size) == 0) continue;
      int64_t a = 0, b = 0;
      std::memcpy(&a, &want.bytes[i * size], size);
      std::memcpy(&b, &got.bytes[i * size], size);
      return "element " + std::to_string(i) + " is " + std::to_string(b) + ", not " +
             std::to_string(a);
    }
  }
  double limit = tol.relative;
  if (want.dtype == DType::kFloat64) limit = tol.relative64;
  if (want.dtype == DType::kFloat16) limit = 4e-3;
  if (want.dtype == DType::kBFloat16) limit = 3e-2;
  for (size_t i = 0; i < static_cast<size_t>(want.num_elements()); ++i) {
    const double a = element(want, i), b = element(got, i);
    if (std::isnan(a) && std::isnan(b)) continue;
    if (a == b) continue;
    if (std::abs(a - b) <= limit * std::max(1.0, std::abs(a))) continue;
    return "element " + std::to_string(i) + " is " + std::to_string(b) + ", not " +
           std::to_string(a);
  }
  return "";
}

bool is_control(const Node& n) { return has_trait(n.op, kHasBody); }

// Each node that can be on the GPU there or not, by chance; of cond and loop nodes more, as else all in them is not.
void place_randomly(const Graph& g, std::mt19937& rng, lower::LowerOptions& options) {
  place_nodes(g, options, [&](const Node& n) { return rng() % (is_control(n) ? 8 : 2) != 0; });
}

// How often each value is copied to the other device: by its memory, which must not be a place that steps decide.
std::map<uint32_t, int> count_copies(const lower::LoweredModule& module) {
  std::map<uint32_t, int> copies;
  for (const lower::Step& s : module.steps) {
    if (s.kind != lower::Step::Kind::kCopy) continue;
    const auto memory = [&](size_t i) { return module.memory[s.memory[i].index]; };
    const bool decided = memory(1).kind == lower::Memory::Kind::kOwned;
    if (memory(0).device != memory(1).device && !decided) ++copies[s.memory[1].index];
  }
  return copies;
}

// Copies that a placement asks of the plan: the runtime's own not counted.
size_t planned_copies(const passes::Placement& placement) {
  using Cause = passes::Boundary::Cause;
  return static_cast<size_t>(
      std::ranges::count_if(placement.boundaries, [](const passes::Boundary& b) {
        return b.cause != Cause::kInput && b.cause != Cause::kOutput;
      }));
}

// Of sums that one thread makes, in order.
Tolerance in_order(const Tolerance& t) {
  return {.relative = 4 * t.relative, .relative64 = 4 * t.relative64};
}

// The graph on two devices, as `options` place it: "" when it computes `want`, or fails if `fails`.
std::string run_placed(const Graph& g, const std::vector<interp::Tensor>& inputs,
                       const lower::LowerOptions& options, const Tolerance& tolerance,
                       const std::vector<interp::Tensor>& want, bool fails, size_t most_copies) {
  lower::LoweredModule module = lower::lower(g, options);
  const std::map<uint32_t, int> copies = count_copies(module);
  for (const auto& [memory, times] : copies) {
    if (times > 1) return "a value is copied to one device twice";
  }
  if (copies.size() > most_copies) return "copies that no placement told of";
  lower::arrange(module, {.inplace = {.audit = true}, .verify = true});
  const std::vector<std::string> faults = device_faults(module);
  if (!faults.empty()) return faults[0];
  std::string error;
  const std::vector<interp::Tensor> got =
      ModuleRunner(module, codegen::Effort::kFast).run(inputs, 2, &error);
  if (fails != !error.empty()) return "on two devices: fails with '" + error + "'";
  for (size_t i = 0; !fails && i < want.size(); ++i) {
    const std::string d = difference(want[i], got[i], tolerance);
    if (!d.empty()) return "on two devices: output " + std::to_string(i) + ": " + d;
  }
  return "";
}

// Everything on the GPU or half of it; graphs with others nested in them both ways.
std::string compare_placed(const Graph& g, const std::vector<interp::Tensor>& inputs,
                           lower::LowerOptions options, const Tolerance& tolerance,
                           const std::vector<interp::Tensor>& want, bool fails) {
  const Tolerance looser = in_order(tolerance);
  options.cuda_blocks = false;  // iterations run on this CPU here; blocks in cuda_mode
  std::mt19937 rng(static_cast<uint32_t>(g.num_nodes()) * 7919);
  const bool all = rng() % 2 == 0;
  std::string fault;
  if (inner_first(g).size() > 1) {
    place_nodes(g, options, [](const Node&) { return true; });
    fault = run_placed(g, inputs, options, looser, want, fails, SIZE_MAX);
  } else if (all) {
    const passes::Placement everything = passes::place_everything(g);
    options.placement = everything.devices;
    // Fewer where nothing needs the reader.
    fault = run_placed(g, inputs, options, looser, want, fails, planned_copies(everything));
  }
  if (!fault.empty() || (all && inner_first(g).size() == 1)) return fault;
  place_randomly(g, rng, options);
  return run_placed(g, inputs, options, looser, want, fails, SIZE_MAX);
}

// The same on the emulated GPU: see cuda_mode.h.
std::string compare_cuda(CudaMode& cuda, const Graph& g, const std::vector<interp::Tensor>& inputs,
                         const lower::LowerOptions& options, const Tolerance& tolerance,
                         lower::Stats* stats, const Graph& truth) {
  const Tolerance looser = in_order(tolerance);
  lower::LoweredModule module = cuda.lower(g, options);
  lower::arrange(module, {});
  if (stats != nullptr) {  // what the tests know are the CPU's
    lower::LoweredModule host = lower::lower(g, options);
    lower::arrange(host, {});
    *stats = host.stats;
  }
  if (cuda.records()) return "";
  std::string error, expected_error;
  std::vector<interp::Tensor> want;
  try {
    want = interp::evaluate(truth, inputs);
  } catch (const UserError& e) {
    expected_error = e.what();
  }
  const std::vector<interp::Tensor> got = cuda.runner(module).run(inputs, 1, &error);
  if (expected_error.empty() != error.empty()) {
    return "fails with '" + error + "', interpreted with '" + expected_error + "'";
  }
  for (size_t i = 0; error.empty() && i < want.size(); ++i) {
    const std::string d = difference(want[i], got[i], looser);
    if (!d.empty()) return "output " + std::to_string(i) + ": " + d;
  }
  return "";
}

}  // namespace

std::string compare(const Graph& g, const std::vector<interp::Tensor>& inputs,
                    const lower::LowerOptions& options, const Tolerance& tolerance,
                    lower::Stats* stats, bool as_artifact, const Graph* truth) {
  static int number = 0;
  if (kSanitized && number == 0) {
    std::puts(
        "with sanitizers every other graph is placed on two devices, and the others become "
        "artifacts; without, all do both");
  }
  const bool placed_too = !kSanitized || ++number % 2 == 0;
  as_artifact &= !kSanitized || number % 2 != 0;
  if (CudaMode* cuda = CudaMode::get()) {
    return compare_cuda(*cuda, g, inputs, options, tolerance, stats, truth != nullptr ? *truth : g);
  }
  const lower::LoweredModule module = lower::lower(g, options);
  const ModuleRunner runner(module);
  lower::LoweredModule inplace = module;
  lower::arrange(inplace, {.inplace = {.audit = true}, .verify = true});
  if (inplace.stats.inplace.disagreements != 0)
    return "inplace: other verdicts than the full check's";
  if (stats != nullptr) *stats = inplace.stats;
  std::string error, expected_error;
  std::vector<interp::Tensor> want;
  try {
    want = interp::evaluate(truth != nullptr ? *truth : g, inputs);
  } catch (const UserError& e) {
    expected_error = e.what();
  }
  const std::vector<interp::Tensor> got = runner.run(inputs, 1, &error);
  for (const bool straight : {false, true}) {
    if (!as_artifact || (straight && !artifact::straight_line_obstacle(inplace).empty())) continue;
    const std::string as = straight ? "as straight-line code" : "as an artifact";
    std::string artifact_error;
    const std::vector<interp::Tensor> ran =
        run_artifact(inplace, inputs, 2, straight, &artifact_error);
    if (artifact_error.empty() != error.empty()) {
      return as + " fails with '" + artifact_error + "', else with '" + error + "'";
    }
    for (size_t i = 0; error.empty() && i < ran.size(); ++i) {
      const Tolerance exact{.relative = 0, .relative64 = 0};  // but for the sign of a NaN
      const bool same = ran[i].bytes == got[i].bytes || (straight && is_float(got[i].dtype) &&
                                                         difference(got[i], ran[i], exact).empty());
      if (ran[i].shape != got[i].shape || !same) {
        return "output " + std::to_string(i) + ": other bits " + as;
      }
    }
  }
  if (expected_error.empty() != error.empty()) {
    return "fails with '" + error + "', interpreted with '" + expected_error + "'";
  }
  if (placed_too) {
    const std::string placed =
        compare_placed(g, inputs, options, tolerance, want, !expected_error.empty());
    if (!placed.empty()) return placed;
  }
  if (!error.empty()) return "";
  const std::vector<interp::Tensor> pieces = runner.run(inputs, 3, &error);
  const std::vector<interp::Tensor> overwritten =
      ModuleRunner(inplace, runner).run(inputs, 3, &error);
  for (size_t i = 0; i < want.size(); ++i) {
    const std::string d = difference(want[i], got[i], tolerance);
    if (!d.empty()) return "output " + std::to_string(i) + ": " + d;
    if (got[i].bytes != pieces[i].bytes) {
      return "output " + std::to_string(i) + ": other bits when the range is cut";
    }
    if (got[i].bytes != overwritten[i].bytes) {
      return "output " + std::to_string(i) + ": other bits when results overwrite operands";
    }
  }
  return "";
}

}  // namespace gcomp::test
