#include "models/decoder.h"

#include <cmath>

#include "models/layers/attention.h"
#include "models/layers/norm.h"
#include "models/layers/residual.h"
#include "models/ops/ops.h"
#include "models/variants.h"

namespace spikesink {

Decoder::Decoder(const ModelConfig& c) : config_(c) {
  const Shape table{c.vocab_size, c.d_model};
  const double out_std = c.init_std / std::sqrt(2.0 * static_cast<double>(c.n_layers));
  params_.begin_layer();
  embedding_ = &params_.add({"model.embed_tokens.weight", table, Init::normal(c.init_std)});
  for (std::int64_t l = 0; l < c.n_layers; ++l) {
    params_.begin_layer();
    const std::string layer = "model.layers." + std::to_string(l);
    const auto add_block = [&](const char* norm, auto make_branch) {
      Residual::Parts parts;
      parts.input_norm = make_norm(params_, layer + norm, c);
      parts.branch = make_branch();
      parts.output_norm = std::make_unique<Identity>();
      block_paths_.push_back(parts.branch->path());
      blocks_.push_back(std::make_unique<Residual>(std::move(parts)));
    };
    add_block(".input_layernorm",
              [&] { return std::make_unique<Attention>(params_, layer + ".self_attn", c, out_std); });
    add_block(".post_attention_layernorm", [&] { return make_ffn(params_, layer + ".mlp", c, out_std); });
  }
  params_.begin_layer();
  final_norm_ = make_norm(params_, "model.norm", c);
  head_ = c.tie_embeddings ? embedding_ : &params_.add({"lm_head.weight", table, Init::normal(c.init_std)});
}

Var Decoder::hidden(Pass& pass, const Tensor& tokens) const {
  require_tensor(tokens, "decoder tokens", {pass.batch.sequences * pass.batch.length}, DType::kI32);
  Var x = ops::embedding(pass, tokens, *embedding_);
  for (const ModulePtr& block : blocks_) x = (*block)(pass, std::move(x));
  return (*final_norm_)(pass, std::move(x));
}

Tensor Decoder::loss(Pass& pass, const Var& hidden, const Tensor& targets, double grad_scale) const {
  return ops::cross_entropy(pass, hidden, *head_, targets, grad_scale);
}

}  // namespace spikesink
