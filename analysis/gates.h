#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/stream.h"
#include "kernels/metrics/gate_statistics.h"
#include "models/observer.h"

namespace spikesink {

/// The values s = sigmoid(logit) of one gated head, over all sequences, positions and, where they have logits of their
/// own, channels.
struct HeadGates {
  double mean = 0;
  double deviation = 0;            ///< root of the mean of (s - mean)^2
  double closed = 0;               ///< share with s < 0.1
  double open = 0;                 ///< share with s >= 0.9
  double first_position_mean = 0;  ///< mean at position 1 of the sequences
};

/// Figures of gates. A gate that all heads share counts as one head. Source: Qiu et al. 2025, arXiv:2505.06708.
struct GateFigures {
  using Histogram = std::array<double, kernels::kGateBins>;
  double gate_mean = 0;               ///< mean of s over layers and heads
  double gate_closed = 0;             ///< mean of `closed` over layers and heads
  std::int64_t n_heads = 0;           ///< H, or 1
  std::vector<HeadGates> heads;       ///< (L H), layers of attention in order
  std::vector<Histogram> histograms;  ///< (L) share of a layer's values in [i/20, (i+1)/20); 1 is in the last
};

/// Gathers the values of every gate. All passes that it sees must have sequences of one length, and go through the
/// whole model.
class GateObserver final : public Observer {
 public:
  explicit GateObserver(const Stream& stream) : stream_(stream) {}

  void gate(std::string_view path, const GateTap& tap) override;
  /// Of all that was seen; nothing if no gate was.
  std::optional<GateFigures> figures() const;

 private:
  struct HeadSums {
    double values = 0, mean = 0, squares = 0;  // number of values, their mean, sum of (s - mean)^2
    double firsts = 0;                         // sum over sequences of the mean at position 1
    std::array<std::int64_t, kernels::kGateBins> counts{};
  };
  struct Layer {
    std::vector<HeadSums> heads;
    std::int64_t sequences = 0;
  };

  const Stream& stream_;
  std::map<std::string, std::size_t, std::less<>> index_;  // path -> layer, in the order of first sight
  std::vector<Layer> layers_;
};

}  // namespace spikesink
