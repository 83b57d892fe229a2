#include "models/variants.h"

#include "models/layers/attention.h"
#include "models/layers/ffn.h"
#include "models/layers/norm.h"

namespace spikesink {
namespace {

template <class Kind, class Make>
struct Variant {
  Kind kind;
  Make make;
};

using MakeNorm = ModulePtr (*)(ParamSet& params, std::string path, const ModelConfig& config, NormPlace place,
                               NormSide side);
using MakeFfn = ModulePtr (*)(ParamSet& params, const std::string& layer, const ModelConfig& config, double out_std);
using MakeGate = GatePtr (*)(ParamSet& params, const std::string& path, const ModelConfig& config);

double alpha_of(const NormConfig& norm, NormPlace place) {
  return place == NormPlace::kAttention ? norm.alpha.attention
         : place == NormPlace::kFfn     ? norm.alpha.ffn
                                        : norm.alpha.final;
}

template <class Norm>
ModulePtr make_standard_norm(ParamSet& params, std::string path, const ModelConfig& c, NormPlace, NormSide side) {
  const double eps = side == NormSide::kOutput ? c.norm.eps_of_output() : c.norm.eps;
  return std::make_unique<Norm>(params, std::move(path), c.d_model, eps);
}

constexpr Variant<NormKind, MakeNorm> kNorms[] = {
    {NormKind::kRmsNorm, make_standard_norm<RmsNorm>},
    {NormKind::kLayerNorm, make_standard_norm<LayerNorm>},
    {NormKind::kDynamicTanh,
     [](ParamSet& params, std::string path, const ModelConfig& c, NormPlace place, NormSide) -> ModulePtr {
       return std::make_unique<DynamicTanh>(params, std::move(path), c.d_model, alpha_of(c.norm, place), c.norm.beta);
     }},
};

template <class Ffn>
ModulePtr make_mlp(ParamSet& params, const std::string& layer, const ModelConfig& c, double out_std) {
  return std::make_unique<Ffn>(params, layer + ".mlp", c, out_std);
}

constexpr Variant<FfnKind, MakeFfn> kFfns[] = {
    {FfnKind::kSwiGlu, make_mlp<SwiGlu>},
    {FfnKind::kGelu, make_mlp<GeluFfn>},
    {FfnKind::kLinear, make_mlp<LinearFfn>},
    {FfnKind::kAttention,
     [](ParamSet& params, const std::string& layer, const ModelConfig& c, double out_std) -> ModulePtr {
       return std::make_unique<Attention>(params, layer + ".self_attn2", c, out_std);
     }},
};

template <class Kind>
GatePtr make_one(ParamSet& params, const std::string& path, const ModelConfig& c) {
  return std::make_unique<Kind>(params, path, c);
}

constexpr Variant<GateSource, MakeGate> kGates[] = {
    {GateSource::kNone, make_one<OpenGate>},
    {GateSource::kConditional, make_one<ConditionalGate>},
    {GateSource::kUnconditional, make_one<UnconditionalGate>},
    {GateSource::kPositional, make_one<PositionalGate>},
    {GateSource::kToken, make_one<TokenGate>},
};

template <class Kind, class Make, std::size_t n>
Make find(const Variant<Kind, Make> (&table)[n], Kind kind) {
  static_assert(n == names_of(Kind{}).size(), "every name that YAML may give has a row, and every row a name");
  for (const auto& row : table)
    if (row.kind == kind) return row.make;
  throw ContractError("a kind has no row in models/variants.cpp");
}

}  // namespace

ModulePtr make_norm(ParamSet& params, std::string path, const ModelConfig& config, NormPlace place, NormSide side) {
  return find(kNorms, config.norm.kind)(params, std::move(path), config, place, side);
}

ModulePtr make_ffn(ParamSet& params, const std::string& layer, const ModelConfig& config, double out_std) {
  return find(kFfns, config.ffn.kind)(params, layer, config, out_std);
}

GatePtr make_gate(ParamSet& params, const std::string& path, const ModelConfig& config) {
  return find(kGates, config.attention.gate.source)(params, path, config);
}

}  // namespace spikesink
