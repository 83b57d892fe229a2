#include "trainer/state_slice.h"

namespace spikesink {

std::vector<StateSlice> weight_slices(const ParamSet& params) {
  std::vector<StateSlice> slices;
  for (const Param& param : params.all())
    for (const auto& [part, tensor] : split_parts(param, param.value))
      slices.push_back({kWeights, part->name, part->shape, 0, tensor.view({tensor.numel()})});
  return slices;
}

}  // namespace spikesink
