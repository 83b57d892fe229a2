#include "analysis/study/trajectory.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>

#include "analysis/spikes.h"
#include "analysis/study/passes.h"
#include "analysis/study/spike_places.h"

namespace spikesink {
namespace {

constexpr std::int64_t kTop = 3;

/// Magnitudes of one (N, C) tensor a block, over the sequences seen.
class Magnitudes {
 public:
  Magnitudes(const Study& study, std::size_t blocks)
      : study_(study),
        blocks_(blocks, {.channels = std::vector<double>(static_cast<std::size_t>(study.model.config().d_model))}) {}

  void add(std::size_t block, const Tensor& value) {
    const std::int64_t T = study_.length, C = matrix_dims(value).cols, B = matrix_dims(value).rows / T;
    const SequenceMagnitudes found = magnitudes_of(study_.stream, value, T);
    const auto all = host_values(study_.stream, value);
    Sums& sums = blocks_[block];
    for (std::int64_t b = 0; b < B; ++b) {
      const auto top = largest({all.data() + b * T * C, static_cast<std::size_t>(T * C)});
      for (std::size_t i = 0; i < top.size(); ++i) sums.top[i] += top[i];
      sums.max = std::max(sums.max, top[0], is_below);
      sums.median += found.medians[static_cast<std::size_t>(b)];
      for (std::int64_t c = 0; c < C; ++c)
        sums.channels[static_cast<std::size_t>(c)] += found.channels[static_cast<std::size_t>(b * C + c)];
    }
  }

  void write(Results& results, const std::string& group, const std::string& of) const {
    const auto S = static_cast<double>(study_.sequences());
    std::vector<double> top, max, median, values;
    std::vector<std::int64_t> channels;
    for (const Sums& sums : blocks_) {
      for (const double value : sums.top) top.push_back(value / S);
      max.push_back(sums.max);
      median.push_back(sums.median / S);
      std::vector<std::int64_t> order(sums.channels.size());
      std::iota(order.begin(), order.end(), 0);
      const auto count = std::min<std::ptrdiff_t>(kTop, std::ssize(order));
      std::ranges::partial_sort(order, order.begin() + count, std::greater{},
                                [&](std::int64_t c) { return sums.channels[static_cast<std::size_t>(c)]; });
      for (std::ptrdiff_t i = 0; i < kTop; ++i) {
        const std::int64_t channel = i < count ? order[static_cast<std::size_t>(i)] : 0;
        channels.push_back(channel);
        values.push_back(i < count ? sums.channels[static_cast<std::size_t>(channel)] / S : 0);
      }
    }
    const auto blocks = std::ssize(blocks_);
    const auto array = [&](const char* name, Results::Values numbers, std::vector<std::int64_t> dims, const char* unit,
                           const std::string& meaning) {
      results.array(group + "/" + name, std::move(numbers), std::move(dims), unit, meaning);
    };
    array("top_values", top, {blocks, kTop}, "activation",
          "(block, rank): the largest |h| over positions and channels of " + of + ", falling; mean over sequences");
    array("max", max, {blocks}, "activation", "(block): largest |h| of all sequences");
    array("median", median, {blocks}, "activation",
          "(block): median |h| over positions and channels, mean over sequences");
    array("top_channels", channels, {blocks, kTop}, "1", "(block, rank): 0-based channels of top_channel_values");
    array("top_channel_values", values, {blocks, kTop}, "activation",
          "(block, rank): largest |h| over positions of a channel, mean over sequences; the three largest channels");
  }

 private:
  struct Sums {
    std::array<double, kTop> top{};
    double max = 0, median = 0;
    std::vector<double> channels;  // (C)
  };

  static std::array<double, kTop> largest(std::span<const double> values) {
    std::array<double, kTop> top{};
    for (const double value : values) {
      if (std::isnan(value)) {
        top.fill(value);
        break;
      }
      if (!(std::abs(value) > top.back())) continue;
      top.back() = std::abs(value);
      for (std::size_t i = top.size() - 1; i > 0 && top[i] > top[i - 1]; --i) std::swap(top[i], top[i - 1]);
    }
    return top;
  }

  const Study& study_;
  std::vector<Sums> blocks_;
};

class TrajectoryObserver final : public StudyObserver {
 public:
  explicit TrajectoryObserver(const Study& study)
      : residual(study, study.model.blocks().size()), added(study, study.model.blocks().size()) {
    for (std::size_t b = 0; b < study.model.blocks().size(); ++b) {
      index_[study.model.blocks()[b].residual] = {&residual, b};
      index_[study.model.blocks()[b].added] = {&added, b};
    }
  }
  void activation(std::string_view path, const Tensor& value) override {
    if (const auto at = index_.find(path); at != index_.end()) at->second.first->add(at->second.second, value);
  }

  Magnitudes residual, added;

 private:
  std::map<std::string, std::pair<Magnitudes*, std::size_t>, std::less<>> index_;
};

}  // namespace

void trajectory(const Study& study, Results& results) {
  const SpikePlaces& places = spike_places(study);
  TrajectoryObserver observer(study);
  run_passes(study, observer);
  observer.residual.write(results, "residual", "the residual stream after the block");
  observer.added.write(results, "output", "what the block adds");

  const auto n = std::ssize(places.channels), blocks = std::ssize(study.model.blocks());
  results.array("spikes/channels", places.channels, {n}, "1",
                "(spike channel): 0-based channels that hold a massive activation, falling by their plateau");
  results.array("spikes/position", places.position, {study.sequences()}, "1",
                "(sequence): 0-based position of its largest massive activation, -1 if it has none");
  results.array("spikes/residual", places.residual, {blocks, n}, "activation",
                "(block, spike channel): signed value of the residual stream at the spike positions, mean over the "
                "sequences that have one");
  results.array("spikes/output", places.output, {blocks, n}, "activation",
                "(block, spike channel): what the block adds there, signed, mean over the same sequences");
  results.array("spikes/share", places.share, {blocks}, "1",
                "(block): spikes/output along the plateau over the plateau's square; from +step_share on the block is "
                "a step-up block, from -step_share down a step-down block");
  results.array("steps/up", places.step_up, {std::ssize(places.step_up)}, "1", "(step): 1-based step-up blocks");
  results.array("steps/down", places.step_down, {std::ssize(places.step_down)}, "1",
                "(step): 1-based step-down blocks");
  const auto with = std::ranges::count_if(places.position, [](std::int64_t t) { return t >= 0; });
  results.summary = {
      {"blocks", blocks},
      {"step_up", places.step_up},
      {"step_down", places.step_down},
      {"step_share", kStepShare},
      {"plateau_block", places.plateau_block},
      {"spike_channels", places.channels},
      {"spike_tokens_a_sequence", static_cast<double>(places.num_spikes()) / static_cast<double>(study.sequences())},
      {"sequences_with_spikes", static_cast<double>(with) / static_cast<double>(study.sequences())}};
}

}  // namespace spikesink
