#pragma once
#include <string>
#include <vector>

#include "models/config.h"
#include "models/module.h"
#include "models/param.h"

namespace spikesink {

/// A decoder-only transformer: token embedding, L layers of attention and FFN on a residual stream, a final norm and
/// the LM head. Parameter names and paths are those of Hugging Face's classes. Parameters must be allocate()d
/// and given values before a pass. Source: Touvron et al. 2023, arXiv:2302.13971.
class Decoder {
 public:
  explicit Decoder(const ModelConfig& config, Recompute recompute = Recompute::kNone);

  /// tokens i32 (N), N = sequences * length of the pass's batch -> final hidden states (N, C).
  Var hidden(Pass& pass, const Tensor& tokens) const;
  /// Losses in nats of all rows (N), see ops::cross_entropy. A training pass then goes back by pass.backward().
  Tensor loss(Pass& pass, const Var& hidden, const Tensor& targets, double grad_scale) const;

  const ModelConfig& config() const { return config_; }
  ParamSet& params() { return params_; }
  const ParamSet& params() const { return params_; }
  /// Paths of the 2 L blocks (sublayers) in order, as observers see them: attention, FFN, attention, ...
  const std::vector<std::string>& block_paths() const { return block_paths_; }

 private:
  ModelConfig config_;
  Recompute recompute_;
  ParamSet params_;
  const Param* embedding_;                  // (V, C)
  const Param* embedding_scale_ = nullptr;  // (1), or null
  std::vector<ModulePtr> layers_;
  ModulePtr final_norm_;
  const Param* head_;  // (V, C)
  std::vector<std::string> block_paths_;
};

}  // namespace spikesink
