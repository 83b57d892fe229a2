#include "models/decoder.h"

#include <cmath>

#include "models/layers/attention.h"
#include "models/layers/checkpoint.h"
#include "models/layers/norm.h"
#include "models/layers/residual.h"
#include "models/ops/ops.h"
#include "models/variants.h"

namespace spikesink {
namespace {

/// Names of a layer's norms below its path. Without output norms as in Hugging Face's Llama; with them as in Gemma 2
/// and OLMo 2, where "post" is the norm of a branch's output.
struct NormNames {
  const char *attention_input, *attention_output, *ffn_input, *ffn_output;
};
NormNames norm_names(const NormConfig& norm) {
  if (!norm.output) return {".input_layernorm", "", ".post_attention_layernorm", ""};
  return {".input_layernorm", ".post_attention_layernorm", ".pre_feedforward_layernorm", ".post_feedforward_layernorm"};
}

}  // namespace

Decoder::Decoder(const ModelConfig& c, Recompute recompute) : config_(c), recompute_(recompute) {
  const Shape table{c.vocab_size, c.d_model};
  const double out_std = c.init_std / std::sqrt(2.0 * static_cast<double>(c.n_layers));
  const auto norm = [&](bool present, const std::string& path, NormPlace place) -> ModulePtr {
    if (!present) return std::make_unique<Identity>();
    return make_norm(params_, path, c, place);
  };
  params_.begin_layer();
  embedding_ = &params_.add({"model.embed_tokens.weight", table, Init::normal(c.init_std), /*looked_up=*/true});
  if (c.embedding_scale == EmbeddingScale::kLearned)
    embedding_scale_ =
        &params_.add({"model.embed_tokens.scale", {1}, Init::constant(std::sqrt(static_cast<double>(c.d_model)))});
  const NormNames names = norm_names(c.norm);
  for (std::int64_t l = 0; l < c.n_layers; ++l) {
    params_.begin_layer();
    const std::string layer = "model.layers." + std::to_string(l);
    std::vector<ModulePtr> blocks;
    const auto add_block = [&](const char* input_norm, const char* output_norm, NormPlace place, auto make_branch) {
      Residual::Parts parts;
      parts.input_norm = norm(c.norm.input, layer + input_norm, place);
      parts.branch = make_branch();
      parts.output_norm = norm(c.norm.output, layer + output_norm, place);
      block_paths_.push_back(parts.branch->path());
      blocks.push_back(std::make_unique<Residual>(std::move(parts)));
    };
    add_block(names.attention_input, names.attention_output, NormPlace::kAttention,
              [&] { return std::make_unique<Attention>(params_, layer + ".self_attn", c, out_std); });
    add_block(names.ffn_input, names.ffn_output,
              c.ffn.kind == FfnKind::kAttention ? NormPlace::kAttention : NormPlace::kFfn,
              [&] { return make_ffn(params_, layer, c, out_std); });
    layers_.push_back(std::make_unique<Sequence>(std::move(blocks)));
    if (recompute == Recompute::kLayer) layers_.back() = std::make_unique<Checkpoint>(std::move(layers_.back()));
  }
  params_.begin_layer();
  final_norm_ = norm(c.norm.final, "model.norm", NormPlace::kFinal);
  head_ = c.tie_embeddings ? embedding_ : &params_.add({"lm_head.weight", table, Init::normal(c.init_std)});
}

Var Decoder::hidden(Pass& pass, const Tensor& tokens) const {
  require_tensor(tokens, "decoder tokens", {pass.batch.sequences * pass.batch.length}, DType::kI32, pass.stream.device);
  pass.recompute_cheap = recompute_ == Recompute::kCheap && pass.mode == Pass::Mode::kTrain;
  Var x = ops::embedding(pass, tokens, *embedding_);
  if (config_.attention.gate.source == GateSource::kToken) pass.token_embedding = ops::branch(pass, x);
  if (embedding_scale_) x = ops::scale(pass, std::move(x), *embedding_scale_);
  for (const ModulePtr& layer : layers_) x = (*layer)(pass, std::move(x));
  pass.token_embedding.reset();
  return (*final_norm_)(pass, std::move(x));
}

Tensor Decoder::loss(Pass& pass, const Var& hidden, const Tensor& targets, double grad_scale) const {
  return ops::cross_entropy(pass, hidden, *head_, targets, grad_scale);
}

}  // namespace spikesink
