#pragma once
#include <memory>
#include <string>

#include "models/config.h"
#include "models/module.h"
#include "models/param.h"

namespace spikesink {

// The tables of variants: a kind is a small class (models/layers) and a row here, found by the enumerator that YAML
// names.

using MakeNorm = ModulePtr (*)(ParamSet& params, std::string path, const ModelConfig& config);
using MakeFfn = ModulePtr (*)(ParamSet& params, std::string path, const ModelConfig& config, double out_std);

template <class Kind, class Make>
struct Variant {
  Kind kind;
  Make make;
};

ModulePtr make_norm(ParamSet& params, std::string path, const ModelConfig& config);
ModulePtr make_ffn(ParamSet& params, std::string path, const ModelConfig& config, double out_std);

}  // namespace spikesink
