#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/tokenizer.h"

namespace spikesink {

/// What is timed of the way from shards to samples; in this order.
enum class DataBench { kRead, kTokenise, kStream, kStore, kFiles };
inline constexpr int kNumDataBenches = 5;
/// "read", "tokenise", "stream", "store", "files"
std::string_view name_of(DataBench bench);

struct DataBenchOptions {
  const Tokenizer& tokenizer;
  std::vector<std::string> shards;  ///< or globs; none: shards of made words
  std::string store;                ///< none: one of made tokens
  std::int64_t synthetic = 0;       ///< > 0: a store of so many tokens instead, all but the last 0, as a sparse file
  std::vector<DataBench> only;      ///< none: all
  std::int64_t context = 2048;
  int threads = 2;
  double seconds = 1;  ///< that each is timed for, at least
};

/// One figure. Rates a core are by the CPU time of all threads: what others do on the machine counts little in them.
struct DataFigure {
  DataBench bench;
  std::string what;
  bool of_text;  ///< amounts are bytes of text (UTF-8), else tokens
  double amount, seconds, cpu_seconds;
  int threads;          ///< that work; the one that takes batches is not counted
  double aim_a_core;    ///< of the project
  double limit_a_core;  ///< in the unit of the figure, measured in the same run
  std::string limit_of;
  std::int64_t memory_growth;  ///< bytes: the peak resident memory while it ran, less that before

  double rate() const { return amount / seconds; }
  double rate_a_core() const { return amount / cpu_seconds; }
  double share() const { return rate_a_core() / limit_a_core; }
};

/// Times each in turn and reports it. What it makes lies in the system's temporary folder, and goes away. DataError as
/// find_shards(), DocumentReader, StoreLoader.
void bench_data(const DataBenchOptions& options, const std::function<void(const DataFigure&)>& report);

}  // namespace spikesink
