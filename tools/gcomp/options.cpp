// Parsers and the options that subcommands share.

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "command.h"
#include "gcomp/driver/crash.h"
#include "gcomp/driver/limits.h"
#include "gcomp/support/error.h"

namespace gcomp::cli {
namespace {

std::string did_you_mean(const std::string& near) {
  return near.empty() ? "" : "did you mean '" + near + "'?";
}

std::vector<std::string> option_names(const CLI::App& parser) {
  std::vector<std::string> names;
  for (const CLI::Option* option : parser.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

void add_tags(CLI::App& parser, const std::string& flag, std::vector<std::string>& tags,
              const std::string& help) {
  const auto append = [&tags](const std::string& text) {
    for (std::string& tag : pass::split_list(text)) tags.push_back(std::move(tag));
  };
  parser.add_option_function<std::string>(flag, append, help)->type_name("TAGS");
}

std::pair<std::string, int64_t> parse_dim(const std::string& text) {
  const size_t equals = text.find('=');
  int64_t extent = 0;
  const char* end = text.data() + text.size();
  if (equals != std::string::npos && equals > 0) {
    const auto [rest, error] = std::from_chars(text.data() + equals + 1, end, extent);
    if (error == std::errc() && rest == end && extent >= 0) return {text.substr(0, equals), extent};
  }
  usage_error(Code::kOptionValue, "'" + text + "' is not SYMBOL=NUMBER, as in batch=8", "--dim");
}

driver::Emit parse_emit(const std::string& text) {
  using driver::Emit;
  const std::pair<const char*, Emit> known[] = {
      {"so", Emit::kSharedObject}, {"obj", Emit::kObject}, {"asm", Emit::kAssembly},
      {"llvm", Emit::kLlvm},       {"cuda", Emit::kCuda},  {"kernels", Emit::kKernels},
      {"graph", Emit::kGraph}};
  std::vector<std::string> names;
  for (const auto& [name, emit] : known) {
    if (name == text) return emit;
    names.emplace_back(name);
  }
  usage_error(Code::kOptionValue, "there is no output '" + text + "'", "--emit",
              "one of so, obj, asm, llvm, cuda, kernels, graph");
}

bool parse_target(const std::string& text) {
  if (text == "cpu") return false;
  if (text == "cpu,cuda") return true;
  usage_error(Code::kOptionValue, "'" + text + "' is no target", "--target", "cpu or cpu,cuda");
}

uint64_t parse_size(const std::string& text, const char* option) {
  uint64_t size = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, size);
  const std::string unit(rest, end);
  for (const auto& [name, shift] : {std::pair{"", 0}, {"K", 10}, {"M", 20}, {"G", 30}, {"T", 40}}) {
    if (error == std::errc() && unit == name && size > 0 && size < (uint64_t{1} << (63 - shift))) {
      return size << shift;
    }
  }
  usage_error(Code::kOptionValue, "'" + text + "' is not a size, as in 800M or 2G", option);
}

double parse_seconds(const std::string& text) {
  double seconds = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, seconds);
  if (error == std::errc() && rest == end && seconds > 0) return seconds;
  usage_error(Code::kOptionValue, "'" + text + "' is not a number of seconds, as in 0.5 or 60",
              "--time-limit");
}

// "30d", "12h", "90m", "5s": seconds.
double parse_age(const std::string& text) {
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  const std::string unit(rest, end);
  for (const auto& [name, seconds] : {std::pair{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}}) {
    if (error == std::errc() && unit == name && number > 0) return number * seconds;
  }
  usage_error(Code::kOptionValue, "'" + text + "' is not an age, as in 30d or 12h", "--cache-age");
}

driver::CodeMode parse_code(const std::string& text) {
  using driver::CodeMode;
  if (text == "auto") return CodeMode::kAuto;
  if (text == "straight") return CodeMode::kStraight;
  if (text == "plan") return CodeMode::kPlan;
  usage_error(Code::kOptionValue, "there is no kind of code '" + text + "'", "--code",
              "one of auto, straight, plan");
}

schedule::CycleDetection parse_cycle_detection(const std::string& text) {
  using schedule::CycleDetection;
  if (text == "incremental") return CycleDetection::kIncremental;
  if (text == "full") return CycleDetection::kFull;
  if (text == "off") return CycleDetection::kOff;
  usage_error(Code::kOptionValue, "cycles cannot be detected by '" + text + "'",
              "--cycle-detection", "one of incremental, full, off");
}

artifact::CudaLibraries parse_libraries(const std::string& text) {
  using artifact::CudaLibraries;
  if (text == "auto") return CudaLibraries::kMeasured;
  if (text == "all") return CudaLibraries::kAll;
  if (text == "none") return CudaLibraries::kNone;
  usage_error(Code::kOptionValue, "no libraries are called '" + text + "'", "--cuda-libs",
              "one of auto, all, none");
}

[[noreturn]] void refuse_extra(const CLI::App& parser, const std::string& extra) {
  if (!extra.starts_with("-"))
    usage_error(Code::kUnknownOption, "'" + extra + "' is one too many", parser.get_name());
  const std::string word = extra.substr(0, extra.find('='));
  usage_error(Code::kUnknownOption, "there is no option '" + word + "'", parser.get_name(),
              did_you_mean(suggest(word, option_names(parser))));
}

// CLI11's layout with our own line of usage.
class Formatter : public CLI::Formatter {
 public:
  explicit Formatter(std::string usage) : usage_(std::move(usage)) {}
  std::string make_usage(const CLI::App*, std::string) const override {
    return "Usage: " + usage_ + "\n";
  }

