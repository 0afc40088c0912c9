#pragma once
// When gcomp itself is wrong: a reproducer (the command and a copy of the graph) is written, so that
// the bug can be reported and replayed. Covers internal errors and fatal signals, LLVM's aborts too.

#include <filesystem>
#include <string>
#include <vector>

namespace gcomp::driver {

// A command line of gcomp as a shell takes it: gcomp 'a.json' '-o' 'a.so'
std::string shell_command(const std::vector<std::string>& arguments);

// To be called once, early. `command` is the command line as a shell would take it.
void prepare_reproducer(const std::string& command);

// The file that is read; the reproducer's folder will lie beside `output`.
void set_crash_graph(const std::filesystem::path& graph, const std::filesystem::path& output);

// The stage that a crash message names. Cut to 63 characters.
void set_crash_stage(const std::string& name);
const char* crash_stage();  // may be called in a signal handler

// What the process owes when it ends at once: temporary files are removed, tokens of make's given back. May be
// called in a signal handler.
void leave_nothing() noexcept;

// SIGINT, SIGTERM and SIGHUP end the process as ever, but without leaving temporary files. A file larger than
// `ulimit -f` allows is an error of writing, as a full disk is, not a signal.
void end_cleanly_on_signals();

// What crashes and limits of this code say instead of a line of text: `form` with the marks \u0001 (the message),
// \u0002 (the stage) and \u0003 (the hint) in JSON strings. False if there is no room for it.
bool set_last_words(int code, const std::string& form);

// Writes the reproducer with `message` in it; its folder's path, "" if it could not be written.
std::string write_reproducer(const std::string& message);

}  // namespace gcomp::driver
