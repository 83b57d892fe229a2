#pragma once
#include <string>
#include <string_view>

namespace spikesink {

/// Begins the line that stands in a run's output (SweepFolder::output()) before what each attempt says.
inline constexpr std::string_view kAttemptMark = "=== ";

/// What the newest attempt said last, each on one line, without control characters and not too long.
struct OutputEnd {
  std::string error;      ///< what came after the last "spikesink: " at a line's begin; empty: none
  std::string last_line;  ///< the last that is not empty
};
/// No file: nothing.
OutputEnd end_of_output(const std::string& file);

}  // namespace spikesink
