#pragma once
#include <string>

#include "models/config.h"
#include "models/layers/gate.h"
#include "models/module.h"
#include "models/param.h"

namespace spikesink {

// The tables of variants stand in variants.cpp: a kind is a small class (models/layers) and a row there, found by the
// enumerator that YAML names.

/// Where a norm stands, on which its initial alpha and its eps depend.
enum class NormPlace { kAttention, kFfn, kFinal };
enum class NormSide { kInput, kOutput };  ///< of attention and FFN; the final norm is that of the LM head's input

ModulePtr make_norm(ParamSet& params, std::string path, const ModelConfig& config, NormPlace place, NormSide side);
/// `layer` is the path of the layer; the kind names itself below it (.mlp, .self_attn2).
ModulePtr make_ffn(ParamSet& params, const std::string& layer, const ModelConfig& config, double out_std);
GatePtr make_gate(ParamSet& params, const std::string& path, const ModelConfig& config);

}  // namespace spikesink
