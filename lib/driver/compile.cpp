// The whole compiler, as a table of contents.

#include "gcomp/driver/compile.h"

#include <algorithm>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>

#include "compile_cache.h"
#include "expected_work.h"
#include "gcomp/artifact/link.h"
#include "gcomp/codegen/llvm.h"
#include "gcomp/driver/load.h"
#include "gcomp/driver/pipeline.h"
#include "gcomp/driver/progress.h"
#include "gcomp/formats/formats.h"
#include "gcomp/ir/text.h"
#include "gcomp/ir/verify.h"
#include "gcomp/lower/arrange.h"
#include "gcomp/pass/limit.h"
#include "gcomp/passes/passes.h"
#include "gcomp/passes/placement.h"
#include "gcomp/runtime/cpu.h"
#include "gcomp/support/error.h"
#include "gcomp/support/files.h"
#include "generate.h"
#include "header.h"
#include "if_changed.h"
#include "manifest_json.h"
#include "phases.h"
#include "report.h"

namespace gcomp::driver {
namespace {

#ifdef NDEBUG
constexpr bool kDebug = false;
#else
constexpr bool kDebug = true;
#endif

void check_name(const std::string& name) {
  const auto is_letter = [](char c) {
    return std::isalpha(static_cast<unsigned char>(c)) || c == '_';
  };
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const bool good = !name.empty() && is_letter(name[0]) &&
                    std::ranges::all_of(name, [&](char c) { return is_letter(c) || is_digit(c); });
  if (good) return;
  usage_error(Code::kOptionValue, "'" + name + "' is not a C identifier", "--name",
              "as in my_model");
}

bool targets_cuda(const CompileOptions& o) { return o.cuda || o.emit == Emit::kCuda; }

// Before anything is read: a wrong word costs no time.
void check_options(const CompileOptions& o) {
  cpu_level(o.mcpu);
  check_name(o.name);
  if (!o.header.empty() && o.emit != Emit::kSharedObject && o.emit != Emit::kObject) {
    usage_error(Code::kOptionValue, "only what can be called has a header", "--header",
                "with --emit=so or obj");
  }
  for (const auto& [given, option] :
       {std::pair{o.cuda_everything, "--cuda-everything"},
        {o.allow_tf32, "--allow-tf32"},
        {o.cuda_line_info, "--cuda-line-info"},
        {o.cuda_libraries != artifact::CudaLibraries::kMeasured, "--cuda-libs"}}) {
    if (!given || targets_cuda(o)) continue;
    usage_error(Code::kOptionValue, "there is code for a GPU only if one is a target", option,
                "--target cpu,cuda");
  }
  pass::select(pipeline(), o.pipeline);
  if (targets_cuda(o)) check_cuda_archs(o);
  if (o.allow_tf32 && !have_matrix_units(o)) {
    usage_error(Code::kOptionValue, "GPUs before sm_80 cannot multiply tf32", "--allow-tf32",
                "leave it out, or those of --cuda-arch");
  }
}

std::string describe(const pass::RewriteLimit& limit, size_t most) {
  const std::string number = std::to_string(limit.made());
  if (limit.made() == 0) return "no rewrite was made";
  if (limit.made() < most) return "all rewrites were made: " + number;
  return "rewrite " + number + ": " + to_string(limit.last());
}

std::unique_ptr<Graph> optimize(std::unique_ptr<Graph> graph, const CompileOptions& o,
                                Report& report, Progress& progress) {
  pass::Options options = o.pipeline;
  PassProgress passes(progress, count_passes(o));
  if (progress.enabled()) options.observers.push_back(&passes);
  if (report.lineage() != nullptr) options.observers.push_back(report.lineage());
  options.dump = [](const std::string& name, const Graph& g) {
    std::cerr << "// after " << name << "\n" << print(g, {.max_elements = 8, .elide = true});
  };
  options.verify = [](const Graph& g) { verify_or_throw(g, "a pass"); };
  pass::RewriteLimit limit(o.rewrite_limit.value_or(SIZE_MAX));
  if (o.rewrite_limit) options.observers.push_back(&limit);
  graph = pass::run(std::move(graph), pipeline(), options, report.profile());
  if (o.rewrite_limit) std::cerr << "gcomp: " << describe(limit, *o.rewrite_limit) << "\n";
  return graph;
}

lower::LoweredModule lower_graph(const Graph& graph, const CompileOptions& o, const Report& report,
                                 std::function<void(double)> reached,
                                 const passes::Placement* placement = nullptr) {
  const codegen::CpuTraits cpu = codegen::cpu_traits(cpu_level(o.mcpu));
  lower::LowerOptions options;
  options.vector_bytes = cpu.vector_bytes;
  options.vector_registers = cpu.vector_registers;
  options.fma = cpu.fma;
  options.fuse = pass::selects(pipeline(), o.pipeline, passes::kFusion);
  options.static_extents = pass::selects(pipeline(), o.pipeline, passes::kStaticExtents);
  options.update_carried = pass::selects(pipeline(), o.pipeline, passes::kInplace);
  options.trace = report.wants_trace();
  if (placement != nullptr) {
    options.placement = placement->devices;
    options.body_placement = passes::body_devices(*placement);
  }
  options.cuda_matrix_units = placement != nullptr && have_matrix_units(o);
  options.cuda_tf32 = o.allow_tf32;
  options.reached = std::move(reached);
  try {
    lower::LoweredModule module = lower::lower(graph, options);
    lower::ArrangeOptions arrange;
    arrange.overwrite = options.update_carried;
    arrange.inplace.mode = o.cycle_detection;
    arrange.lower_peak = pass::selects(pipeline(), o.pipeline, passes::kLowerPeak);
    arrange.verify = o.pipeline.verify_each || kDebug;
    if (arrange.overwrite || arrange.lower_peak) lower::arrange(module, arrange);
    module.stats.pieces = lower::count_pieces(module);
    return module;
  } catch (const UserError& error) {  // it knows the node, not the file
    std::vector<Diagnostic> all = error.diagnostics();
    for (Diagnostic& d : all) d.file = o.input.string();
    throw UserError(error.code(), std::move(all));
  }
}

// Which nodes run on a GPU, if that is asked for.
std::optional<passes::Placement> place_graph(const Graph& graph, const CompileOptions& o,
                                             Report& report) {
  if (!targets_cuda(o)) return std::nullopt;
  passes::Placement placement =
      o.cuda_everything ? passes::place_everything(graph) : passes::place(graph);
  report.placed(graph, placement);
  if (!placement.uses_cuda) {
    std::cerr
        << "gcomp: note: nothing in the graph gains by a GPU; the file is for the CPU alone\n";
  }
  return placement;
}

void write_texts(const Path& path, const std::vector<std::string>& texts) {
  AtomicFile file(path);
  for (const std::string& text : texts) file.write(text);
  file.commit();
}

void write_kernels(const Path& path, const lower::LoweredModule& module) {
  std::vector<std::string> texts;
  for (const kernel::Kernel& k : module.kernels) texts.push_back(kernel::print(k) + "\n");
  write_texts(path, texts);
}

void write_cuda(const Path& path, const std::optional<lower::LoweredModule>& both, bool line_info) {
  std::vector<std::string> texts;
  if (both) {
    for (codegen::CudaModule& m : print_device_code(*both, line_info).modules) {
      texts.push_back("// module " + std::to_string(texts.size()) + "\n" + m.text);
    }
  }
  write_texts(path, texts);
}

// Of all features of a native target those that an artifact can check for, which are those that
// generated code uses.
std::vector<std::string> required_features(codegen::CpuLevel level) {
  constexpr std::string_view kChecked[] = {
#define GCOMP_CPU_NAME(id, text) text,
      GCOMP_CPU_FEATURES(GCOMP_CPU_NAME)
#undef GCOMP_CPU_NAME
  };
  std::vector<std::string> features = codegen::cpu_features(level);
  std::erase_if(features, [&](const std::string& f) {
    return std::ranges::find(kChecked, f) == std::end(kChecked);
  });
  return features;
}

void write_linked(const Path& path, const lower::LoweredModule& module, const GeneratedCode& code,
                  const CompileOptions& o) {
  artifact::LinkInput input;
  input.name = o.name;
  for (const std::string& object : code.objects)
    input.objects.push_back(std::as_bytes(std::span(object)));
  input.plan = &code.plan;
  artifact::DeviceInput device;
  if (code.plan_of_both) {
    device.plan = &*code.plan_of_both;
    device.kernels = code.device.kernels;
    device.num_modules = static_cast<uint32_t>(code.device.modules.size());
    for (const codegen::CudaImage& i : code.device.images) {
      device.images.push_back({std::as_bytes(std::span(i.bytes)), i.module,
                               static_cast<uint32_t>(i.arch.number), i.arch.ptx});
    }
    input.device = &device;
  }
  input.json = manifest_json(module, code, o);
  input.cpu_features = required_features(cpu_level(o.mcpu));
  if (o.emit == Emit::kObject) {
    artifact::write_object(input, path.string());
  } else {
    artifact::write_shared_object(input, path.string());
  }
}

void write_header(const std::string& text, const CompileOptions& o) {
  const auto write = [&](const Path& path) { write_file(path, text); };
  o.if_changed ? write_if_changed(o.header, write) : write(o.header);
}

// make's rule "out header: everything read". Spaces, $ and # as make wants them.
void write_depfile(const CompileOptions& o, std::vector<std::string> files) {
  if (o.depfile.empty()) return;
  std::sort(files.begin() + 1, files.end());  // the graph comes first
  files.erase(std::unique(files.begin() + 1, files.end()), files.end());
  const auto escaped = [](const std::string& path) {
    std::string text;
    for (char c : path) {
      if (c == ' ' || c == '#') text += '\\';
      if (c == '$') text += '$';
      text += c;
    }
    return text;
  };
  const bool given = !o.depfile_target.empty();
  std::string rule = escaped((given ? o.depfile_target : o.output).string());
  if (!given && !o.header.empty()) rule += " " + escaped(o.header.string());
  rule += ":";
  for (const std::string& file : files) rule += " " + escaped(file);
  write_file(o.depfile, rule + "\n");
}

// The files that the output was made from.
std::optional<std::vector<std::string>> restore(CompileCache& cache, const CompileOptions& o) {
  auto found = cache.restore();
  if (!found) return std::nullopt;
  if (!o.header.empty()) write_header(found->header, o);
  write_depfile(o, found->files);
  return std::move(found->files);
}

// The output, and last what else tells of it.
void compile_to(const Path& output, const CompileOptions& o) {
  Progress progress(stderr_is_terminal());
  Phases phases(progress);
  Report report(o, phases);
  Context context;

  // Perhaps it was all done before.
  if (!o.cache.folder.empty()) phases.begin("cache");
  CompileCache cache(o, output);
  const bool hit = restore(cache, o).has_value();
  phases.cache = cache.report();
  if (hit) {
    phases.end();
    return report.write(nullptr);
  }
  const auto finish = [&](const lower::LoweredModule* module) {
    cache.finish();
    phases.cache = cache.report();
    write_depfile(o, context.files);
    phases.end();
    report.write(module);
  };

  const auto write = [&](const std::function<void(const Path&)>& to) {
    write_as(cache.target(), output, to);
  };

  // The graph, node for node as the file says.
  expect_reading(progress, o, o.emit == Emit::kGraph);
  phases.begin("read");
  std::unique_ptr<Graph> graph = load_graph(context, o.input, o.dims);
  cache.loaded(context);
  expect_work(progress, *graph, o, o.emit == Emit::kGraph);
  // Beyond this point no file is read.

  // Rewriting: canonicalize, stabilize, specialize.
  phases.begin("optimise");
  graph = optimize(std::move(graph), o, report, progress);
  if (o.emit == Emit::kGraph) {
    report.explain(*graph, nullptr);
    phases.begin("write");
    write([&](const Path& to) { formats::write_graph(*graph, to); });
    return finish(nullptr);
  }
  // Beyond this point no node is added, changed or removed.

  // Fusion groups become kernels and the steps that call them: for the host, and for it and a GPU.
  phases.begin("lower");
  const std::optional<passes::Placement> placement = place_graph(*graph, o, report);
  const bool twice = placement && placement->uses_cuda;
  const lower::LoweredModule module =
      lower_graph(*graph, o, report, lowering_progress(progress, 0, twice ? 2 : 1));
  std::optional<lower::LoweredModule> both;
  if (twice) {
    both = lower_graph(*graph, o, report, lowering_progress(progress, 1, 2), &*placement);
    artifact::choose_libraries(
        *both,
        {.libraries = o.cuda_libraries, .tf32 = o.allow_tf32, .finite = o.pipeline.fast_math});
    report.libraries_chosen(*both);
  }
  report.explain(*graph, both ? &*both : &module, placement ? &*placement : nullptr);
  if (o.emit == Emit::kCuda) {
    phases.begin("write");
    write([&](const Path& to) { write_cuda(to, both, o.cuda_line_info); });
    return finish(&module);
  }
  if (o.emit == Emit::kKernels) {
    phases.begin("write");
    write([&](const Path& to) { write_kernels(to, module); });
    return finish(&module);
  }
  expect_kernels(progress, module.kernels.size());
  // Beyond this point the set of kernels is final.

  phases.begin("generate code");
  GeneratedCode code = generate_code(module, o, cache.code());
  const bool needs_device_code = o.emit == Emit::kSharedObject || o.emit == Emit::kObject;
  if (both && needs_device_code) generate_device_code(code, module, *both, o, cache.code());
  phases.modules = code.modules;
  if (o.emit == Emit::kAssembly || o.emit == Emit::kLlvm) {
    phases.begin("write");
    write([&](const Path& to) { write_texts(to, code.objects); });
    return finish(&module);
  }

  // Code, plan, constants and description become one file.
  phases.begin("link");
  write([&](const Path& to) { write_linked(to, module, code, o); });
  if (!o.header.empty()) {
    const std::string header = interface_header(*module.graph, o.name);
    write_header(header, o);
    cache.keep_header(header);
  }
  finish(&module);
}

}  // namespace

void compile(const CompileOptions& o) {
  check_options(o);
  const auto write = [&](const Path& output) { compile_to(output, o); };
  o.if_changed ? write_if_changed(o.output, write) : write(o.output);
}

std::optional<std::vector<std::string>> restore_from_cache(const CompileOptions& o) {
  struct Miss {};
  std::optional<std::vector<std::string>> files;
  const auto write = [&](const Path& output) {
    CompileCache cache(o, output);
    files = restore(cache, o);
    if (!files) throw Miss();
  };
  try {
    o.if_changed ? write_if_changed(o.output, write) : write(o.output);
  } catch (const Miss&) {
  }
  return files;
}

void optimize_to_file(const CompileOptions& o) {
  check_options(o);
  Progress progress(stderr_is_terminal());
  Phases phases(progress);
  Report report(o, phases);
  Context context;
  expect_reading(progress, o, true);
  phases.begin("read");
  std::unique_ptr<Graph> graph = load_graph(context, o.input, o.dims);
  expect_work(progress, *graph, o, true);
  phases.begin("optimise");
  graph = optimize(std::move(graph), o, report, progress);
  report.explain(*graph, nullptr);
  phases.begin("write");
  if (o.output == "-") {
    std::cout << print(*graph);
  } else {
    formats::write_graph(*graph, o.output);
  }
  phases.end();
  report.write(nullptr);
}

void check_compile_options(const CompileOptions& o) { check_options(o); }

}  // namespace gcomp::driver
