#include "analysis/study/distance.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "analysis/sinks.h"
#include "analysis/study/distribution.h"
#include "analysis/study/passes.h"
#include "kernels/core/parallel.h"
#include "kernels/linear/gemm.h"

namespace spikesink {
namespace {

constexpr std::int64_t kHeadQueries = 64;  // of a head that meet their keys at a time

/// Sums over queries of one head.
struct Distance {
  double all = 0, all_count = 0, without_first = 0, without_first_count = 0;
};

/// What attention shows, on the host and in a dtype that the CPU computes with.
struct HostTap {
  Tensor qkv, lse, starts;
  const kernels::AttentionDims& dims;
};

Tensor computable(const Stream& stream, const Stream& cpu, const Tensor& t) {
  const Tensor host = stream.on_host(t);
  if (host.dtype() != DType::kBF16) return host;
  const Tensor wide = cpu.empty(host.shape(), DType::kF32);
  std::ranges::copy(host.span<bf16>(), wide.data<float>());
  return wide;
}

template <class T>
Distance distance_of(const Stream& cpu, const HostTap& tap, std::int64_t b, std::int64_t h) {
  const auto& d = tap.dims;
  const std::int64_t length = d.length, W = d.qkv_width(), D = d.d_head;
  const T* q = tap.qkv.data<T>() + b * length * W + h * D;
  const T* k = tap.qkv.data<T>() + b * length * W + (d.n_heads + h / (d.n_heads / d.n_kv_heads)) * D;
  const auto* lse = tap.lse.data<acc_t<T>>() + (b * d.n_heads + h) * length;
  std::vector<T> scores(static_cast<std::size_t>(std::min(kHeadQueries, length) * length));
  Distance out;
  for (std::int64_t begin = 0; begin < length; begin += kHeadQueries) {
    const std::int64_t rows = std::min(kHeadQueries, length - begin), keys = begin + rows;
    kernels::cpu::gemm<T>(cpu, scores.data(), keys, {q + begin * W, W}, {k, W, true}, rows, keys, D, T(d.scale));
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t t = begin + r;
      if (t == 0) continue;
      const T* row = scores.data() + r * keys;
      const std::int64_t start = tap.starts ? tap.starts.data<std::int32_t>()[b * length + t] : 0;
      double all = 0, without_first = 0, mass = 0;
      for (std::int64_t s = start; s <= t; ++s) {
        const double a = std::exp(static_cast<double>(row[s]) - static_cast<double>(lse[t]));
        all += a * static_cast<double>(t - s);
        if (s == 0) continue;
        without_first += a * static_cast<double>(t - s);
        mass += a;
      }
      out.all += all;
      ++out.all_count;
      if (!(mass > 0)) continue;  // all that is left has underflowed
      out.without_first += without_first / mass;
      ++out.without_first_count;
    }
  }
  return out;
}

class DistanceObserver final : public StudyObserver {
 public:
  explicit DistanceObserver(const Study& study)
      : sinks(study.stream, study.sink_epsilon),
        study_(study),
        cpu_(study.stream.device == Device::kCpu ? study.stream : Stream::cpu()) {}

  void attention(std::string_view path, const AttentionTap& tap) override {
    sinks.attention(path, tap);
    const std::int64_t H = tap.dims.n_heads, B = tap.lse.shape()[0];
    const auto [at, is_new] = index_.try_emplace(std::string(path), layers.size());
    if (is_new) layers.emplace_back(static_cast<std::size_t>(H));
    const HostTap host{.qkv = computable(study_.stream, cpu_, tap.qkv),
                       .lse = study_.stream.on_host(tap.lse),
                       .starts = tap.starts ? study_.stream.on_host(tap.starts) : Tensor{},
                       .dims = tap.dims};
    std::vector<Distance> found(static_cast<std::size_t>(B * H));
    with_dtype(host.qkv.dtype(), [&]<class T>() {
      kernels::cpu::parallel_tasks(cpu_, B * H, [&](std::int64_t task) {
        found[static_cast<std::size_t>(task)] = distance_of<T>(cpu_, host, task / H, task % H);
      });
    });
    for (std::size_t i = 0; i < found.size(); ++i) {
      Distance& sum = layers[at->second][i % static_cast<std::size_t>(H)];
      sum.all += found[i].all;
      sum.all_count += found[i].all_count;
      sum.without_first += found[i].without_first;
      sum.without_first_count += found[i].without_first_count;
    }
  }

  SinkObserver sinks;
  std::vector<std::vector<Distance>> layers;  // by head

 private:
  const Study& study_;
  Stream cpu_;
  std::map<std::string, std::size_t, std::less<>> index_;  // path -> layer, in the order of first sight
};

}  // namespace

void attention_distance(const Study& study, Results& results) {
  DistanceObserver observer(study);
  run_passes(study, observer);
  const SinkFigures sinks = observer.sinks.figures();
  const std::int64_t H = sinks.n_heads, L = std::ssize(observer.layers);

  std::vector<double> all, without_first, share;
  std::array<std::vector<double>, 2> all_of, without_first_of;  // sink heads, others
  for (const auto& layer : observer.layers)
    for (const Distance& head : layer) {
      share.push_back(sinks.heads[share.size()].sink_share);
      all.push_back(head.all / head.all_count);
      without_first.push_back(head.without_first / head.without_first_count);
      const std::size_t kind = is_sink_head(share.back()) ? 0 : 1;
      all_of[kind].push_back(all.back());
      without_first_of[kind].push_back(without_first.back());
    }
  results.array("distance", all, {L, H}, "tokens",
                "(layer, head): attention-weighted distance from query to key, mean over queries from position 2 on");
  results.array("distance_without_first", without_first, {L, H}, "tokens",
                "(layer, head): the same over keys from position 2 on, whose attention is renormalised");
  results.array("sink_share", share, {L, H}, "1", "(layer, head): share of sequences in which it is a sink head");
  results.summary = {{"heads", std::ssize(all)},
                     {"sink_heads", std::ssize(all_of[0])},
                     {"distance", {{"sink_heads", mean_of(all_of[0])}, {"other_heads", mean_of(all_of[1])}}},
                     {"distance_without_first",
                      {{"sink_heads", mean_of(without_first_of[0])}, {"other_heads", mean_of(without_first_of[1])}}}};
}

}  // namespace spikesink
