#include "analysis/spikes.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/metrics/magnitudes.h"

namespace spikesink {
SpikeObserver::SpikeObserver(const Stream& stream, const std::vector<BlockPaths>& blocks, std::int64_t length,
                             const SpikeConfig& config)
    : stream_(stream), length_(length), config_(config), blocks_(blocks.size()) {
  for (std::size_t b = 0; b < blocks.size(); ++b) index_[blocks[b].residual] = b;
}

void SpikeObserver::activation(std::string_view path, const Tensor& value) {
  const auto at = index_.find(path);
  if (at == index_.end()) return;
  const std::int64_t C = matrix_dims(value).cols, T = length_, B = matrix_dims(value).rows / T;
  const DType dtype = acc_dtype(value.dtype());
  const Tensor of_channels = stream_.empty({B, C}, dtype), of_tokens = stream_.empty({B, T}, dtype),
               of_all = stream_.empty({B}, dtype);
  kernels::magnitudes(stream_,
                      {.channel_max = of_channels, .token_max = of_tokens, .median = of_all, .x = value, .length = T});
  const Tensor channel_max = stream_.on_host(of_channels), token_max = stream_.on_host(of_tokens),
               median = stream_.on_host(of_all);

  if (at->second == 0) sequences_.resize(sequences_.size() + static_cast<std::size_t>(B));
  SequenceSpikes* const sequences = sequences_.data() + sequences_.size() - static_cast<std::size_t>(B);
  Sums& sums = blocks_[at->second];
  sums.sequences += B;
  sums.channel_max.resize(static_cast<std::size_t>(C));
  sums.position_of_max.resize(static_cast<std::size_t>(T));
  with_dtype(dtype, [&]<class Scalar>() {
    for (std::int64_t b = 0; b < B; ++b) {
      const Scalar *channels = channel_max.data<Scalar>() + b * C, *tokens = token_max.data<Scalar>() + b * T;
      const auto middle = static_cast<double>(median.data<Scalar>()[b]);
      const auto massive = [bound = config_.bound(middle)](Scalar h) { return static_cast<double>(h) > bound; };
      const Scalar* top = std::max_element(tokens, tokens + T, is_below);
      const auto largest = static_cast<double>(*top);
      sums.max = std::max(sums.max, largest, is_below);
      sums.maxima += largest;
      sums.medians += middle;
      sums.spike_tokens += std::count_if(tokens, tokens + T, massive);
      sums.spike_channels += std::count_if(channels, channels + C, massive);
      ++sums.position_of_max[static_cast<std::size_t>(top - tokens)];
      for (std::int64_t c = 0; c < C; ++c)
        sums.channel_max[static_cast<std::size_t>(c)] += static_cast<double>(channels[c]);
      if (is_below(sequences[b].max, largest))
        sequences[b] = {.max = largest, .ratio = middle == 0 ? 0 : largest / middle};
    }
  });
}

SpikeFigures SpikeObserver::figures() const {
  require(!sequences_.empty(), "SpikeObserver: no block was seen");
  SpikeFigures out{.sequences = sequences_};
  for (const Sums& sums : blocks_) {
    const auto n = static_cast<double>(sums.sequences);
    BlockSpikes block{.max = sums.max,
                      .mean = sums.maxima / n,
                      .median = sums.medians / n,
                      .spike_tokens = static_cast<double>(sums.spike_tokens) / n,
                      .spike_channels = static_cast<double>(sums.spike_channels) / n};
    block.ratio = block.median == 0 ? 0 : block.max / block.median;
    if (std::isnan(block.max)) block.spike_tokens = block.spike_channels = std::numeric_limits<double>::quiet_NaN();
    block.spike_position = std::ranges::max_element(sums.position_of_max) - sums.position_of_max.begin() + 1;
    std::vector<std::size_t> order(sums.channel_max.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    const std::size_t count = std::min(block.top.size(), order.size());
    std::ranges::partial_sort(
        order, order.begin() + static_cast<std::ptrdiff_t>(count),
        [&](std::size_t a, std::size_t b) { return is_below(sums.channel_max[b], sums.channel_max[a]); });
    for (std::size_t i = 0; i < count; ++i)
      block.top[i] = {static_cast<std::int64_t>(order[i]), sums.channel_max[order[i]] / n};
    if (is_below(out.spike_max, block.max)) {
      out.spike_max = block.max;
      out.spike_ratio = block.ratio;
    }
    out.blocks.push_back(block);
  }
  for (const SequenceSpikes& sequence : sequences_) out.spike_mean += sequence.max;
  out.spike_mean /= static_cast<double>(sequences_.size());
  return out;
}

}  // namespace spikesink
