#pragma once
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "trainer/dist/launch.h"

namespace spikesink::cli {

/// How far a long piece of work is: on a terminal a line that is written over, elsewhere a line every half minute.
class TerminalLine {
 public:
  void show(const std::string& text) {
    if (terminal_) {
      fmt::print("\r{}\033[K", text);
    } else if (Clock::now() - said_ >= std::chrono::seconds(30)) {
      said_ = Clock::now();
      fmt::print("{}\n", text);
    }
    std::fflush(stdout);
  }
  void close() const {
    if (terminal_) fmt::print("\r\033[K");
  }

 private:
  using Clock = std::chrono::steady_clock;
  bool terminal_ = shows_on_terminal();
  Clock::time_point said_ = Clock::now();
};

}  // namespace spikesink::cli
