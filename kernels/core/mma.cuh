#pragma once
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>
#ifdef SPIKESINK_CUDA_EMULATED
#include <tensor_core.h>
#endif

// Tensor cores and asynchronous copies, as of compute capability 8.0. Source: PTX ISA 8.5, sections 9.7.9.25 (cp.async)
// and 9.7.14 (mma.sync, ldmatrix).
namespace spikesink {

// Matrices as the 32 lanes of a warp hold them, in parts of 8 x 8: lane l has row l / 4 and the columns 2 (l % 4) and
// 2 (l % 4) + 1. A pair of bf16 is one register, the first in its lower half.
struct FragmentA {
  std::uint32_t at[4];  ///< 16 x 16: rows 0-7 and 8-15 of columns 0-7, then of columns 8-15
};
struct FragmentB {
  std::uint32_t at[2];  ///< 16 x 8, by columns: lane l has column l / 4; rows 0-7, then 8-15
};
struct FragmentC {
  float at[4];  ///< 16 x 8: two columns of rows 0-7, then of rows 8-15
};

/// c += a b.
__device__ inline void mma(FragmentC& c, const FragmentA& a, const FragmentB& b) {
#ifdef SPIKESINK_CUDA_EMULATED
  cuda_emulation::mma(c.at, a.at, b.at);
#else
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c.at[0]), "+f"(c.at[1]), "+f"(c.at[2]), "+f"(c.at[3])
      : "r"(a.at[0]), "r"(a.at[1]), "r"(a.at[2]), "r"(a.at[3]), "r"(b.at[0]), "r"(b.at[1]));
#endif
}

/// Four 8 x 8 matrices from shared memory, one a register: lane l gives the address of row l % 8 of matrix l / 8, a
/// multiple of 16 bytes. With kTransposed each of them comes out transposed.
template <bool kTransposed>
__device__ inline void load_matrices(std::uint32_t (&out)[4], const __nv_bfloat16* row) {
#ifdef SPIKESINK_CUDA_EMULATED
  cuda_emulation::ldmatrix<kTransposed>(out, row);
#else
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (kTransposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(address)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(address)
                 : "memory");
#endif
}

/// Starts to copy kBytes (4 or 16, to which both addresses are aligned) from global to shared memory; zeros unless
/// `valid`, and then `from` is not read. Done after a wait for the group that the copy was committed in, for other
/// threads after a barrier behind it.
template <int kBytes>
__device__ inline void copy_async(void* to, const void* from, bool valid) {
  static_assert(kBytes == 4 || kBytes == 16);
#ifdef SPIKESINK_CUDA_EMULATED
  cuda_emulation::cp_async<kBytes>(to, from, valid);
#else
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(to));
  const int bytes = valid ? kBytes : 0;
  if constexpr (kBytes == 16)  // past L1: a tile is read from shared memory only
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address), "l"(from), "r"(bytes) : "memory");
#endif
}

/// The thread's copies since its last commit become a group, which may be empty.
__device__ inline void copy_async_commit() {
#ifdef SPIKESINK_CUDA_EMULATED
  cuda_emulation::commit_copies();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/// Waits until all but the thread's kLeft latest groups are done.
template <int kLeft>
__device__ inline void copy_async_wait() {
#ifdef SPIKESINK_CUDA_EMULATED
  cuda_emulation::wait_for_copies(kLeft);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
#endif
}

/// Two floats as a register of a fragment.
__device__ inline std::uint32_t bf16_pair(float first, float second) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
  std::uint32_t bits;
  std::memcpy(&bits, &pair, sizeof(bits));
  return bits;
}

/// 2^x within 2^-22 relative; results below the normal numbers are 0.
__device__ inline float fast_exp2(float x) {
#ifdef SPIKESINK_CUDA_EMULATED
  return exp2f(x);
#else
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#endif
}

}  // namespace spikesink
