#pragma once
#include <memory>
#include <string>

#include "models/config.h"
#include "models/module.h"
#include "models/param.h"

namespace spikesink {

/// A slot of attention between the attention product and o_proj: heads * sigmoid(logits). Where the logits come from is
/// the kind. Source: Qiu et al. 2025, arXiv:2505.06708, position G1.
class Gate {
 public:
  Gate(std::string path, const AttentionConfig& config) : path_(std::move(path)), config_(config) {}
  virtual ~Gate() = default;
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  /// heads (N, H D), block_input (N, C): what q, k and v were made of -> (N, H D). Reported under the gate's path.
  Var operator()(Pass& pass, Var heads, Var block_input) const;

 protected:
  const std::string& path() const { return path_; }
  const AttentionConfig& config() const { return config_; }

 private:
  virtual Var forward(Pass& pass, Var heads, Var block_input) const = 0;
  std::string path_;
  AttentionConfig config_;
};

using GatePtr = std::unique_ptr<const Gate>;

/// No gate.
class OpenGate final : public Gate {
 public:
  OpenGate(ParamSet&, const std::string&, const ModelConfig& config) : Gate("", config.attention) {}

 private:
  Var forward(Pass&, Var heads, Var) const override { return heads; }
};

/// logits = W block_input.
class ConditionalGate final : public Gate {
 public:
  ConditionalGate(ParamSet& params, const std::string& path, const ModelConfig& config);

 private:
  Var forward(Pass& pass, Var heads, Var block_input) const override;
  const Param& weight_;  // (G, C)
};

/// logits = a learned constant.
class UnconditionalGate final : public Gate {
 public:
  UnconditionalGate(ParamSet& params, const std::string& path, const ModelConfig& config);

 private:
  Var forward(Pass& pass, Var heads, Var block_input) const override;
  const Param& logits_;  // (G)
};

/// logits = a learned table by position.
class PositionalGate final : public Gate {
 public:
  PositionalGate(ParamSet& params, const std::string& path, const ModelConfig& config);

 private:
  Var forward(Pass& pass, Var heads, Var block_input) const override;
  const Param& table_;  // (context, G)
};

/// logits = W e, e the token's embedding before its scale.
class TokenGate final : public Gate {
 public:
  TokenGate(ParamSet& params, const std::string& path, const ModelConfig& config);

 private:
  Var forward(Pass& pass, Var heads, Var block_input) const override;
  const Param& weight_;  // (G, C)
};

}  // namespace spikesink