 private:
  std::string usage_;
};

}  // namespace

driver::DiagnosticFormat take_diagnostic_format(Arguments& arguments) {
  const std::string flag = "--diagnostics";
  std::string form = "text";
  for (auto a = arguments.begin(); a != arguments.end() && *a != "--";) {
    if (*a == flag && a + 1 != arguments.end()) {
      form = *(a + 1);
      a = arguments.erase(a, a + 2);
    } else if (a->starts_with(flag + "=")) {
      form = a->substr(flag.size() + 1);
      a = arguments.erase(a);
    } else {
      ++a;
    }
  }
  if (form == "text") return driver::DiagnosticFormat::kText;
  if (form == "json") return driver::DiagnosticFormat::kJson;
  if (form == "sarif") return driver::DiagnosticFormat::kSarif;
  usage_error(Code::kOptionValue, "diagnostics cannot be told as '" + form + "'", flag,
              "one of text, json, sarif");
}

std::unique_ptr<CLI::App> make_parser(const std::string& name, const std::string& summary,
                                      const std::string& usage) {
  auto parser = std::make_unique<CLI::App>(summary, name);
  const auto formatter = std::make_shared<Formatter>(usage);
  formatter->column_width(34);
  parser->formatter(formatter);
  // For the help alone: take_diagnostic_format() has it.
  parser
      ->add_option("--diagnostics",
                   "Errors and remarks on stderr as text, json (an object a line) or sarif")
      ->type_name("FORM");
  return parser;
}

bool parse(CLI::App& parser, const Arguments& arguments) {
  Arguments reversed(arguments.rbegin(), arguments.rend());  // as CLI11 wants them
  try {
    parser.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    std::cout << parser.help();
    return false;
  } catch (const CLI::ParseError& error) {
    // A misspelt option may be why another one is missing, so it is named first.
    if (!parser.remaining().empty()) refuse_extra(parser, parser.remaining().front());
    usage_error(Code::kUsage, error.what(), parser.get_name(),
                "see " + parser.get_name() + " --help");
  }
  return true;
}

void add_dims_option(CLI::App& parser, std::map<std::string, int64_t>& dims) {
  const auto add = [&dims](const std::vector<std::string>& texts) {
    for (const std::string& text : texts) dims.insert(parse_dim(text));
    return true;
  };
  parser.add_option_function<std::vector<std::string>>("--dim", add, "Fix an extent: batch=8")
      ->type_name("SYMBOL=N")
      ->expected(1)
      ->take_all();
}

void add_limit_options(CLI::App& parser) {
  const auto limits = std::make_shared<driver::Limits>();
  parser
      .add_option_function<std::string>(
          "--time-limit", [limits](const std::string& s) { limits->seconds = parse_seconds(s); },
          "End with exit code 5 after so long")
      ->type_name("SECONDS");
  parser
      .add_option_function<std::string>(
          "--max-memory",
          [limits](const std::string& s) { limits->memory = parse_size(s, "--max-memory"); },
          "The same when this is not enough: 800M, 2G")
      ->type_name("SIZE");
  parser.callback([limits] { driver::set_limits(*limits); });
}

void add_pipeline_options(CLI::App& parser, pass::Options& o) {
  parser
      .add_option(
          "-O", o.level,
          "none, merge, o1 (fast_compile), o2, stabilize, o3, o4 (fast_run, the default) or "
          "unsafe: see gcomp list levels")
      ->type_name("LEVEL")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_tags(parser, "--optimizer-including", o.including, "Run these passes and rules too");
  add_tags(parser, "--optimizer-excluding", o.excluding, "Leave these out");
  add_tags(parser, "--optimizer-requiring", o.requiring, "Run only what has all of these");
  parser.add_flag("--fast-math", o.fast_math, "Allow rules that assume finite numbers");
  parser.add_flag("--verify-each", o.verify_each, "Check the graph after every pass");
  add_tags(parser, "--dump-after", o.dump_after, "Print the graph after a pass, or after \"all\"");
}

void add_cache_options(CLI::App& parser, driver::CompileOptions& o,
                       driver::DiagnosticPrinter& printer) {
  parser
      .add_option("--cache-dir", o.cache.folder,
                  "Keep artifacts in this folder and take them from it (GCOMP_CACHE_DIR)")
      ->envname("GCOMP_CACHE_DIR")
      ->type_name("DIR");
  const auto set_size = [&o](const std::string& s) {
    o.cache.size = parse_size(s, "--cache-size");
  };
  parser
      .add_option_function<std::string>("--cache-size", set_size,
                                        "What the cache may hold: 5G (GCOMP_CACHE_SIZE)")
      ->envname("GCOMP_CACHE_SIZE")
      ->type_name("SIZE");
  const auto set_age = [&o](const std::string& s) { o.cache.age = parse_age(s); };
  parser
      .add_option_function<std::string>(
          "--cache-age", set_age,
          "Use nothing that was not used for so long: 30d, 12h (GCOMP_CACHE_AGE)")
      ->envname("GCOMP_CACHE_AGE")
      ->type_name("AGE");
  const auto verbose = std::make_shared<bool>(false);
  parser.add_flag("-v,--verbose", *verbose, "Tell whether the artifact came from the cache");
  o.tell = [verbose, &printer](driver::Severity severity, const Diagnostic& d) {
    if (severity == driver::Severity::kNote && !*verbose) return;
    printer.print(severity, d, driver::crash_stage());
  };
}

void add_compile_options(CLI::App& parser, driver::CompileOptions& o) {
  parser.add_option("--mcpu", o.mcpu, "x86-64-v2, x86-64-v3 (the default), x86-64-v4 or native")
      ->type_name("CPU");
  const auto set_target = [&o](const std::string& text) { o.cuda = parse_target(text); };
  parser
      .add_option_function<std::string>(
          "--target", set_target,
          "cpu (the default), or cpu,cuda: what gains by it runs on a GPU where there is one")
      ->type_name("DEVICES");
  parser.add_flag("--cuda-everything", o.cuda_everything,
                  "Run on the GPU all that can, whether or not a run gains by it");
  parser.add_flag("--allow-tf32", o.allow_tf32,
                  "Large products of float32 on the GPU by its matrix units, of factors rounded to "
                  "tf32: 11 bits instead of 24");
  const auto set_libraries = [&o](const std::string& text) {
    o.cuda_libraries = parse_libraries(text);
  };
  parser
      .add_option_function<std::string>(
          "--cuda-libs", set_libraries,
          "Products of matrices on the GPU by cuBLASLt and convolutions by cuDNN, where a run "
          "finds "
          "them: auto (the default: where they were measured to be faster), all, none")
      ->type_name("WHICH");
  parser.add_flag(
      "--cuda-line-info", o.cuda_line_info,
      "Tell profilers of GPUs the lines of kernels, in files named after the graph's nodes");
  parser.add_option("--cuda-arch", o.cuda_archs, "GPUs to make code for: sm_80,sm_90,sm_100")
      ->delimiter(',')
      ->type_name("LIST");
  // What make gives for it is no setting of ours: the variable is the jobserver's protocol.
  const char* makeflags = std::getenv("MAKEFLAGS");
  o.jobs = JobServer::open(makeflags == nullptr ? "" : makeflags);
  if (o.jobs != nullptr)
    o.threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  parser
      .add_option("-j", o.threads,
                  "Threads of the compiler, 1 if not given; the result is the same. Under make's "
                  "jobserver at "
                  "most as many, by default all CPUs, and only while it has tokens for them")
      ->type_name("N")
      ->check(CLI::Range(1, 1024));
  parser.add_option("--name", o.name, "Prefix of the artifact's symbols: a C identifier")
      ->type_name("NAME");
  const auto set_emit = [&o](const std::string& text) { o.emit = parse_emit(text); };
  parser
      .add_option_function<std::string>(
          "--emit", set_emit,
          "so, obj, asm, llvm, cuda (texts of kernels for GPUs), kernels or graph")
      ->type_name("WHAT");
  const auto set_code = [&o](const std::string& text) { o.code = parse_code(text); };
  parser
      .add_option_function<std::string>(
          "--code", set_code,
          "straight (one function, for tiny graphs), plan, or auto (the default)")
      ->type_name("KIND");
  const auto set_cycles = [&o](const std::string& text) {
    o.cycle_detection = parse_cycle_detection(text);
  };
  parser
      .add_option_function<std::string>(
          "--cycle-detection", set_cycles,
          "When results overwrite operands, how cycles are found: incremental (the default: what "
          "changed is searched), full (all is checked each time), off (only what needs no search)")
      ->type_name("HOW");
  parser.add_flag("--profile{-}", o.profile,
                  "What every phase, pass, rule, fusion and kernel cost: a table on stderr, or "
                  "=FILE.json");
  parser
      .add_option("--rewrite-limit", o.rewrite_limit,
                  "Stop rewriting after N changes and say which was the last")
      ->type_name("N");
  parser
      .add_option(
          "--explain", o.explain,
          "What became of a node, and why: a place or name (Conv_12), or a value of a dump: "
          "%7, %7@canonicalize, %7@read")
      ->type_name("NODE")
      ->expected(1)
      ->take_all();
  parser
      .add_option("--html", o.html,
                  "A page that shows every pass, rule, kernel and node; open it in a browser")
      ->type_name("FILE");
  parser
      .add_option("--memory-map", o.memory_map,
                  "A picture (SVG) of the planned memory: buffers over the steps of a run")
      ->type_name("FILE");
  add_limit_options(parser);
  add_dims_option(parser, o.dims);
  add_pipeline_options(parser, o.pipeline);
}

}  // namespace gcomp::cli
