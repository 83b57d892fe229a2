#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace spikesink {

/// `text` as one word of a POSIX shell, whatever is in it: as it is where that is harmless, else in single quotes.
std::string shell_word(std::string_view text);

struct CommandResult {
  /// Exit code; 128 + signal where one ended it; 127 where it cannot be started or waited for, and `err` is the reason.
  int code = 0;
  std::string out, err;
};
/// Runs a program, found on the PATH, without a shell and with empty input, and waits for it. DataError where there is
/// no room for what it says.
CommandResult run_command(const std::vector<std::string>& words);

}  // namespace spikesink
