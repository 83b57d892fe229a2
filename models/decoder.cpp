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
  const auto norm = [&](bool present, const std::string& path, NormPlace place, NormSide side) -> ModulePtr {
    if (!present) return std::make_unique<Identity>();
    return make_norm(params_, path, c, place, side);
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
      parts.input_norm = norm(c.norm.input, layer + input_norm, place, NormSide::kInput);
      parts.branch = make_branch();
      parts.output_norm = norm(c.norm.output, layer + output_norm, place, NormSide::kOutput);
      blocks_.push_back({.input_norm = parts.input_norm->path(),
                         .branch = parts.branch->path(),
                         .added = (c.norm.output ? parts.output_norm : parts.branch)->path(),
                         .residual = {}});
      blocks.push_back(std::make_unique<Residual>(std::move(parts)));
      blocks_.back().residual = blocks.back()->path();
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
  final_norm_ = norm(c.norm.final, "model.norm", NormPlace::kFinal, NormSide::kInput);
  head_ = c.tie_embeddings ? embedding_ : &params_.add({"lm_head.weight", table, Init::normal(c.init_std)});
}

template <class F>
Var Decoder::hooked(Pass& pass, std::int64_t layer, F&& f) const {
  if (!hooks_) return f();
  hooks_->before_forward(layer);
  pass.on_the_way_back([hooks = hooks_, layer] { hooks->after_backward(layer); });
  Var y = f();
  pass.on_the_way_back([hooks = hooks_, layer] { hooks->before_backward(layer); });
  hooks_->after_forward(layer);
  return y;
}

Var Decoder::hidden(Pass& pass, const Tensor& tokens) const {
  require_tensor(tokens, "decoder tokens", {pass.batch.sequences * pass.batch.length}, DType::kI32, pass.stream.device);
  pass.recompute_cheap = recompute_ == Recompute::kCheap && pass.mode == Pass::Mode::kTrain;
  if (hooks_) hooks_->begin_pass(pass.mode == Pass::Mode::kTrain);
  Var x = hooked(pass, 0, [&] {
    Var embedded = ops::embedding(pass, tokens, *embedding_);
    if (config_.attention.gate.source == GateSource::kToken) pass.token_embedding = ops::branch(pass, embedded);
    if (embedding_scale_) embedded = ops::scale(pass, std::move(embedded), *embedding_scale_);
    return embedded;
  });
  for (std::int64_t l = 1; const ModulePtr& layer : layers_)
    x = hooked(pass, l++, [&] { return (*layer)(pass, std::move(x)); });
  pass.token_embedding.reset();
  return hooked(pass, last_layer(), [&] { return (*final_norm_)(pass, std::move(x)); });
}

Tensor Decoder::loss(Pass& pass, const Var& hidden, const Tensor& targets, double grad_scale) const {
  const auto loss = [&] { return ops::cross_entropy(pass, hidden, *head_, targets, grad_scale); };
  if (!hooks_) return loss();
  hooks_->before_forward(head_->layer);
  if (pass.mode == Pass::Mode::kTrain) hooks_->open_gradient(head_->layer);
  Tensor losses = loss();
  hooks_->after_forward(head_->layer);
  return losses;
}

void Decoder::empty_pass(Pass::Mode mode) const {
  if (!hooks_) return;
  const bool trains = mode == Pass::Mode::kTrain;
  hooks_->begin_pass(trains);
  for (std::int64_t l = 0; l <= last_layer(); ++l) {
    hooks_->before_forward(l);
    hooks_->after_forward(l);
  }
  hooks_->before_forward(head_->layer);
  if (trains) hooks_->open_gradient(head_->layer);
  hooks_->after_forward(head_->layer);
  for (std::int64_t l = last_layer(); trains && l >= 0; --l) {
    hooks_->before_backward(l);
    hooks_->after_backward(l);
  }
}

}  // namespace spikesink
