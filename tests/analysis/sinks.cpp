#include "analysis/sinks.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

namespace spikesink {
namespace {

constexpr std::int64_t kHeads = 3, kDim = 4;

/// Attention of `sequences` sequences of T tokens in which each head does what `logit(sequence, head, key)` says: all
/// queries give key k a logit of that much, by q = e_0 and k = logit e_0.
struct Pattern {
  Tensor qkv, lse;
  kernels::AttentionDims dims;
};
Pattern make_pattern(const Stream& stream, std::int64_t sequences, std::int64_t T, auto logit) {
  Pattern p{.dims = {.n_heads = kHeads, .n_kv_heads = kHeads, .d_head = kDim, .length = T, .scale = 0.5}};
  const std::int64_t W = p.dims.qkv_width();
  p.qkv = stream.zeros({sequences * T, W}, DType::kF64);
  p.lse = stream.empty({sequences, kHeads, T}, DType::kF64);
  for (std::int64_t b = 0; b < sequences; ++b)
    for (std::int64_t t = 0; t < T; ++t)
      for (std::int64_t h = 0; h < kHeads; ++h) {
        double* const row = p.qkv.data<double>() + (b * T + t) * W;
        row[h * kDim] = 1 / p.dims.scale;
        row[(kHeads + h) * kDim] = logit(b, h, t);
      }
  const Tensor out = stream.empty({sequences * T, p.dims.out_width()}, DType::kF64);
  kernels::attention_forward(stream, {.out = out, .lse = p.lse, .qkv = p.qkv, .dims = p.dims});
  return p;
}

void show(SinkObserver& observer, const char* path, const Pattern& p) {
  observer.attention(path, {.qkv = p.qkv, .lse = p.lse, .starts = {}, .dims = p.dims});
}

double harmonic(std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 1; i <= n; ++i) sum += 1.0 / static_cast<double>(i);
  return sum;
}

}  // namespace

TEST_CASE("uniform causal attention gives the first position H_T / T and no sink", "[analysis][sink]") {
  const Stream stream = Stream::cpu(2);
  SinkObserver observer(stream, 0.3);
  show(observer, "layer", make_pattern(stream, 2, 64, [](auto...) { return 0.0; }));
  const SinkFigures f = observer.figures();
  REQUIRE(f.heads.size() == kHeads);
  for (const HeadSinks& head : f.heads) {
    CHECK(head.alpha[0] == Approx(0.0741).margin(5e-5));
    for (std::int64_t k = 0; k < 64; ++k)  // queries t > k give 1 / t
      CHECK(head.alpha[static_cast<std::size_t>(k)] == Approx((harmonic(64) - harmonic(k)) / 64).epsilon(1e-12));
    CHECK(head.sink_token == 0);
  }
  CHECK(f.sink_ratio == 0);
  CHECK(f.sink_first == 0);
  CHECK(f.first_token_mass == Approx((harmonic(64) - 1) / 63).epsilon(1e-12));
  CHECK(f.first_token_mass == Approx(0.059).margin(5e-4));
}

TEST_CASE("a planted sink is found at its position, in the heads and sequences that have it", "[analysis][sink]") {
  const Stream stream = Stream::cpu(2);
  SinkObserver observer(stream, 0.3);
  // Head 0: all on position 1, in every sequence. Head 1: all on position 4, in sequence 0 of 2. Head 2: position 12,
  // which lies in the second half and so is no sink.
  const auto logit = [](std::int64_t b, std::int64_t h, std::int64_t k) {
    const std::int64_t sink[] = {0, 3, 11};
    return k == sink[h] && (h != 1 || b == 0) ? 60.0 : 0.0;
  };
  show(observer, "a", make_pattern(stream, 2, 16, logit));
  show(observer, "b", make_pattern(stream, 2, 16, [](auto...) { return 0.0; }));
  const SinkFigures f = observer.figures();
  REQUIRE(f.heads.size() == 2 * kHeads);
  CHECK(f.heads[0].sink_share == 1);
  CHECK(f.heads[0].sink_token == 1);
  CHECK(f.heads[0].alpha[0] == Approx(1).epsilon(1e-12));
  CHECK(f.heads[0].first_token_mass == Approx(1).epsilon(1e-12));
  CHECK(f.heads[1].sink_share == 0.5);
  CHECK(f.heads[1].sink_token == 4);
  // Sequence 0: queries 4 to 16 are all on 4. Sequence 1: uniform.
  CHECK(f.heads[1].alpha[3] == Approx((13.0 / 16 + (harmonic(16) - harmonic(3)) / 16) / 2).epsilon(1e-12));
  CHECK(f.heads[2].sink_share == 0);
  CHECK(f.heads[2].alpha[11] == Approx(5.0 / 16).epsilon(1e-12));
  CHECK(f.sink_ratio == Approx((1 + 0.5) / 6));
  CHECK(f.sink_first == Approx(1.0 / 6));
}

TEST_CASE("sinks do not depend on how sequences are cut into passes", "[analysis][sink]") {
  const Stream stream = Stream::cpu(1);
  const auto logit = [](std::int64_t b, std::int64_t h, std::int64_t k) {
    return std::sin(static_cast<double>(7 * b + 3 * h + 5 * k)) * 3;
  };
  SinkObserver whole(stream, 0.3), parts(stream, 0.3);
  show(whole, "a", make_pattern(stream, 3, 10, logit));
  for (std::int64_t b = 0; b < 3; ++b)
    show(parts, "a", make_pattern(stream, 1, 10, [&](auto, auto h, auto k) { return logit(b, h, k); }));
  const SinkFigures x = whole.figures(), y = parts.figures();
  CHECK(x.sink_ratio == y.sink_ratio);
  CHECK(x.first_token_mass == Approx(y.first_token_mass).epsilon(1e-14));
  for (std::size_t h = 0; h < kHeads; ++h)
    for (std::size_t k = 0; k < 10; ++k) CHECK(x.heads[h].alpha[k] == Approx(y.heads[h].alpha[k]).epsilon(1e-14));
}

TEST_CASE("a sink is the first of what gets most of the first half, above epsilon; none where attention is NaN",
          "[analysis][sink]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto sink = [](const std::vector<double>& alpha) { return sink_of(std::span<const double>(alpha), 0.3); };
  CHECK(sink({0.31, 0.4, 0.9, 0.9}) == 1);
  CHECK(sink({0.4, 0.4, 0.1, 0.1}) == 0);
  CHECK(sink({0.3, 0.1, 0.9, 0.1}) == std::nullopt);  // not above epsilon; the second half does not count
  CHECK(sink({0.9}) == 0);
  CHECK(sink({0.9, 0.1, 0.1, nan}) == std::nullopt);
}

}  // namespace spikesink
