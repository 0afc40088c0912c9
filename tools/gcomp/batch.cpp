#include "gcomp/driver/batch.h"

#include <sched.h>

#include <charconv>
#include <iostream>

#include "command.h"
#include "gcomp/driver/compile.h"
#include "gcomp/support/error.h"

namespace gcomp::cli {
namespace {

int processors() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

// Options that write one file or show one graph.
constexpr const char* kOfOneGraph[] = {"--html",    "--memory-map",    "--profile",
                                       "--explain", "--rewrite-limit", "--dump-after"};

void refuse_options_of_one_graph(const CLI::App& parser) {
  for (const char* name : kOfOneGraph) {
    if (parser.get_option(name)->count() != 0) {
      usage_error(Code::kOptionValue, "is for one graph, not for a batch", name,
                  "compile that graph alone with it");
    }
  }
}

// The compile options given, as a worker is to get them.
std::vector<std::string> given(const std::vector<CLI::Option*>& options) {
  std::vector<std::string> words;
  for (const CLI::Option* option : options) {
    const bool flag = option->get_items_expected_max() == 0;
    for (const std::string& value : option->results()) {
      if (option->get_name() == "-O") {
        words.insert(words.end(), {"-O", value});
      } else {
        words.push_back(flag ? option->get_name() : option->get_name() + "=" + value);
      }
    }
  }
  return words;
}

// Adds the options of `gcomp compile` but -j, and gives them back. Limits are for the workers.
std::vector<CLI::Option*> add_worker_options(CLI::App& parser, driver::CompileOptions& o,
                                             driver::DiagnosticPrinter& printer) {
  const size_t before = parser.get_options().size();
  add_compile_options(parser, o);
  add_cache_options(parser, o, printer);
  parser.callback(nullptr);
  const std::vector<CLI::Option*> all = parser.get_options();
  std::vector<CLI::Option*> added(all.begin() + static_cast<std::ptrdiff_t>(before), all.end());
  std::erase(added, parser.get_option("-j"));
  return added;
}

driver::CompileOptions parse_arguments(const Arguments& arguments,
                                       driver::DiagnosticPrinter& printer) {
  CLI::App parser("", "options");
  driver::CompileOptions o;
  add_compile_options(parser, o);
  add_cache_options(parser, o, printer);
  parser.callback(nullptr);
  parse(parser, arguments);
  refuse_options_of_one_graph(parser);
  driver::check_compile_options(o);
  return o;
}

void parse_shard(const std::string& text, driver::BatchOptions& o) {
  const char* end = text.data() + text.size();
  const auto [slash, wrong] = std::from_chars(text.data(), end, o.shard);
  if (wrong == std::errc() && slash != end && *slash == '/') {
    const auto [rest, error] = std::from_chars(slash + 1, end, o.shards);
    if (error == std::errc() && rest == end && o.shard >= 1 && o.shard <= o.shards) return;
  }
  usage_error(Code::kOptionValue, "'" + text + "' is not PART/PARTS, as in 1/8", "--shard",
              "the first part is 1");
}

const char* suffix_of(driver::Emit emit) {
  switch (emit) {
    case driver::Emit::kSharedObject: return ".so";
    case driver::Emit::kObject: return ".o";
    case driver::Emit::kAssembly: return ".s";
    case driver::Emit::kLlvm: return ".ll";
    case driver::Emit::kCuda: return ".cu";
    case driver::Emit::kKernels: return ".txt";
    case driver::Emit::kGraph: return ".gcb";
  }
  return "";
}

struct BatchCommand {
  driver::BatchOptions options;
  driver::CompileOptions compile;  // as for every graph
  std::vector<std::string> summary;
  bool plan = false;
};

void add_batch_options(CLI::App& parser, BatchCommand& command) {
  driver::BatchOptions& o = command.options;
  parser.add_option("IN", o.inputs, "Graphs, folders of graphs, patterns ('models/*.onnx')");
  parser.add_option("-o,--output", o.output, "The folder of the artifacts, made where missing")
      ->type_name("OUTDIR");
  parser
      .add_option("--manifest", o.manifest,
                  "More graphs, one a line: {\"graph\": \"a.onnx\", \"name\": \"b/a\", "
                  "\"options\": [\"-O\", "
                  "\"o3\"]}; - is standard input")
      ->type_name("FILE.jsonl");
  parser
      .add_option("--results", o.results,
                  "What became of each graph, a line of JSON (OUTDIR/results.jsonl); - is standard "
                  "output")
      ->type_name("FILE.jsonl");
  parser.add_flag("-k,--keep-going", o.keep_going, "Begin further graphs after one has failed");
  parser.add_flag("--resume", o.resume, "Leave out what the results say is done");
  parser
      .add_option("--fallback", o.fallback,
                  "Levels to try in turn with a graph that crashes or meets a limit: "
                  "fast_compile,none")
      ->type_name("LEVELS")
      ->delimiter(',');
  parser
      .add_option_function<std::string>(
          "--shard", [&o](const std::string& text) { parse_shard(text, o); },
          "Only part I of N, for N machines: 1/8")
      ->type_name("I/N");
  parser.add_flag("--plan", command.plan,
                  "Compile nothing: print what is to be done, as a manifest");
  parser
      .add_option("--summary", command.summary,
                  "Compile nothing: summarise the results of one or several runs")
      ->type_name("FILE.jsonl...");
}

void check(const BatchCommand& command) {
  const driver::BatchOptions& o = command.options;
  if (o.inputs.empty() && o.manifest.empty()) {
    usage_error(Code::kUsage, "there is nothing to compile", "gcomp batch",
                "name graphs, folders, or --manifest");
  }
  if (o.output.empty())
    usage_error(Code::kUsage, "is missing", "-o", "the folder of the artifacts");
  if (o.resume && o.results == "-")
    usage_error(Code::kOptionValue, "needs a file of --results", "--resume", "");
  driver::check_compile_options(command.compile);
  for (const std::string& level : o.fallback) pass::find_level(level);
}

}  // namespace

void batch_command(const Arguments& arguments, driver::DiagnosticPrinter& printer) {
  const auto parser = make_parser(
      "gcomp batch",
      "Compiles many graphs, each in a process of its own, the largest first; equal graphs once.\n"
      "A graph that crashes, hangs or takes all memory costs only itself. The options of gcomp "
      "compile hold\nfor every graph. Exit code: 0 all are done, 9 graphs failed, else as ever.",
      "gcomp batch IN... -o OUTDIR [-j N] [--keep-going] [--resume] [OPTION...]");
  BatchCommand command;
  driver::BatchOptions& o = command.options;
  command.compile.threads = processors();
  add_batch_options(*parser, command);
  const std::vector<CLI::Option*> options = add_worker_options(*parser, command.compile, printer);
  parser->get_option("-j")->description("Graphs compiled at a time (all processors)");
  if (!parse(*parser, arguments)) return;
  if (!command.summary.empty()) {
    if (!driver::summarize_results(command.summary, std::cout)) {
      throw UserError(ExitCode::kBatch,
                      Diagnostic{.message = "graphs failed", .file = command.summary.front()});
    }
    return;
  }
  refuse_options_of_one_graph(*parser);
  check(command);
  o.workers = command.compile.threads;
  o.arguments = given(options);
  o.suffix = suffix_of(command.compile.emit);
  o.parse = [&printer](const Arguments& words) { return parse_arguments(words, printer); };
  if (parser->get_option("--time-limit")->count() != 0) {
    o.time_limit = parser->get_option("--time-limit")->as<double>();
  }
  command.plan ? driver::plan_batch(o, std::cout) : driver::batch(o);
}

}  // namespace gcomp::cli
