#include "analysis/practice/eviction.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "analysis/practice/cache_attention.h"
#include "analysis/practice/text.h"

namespace spikesink {
namespace {

const std::vector<std::int64_t> kKept = {0, 1, 2, 4, 8};

/// The mean over positions `first` on.
double mean_from(const std::vector<double>& losses, std::int64_t first) {
  return std::accumulate(losses.begin() + first, losses.end(), 0.0) / static_cast<double>(std::ssize(losses) - first);
}

}  // namespace

void eviction(const Study& study, Results& results) {
  const std::int64_t T = study.length;
  require(T >= 4, "eviction: of ", T, " tokens a cache of half of them evicts nothing that is read");
  const std::vector<std::int64_t> sizes = {T / 2, T / 4};
  std::int64_t num_fits = 0;
  for (const std::int64_t size : sizes)
    num_fits += std::ranges::count_if(kKept, [&](auto kept) { return kept < size; });
  const StudyText text(study, 1 + num_fits);
  const auto cached = [&](std::int64_t size, std::int64_t kept) {
    CacheAttention cache(study.stream, study.model.config().attention, {.size = size, .kept = kept});
    return text.loss_by_position({.intervention = &cache});
  };
  CacheAttention typical(study.stream, study.model.config().attention, {.size = sizes[0]});
  text.foretell("eviction", {.intervention = &typical});

  const std::vector<double> whole = text.loss_by_position({});
  std::vector<double> by_position, loss, perplexity, evicted, evicted_whole;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  results.summary["loss"] = mean_from(whole, 0);
  results.summary["perplexity"] = std::exp(mean_from(whole, 0));
  for (const std::int64_t size : sizes) {
    evicted_whole.push_back(mean_from(whole, size));
    auto& rows = results.summary[fmt::format("cache_{}", size)];
    rows["perplexity_whole"] = std::exp(evicted_whole.back());
    for (const std::int64_t kept : kKept) {
      const bool fits = kept < size;
      const std::vector<double> losses = fits ? cached(size, kept) : std::vector<double>(whole.size(), nan);
      by_position.insert(by_position.end(), losses.begin(), losses.end());
      loss.push_back(mean_from(losses, 0));
      perplexity.push_back(std::exp(loss.back()));
      evicted.push_back(mean_from(losses, size));
      if (fits) rows[fmt::format("perplexity_kept_{}", kept)] = std::exp(evicted.back());
    }
  }
  const auto S = std::ssize(sizes), K = std::ssize(kKept);
  results.array("size", sizes, {S}, "tokens", "(size): tokens in the cache, the kept and the query's own included");
  results.array("kept", kKept, {K}, "tokens", "(kept): first tokens of the sequence that stay in the cache");
  results.array("loss", loss, {S, K}, "nats", "(size, kept): mean loss a token; NaN where `kept` is not below `size`");
  results.array("perplexity", perplexity, {S, K}, "1", "(size, kept): exp of it");
  results.array("loss_evicted", evicted, {S, K}, "nats",
                "(size, kept): mean loss at the positions whose cache has lost a token, t >= size from 0");
  results.array("loss_evicted_whole", evicted_whole, {S}, "nats",
                "(size): at the same positions with the whole context");
  results.array("loss_by_position", by_position, {S, K, T - 1}, "nats",
                "(size, kept, position): mean over sequences of the loss at a position");
  results.array("loss_by_position_whole", whole, {T - 1}, "nats", "(position): the same with the whole context");
}

}  // namespace spikesink
