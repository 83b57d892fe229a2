#pragma once
#include <memory>
#include <string>

namespace spikesink {

/// What a person reads while a run goes on: log.txt with a time stamp a line, and the terminal. On a terminal the
/// progress is one line that is written over; elsewhere only whole lines appear.
class RunLog {
 public:
  /// Appends to `file`. DataError if it cannot be written.
  explicit RunLog(const std::string& file);
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

/// 1 h 05 min, 3 min 20 s, 12 s
std::string duration_text(double seconds);
/// 950, 12.3k, 4.56M
std::string count_text(double count);

}  // namespace spikesink
