#pragma once
#include <vector>

#include "kernels/core/random.h"
#include "models/decoder.h"
#include "models/sample_loss.h"

namespace spikesink::test {

/// A model of two layers with grouped queries, small enough for central differences.
inline ModelConfig tiny_config() {
  ModelConfig c;
  c.d_model = 12;
  c.n_layers = 2;
  c.context = 9;
  c.vocab_size = 17;
  c.init_std = 0.2;
  c.attention = {.n_heads = 4, .n_kv_heads = 2, .d_head = 6, .rope_theta = 100};
  c.ffn.d_hidden = 20;
  return c;
}

/// rows of context + 1 tokens, drawn evenly from the vocabulary
inline std::vector<std::int32_t> random_samples(const ModelConfig& c, std::int64_t rows, std::uint64_t seed) {
  const Random random{.seed = seed, .stream = name_hash("test samples")};
  std::vector<std::int32_t> samples(static_cast<std::size_t>(rows * (c.context + 1)));
  for (std::size_t i = 0; i < samples.size(); ++i)
    samples[i] = static_cast<std::int32_t>(random.below(i, static_cast<std::uint64_t>(c.vocab_size)));
  return samples;
}

/// Norm scales start at one, where a mistake in them can hide: moves every value of every parameter a little.
inline void perturb(ParamSet& params, double size) {
  for (const Param& p : params.all())
    with_dtype(p.value.dtype(), [&]<class T>() {
      const Random random{.seed = 99, .stream = name_hash(p.name())};
      const auto values = p.value.span<T>();
      for (std::size_t i = 0; i < values.size(); ++i) values[i] += static_cast<T>(size * random.normal(i));
    });
}

}  // namespace spikesink::test
