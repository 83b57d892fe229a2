#pragma once
#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/core/check.h"
#include "kernels/core/cuda_check.cuh"
#include "kernels/core/dtype.h"
#include "kernels/rope/rope_angles.h"

namespace spikesink::kernels::cuda {

/// rope_frequency() in turns a position, passed to kernels by value.
struct RopeFrequencies {
  double turns[kMaxRopeHead / 2];
};

inline RopeFrequencies rope_frequencies(std::int64_t d_head, double theta, const RopeScaling& scaling) {
  require(d_head <= kMaxRopeHead, "rope_frequencies: heads of ", d_head);
  RopeFrequencies f{};
  for (std::int64_t i = 0; i < d_head / 2; ++i)
    f.turns[i] = rope_frequency(i, d_head, theta, scaling) / (2 * std::numbers::pi);
  return f;
}

struct RopeAngle {
  float cos, sin;
};

/// Within 1e-7 of the angle's at any position: only what is left after whole quarter turns is rounded to f32, so that
/// an angle costs four operations in double.
__device__ inline RopeAngle rope_angle(std::int64_t position, double turns_a_position) {
  const double turns = static_cast<double>(position) * turns_a_position;
  const double quarters = rint(4 * turns);
  RopeAngle rest;
  sincospif(static_cast<float>(2 * (turns - 0.25 * quarters)), &rest.sin, &rest.cos);
  switch (static_cast<long long>(quarters) & 3) {
    case 0:
      return rest;
    case 1:
      return {-rest.sin, rest.cos};
    case 2:
      return {-rest.cos, -rest.sin};
    default:
      return {rest.sin, -rest.cos};
  }
}

/// Rows that a block takes the angles of at a time: one for each of 256 threads, or close to it.
inline std::int64_t rope_rows(std::int64_t d_head) { return std::clamp<std::int64_t>(512 / d_head, 1, 16); }

/// Cosines (rows, D / 2) and sines, in shared memory.
struct RopeTable {
  float *cos, *sin;
};
inline std::int64_t rope_table_bytes(std::int64_t rows, std::int64_t d_head) {
  return rows * d_head * size_of(DType::kF32);
}
/// In `memory`, for up to `rows` rows.
__device__ inline RopeTable rope_table(float* memory, std::int64_t rows, std::int64_t half) {
  return {memory, memory + rows * half};
}

/// The angles of `rows` rows from row `begin` on. No barrier.
__device__ inline void fill_rope_table(const RopeTable& table, const RopeFrequencies& frequencies, std::int64_t begin,
                                       unsigned rows, unsigned half, std::int64_t length) {
  for (unsigned at = threadIdx.x; at < rows * half; at += blockDim.x) {
    const RopeAngle angle = rope_angle((begin + at / half) % length, frequencies.turns[at % half]);
    table.cos[at] = angle.cos;
    table.sin[at] = angle.sin;
  }
}

}  // namespace spikesink::kernels::cuda
