#pragma once
#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "analysis/config.h"
#include "kernels/core/stream.h"
#include "models/decoder.h"
#include "models/observer.h"

namespace spikesink {

/// The residual stream after one block, over all sequences seen. |h| has no unit.
struct BlockSpikes {
  struct Channel {
    std::int64_t channel = 0;  ///< 0-based
    double magnitude = 0;      ///< mean over sequences of max_t |h|
  };
  double max = 0;                   ///< max |h|
  double mean = 0;                  ///< mean over sequences of each one's max |h|
  double median = 0;                ///< mean over sequences of each one's median |h| over tokens and channels
  double ratio = 0;                 ///< max / median
  std::array<Channel, 3> top{};     ///< the largest channels, falling; fewer channels than 3: zeros
  std::int64_t spike_position = 0;  ///< 1-based position of the max |h| in most sequences
  double spike_tokens = 0;          ///< positions that hold a massive activation, mean over sequences
  double spike_channels = 0;        ///< channels that hold one, mean over sequences
};

/// One sequence: its largest |h| after any block, and that over its median |h| after the block that holds it.
struct SequenceSpikes {
  double max = 0, ratio = 0;
};

/// The order of magnitudes that kernels::magnitudes has: NaN is above infinity, so that a largest one carries it.
inline bool is_below(double a, double b) { return a < b || (std::isnan(b) && !std::isnan(a)); }

/// Figures of massive activations; NaN where a value of the residual stream is NaN. Sources: Sun, Canziani, LeCun, Zhu
/// 2026, arXiv:2603.05498; Sun et al. 2024, arXiv:2402.17762.
struct SpikeFigures {
  double spike_max = 0;                   ///< max |h| over blocks, sequences, positions and channels
  double spike_mean = 0;                  ///< mean over sequences of each one's max |h| over all blocks
  double spike_ratio = 0;                 ///< spike_max / median |h| of the block that holds it
  std::vector<BlockSpikes> blocks;        ///< (2 L)
  std::vector<SequenceSpikes> sequences;  ///< in the order of the passes
};

/// Gathers the magnitudes of the residual stream after every block. All passes that it sees must have sequences of one
/// length, and go through the whole model.
class SpikeObserver final : public Observer {
 public:
  SpikeObserver(const Stream& stream, const std::vector<BlockPaths>& blocks, std::int64_t length,
                const SpikeConfig& config);

  void activation(std::string_view path, const Tensor& value) override;
  /// Of all that was seen; at least one pass.
  SpikeFigures figures() const;

 private:
  struct Sums {
    double max = 0, maxima = 0, medians = 0;
    std::int64_t sequences = 0, spike_tokens = 0, spike_channels = 0;
    std::vector<double> channel_max;            // (C) sum over sequences
    std::vector<std::int64_t> position_of_max;  // (T) sequences
  };

  const Stream& stream_;
  std::int64_t length_;
  SpikeConfig config_;
  std::map<std::string, std::size_t, std::less<>> index_;  // path of a residual join -> block
  std::vector<Sums> blocks_;
  std::vector<SequenceSpikes> sequences_;
};

}  // namespace spikesink
