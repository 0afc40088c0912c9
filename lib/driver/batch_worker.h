#pragma once
// One process that compiles one graph.

#include <poll.h>
#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "batch_results.h"

namespace gcomp::driver {

class BatchWorker {
 public:
  // Starts this program as `gcomp compile GRAPH -o OUTPUT ARGUMENTS`. It is killed `kill_after` seconds from now
  // (0: never). UserError (kFiles) when no process can be started.
  BatchWorker(const Path& graph, const Path& output, std::vector<std::string> arguments,
              double kill_after);
  ~BatchWorker();  // kills what still runs
  BatchWorker(const BatchWorker&) = delete;
  BatchWorker& operator=(const BatchWorker&) = delete;

  void wait_on(std::vector<pollfd>& all) const;  // what becomes ready when there is something to do
  double seconds_to_kill() const;                // infinite: never
  // Reads what it says, kills it when it is time. True: it has ended, and `attempt` and `files` are known.
  bool advance();
  // Politely, and at once.
  void interrupt() const;
  void kill() const;

  const Attempt& attempt() const { return attempt_; }
  // A folder named after the output: what the worker wrote when it crashed, else its command, what happened, and
  // the graph. Empty when it cannot be written.
  std::string keep_reproducer() const;
  const std::vector<std::string>& files() const { return files_; }  // all that it read

 private:
  using Clock = std::chrono::steady_clock;
  void reap();
  void describe_end(int status);

  Path graph_, output_;
  std::string command_;
  Clock::time_point begin_ = Clock::now();
  double kill_after_;
  bool killed_ = false, ended_ = false;
  pid_t pid_ = -1;
  int process_ = -1;               // ready when it ends
  int errors_ = -1, report_ = -1;  // what it writes
  std::string error_text_, report_text_;
  Attempt attempt_;
  std::vector<std::string> files_;
};

// As a shell takes it, to compile the graph by hand.
std::string compile_command_line(const Path& graph, const Path& output,
                                 const std::vector<std::string>& arguments);

}  // namespace gcomp::driver
