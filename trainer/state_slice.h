#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "models/param.h"

namespace spikesink {

/// The group of the weights in a checkpoint's files.
inline const std::string kWeights = "weights/";

/// A contiguous stretch of one tensor of the training state, in the row-major order of the whole: what a rank has of
/// it.
struct StateSlice {
  std::string group;  ///< "weights/" (where a weight has a master, of that), "m/" or "v/"
  std::string name;   ///< of the parameter, as ParamPart's
  Shape whole;
  std::int64_t first;  ///< element of the whole that `values` begin with
  Tensor values;       ///< (n), sharing the memory of the state
};

/// The weights that the model computes with, each tensor as one slice.
std::vector<StateSlice> weight_slices(const ParamSet& params);

}  // namespace spikesink
