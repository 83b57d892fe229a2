#pragma once
#include "tests/analysis/study/support.h"

namespace spikesink::test {

/// A model of three layers in which attention does nothing and two FFNs do what is known. Token 0 (channel 0 of the
/// stream) and token 4 (0.6 of channel 0, 0.8 of channel 2) become spike tokens: block 4 adds kRise to channel 7 of
/// token 0 and 0.36 kRise to that of token 4, for its output is quadratic in channel 0 after the norm; block 6 takes
/// kFall away from whoever has the spike. Of other tokens the gate of block 4 is -2 in one hidden channel.
struct PlantedSpike {
  static constexpr double kRise = 500, kFall = 450;

  PlantedSpike() : model(config()) {
    model.params().allocate(stream, DType::kF64, false);  // zeros
    for (Param& param : model.params().all())
      if (!param.decays()) std::ranges::fill(param.value.span<double>(), 1.0);
    const auto set = [&](const std::string& name, std::int64_t cols, std::int64_t row, std::int64_t col, double value) {
      weights(model, name)[static_cast<std::size_t>(row * cols + col)] = value;
    };
    const std::string embedding = "model.embed_tokens.weight", up_layer = "model.layers.1.mlp.",
                      down_layer = "model.layers.2.mlp.";
    for (const std::int64_t token : {1, 2, 3}) set(embedding, 16, token, 1, 1);
    set(embedding, 16, 0, 0, 1);
    set(embedding, 16, 4, 0, 0.6);
    set(embedding, 16, 4, 2, 0.8);
    // After the norm channel 0 of token 0 is sqrt(16) = 4, that of token 4 0.6 * 4.
    set(up_layer + "gate_proj.weight", 16, 0, 0, 5);
    set(up_layer + "up_proj.weight", 16, 0, 0, 1);
    set(up_layer + "down_proj.weight", 4, 7, 0, kRise / (20 * 4));
    set(up_layer + "gate_proj.weight", 16, 1, 1, -0.5);
    // Behind the step channel 7 of both is about 4.
    set(down_layer + "gate_proj.weight", 16, 0, 7, 5);
    set(down_layer + "up_proj.weight", 16, 0, 7, 1);
    set(down_layer + "down_proj.weight", 4, 7, 0, -kFall / (20 * 4));
    study.length = 6;
    study.tokens = tokens;
    study.micro_batch = 3;
  }
  PlantedSpike(const PlantedSpike&) = delete;

  static ModelConfig config() {
    ModelConfig c;
    c.d_model = 16;
    c.n_layers = 3;
    c.context = 6;
    c.vocab_size = 5;
    c.attention = {.n_heads = 2, .d_head = 4};
    c.ffn.d_hidden = 4;
    return c;
  }

  Stream stream = Stream::cpu(1);
  Decoder model;
  std::vector<std::int32_t> tokens{1, 2, 0, 3, 1, 1, 4, 1, 2, 1, 3, 1, 1, 1, 2, 3, 2, 1, 1, 0, 2, 4, 1, 3};
  Study study{.stream = stream, .model = model, .tokens = {}};
};

}  // namespace spikesink::test
