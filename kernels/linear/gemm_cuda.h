#pragma once
#include <cstdint>

#include "kernels/core/device.h"
#include "kernels/core/scratch.h"
#include "kernels/core/stream.h"

namespace spikesink::kernels::cuda {

/// A row-major matrix operand, f32 or bf16: element (i, j) at data[i * stride + j]; `transposed` swaps i and j. Rows
/// that start at multiples of 16 bytes are read fastest.
struct Operand {
  const void* data;
  std::int64_t stride;
  bool transposed = false;
};

/// c = a b, or with `adds` c += a b, with c (rows, cols) and `inner` the summed dimension. Sums run in f32, of f32
/// operands without rounding these to TF32.
struct Gemm {
  void* c;  ///< out, with `adds` inout: (rows, cols)
  DType c_dtype;
  std::int64_t c_stride;  ///< elements from row to row
  Operand a;              ///< (rows, inner)
  Operand b;              ///< (inner, cols)
  DType dtype;            ///< of a and b: f32 or bf16; c is of the same or f32
  std::int64_t rows, cols, inner;
  bool adds = false;
};

/// Throws ContractError for dtypes that gemm() does not take.
inline void require_gemm(const Gemm& g) {
  require(g.dtype == DType::kF32 || g.dtype == DType::kBF16, "on cuda: ", name_of(g.dtype), ", expected f32 or bf16");
  require(g.c_dtype == g.dtype || g.c_dtype == DType::kF32, "gemm: ", name_of(g.dtype), " into ", name_of(g.c_dtype));
}

/// Throws UsageError where the library of products, cuBLASLt, is missing or too old. gemm() does so too; this is to ask
/// before anything is computed or written.
void require_gemm_library();

/// One product by cuBLASLt: the same bits for the same shapes on the same kind of GPU. `workspace` holds
/// kGemmWorkspaceBytes: scratch of the op that multiplies, so that a dry run counts it.
void gemm(const Stream& stream, const Gemm& args, void* workspace);

/// What NVIDIA recommends on Hopper. The twin that stands in for cuBLASLt under emulation needs none; a little shows a
/// workspace that somebody else uses.
inline constexpr std::int64_t kGemmWorkspaceBytes = kCudaEmulated ? 4 << 10 : 32 << 20;

}  // namespace spikesink::kernels::cuda
