#include "models/variants.h"

#include "models/layers/ffn.h"
#include "models/layers/norm.h"

namespace spikesink {
namespace {

constexpr Variant<NormKind, MakeNorm> kNorms[] = {
    {NormKind::kRmsNorm,
     [](ParamSet& params, std::string path, const ModelConfig& c) -> ModulePtr {
       return std::make_unique<RmsNorm>(params, std::move(path), c.d_model, c.norm);
     }},
};

constexpr Variant<FfnKind, MakeFfn> kFfns[] = {
    {FfnKind::kSwiGlu,
     [](ParamSet& params, std::string path, const ModelConfig& c, double out_std) -> ModulePtr {
       return std::make_unique<SwiGlu>(params, std::move(path), c, out_std);
     }},
};

template <class Kind, class Make, std::size_t n>
Make find(const Variant<Kind, Make> (&table)[n], Kind kind) {
  for (const auto& row : table)
    if (row.kind == kind) return row.make;
  throw ContractError("a kind of norm or FFN has no row in models/variants.cpp");
}

}  // namespace

ModulePtr make_norm(ParamSet& params, std::string path, const ModelConfig& config) {
  return find(kNorms, config.norm.kind)(params, std::move(path), config);
}

ModulePtr make_ffn(ParamSet& params, std::string path, const ModelConfig& config, double out_std) {
  return find(kFfns, config.ffn.kind)(params, std::move(path), config, out_std);
}

}  // namespace spikesink
