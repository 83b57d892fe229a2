#pragma once
#include <string>
#include <vector>

#include "kernels/core/random.h"
#include "models/decoder.h"
#include "models/sample_loss.h"
#include "tests/kernels/support.h"

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

/// A model of one layer: every op of a variant once, and quick enough to walk the whole product.
inline ModelConfig small_config() {
  ModelConfig c = tiny_config();
  c.d_model = 8;
  c.n_layers = 1;
  c.context = 5;
  c.vocab_size = 7;
  c.attention = {.n_heads = 2, .n_kv_heads = 1, .d_head = 4, .rope_theta = 50};
  c.ffn.d_hidden = 6;
  return c;
}

/// Wide enough that the pool rounds nothing up, so that bytes can be counted.
inline ModelConfig countable_config(std::int64_t d_head, std::int64_t d_hidden) {
  ModelConfig c;
  c.d_model = 64;
  c.n_layers = 2;
  c.context = 32;
  c.vocab_size = 64;
  c.attention = {.n_heads = 4, .n_kv_heads = 2, .d_head = d_head};
  c.ffn.d_hidden = d_hidden;
  return c;
}

/// Sections, of a test case that calls it, for what the product of variants does not have.
inline void vary_outside_the_product(ModelConfig& c, SampleShape& shape) {
  SECTION("learned embedding scale, with a token gate that reads the unscaled embedding") {
    c.embedding_scale = EmbeddingScale::kLearned;
    c.attention.gate.source = GateSource::kToken;
  }
  SECTION("DynamicTanh with beta") {
    c.norm.kind = NormKind::kDynamicTanh;
    c.norm.beta = true;
  }
  SECTION("tanh form of GeLU") {
    c.ffn.kind = FfnKind::kGelu;
    c.ffn.gelu = GeluKind::kTanh;
  }
  SECTION("no final norm") { c.norm.final = false; }
  SECTION("output norms with an eps of their own") {
    c.norm.output = true;
    c.norm.output_eps = 0.3;
  }
  SECTION("tied embeddings") { c.tie_embeddings = true; }
  SECTION("loss from a position on") { shape.loss_from_position = 4; }
  SECTION("document mask, with a gate and QK-norm") {
    shape.end_of_text = 3;
    c.context = shape.context = 12;
    c.norm.qk = QkNorm::kHead;
    c.attention.gate.source = GateSource::kConditional;
  }
  SECTION("biases of queries, keys and values") { c.attention.qkv_bias = true; }
  SECTION("biases with QK-norm and scaled frequencies") {
    c.attention.qkv_bias = true;
    c.norm.qk = QkNorm::kHead;
    c.attention.rope_scaling = {.kind = RopeScalingKind::kLlama3, .factor = 3, .original_context = 4};
  }
  SECTION("frequencies divided by a factor") {
    c.attention.rope_scaling = {.kind = RopeScalingKind::kLinear, .factor = 3};
  }
  SECTION("heads that do not add up to d_model") { c.attention = {.n_heads = 3, .d_head = 2}; }
}

/// The kinds of an enumeration that YAML is looked up in.
template <class Enum>
std::vector<Enum> all_of() {
  std::vector<Enum> kinds;
  for (std::size_t i = 0; i < names_of(Enum{}).size(); ++i) kinds.push_back(static_cast<Enum>(i));
  return kinds;
}

inline std::string describe(const ModelConfig& c) {
  const auto name = [](auto kind) { return std::string(names_of(kind)[static_cast<std::size_t>(kind)]); };
  return name(c.norm.kind) + " input " + std::to_string(c.norm.input) + " output " + std::to_string(c.norm.output) +
         " qk " + name(c.norm.qk) + " ffn " + name(c.ffn.kind) + " " + name(c.ffn.gelu) + " gate " +
         name(c.attention.gate.source) + " " + name(c.attention.gate.granularity);
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

/// Rounds every value of `params`, which lie on the CPU in f64, to `dtype`.
inline void round_values(ParamSet& params, DType dtype) {
  for (const Param& p : params.all())
    with_stored_dtype(dtype, [&]<class T>() {
      for (double& x : p.value.span<double>()) x = static_cast<double>(static_cast<T>(static_cast<float>(x)));
    });
}

/// Gives `to`, on `stream`, the values of `from`, on the CPU in f64, in its own dtype.
inline void copy_values(const Stream& stream, const ParamSet& from, const ParamSet& to) {
  for (std::size_t i = 0; i < from.all().size(); ++i) {
    const Tensor& into = to.all()[i].value;
    stream.copy(into, from_values(into.shape(), into.dtype(), values(from.all()[i].value)));
  }
}

/// What a model makes of samples.
struct LossAndGrads {
  double loss;
  std::vector<std::vector<double>> grads;  // by parameter
};
inline LossAndGrads gradients(const Stream& stream, Decoder& model, const std::vector<std::int32_t>& samples,
                              const SampleShape& shape) {
  model.params().zero_grads();
  LossAndGrads out{.loss = accumulate_gradients(stream, model, samples, shape), .grads = {}};
  for (const Param& p : model.params().all()) out.grads.push_back(values(p.grad));
  return out;
}

}  // namespace spikesink::test
