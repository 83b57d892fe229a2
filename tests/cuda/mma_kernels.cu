#include "tests/cuda/mma_kernels.h"

#include "kernels/core/dtype.cuh"
#include "kernels/core/launch.cuh"
#include "kernels/core/mma.cuh"

namespace spikesink::test {
namespace {

using Half = __nv_bfloat16;

__device__ std::uint32_t pair(Half first, Half second) {
  return bf16_pair(static_cast<float>(first), static_cast<float>(second));
}

__global__ void multiply_kernel(float* c, const Half* a, const Half* b) {
  const int group = threadIdx.x / 4, member = threadIdx.x % 4;
  FragmentA left;
  FragmentB right;
  FragmentC sums;
  for (int i = 0; i < 4; ++i) {
    const int row = group + i % 2 * 8, col = member * 2 + i / 2 * 8;
    left.at[i] = pair(a[row * 16 + col], a[row * 16 + col + 1]);
  }
  for (int i = 0; i < 2; ++i) {
    const int row = member * 2 + i * 8;
    right.at[i] = pair(b[row * 8 + group], b[(row + 1) * 8 + group]);
  }
  for (int i = 0; i < 4; ++i) sums.at[i] = c[(group + i / 2 * 8) * 8 + member * 2 + i % 2];
  mma(sums, left, right);
  for (int i = 0; i < 4; ++i) c[(group + i / 2 * 8) * 8 + member * 2 + i % 2] = sums.at[i];
}

template <bool kTransposed>
__global__ void load_matrices_kernel(Half* out, const Half* x) {
  Half* const shared = dynamic_shared<Half>();
  for (int i = 0; i < 8; ++i) shared[threadIdx.x * 8 + i] = x[threadIdx.x * 8 + i];
  __syncthreads();
  std::uint32_t pairs[4];
  spikesink::load_matrices<kTransposed>(pairs, shared + threadIdx.x * 8);
  for (int i = 0; i < 4; ++i) std::memcpy(out + (i * 32 + threadIdx.x) * 2, &pairs[i], 4);
}

__global__ void copy_in_groups_kernel(Half* out, const Half* x, int rows) {
  Half* const shared = dynamic_shared<Half>();  // (2, 32, 8)
  const int lane = threadIdx.x, other = 31 - lane;
  for (int group = 0; group < 2; ++group) {
    const int row = group * 32 + lane;
    copy_async<16>(shared + row * 8, x + (row < rows ? row : 0) * 8, row < rows);
    copy_async_commit();
  }
  copy_async_wait<1>();
  __syncthreads();
  for (int i = 0; i < 8; ++i) out[other * 8 + i] = shared[other * 8 + i];
  copy_async_wait<0>();
  __syncthreads();
  for (int i = 0; i < 8; ++i) out[(32 + other) * 8 + i] = shared[(32 + other) * 8 + i];
}

__global__ void copy_words_kernel(std::int32_t* out, const std::int32_t* x, int rows) {
  std::int32_t* const shared = dynamic_shared<std::int32_t>();
  const int i = threadIdx.x;
  copy_async<4>(shared + i, x + (i < rows ? i : 0), i < rows);
  copy_async_commit();
  copy_async_wait<0>();
  __syncthreads();
  out[63 - i] = shared[63 - i];
}
}  // namespace

void multiply(const Stream& stream, const Tensor& c, const Tensor& a, const Tensor& b) {
  launch(stream, multiply_kernel, 1, 32, 0, c.data<float>(), a.data<Half>(), b.data<Half>());
}

void load_matrices(const Stream& stream, const Tensor& out, const Tensor& x, bool transposed) {
  launch(stream, transposed ? load_matrices_kernel<true> : load_matrices_kernel<false>, 1, 32, 32 * 8 * 2,
         out.data<Half>(), x.data<Half>());
}

void copy_in_groups(const Stream& stream, const Tensor& out, const Tensor& x, int rows) {
  launch(stream, copy_in_groups_kernel, 1, 32, 2 * 32 * 8 * 2, out.data<Half>(), x.data<Half>(), rows);
}

void copy_words(const Stream& stream, const Tensor& out, const Tensor& x, int rows) {
  launch(stream, copy_words_kernel, 1, 64, 64 * 4, out.data<std::int32_t>(), x.data<std::int32_t>(), rows);
}

}  // namespace spikesink::test
