#pragma once
// The jobserver of GNU make (ninja 1.13 takes part too): a pipe that holds a token for every job that may run
// beyond those that run. Who takes one gives it back, whatever happens.

#include <memory>
#include <optional>
#include <string_view>

namespace gcomp {

class JobServer {
 public:
  // As `makeflags`, the environment's MAKEFLAGS, names it: --jobserver-auth=fifo:PATH or R,W. Null without one,
  // or where it cannot be reached: make closes the pipe to recipes that are not marked with +.
  static std::unique_ptr<JobServer> open(std::string_view makeflags);
  ~JobServer();
  JobServer(const JobServer&) = delete;
  JobServer& operator=(const JobServer&) = delete;

  class Token {
   public:
    ~Token();
    Token(Token&& other) noexcept;
    Token& operator=(Token&& other) noexcept;  // swaps

   private:
    friend class JobServer;
    explicit Token(int slot) : slot_(slot) {}
    int slot_;
  };
  // A token if there is one now. May be called by any thread; tokens die before the server.
  std::optional<Token> take();

 private:
  JobServer(int read_end, int write_end);
};

// Gives back what is held, for the end of the process: in a signal handler, too. None can be taken afterwards.
void give_back_tokens() noexcept;

}  // namespace gcomp
