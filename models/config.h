#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kernels/core/device.h"

namespace spikesink {

// Each struct is one map of the YAML file. `fields(v)` calls v(key, member, help) for every key: the reader, the
// writer, the help text and the tests all walk it, so that a key exists in one place. An enumeration has `names_of`, in
// order.

enum class NormKind { kRmsNorm, kLayerNorm, kDynamicTanh };
constexpr std::array<std::string_view, 3> names_of(NormKind) { return {"rmsnorm", "layernorm", "dynamic_tanh"}; }
enum class QkNorm { kNone, kHead, kFull };
constexpr std::array<std::string_view, 3> names_of(QkNorm) { return {"none", "head", "full"}; }

/// Initial alpha of DynamicTanh by place. Source: Zhu et al. 2025, arXiv:2503.10622, LLaMA at 7B.
struct AlphaConfig {
  double attention = 0.8;
  double ffn = 0.2;
  double final = 0.2;

  void fields(auto&& v) {
    v("attention", attention, "in the norms of attention");
    v("ffn", ffn, "in the norms of the FFN");
    v("final", final, "in the norm before the LM head");
  }
};

struct NormConfig {
  NormKind kind = NormKind::kRmsNorm;
  bool input = true;
  bool output = false;
  bool final = true;
  QkNorm qk = QkNorm::kNone;
  double eps = 1e-5;
  std::optional<double> output_eps;  ///< absent: eps
  AlphaConfig alpha;
  bool beta = false;

  double eps_of_output() const { return output_eps.value_or(eps); }

  void fields(auto&& v) {
    v("kind", kind,
      "rmsnorm: x / sqrt(mean(x^2) + eps) * weight | layernorm: (x - mean) / std * weight + bias | dynamic_tanh: "
      "tanh(alpha x) * weight [+ bias]");
    v("input", input, "norm before attention and FFN: x + F(norm(x))");
    v("output", output, "norm after them, before the residual add: x + norm(F(x))");
    v("final", final, "norm before the LM head");
    v("qk", qk,
      "RMSNorm of queries and keys before the rotary positions: none | head: of each head | full: of all heads");
    v("eps", eps, "added to the mean of squares");
    v("output_eps", output_eps,
      "eps of the norms after attention and FFN; from about the mean square of their input on, small inputs stay "
      "small; absent: eps");
    v("alpha", alpha, "dynamic_tanh: initial value of the learned scalar alpha");
    v("beta", beta, "dynamic_tanh: add a learned bias");
  }
};

enum class GateSource { kNone, kConditional, kUnconditional, kPositional, kToken };
constexpr std::array<std::string_view, 5> names_of(GateSource) {
  return {"none", "conditional", "unconditional", "positional", "token"};
}
enum class GateGranularity { kChannel, kHead, kSingle };
constexpr std::array<std::string_view, 3> names_of(GateGranularity) { return {"channel", "head", "single"}; }

/// heads * sigmoid(logits) before o_proj. Source: Qiu et al. 2025, arXiv:2505.06708, position G1.
struct GateConfig {
  GateSource source = GateSource::kNone;
  GateGranularity granularity = GateGranularity::kHead;

  void fields(auto&& v) {
    v("source", source,
      "of the logits: none: no gate | conditional: W x of the block's normalised input | unconditional: a learned "
      "constant | positional: a learned table by position | token: W of the unscaled token embedding");
    v("granularity", granularity, "logits a token: channel: n_heads * d_head | head: n_heads | single: 1");
  }
};

enum class RopeScalingKind { kNone, kLinear, kLlama3 };
constexpr std::array<std::string_view, 3> names_of(RopeScalingKind) { return {"none", "linear", "llama3"}; }

/// See kernels::RopeScaling.
struct RopeScalingConfig {
  RopeScalingKind kind = RopeScalingKind::kNone;
  double factor = 8;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  std::int64_t original_context = 8192;

  void fields(auto&& v) {
    v("kind", kind, "none | linear: rotary frequencies divided by factor | llama3: only the low ones, as in Llama 3.1");
    v("factor", factor, "how much longer the context is than the one that the model was first trained on");
    v("low_freq_factor", low_freq_factor, "llama3: frequencies with fewer turns in original_context are divided");
    v("high_freq_factor", high_freq_factor, "llama3: those with more are kept, and in between the two are mixed");
    v("original_context", original_context, "llama3: the context that the model was first trained on");
  }
};

struct AttentionConfig {
  std::int64_t n_heads = 32;
  std::optional<std::int64_t> n_kv_heads;  ///< absent: n_heads
  std::int64_t d_head = 128;
  bool qkv_bias = false;
  double rope_theta = 10000;
  RopeScalingConfig rope_scaling;
  GateConfig gate;

