#pragma once
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// How a parameter starts: out_i = mean + std z_i, with z_i standard normal, truncated at 3 sigma and drawn by Philox
/// from (seed, stream, first + i) in double: the same for every device and cut into shards, but for the last bits of
/// CUDA's log and cos in double, which f32 and bf16 seldom show. With std = 0 a constant, for which nothing is drawn.
struct Initialise {
  Tensor out;                ///< out, of any shape; bf16, on CUDA only, is the f32 value rounded
  double mean = 0, std = 0;  ///< std >= 0
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;  ///< whose numbers these are: name_hash() of the parameter
  std::int64_t first = 0;    ///< which element of the parameter out[0] is
};
void initialise(const Stream& stream, const Initialise& args);

namespace cpu {
void initialise(const Stream& stream, const Initialise& args);
}
namespace cuda {
void initialise(const Stream& stream, const Initialise& args);
}
}  // namespace spikesink::kernels
