// Sweep files, over a base config that is there; behind a zero byte each a --set.
#include "configs/sweep.h"
#include "kernels/core/check.h"
#include "tests/fuzz/target.h"

namespace spikesink::fuzz {
namespace {

void feed_sweep(std::string_view input) {
  static const std::string base = write_scratch("sweeps/baseline.yaml", kBaseConfig);
  const std::string file = write_scratch("sweeps/sweep.yaml", take_until(input, '\0'));
  std::vector<std::string> overrides;
  while (!input.empty()) overrides.emplace_back(take_until(input, '\0'));
  const Sweep sweep = read_sweep(file, overrides);
  require(!sweep.name.empty() && sweep.name.find('/') == sweep.name.npos, "a sweep is called ", sweep.name);
  require(!sweep.rows.empty(), "a sweep without rows");
  for (const SweepRow& row : sweep.rows) {
    require(row.runs.empty() != row.refusal.empty(), "row ", row.name, " has runs and a refusal, or neither");
    for (const SweepRun& run : row.runs)  // its folder is one below the sweep's
      require(run.name.find('/') == run.name.npos && !run.name.starts_with('.'), "a run is called ", run.name);
  }
}

const Registration kSweep{{"sweep", feed_sweep}};

}  // namespace
}  // namespace spikesink::fuzz
