#pragma once
#include "kernels/attention/attention.h"

/// Hand-written attention on CUDA: bf16 on tensor cores, f32 in plain arithmetic. Either for any even d_head up to 256,
/// any length, grouped queries and documents, and deterministic: each block of threads owns its outputs.
namespace spikesink::kernels::cuda {

void flash_forward_bf16(const Stream& stream, const AttentionForward& args);
void flash_forward_f32(const Stream& stream, const AttentionForward& args);
void flash_backward_bf16(const Stream& stream, const AttentionBackward& args, Scratch scratch);
void flash_backward_f32(const Stream& stream, const AttentionBackward& args, Scratch scratch);

/// Made in flash_backward's scratch before all else.
struct BackwardAids {
  float* delta;            ///< (N / T, H, T): dout_t . out_t, which is sum_s p_ts dp_ts
  std::int32_t* smallest;  ///< (N / T, tiles): the smallest start of each tile's queries; null: all 0
};
BackwardAids backward_aids(const Stream& stream, const AttentionBackward& args, std::int64_t tile_rows,
                           Scratch scratch);

}  // namespace spikesink::kernels::cuda
