#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace spikesink {

// Each struct is one map of the YAML file. `fields(v)` calls v(key, member, help) for every key: the reader, the
// writer, the help text and the tests all walk it, so that a key exists in one place. An enumeration has `names_of`, in
// order.

enum class NormKind { kRmsNorm };
constexpr std::array<std::string_view, 1> names_of(NormKind) { return {"rmsnorm"}; }

struct NormConfig {
  NormKind kind = NormKind::kRmsNorm;
  double eps = 1e-5;

  void fields(auto&& v) {
    v("kind", kind, "rmsnorm: x / sqrt(mean(x^2) + eps) * weight");
    v("eps", eps, "added to the mean of squares");
  }
};

struct AttentionConfig {
  std::int64_t n_heads = 32;
  std::optional<std::int64_t> n_kv_heads;  ///< absent: n_heads
  std::int64_t d_head = 128;
  double rope_theta = 10000;

  std::int64_t kv_heads() const { return n_kv_heads.value_or(n_heads); }

  void fields(auto&& v) {
    v("n_heads", n_heads, "query heads; n_heads * d_head need not equal d_model");
    v("n_kv_heads", n_kv_heads, "key and value heads, a divisor of n_heads (grouped queries); absent: n_heads");
    v("d_head", d_head, "channels of a head, even");
    v("rope_theta", rope_theta, "base of the rotary frequencies");
  }
};

enum class FfnKind { kSwiGlu };
constexpr std::array<std::string_view, 1> names_of(FfnKind) { return {"swiglu"}; }

struct FfnConfig {
  FfnKind kind = FfnKind::kSwiGlu;
  std::optional<std::int64_t> d_hidden;  ///< absent: see hidden()

  /// Width of the hidden layer: d_hidden, or 8/3 d_model rounded up to a multiple of 64.
  std::int64_t hidden(std::int64_t d_model) const { return d_hidden.value_or(((8 * d_model + 2) / 3 + 63) / 64 * 64); }

  void fields(auto&& v) {
    v("kind", kind, "swiglu: down(silu(gate x) * up x)");
    v("d_hidden", d_hidden, "hidden width; absent: 8/3 d_model, rounded up to a multiple of 64");
  }
};

struct ModelConfig {
  std::int64_t d_model = 4096;
  std::int64_t n_layers = 32;
  std::int64_t context = 4096;
  std::int64_t vocab_size = 32000;
  bool tie_embeddings = false;
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
    v("init_std", init_std, "normal, truncated at 3 sigma; residual outputs are divided by sqrt(2 n_layers)");
    v("norm", norm, "normalisation");
    v("attention", attention, "causal self-attention with rotary positions");
    v("ffn", ffn, "feed-forward network");
  }
};

/// One line naming the key, the reason and the mend (e.g. "model.attention.d_head: 7 is odd; ..."), or empty.
std::string problem_of(const ModelConfig& config);

/// Number of parameters, and of those in matrices that multiply every token (input embedding left out, LM head
/// counted).
struct ParameterCount {
  std::int64_t total = 0, matmul = 0;
};
ParameterCount count_parameters(const ModelConfig& config);

/// Training FLOPs a token: 6 * matmul parameters + 6 * L * (H * D) * T, causal attention counted once.
double flops_per_token(const ModelConfig& config);

}  // namespace spikesink
