#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace spikesink {

/// One start of a run. attempts/RUN.jsonl has a line at its start and one at its end, by whoever launched it, so that
/// an attempt without an end was killed, or is going on:
///
///     {"event": "start", "time": 1764293422, "host": "n13", "job": "4711_3"}
///     {"event": "end", "time": 1764297021, "code": 75}
struct Attempt {
  double began = 0;  ///< Unix seconds
  std::string host;
  std::string job;           ///< Slurm's, ARRAY_TASK; empty: of the local launcher
  std::int64_t process = 0;  ///< of the local launcher, 0 else
  std::optional<double> ended;
  std::optional<int> code;  ///< exit code; 128 + signal where one ended it
};

/// All attempts, oldest first. No file: none. Lines that are damaged are left out.
std::vector<Attempt> read_attempts(const std::string& file);
/// DataError if the file cannot be written.
void note_start(const std::string& file, const Attempt& attempt);
void note_end(const std::string& file, double time, int code);

}  // namespace spikesink
