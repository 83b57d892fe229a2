#include "trainer/state_slice.h"

#include "trainer/optimizer.h"

namespace spikesink {
namespace {

void add_parts(std::vector<StateSlice>& slices, const std::string& group, const Param& param, const Tensor& whole) {
  for (const auto& [part, tensor] : split_parts(param, whole))
    slices.push_back({group, part->name, part->shape, 0, tensor.view({tensor.numel()})});
}

}  // namespace

std::vector<StateSlice> state_slices(const ParamSet& params, const Optimizer& optimizer) {
  std::vector<StateSlice> slices;
  for (std::size_t i = 0; i < params.all().size(); ++i) {
    const Param& param = params.all()[i];
    const auto& [m, v, master] = optimizer.state(i);
    add_parts(slices, "weights/", param, master ? master : param.value);
    add_parts(slices, "m/", param, m);
    add_parts(slices, "v/", param, v);
  }
  return slices;
}

std::vector<StateSlice> weight_slices(const ParamSet& params) {
  std::vector<StateSlice> slices;
  for (const Param& param : params.all()) add_parts(slices, "weights/", param, param.value);
  return slices;
}

}  // namespace spikesink
