#include "analysis/spikes.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

namespace spikesink {
namespace {
const std::vector<BlockPaths> kBlocks{
    {.input_norm = "", .branch = "m.self_attn", .added = "m.self_attn", .residual = "m.self_attn.residual"},
    {.input_norm = "", .branch = "m.mlp", .added = "m.mlp", .residual = "m.mlp.residual"}};
}

TEST_CASE("planted spikes are found with their block, position and channels", "[analysis][spike]") {
  constexpr std::int64_t B = 2, T = 4, C = 5;
  const Stream stream = Stream::cpu(2);
  SpikeObserver observer(stream, kBlocks, T, {.abs = 100, .ratio = 50});

  const auto stream_of = [&](auto value) {
    Tensor x = stream.empty({B * T, C}, DType::kF32);
    for (std::int64_t b = 0; b < B; ++b)
      for (std::int64_t t = 0; t < T; ++t)
        for (std::int64_t c = 0; c < C; ++c) x.data<float>()[(b * T + t) * C + c] = value(b, t, c);
    return x;
  };
  const auto quiet = [](std::int64_t, std::int64_t, std::int64_t c) { return c % 2 ? -1.0f : 1.0f; };
  observer.activation("m.self_attn.residual", stream_of(quiet));
  observer.activation("m.self_attn", stream_of([](auto...) { return 1e9f; }));  // not a residual: ignored
  observer.activation("m.mlp.residual", stream_of([&](std::int64_t b, std::int64_t t, std::int64_t c) {
                        if (t == 2 && c == 3) return b == 0 ? -400.0f : 200.0f;  // massive in both sequences
                        if (t == 1 && c == 0) return b == 0 ? 120.0f : 90.0f;    // massive in the first only
                        if (t == 0 && c == 4) return 2.0f;
                        return quiet(b, t, c);
                      }));

  const SpikeFigures f = observer.figures();
  CHECK(f.spike_max == 400);
  CHECK(f.spike_mean == 300);
  CHECK(f.spike_ratio == 400);  // the median is 1
  REQUIRE(f.blocks.size() == 2);
  CHECK(f.blocks[0].max == 1);
  CHECK(f.blocks[0].spike_tokens == 0);
  const BlockSpikes& block = f.blocks[1];
  CHECK(block.mean == 300);
  CHECK(block.median == 1);
  CHECK(block.spike_position == 3);
  CHECK(block.spike_tokens == 1.5);
  CHECK(block.spike_channels == 1.5);
  CHECK(block.top[0].channel == 3);
  CHECK(block.top[0].magnitude == 300);
  CHECK(block.top[1].channel == 0);
  CHECK(block.top[1].magnitude == 105);
  CHECK(block.top[2].channel == 4);
  CHECK(block.top[2].magnitude == 2);
}

TEST_CASE("a NaN in the residual stream leaves no figure of its block and sequence", "[analysis]") {
  const std::int64_t B = 2, T = 4, C = 6;
  const Stream stream = Stream::cpu(2);
  SpikeObserver observer(stream, kBlocks, T, {.abs = 100, .ratio = 20});
  const Tensor x = stream.empty({B * T, C}, DType::kF32);
  std::ranges::fill(x.span<float>(), 3.0f);
  observer.activation("m.self_attn.residual", x);
  const Tensor y = stream.empty({B * T, C}, DType::kF32);
  std::ranges::fill(y.span<float>(), 3.0f);
  y.span<float>()[(T + 1) * C + 2] = std::numeric_limits<float>::quiet_NaN();  // of the second sequence
  observer.activation("m.mlp.residual", y);
  const SpikeFigures f = observer.figures();
  CHECK(std::isnan(f.spike_max));
  CHECK(std::isnan(f.spike_mean));
  CHECK(std::isnan(f.spike_ratio));
  CHECK(f.blocks[0].max == 3);
  CHECK(std::isnan(f.blocks[1].max));
  CHECK(std::isnan(f.blocks[1].spike_tokens));
  CHECK(f.blocks[1].top[0].channel == 2);
  CHECK(f.sequences[0].max == 3);
  CHECK(std::isnan(f.sequences[1].max));
}

TEST_CASE("nothing is massive where the median is NaN", "[analysis][spike]") {
  const SpikeConfig config{.abs = 100, .ratio = 20};
  CHECK(config.bound(1) == 100);
  CHECK(config.bound(6) == 120);
  CHECK(std::isnan(config.bound(std::numeric_limits<double>::quiet_NaN())));
}

}  // namespace spikesink
