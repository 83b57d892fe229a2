#include "analysis/gates.h"

#include <cmath>
#include <numeric>

namespace spikesink {

void GateObserver::gate(std::string_view path, const GateTap& tap) {
  const auto [R, G] = matrix_dims(tap.logits);
  const bool of_tokens = tap.rows == kernels::GateRows::kToken, constant = tap.rows == kernels::GateRows::kConstant;
  const std::int64_t H = G == 1 ? 1 : tap.n_heads, T = constant ? 1 : tap.length, B = of_tokens ? R / T : 1;
  auto at = index_.find(path);
  if (at == index_.end()) {
    at = index_.emplace(std::string(path), layers_.size()).first;
    layers_.push_back({.heads = std::vector<HeadSums>(static_cast<std::size_t>(H))});
  } else if (!of_tokens) {
    return;  // parameters, the same in every pass
  }
  Layer& layer = layers_[at->second];

  const DType dtype = acc_dtype(tap.logits.dtype());
  const Tensor means = stream_.empty({B, H}, dtype), variances = stream_.empty({B, H}, dtype),
               firsts = stream_.empty({B, H}, dtype), of_bins = stream_.empty({B, H, kernels::kGateBins}, DType::kI32);
  kernels::gate_statistics(
      stream_,
      {.mean = means, .variance = variances, .first = firsts, .counts = of_bins, .logits = tap.logits, .length = T});
  const Tensor mean = stream_.on_host(means), variance = stream_.on_host(variances), first = stream_.on_host(firsts),
               counts = stream_.on_host(of_bins);
  layer.sequences += B;
  with_dtype(dtype, [&, G = G]<class Scalar>() {
    const std::int64_t of_head = G / H;
    const auto n = static_cast<double>(T * of_head);
    for (std::int64_t i = 0; i < B * H; ++i) {
      HeadSums& sums = layer.heads[static_cast<std::size_t>(i % H)];
      // Joined about the common mean, so that small deviations do not cancel. Source: Chan, Golub, LeVeque 1983.
      const double apart = static_cast<double>(mean.data<Scalar>()[i]) - sums.mean, all = sums.values + n;
      sums.squares += static_cast<double>(variance.data<Scalar>()[i]) * n + apart * apart * sums.values * n / all;
      sums.mean += apart * n / all;
      sums.values = all;
      sums.firsts += static_cast<double>(first.data<Scalar>()[i]);
      for (std::size_t bin = 0; bin < sums.counts.size(); ++bin)
        sums.counts[bin] += counts.data<std::int32_t>()[i * kernels::kGateBins + static_cast<std::int64_t>(bin)];
    }
  });
}

std::optional<GateFigures> GateObserver::figures() const {
  if (layers_.empty()) return std::nullopt;
  constexpr std::ptrdiff_t kTenth = kernels::kGateBins / 10;
  GateFigures out{.n_heads = static_cast<std::int64_t>(layers_.front().heads.size())};
  for (const Layer& layer : layers_) {
    GateFigures::Histogram histogram{};
    for (const HeadSums& sums : layer.heads) {
      const auto share = [&](auto begin, auto end) {
        return static_cast<double>(std::accumulate(begin, end, std::int64_t{0})) / sums.values;
      };
      const HeadGates head{.mean = sums.mean,
                           .deviation = std::sqrt(sums.squares / sums.values),
                           .closed = share(sums.counts.begin(), sums.counts.begin() + kTenth),
                           .open = share(sums.counts.end() - kTenth, sums.counts.end()),
                           .first_position_mean = sums.firsts / static_cast<double>(layer.sequences)};
      out.gate_mean += head.mean;
      out.gate_closed += head.closed;
      out.heads.push_back(head);
      for (std::size_t bin = 0; bin < histogram.size(); ++bin)
        histogram[bin] += static_cast<double>(sums.counts[bin]) / (sums.values * static_cast<double>(out.n_heads));
    }
    out.histograms.push_back(histogram);
  }
  out.gate_mean /= static_cast<double>(out.heads.size());
  out.gate_closed /= static_cast<double>(out.heads.size());
  return out;
}

}  // namespace spikesink
