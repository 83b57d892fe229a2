#pragma once
#include "kernels/core/scratch.h"
#include "kernels/core/stream.h"
#include "kernels/rope/rope_scaling.h"

namespace spikesink::kernels {

/// Rotary position embedding of the first num_heads heads (D = d_head channels each) of rows of W >= num_heads D
/// columns; the columns behind them are copied. Channels i and i + D / 2 of a head form a pair (the convention of
/// Llama's Hugging Face code), which turns by the angle position * theta^(-2 i / D), or as `scaling` changes it; row n
/// has position n % length. Angles are taken in double. Source: Su et al. 2021, arXiv:2104.09864, eq. 34.
struct RopeForward {
  Tensor y;                ///< out (N, W); may be x
  Tensor x;                ///< (N, W)
  std::int64_t num_heads;  ///< heads that turn: H + K in rows of q, k, v
  std::int64_t d_head;     ///< D, even; on CUDA at most 512
  std::int64_t length;     ///< T, divides N
  double theta;            ///< base of the frequencies, > 0
  RopeScaling scaling = {};
};
void rope_forward(const Stream& stream, const RopeForward& args);

/// The rotation back: dx of dy needs nothing else.
struct RopeBackward {
  Tensor dx;  ///< out (N, W); may be dy
  Tensor dy;  ///< (N, W)
  std::int64_t num_heads, d_head, length;
  double theta;
  RopeScaling scaling = {};
};
void rope_backward(const Stream& stream, const RopeBackward& args);

namespace cpu {
void rope_forward(const Stream& stream, const RopeForward& args, Scratch scratch);
void rope_backward(const Stream& stream, const RopeBackward& args, Scratch scratch);
}  // namespace cpu
namespace cuda {
void rope_forward(const Stream& stream, const RopeForward& args, Scratch scratch);
void rope_backward(const Stream& stream, const RopeBackward& args, Scratch scratch);
}  // namespace cuda
}  // namespace spikesink::kernels
