#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace spikesink {

/// `text` as one word of a POSIX shell, whatever is in it: as it is where that is harmless, else in single quotes.
std::string shell_word(std::string_view text);

struct CommandResult {
  int code =
      0;  ///< exit code; 128 + signal where one ended it; 127 where it cannot be started, and `err` is the reason
  std::string out, err;
};
/// Runs a program, found on the PATH, without a shell and with empty input, and waits for it.
CommandResult run_command(const std::vector<std::string>& words);

}  // namespace spikesink
