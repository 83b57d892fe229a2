#pragma once
#include <memory>
#include <string>
#include <vector>

#include "analysis/study/study.h"
#include "tests/analysis/arrays.h"
#include "tests/models/support.h"

namespace spikesink::test {

/// A small model in f64 with random values and a text for it. Token `kSpikeToken` has a massive activation of `spike`
/// in channel `kSpikeChannel` from its embedding on; 0: no token has.
struct Studied {
  static constexpr std::int32_t kSpikeToken = 5;
  static constexpr std::int64_t kSpikeChannel = 3;

  explicit Studied(double spike, std::int64_t sequences = 5, std::int64_t length = 16)
      : Studied(spike, sequences, config(length)) {}
  Studied(double spike, std::int64_t sequences, const ModelConfig& c) : model(c) {
    model.params().allocate(stream, DType::kF64, false);
    model.params().init(2);
    perturb(model.params(), 0.05);
    if (spike > 0)
      model.params().all().front().value.data<double>()[kSpikeToken * model.config().d_model + kSpikeChannel] = spike;
    tokens = random_samples(model.config(), sequences, 4);
    tokens.resize(static_cast<std::size_t>(sequences * c.context));
  }
  static ModelConfig config(std::int64_t length) {
    ModelConfig c = tiny_config();
    c.context = length;
    return c;
  }
  Study study(std::int64_t micro_batch = 2) const {
    return {.stream = stream,
            .model = model,
            .tokens = tokens,
            .length = model.config().context,
            .spike = {.abs = 100, .ratio = 20},
            .micro_batch = micro_batch};
  }
  /// The mean loss over all predicted tokens, by the trainer's own loss.
  double loss() const {
    return mean_loss(stream, model, tokens,
                     {.context = model.config().context - 1, .micro_batch = 1, .loss_from_position = 1});
  }
  /// The mean loss of passes over one sequence each, with an intervention and, by Batch, first positions.
  double loss(Intervention* intervention, const std::vector<std::int32_t>& starts = {}) const {
    const std::int64_t T = model.config().context, S = std::ssize(tokens) / T;
    double sum = 0;
    for (std::int64_t b = 0; b < S; ++b) {
      const auto row = std::span(tokens).subspan(static_cast<std::size_t>(b * T), static_cast<std::size_t>(T));
      std::vector<std::int32_t> targets(row.begin() + 1, row.end());
      targets.push_back(-1);
      Pass pass(stream, {1, T, starts.empty() ? Tensor{} : upload_ids(stream, starts)}, Pass::Mode::kForwardOnly,
                nullptr, intervention);
      for (const double loss :
           values(model.loss(pass, model.hidden(pass, upload_ids(stream, row)), upload_ids(stream, targets), 0)))
        sum += loss;
    }
    return sum / static_cast<double>(S * (T - 1));
  }

  Stream stream = Stream::cpu(2);
  Decoder model;
  std::vector<std::int32_t> tokens;
};

}  // namespace spikesink::test
