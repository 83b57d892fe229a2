#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/stream.h"
#include "models/observer.h"

namespace spikesink {

/// Is a head a sink head of a text, that is one in this share of its sequences? It is from half of them on.
inline bool is_sink_head(double sink_share) { return sink_share >= 0.5; }

/// The position, from 0, that makes a head a sink head of a sequence, by `alpha` (T): what gets most of the first half,
/// if more than `epsilon`; nothing where attention is NaN.
template <class T>
std::optional<std::int64_t> sink_of(std::span<const T> alpha, double epsilon) {
  if (std::ranges::any_of(alpha, [](T a) { return std::isnan(a); })) return std::nullopt;
  const auto half = alpha.first(std::max<std::size_t>(alpha.size() / 2, 1));
  const auto top = std::ranges::max_element(half);
  return static_cast<double>(*top) > epsilon ? std::optional(top - half.begin()) : std::nullopt;
}

/// One attention layer's head, over all sequences seen.
struct HeadSinks {
  std::vector<double> alpha;    ///< (T) mean over sequences of alpha_k = 1/T sum_t A[t,k]
  double sink_share = 0;        ///< share of sequences in which this is a sink head
  double first_share = 0;       ///< share of sequences in which alpha_1 > epsilon
  std::int64_t sink_token = 0;  ///< 1-based position that is the sink most often; 0: never a sink head
  double first_token_mass = 0;  ///< mean of A[t,1] over queries t >= 2 and sequences
};

/// The same figures of one sequence, over its heads.
struct SequenceSinks {
  double sink_ratio = 0, sink_first = 0, first_token_mass = 0;
};

/// Figures of attention sinks over sequences of one length T; NaN where attention is. Sources: sink_ratio Sun,
/// Canziani, LeCun, Zhu 2026, arXiv:2603.05498, App. A; sink_first Gu et al. 2024, arXiv:2410.10781; first_token_mass
/// Qiu et al. 2025, arXiv:2505.06708.
struct SinkFigures {
  double sink_ratio = 0;                 ///< share of heads with max_{k <= T/2} alpha_k > epsilon, mean over sequences
  double sink_first = 0;                 ///< share of heads with alpha_1 > epsilon, mean over sequences
  double first_token_mass = 0;           ///< mean of A[t,1] over layers, heads, sequences and queries t >= 2
  std::int64_t length = 0;               ///< T
  std::int64_t n_heads = 0;              ///< H
  std::vector<HeadSinks> heads;          ///< (L H), layers of attention in order
  std::vector<SequenceSinks> sequences;  ///< in the order of the passes
};

/// Gathers what attention gives to each position, from q, k and the log-sum-exp. All passes that it sees must have
/// sequences of one length, and go through the whole model.
class SinkObserver final : public Observer {
 public:
  SinkObserver(const Stream& stream, double epsilon) : stream_(stream), epsilon_(epsilon) {}

  void attention(std::string_view path, const AttentionTap& tap) override;
  /// Of all that was seen; at least one pass.
  SinkFigures figures() const;

 private:
  struct HeadSums {
    std::vector<double> alpha;             // (T) sum over sequences
    std::vector<std::int64_t> sink_token;  // (T) sequences in which k is the sink
    double sinks = 0, firsts = 0;          // sequences
  };
  struct SequenceSums {
    double sinks = 0, firsts = 0;  // heads
    double first_alpha = 0;        // sum over heads
  };
  struct Layer {
    std::vector<HeadSums> heads;
    std::int64_t sequences = 0;
  };
  Layer& layer_of(std::string_view path, const AttentionTap& tap);

  const Stream& stream_;
  double epsilon_;
  std::int64_t length_ = 0;
  std::map<std::string, std::size_t, std::less<>> index_;  // path -> layer, in the order of first sight
  std::vector<Layer> layers_;
  std::vector<SequenceSums> sequences_;
};

}  // namespace spikesink
