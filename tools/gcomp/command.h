#pragma once
// The subcommands: each parses its own command line and does one thing through lib/driver.

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "gcomp/driver/diagnose.h"
#include "gcomp/driver/options.h"

namespace gcomp::cli {

// Arguments behind the subcommand's name.
using Arguments = std::vector<std::string>;

void compile_command(const Arguments& arguments, driver::DiagnosticPrinter& printer);
void run_command(const Arguments& arguments, driver::DiagnosticPrinter& printer);
void opt_command(const Arguments& arguments, driver::DiagnosticPrinter& printer);
void list_command(const Arguments& arguments, driver::DiagnosticPrinter& printer);
void inspect_command(const Arguments& arguments, driver::DiagnosticPrinter& printer);
void convert_command(const Arguments& arguments, driver::DiagnosticPrinter& printer);
void cache_command(const Arguments& arguments, driver::DiagnosticPrinter& printer);
void bisect_command(const Arguments& arguments, driver::DiagnosticPrinter& printer);
void batch_command(const Arguments& arguments, driver::DiagnosticPrinter& printer);

// Takes --diagnostics out, wherever it stands, since it is for errors of the command line too.
driver::DiagnosticFormat take_diagnostic_format(Arguments& arguments);

// A parser for `gcomp NAME`, with help text laid out alike everywhere.
std::unique_ptr<CLI::App> make_parser(const std::string& name, const std::string& summary,
                                      const std::string& usage);

// False: help was printed and nothing is left to do. UserError (kUsage), with a suggestion, for a
// command line that is wrong.
bool parse(CLI::App& parser, const Arguments& arguments);

// Options that several subcommands share.
void add_pipeline_options(CLI::App& parser, pass::Options& options);
void add_compile_options(CLI::App& parser, driver::CompileOptions& options);
// Every subcommand that reads a graph; the limits hold as soon as the line is parsed.
void add_limit_options(CLI::App& parser);
// --cache-dir and its limits, and -v, which tells what came of it.
void add_cache_options(CLI::App& parser, driver::CompileOptions& options,
                       driver::DiagnosticPrinter& printer);
void add_dims_option(CLI::App& parser, std::map<std::string, int64_t>& dims);

}  // namespace gcomp::cli
