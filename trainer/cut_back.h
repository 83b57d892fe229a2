#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/json_lines.h"
#include "io/tensorboard.h"
#include "trainer/run_folder.h"

namespace spikesink {

/// Takes back everything that was logged after a step, so that each step stands once when it is run again: lines of
/// metrics.jsonl, TensorBoard's events, probes. Damaged lines of metrics.jsonl, which no step can be read in, go to
/// metrics.jsonl.damaged. Who may yet fail reads first and makes it last: what cannot be read has then changed nothing.
class CutBack {
 public:
  /// Reads all of it. Nothing may be logged from here on. `step`: the last that stays; -1 for a run that starts again
  /// from nothing. `probe_too`: the probe of `step` itself goes too, which is to be measured again. `logged_every`:
  /// metrics.jsonl is to have every so many steps since the last start of the run before `step`; 0: none. DataError
  /// from what cannot be listed or read.
  CutBack(const RunFolder& folder, std::int64_t step, bool probe_too = false, std::int64_t logged_every = 0);
  /// Makes it. Returns lines for the log: what was damaged, and which steps metrics.jsonl lacks. DataError from what
  /// cannot be written or removed.
  std::vector<std::string> make() const;

 private:
  std::string metrics_;
  std::int64_t step_;
  std::optional<JsonLinesCut> lines_;
  std::vector<EventFileCut> events_;
  std::vector<std::string> probes_;  // that go
  std::string missing_;              // a line for the log, or empty
};

}  // namespace spikesink
