#include "data/config.h"

#include <algorithm>
#include <cmath>
#include <sstream>

namespace spikesink {
namespace {
constexpr std::int64_t kMostLanes = 65536;
}  // namespace

std::string problem_of(const DataConfig& c) {
  std::ostringstream out;
  if (c.train.empty())
    out << "data.train: names no shards; give files or globs, e.g. [data/*.jsonl.zst]";
  else if (!c.weights.empty() && c.weights.size() != c.train.size())
    out << "data.weights: has " << c.weights.size() << " numbers, but data.train names " << c.train.size()
        << "; give one for each token store, or remove it";
  else if (!std::ranges::all_of(c.weights, [](double w) { return std::isfinite(w) && w > 0; }))
    out << "data.weights: must all be above 0; leave a store out of data.train instead";
  else if (!(c.holdout >= 0 && c.holdout < 1))
    out << "data.holdout: " << c.holdout << ", must lie in [0, 1); 0.005 is usual";
  else if (c.holdout == 0 && c.validation.empty())
    out << "data.holdout: 0 leaves nothing to validate on; raise it (0.005 is usual) or name shards in data.validation";
  else if (c.tokenizer.empty())
    out << "data.tokenizer: is empty; give bytes, sentencepiece's FILE.model, or tiktoken's FILE.tiktoken";
  else if (c.lanes < 1)
    out << "data.lanes: " << c.lanes << ", must be at least 1; 64 is usual";
  else if (c.lanes > kMostLanes)
    out << "data.lanes: " << c.lanes << ", must be at most " << kMostLanes
        << ", as each keeps windows of samples and an open shard; 64 is usual";
  else if (!(c.max_bad_share >= 0 && c.max_bad_share <= 1))
    out << "data.max_bad_share: " << c.max_bad_share << ", must lie between 0 and 1";
  else if (c.threads < 0 || c.threads > kMostThreads)
    out << "data.threads: " << c.threads << ", must lie between 0 and " << kMostThreads
        << "; 0 leaves the number to the program";
  return out.str();
}

}  // namespace spikesink