  std::int64_t kv_heads() const { return n_kv_heads.value_or(n_heads); }
  /// Logits of the gate for a token.
  std::int64_t gate_width() const {
    return gate.granularity == GateGranularity::kChannel ? n_heads * d_head
           : gate.granularity == GateGranularity::kHead  ? n_heads
                                                         : 1;
  }

  void fields(auto&& v) {
    v("n_heads", n_heads, "query heads; n_heads * d_head need not equal d_model");
    v("n_kv_heads", n_kv_heads, "key and value heads, a divisor of n_heads (grouped queries); absent: n_heads");
    v("d_head", d_head, "channels of a head, even");
    v("qkv_bias", qkv_bias, "a learned bias on queries, keys and values, as in Qwen 2.5");
    v("rope_theta", rope_theta, "base of the rotary frequencies");
    v("rope_scaling", rope_scaling, "of the rotary frequencies, for contexts longer than a model was first trained on");
    v("gate", gate, "sigmoid gate on the heads' output");
  }
};

enum class FfnKind { kSwiGlu, kGelu, kLinear, kAttention };
constexpr std::array<std::string_view, 4> names_of(FfnKind) { return {"swiglu", "gelu", "linear", "attention"}; }
enum class GeluKind { kExact, kTanh };
constexpr std::array<std::string_view, 2> names_of(GeluKind) { return {"exact", "tanh"}; }

struct FfnConfig {
  FfnKind kind = FfnKind::kSwiGlu;
  std::optional<std::int64_t> d_hidden;  ///< absent: see hidden()
  GeluKind gelu = GeluKind::kExact;

  /// Width of the hidden layer: d_hidden, or 8/3 d_model rounded up to a multiple of 64 for SwiGLU, and 1.5 times that
  /// for GeLU, which has two matrices instead of three.
  std::int64_t hidden(std::int64_t d_model) const {
    const std::int64_t swiglu = ((8 * d_model + 2) / 3 + 63) / 64 * 64;
    return d_hidden.value_or(kind == FfnKind::kGelu ? swiglu * 3 / 2 : swiglu);
  }

  void fields(auto&& v) {
    v("kind", kind,
      "swiglu: down(silu(gate x) * up x) | gelu: down(gelu(up x)) | linear: W x | attention: a second attention layer");
    v("d_hidden", d_hidden,
      "swiglu, gelu: hidden width; absent: 8/3 d_model, rounded up to a multiple of 64 (gelu: 1.5 times that)");
    v("gelu", gelu, "gelu: exact (x * Phi(x)) | tanh (its approximation)");
  }
};

enum class EmbeddingScale { kNone, kLearned };
constexpr std::array<std::string_view, 2> names_of(EmbeddingScale) { return {"none", "learned"}; }

/// What is computed again on the way back instead of kept: nothing, what norms, activation functions and gates put out,
/// or everything inside a layer. No part of the model: the numbers are the same to the last bit.
enum class Recompute { kNone, kCheap, kLayer };
constexpr std::array<std::string_view, 3> names_of(Recompute) { return {"none", "cheap", "layer"}; }

struct ModelConfig {
  std::int64_t d_model = 4096;
  std::int64_t n_layers = 32;
  std::int64_t context = 4096;
  std::int64_t vocab_size = 32000;
  bool tie_embeddings = false;
  EmbeddingScale embedding_scale = EmbeddingScale::kNone;
  double init_std = 0.02;
  NormConfig norm;
  AttentionConfig attention;
  FfnConfig ffn;

  void fields(auto&& v) {
    v("d_model", d_model, "channels of the residual stream");
    v("n_layers", n_layers, "layers; a layer is attention + FFN");
    v("context", context, "training sequence length in tokens");
    v("vocab_size", vocab_size, "rows of the embedding; at least the tokenizer's size");
    v("tie_embeddings", tie_embeddings, "the LM head uses the input embedding's matrix");
    v("embedding_scale", embedding_scale,
      "none | learned: a scalar on the token embedding that starts at sqrt(d_model)");
    v("init_std", init_std, "normal, truncated at 3 sigma; residual outputs are divided by sqrt(2 n_layers)");
    v("norm", norm, "normalisation");
    v("attention", attention, "causal self-attention with rotary positions");
    v("ffn", ffn, "feed-forward network");
  }
};

/// One line naming the key, the reason and the mend (e.g. "model.attention.d_head: 7 is odd; ..."), or empty.
std::string problem_of(const ModelConfig& config);
/// The same for what a device has no kernels for.
std::string problem_on(Device device, const ModelConfig& config);

}  // namespace spikesink
