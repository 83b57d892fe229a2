#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "analysis/study/results.h"
#include "io/lock.h"

namespace spikesink {

/// What results are of. Those of another source cannot stand beside them.
struct ResultsSource {
  std::string checkpoint;      ///< its folder, which may be moved
  std::string checkpoint_sum;  ///< SHA-256 of its state.json, in which the sums of all its files are
  std::int64_t step = 0;
  std::int64_t sequences = 0, length = 0;
  std::int64_t context_sequences = 0, context = 0;
  std::string text_sum;  ///< SHA-256 of the tokens
  std::string precision;
  double sink_epsilon = 0, spike_abs = 0, spike_ratio = 0;

  void fields(auto&& v) {
    v("checkpoint", checkpoint);
    v("checkpoint_sum", checkpoint_sum);
    v("step", step);
    v("sequences", sequences);
    v("length", length);
    v("context_sequences", context_sequences);
    v("context", context);
    v("text_sum", text_sum);
    v("precision", precision);
    v("sink_epsilon", sink_epsilon);
    v("spike_abs", spike_abs);
    v("spike_ratio", spike_ratio);
  }
};

/// A folder of results: analysis.h5 has a group an analysis, with its arrays and the attributes `unit` and `meaning` of
/// each; summary.json a map an analysis; both have the source, in attributes of the file and as "source". Each file is
/// replaced as a whole. Held by one process at a time.
class ResultsFolder {
 public:
  /// Makes the folder, or opens one. UsageError if it has results of another source, or other things than results.
  /// DataError if its files are damaged.
  ResultsFolder(std::string folder, ResultsSource source);

  /// Adds the results of an analysis, in place of older ones of it; the others stay.
  void put(const std::string& name, const Results& results);

  const std::string& path() const { return folder_; }

 private:
  void open();
  std::string file(const char* name) const { return folder_ + "/" + name; }

  std::string folder_;
  ResultsSource source_;
  FileLock lock_;
  nlohmann::ordered_json summary_;
};

}  // namespace spikesink
