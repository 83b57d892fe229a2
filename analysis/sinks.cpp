#include "analysis/sinks.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/metrics/attention_mass.h"

namespace spikesink {
namespace {

/// Mean of A[t,1] over queries t >= 2, from alpha_1: query 1 sees position 1 only, A[1,1] = 1.
double mass_after_first(double alpha, std::int64_t length) {
  const auto T = static_cast<double>(length);
  return length > 1 ? (T * alpha - 1) / (T - 1) : 0;
}

}  // namespace

SinkObserver::Layer& SinkObserver::layer_of(std::string_view path, const AttentionTap& tap) {
  auto at = index_.find(path);
  if (at == index_.end()) {
    at = index_.emplace(std::string(path), layers_.size()).first;
    const auto T = static_cast<std::size_t>(tap.dims.length);
    layers_.push_back({.heads = std::vector<HeadSums>(
                           static_cast<std::size_t>(tap.dims.n_heads),
                           {.alpha = std::vector<double>(T), .sink_token = std::vector<std::int64_t>(T)})});
  }
  return layers_[at->second];
}

void SinkObserver::attention(std::string_view path, const AttentionTap& tap) {
  const std::int64_t T = tap.dims.length, H = tap.dims.n_heads, B = tap.lse.shape()[0];
  require(length_ == 0 || length_ == T, "SinkObserver: sequences of ", T, " after ", length_);
  length_ = T;
  Layer& layer = layer_of(path, tap);
  const Tensor mass = stream_.empty(tap.lse.shape(), tap.lse.dtype());  // (B, H, T)
  kernels::attention_mass(stream_,
                          {.alpha = mass, .qkv = tap.qkv, .lse = tap.lse, .starts = tap.starts, .dims = tap.dims});
  const Tensor alpha = stream_.on_host(mass);
  const auto before = static_cast<std::size_t>(layer.sequences);
  layer.sequences += B;
  sequences_.resize(std::max(sequences_.size(), static_cast<std::size_t>(layer.sequences)));
  with_dtype(alpha.dtype(), [&]<class Scalar>() {
    for (std::int64_t b = 0; b < B; ++b)
      for (std::int64_t h = 0; h < H; ++h) {
        const Scalar* row = alpha.data<Scalar>() + (b * H + h) * T;
        HeadSums& sums = layer.heads[static_cast<std::size_t>(h)];
        for (std::int64_t k = 0; k < T; ++k) sums.alpha[static_cast<std::size_t>(k)] += static_cast<double>(row[k]);
        const bool is_known = std::none_of(row, row + T, [](Scalar a) { return std::isnan(a); });
        const auto counted = [is_known](bool is) {
          return is_known ? static_cast<double>(is) : std::numeric_limits<double>::quiet_NaN();
        };
        const auto position = sink_of(std::span(row, static_cast<std::size_t>(T)), epsilon_);
        const double sink = counted(position.has_value()), first = counted(static_cast<double>(row[0]) > epsilon_);
        sums.sinks += sink;
        if (position) ++sums.sink_token[static_cast<std::size_t>(*position)];
        sums.firsts += first;
        SequenceSums& sequence = sequences_[before + static_cast<std::size_t>(b)];
        sequence.sinks += sink;
        sequence.firsts += first;
        sequence.first_alpha += static_cast<double>(row[0]);
      }
  });
}

SinkFigures SinkObserver::figures() const {
  require(!layers_.empty(), "SinkObserver: no attention was seen");
  SinkFigures out{.length = length_, .n_heads = static_cast<std::int64_t>(layers_.front().heads.size())};
  for (const Layer& layer : layers_)
    for (const HeadSums& sums : layer.heads) {
      const auto n = static_cast<double>(layer.sequences);
      HeadSinks head{.alpha = sums.alpha, .sink_share = sums.sinks / n, .first_share = sums.firsts / n};
      for (double& a : head.alpha) a /= n;
      const auto most = std::ranges::max_element(sums.sink_token);
      if (*most > 0) head.sink_token = most - sums.sink_token.begin() + 1;
      head.first_token_mass = mass_after_first(head.alpha.front(), length_);
      out.sink_ratio += head.sink_share;
      out.sink_first += head.first_share;
      out.first_token_mass += head.first_token_mass;
      out.heads.push_back(std::move(head));
    }
  const auto heads = static_cast<double>(out.heads.size());
  for (const SequenceSums& sums : sequences_)
    out.sequences.push_back({.sink_ratio = sums.sinks / heads,
                             .sink_first = sums.firsts / heads,
                             .first_token_mass = mass_after_first(sums.first_alpha / heads, length_)});
  out.sink_ratio /= heads;
  out.sink_first /= heads;
  out.first_token_mass /= heads;
  return out;
}

}  // namespace spikesink
