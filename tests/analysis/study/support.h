#pragma once
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "analysis/study/passes.h"
#include "analysis/study/spike_places.h"
#include "analysis/study/study.h"
#include "kernels/core/random.h"
#include "models/sample_loss.h"
#include "tests/analysis/arrays.h"
#include "tests/kernels/support.h"

// What tests of the analyses share: a small model with the text of a study, and all that it shows of itself in one
// pass, from which they compute the same figures with plain loops.
namespace spikesink::test {

/// Of study_config() and SmallStudy: sequences, tokens of each, channels, heads, key heads, channels of a head.
inline constexpr int kS = 5, kT = 12, kC = 16, kH = 4, kK = 2, kD = 6;

inline ModelConfig study_config() {
  ModelConfig c;
  c.d_model = kC;
  c.n_layers = 2;
  c.context = kT;
  c.vocab_size = 11;
  c.init_std = 0.3;
  c.attention = {.n_heads = kH, .n_kv_heads = kK, .d_head = kD};
  c.ffn.d_hidden = 24;
  return c;
}

/// A model on the CPU in double, with random weights, and five sequences of `length` tokens.
struct SmallStudy {
  explicit SmallStudy(const ModelConfig& config, std::int64_t length = kT, DType dtype = DType::kF64,
                      const Stream& on = Stream::cpu(2))
      : stream(on), model(config) {
    model.params().allocate(stream, dtype, false);
    model.params().init(1);
    for (std::int64_t i = 0; i < kS * length; ++i)
      tokens.push_back(static_cast<std::int32_t>(
          Random{.seed = 3}.below(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(config.vocab_size))));
    // Small models have no massive activations by the usual bounds.
    study.length = length;
    study.tokens = tokens;
    study.spike = {.abs = 0.5, .ratio = 3.5};
    study.micro_batch = 2;
  }
  SmallStudy(const SmallStudy&) = delete;

  Stream stream;
  Decoder model;
  std::vector<std::int32_t> tokens;
  Study study{.stream = stream, .model = model, .tokens = {}};
};

/// Everything that a model shows of the study's sequences, in double.
struct Seen final : Observer {
  struct Attention {
    std::vector<double> qkv;
    kernels::AttentionDims dims{};
  };

  explicit Seen(const Study& study) : stream(study.stream) {
    const std::int64_t S = study.sequences(), T = study.length;
    Tensor starts;
    if (study.end_of_text) {
      first_keys = document_starts(study.tokens, T, *study.end_of_text);
      starts = upload_ids(stream, first_keys);
    }
    first_keys.resize(study.tokens.size());
    Pass pass(stream, {S, T, starts}, Pass::Mode::kForwardOnly, this);
    study.model.hidden(pass, upload_ids(stream, study.tokens));
    for (const BlockPaths& block : study.model.blocks()) {
      residual.push_back(of.at(block.residual));
      added.push_back(of.at(block.added));
    }
  }
  void activation(std::string_view path, const Tensor& value) override { of[std::string(path)] = values(value); }
  void attention(std::string_view, const AttentionTap& tap) override { heads.push_back({values(tap.qkv), tap.dims}); }
  void swiglu(std::string_view path, const SwiGluTap& tap) override {
    gate_up[std::string(path)] = values(tap.gate_up);
  }

  /// A[t][k] of one head, by the softmax of all its scores.
  std::vector<std::vector<double>> probabilities(std::size_t layer, std::int64_t sequence, std::int64_t head) const {
    const auto& [qkv, d] = heads[layer];
    const std::int64_t T = d.length, W = d.qkv_width(), D = d.d_head;
    std::vector<std::vector<double>> A(static_cast<std::size_t>(T), std::vector<double>(static_cast<std::size_t>(T)));
    for (std::int64_t t = 0; t < T; ++t) {
      double sum = 0;
      auto& row = A[static_cast<std::size_t>(t)];
      for (std::int64_t k = first_keys[static_cast<std::size_t>(sequence * T + t)]; k <= t; ++k) {
        double score = 0;
        for (std::int64_t i = 0; i < D; ++i)
          score += qkv[static_cast<std::size_t>((sequence * T + t) * W + head * D + i)] *
                   qkv[static_cast<std::size_t>((sequence * T + k) * W +
                                                (d.n_heads + head / (d.n_heads / d.n_kv_heads)) * D + i)];
        sum += row[static_cast<std::size_t>(k)] = std::exp(score * d.scale);
      }
      for (double& a : row) a /= sum;
    }
    return A;
  }

  const Stream& stream;
  std::map<std::string, std::vector<double>> of, gate_up;  // by path
  std::vector<std::vector<double>> residual, added;        // by block
  std::vector<Attention> heads;                            // by layer of attention
  std::vector<std::int32_t> first_keys;                    // (S T)
};

/// Equal, or both NaN.
inline void check_same(double got, double want, double epsilon = 1e-9) {
  if (std::isnan(want))
    CHECK(std::isnan(got));
  else
    CHECK(got == Approx(want).epsilon(epsilon).margin(1e-12));
}

/// The value of a parameter of a model on the CPU, to write into.
inline std::span<double> weights(const Decoder& model, const std::string& name) {
  const Tensor t = parameter(model, name);
  REQUIRE(static_cast<bool>(t));
  return t.span<double>();
}

}  // namespace spikesink::test
