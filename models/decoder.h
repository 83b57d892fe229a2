#pragma once
#include <string>
#include <vector>

#include "models/config.h"
#include "models/layer_hooks.h"
#include "models/module.h"
#include "models/param.h"

namespace spikesink {

/// A block (sublayer) by the paths under which observers see its parts.
struct BlockPaths {
  std::string input_norm;  ///< what the branch reads; empty: the residual stream as it is
  std::string branch;
  std::string added;     ///< what is added to the residual stream: the branch's output, or that of the norm behind it
  std::string residual;  ///< the residual stream behind it
};

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

  /// From here on `hooks`, which outlive the model or its last pass, are told which parameters a pass uses; null:
  /// nobody is, at no cost.
  void attach(LayerHooks* hooks) { hooks_ = hooks; }
  LayerHooks* hooks() const { return hooks_; }
  /// Tells the hooks of a pass and computes nothing: for a rank that has no sequences in a pass of the others.
  void empty_pass(Pass::Mode mode) const;

  const ModelConfig& config() const { return config_; }
  ParamSet& params() { return params_; }
  const ParamSet& params() const { return params_; }
  /// The 2 L blocks (sublayers) in order: attention, FFN, attention, ...
  const std::vector<BlockPaths>& blocks() const { return blocks_; }

 private:
  /// f(), told to the hooks as the forward of a layer; the steps that it records are the layer's backward.
  template <class F>
  Var hooked(Pass& pass, std::int64_t layer, F&& f) const;
  std::int64_t last_layer() const { return config_.n_layers + 1; }

  ModelConfig config_;
  Recompute recompute_;
  ParamSet params_;
  const Param* embedding_;                  // (V, C)
  const Param* embedding_scale_ = nullptr;  // (1), or null
  std::vector<ModulePtr> layers_;
  ModulePtr final_norm_;
  const Param* head_;  // (V, C)
  std::vector<BlockPaths> blocks_;
  LayerHooks* hooks_ = nullptr;
};

}  // namespace spikesink
