#pragma once
#include "kernels/core/scratch.h"
#include "kernels/core/stream.h"
#include "kernels/rope/rope_scaling.h"

namespace spikesink::kernels {

/// The widest head that CUDA's kernels turn: their frequencies are a kernel's parameter.
inline constexpr std::int64_t kMaxRopeHead = 512;

namespace cpu {

/// The scratch of rope_angles().
inline std::int64_t rope_angles_bytes(const Stream& stream, std::int64_t length, std::int64_t d_head, DType dtype) {
  return scratch_bytes<std::byte>(length * d_head * size_of(dtype)) +
         scratch_bytes<double>(stream.num_threads * 2 * d_head);
}

/// (length, D): for each position D / 2 cosines, then D / 2 sines, of position * rope_frequency(i). T is
/// float or double.
template <class T>
const T* rope_angles(const Stream& stream, std::int64_t length, std::int64_t d_head, double theta,
                     const RopeScaling& scaling, Scratch& scratch);

}  // namespace cpu
}  // namespace spikesink::kernels
