#pragma once
#include <exception>
#include <memory>
#include <string>

#include "io/failure.h"

namespace spikesink {

/// What a person reads while a run goes on: log.txt with a time stamp a line, and the terminal. On a terminal the
/// progress is one line that is written over; elsewhere only whole lines appear.
class RunLog {
 public:
  /// Appends to `file`. DataError if it cannot be written.
  explicit RunLog(const std::string& file);
  /// Says nothing: that of all ranks but one.
  RunLog();
  ~RunLog();

  void line(const std::string& text);      ///< to the file and to the terminal
  void note(const std::string& text);      ///< to the file only
  void step(const std::string& text);      ///< a logged step: as line(), but on a terminal only as progress
  void progress(const std::string& text);  ///< on a terminal: replaces the progress line, at most 10 times a second
  void close_progress();                   ///< ends the progress line, so that other text can follow

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// How a program ends when an exception has come up to its top.
struct Ending {
  ExitCode code;
  std::string text;
};
/// What most of a command's memory is for, by which the mend is told where it is lacking.
enum class MemoryOf { kModel, kOthers };
Ending ending_of(const std::exception& error, MemoryOf memory = MemoryOf::kModel);
void note_ending(const std::string& log_file, const std::exception& error) noexcept;

/// Runs `f()`; how an exception of it would end the program is noted in `log_file` too, where that can be written.
template <class F>
auto noting_failure(const std::string& log_file, F&& f) {
  try {
    return f();
  } catch (const std::exception& error) {
    note_ending(log_file, error);
    throw;
  }
}

}  // namespace spikesink
