#pragma once
#include <string>

#include "models/config.h"
#include "models/layers/gate.h"
#include "models/module.h"
#include "models/param.h"

namespace spikesink {

// The tables of variants stand in variants.cpp: a kind is a small class (models/layers) and a row there, found by the
// enumerator that YAML names.

/// Where a norm stands: what its kind may depend on.
enum class NormPlace { kAttention, kFfn, kFinal };

ModulePtr make_norm(ParamSet& params, std::string path, const ModelConfig& config, NormPlace place);
/// `layer` is the path of the layer; the kind names itself below it (.mlp, .self_attn2).
ModulePtr make_ffn(ParamSet& params, const std::string& layer, const ModelConfig& config, double out_std);
GatePtr make_gate(ParamSet& params, const std::string& path, const ModelConfig& config);

}  // namespace spikesink
