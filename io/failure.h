#pragma once
#include <stdexcept>
#include <string>

namespace spikesink {

/// What `spikesink` returns to the shell.
enum class ExitCode : int {
  kOk = 0,
  kInternal = 1,    ///< a fault of our own: please report it
  kUsage = 2,       ///< command line, config, run folder, device
  kData = 3,        ///< shards, tokenizer, checkpoint files
  kDiverged = 4,    ///< non-finite loss or gradient
  kRunFailed = 5,   ///< a run of a sweep, which said why
  kPreempted = 75,  ///< stopped by a signal, after a checkpoint: start again with --resume
};

/// `text` with control characters, and bytes that are no UTF-8, as C writes them (\n, \x1b): what users and files name
/// may hold line breaks and what terminals obey.
std::string one_line(const std::string& text);

/// Ends the program with one line on stderr and an exit code. The message names what is wrong and where (file:line or
/// key), why, and how to mend it; it has no trailing full stop or newline.
struct Failure : std::runtime_error {
  Failure(ExitCode exit_code, const std::string& message) : std::runtime_error(one_line(message)), code(exit_code) {}
  ExitCode code;
};

/// A mistake on the command line or in a config; also an impossible environment (no such device, folder in use).
struct UsageError : Failure {
  explicit UsageError(const std::string& message) : Failure(ExitCode::kUsage, message) {}
};

/// Input that cannot be read or does not fit: shards, tokenizers, checkpoints, full disks.
struct DataError : Failure {
  explicit DataError(const std::string& message) : Failure(ExitCode::kData, message) {}
};

/// The loss or a gradient is not finite.
struct DivergenceError : Failure {
  explicit DivergenceError(const std::string& message) : Failure(ExitCode::kDiverged, message) {}
};

}  // namespace spikesink
