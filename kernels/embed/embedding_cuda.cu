#include <algorithm>

#include "kernels/core/launch.cuh"
#include "kernels/core/vec.cuh"
#include "kernels/embed/embedding.h"
#include "kernels/embed/token_sort.h"

namespace spikesink::kernels::cuda {
namespace {

/// A row a block.
template <int W, class T>
__global__ void forward_kernel(T* y, const std::int32_t* tokens, const T* weight, std::int64_t C) {
  const std::int64_t n = blockIdx.x, from = tokens[n] * C, to = n * C, stride = std::int64_t{blockDim.x} * W;
#pragma unroll 4
  for (std::int64_t c = threadIdx.x * W; c < C; c += stride)
    *reinterpret_cast<Vec<T, W>*>(y + to + c) = *reinterpret_cast<const Vec<T, W>*>(weight + from + c);
}

constexpr int kSlice = static_cast<int>(kEmbeddingSlice);
constexpr int kRows = 8;  // whose loads are on their way at a time

/// What a slice of the sorted tokens has in common with its neighbours.
struct Slice {
  std::int64_t begin, end;
  bool continues, is_continued;  ///< its first run of equal tokens began before, its last one goes on behind

  __device__ Slice(const std::int32_t* tokens, std::int64_t N, std::int64_t index)
      : begin(index * kSlice),
        end(begin + kSlice < N ? begin + kSlice : N),
        continues(begin > 0 && tokens[begin - 1] == tokens[begin]),
        is_continued(end < N && tokens[end - 1] == tokens[end]) {}
};

/// Sums the runs of equal tokens of slice blockIdx.x, for the columns of blockIdx.y. Runs within the slice are added to
/// dweight; of the others the sums go to partial (slices, 2, C): first that of the run which began before, then that of
/// one which begins here and goes on.
template <int W, class T>
__global__ void slices_kernel(float* dweight, float* partial, const T* dy, const std::int32_t* tokens,
                              const std::int32_t* positions, std::int64_t N, std::int64_t C) {
  __shared__ std::int32_t own_tokens[kSlice], own_positions[kSlice];
  const Slice slice(tokens, N, blockIdx.x);
  const int size = static_cast<int>(slice.end - slice.begin);
  for (int i = static_cast<int>(threadIdx.x); i < size; i += static_cast<int>(blockDim.x)) {
    own_tokens[i] = tokens[slice.begin + i];
    own_positions[i] = positions[slice.begin + i];
  }
  __syncthreads();
  const std::int64_t c = (std::int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * W;
  if (c >= C) return;
  partial += blockIdx.x * 2 * C + c;
  Floats<W> sum{};
  bool continues = slice.continues;
  for (int start = 0; start < size; start += kRows) {
    Vec<T, W> rows[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r)
      if (start + r < size)
        rows[r] = *reinterpret_cast<const Vec<T, W>*>(dy + std::int64_t{own_positions[start + r]} * C + c);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const int i = start + r;
      if (i >= size) break;
#pragma unroll
      for (int j = 0; j < W; ++j) sum.at[j] += static_cast<float>(rows[r].at[j]);
      const std::int32_t token = own_tokens[i];
      if (i + 1 < size && own_tokens[i + 1] == token) continue;
      const bool goes_on = i + 1 == size && slice.is_continued;
      if (continues || goes_on) {
        store(partial + (continues ? 0 : C), sum);
      } else {
        float* const row = dweight + token * C + c;
        auto total = load<W>(row);
#pragma unroll
        for (int j = 0; j < W; ++j) total.at[j] += sum.at[j];
        store(row, total);
      }
      sum = {};
      continues = false;
    }
  }
}

constexpr int kColumns = 32, kGroups = 8;

/// Adds up the parts of a run that begins in slice blockIdx.x and ends in another, kGroups at a time.
__global__ void long_runs_kernel(float* dweight, const float* partial, const std::int32_t* tokens, std::int64_t N,
                                 std::int64_t C) {
  __shared__ float sums[kGroups][kColumns];
  const Slice slice(tokens, N, blockIdx.x);
  if (!slice.is_continued) return;
  const std::int32_t token = tokens[slice.end - 1];
  if (slice.continues && tokens[slice.begin] == token) return;  // all of the slice is within the run
  const std::int64_t num_slices = (N + kSlice - 1) / kSlice;
  for (std::int64_t first = std::int64_t{blockIdx.y} * kColumns; first < C;
       first += std::int64_t{gridDim.y} * kColumns) {
    const std::int64_t c = first + threadIdx.x;
    float sum = 0;
    if (c < C)
      for (std::int64_t s = blockIdx.x + threadIdx.y; s < num_slices; s += kGroups) {
        if (s > blockIdx.x && tokens[s * kSlice] != token) break;
        sum += partial[(2 * s + (s == blockIdx.x ? 1 : 0)) * C + c];
      }
    __syncthreads();  // the sums before these have been read
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y != 0 || c >= C) continue;
    for (int group = 1; group < kGroups; ++group) sum += sums[group][threadIdx.x];
    dweight[token * C + c] += sum;
  }
}
}  // namespace

void embedding_forward(const Stream& stream, const EmbeddingForward& a) {
  with_cuda_dtype(a.y.dtype(), [&]<class T>() {
    const auto [N, C] = matrix_dims(a.y);
    T *const y = a.y.data<T>(), *const weight = a.weight.data<T>();
    with_width<T>(C % kWidth<T> == 0 && aligned_16({y, weight}), [&, N = N, C = C]<int W>() {
      launch(stream, forward_kernel<W, T>, N, row_threads(C / W), 0, y, a.tokens.data<std::int32_t>(), weight, C);
    });
  });
}

void embedding_backward(const Stream& stream, const EmbeddingBackward& a, Scratch scratch) {
  const auto [N, C] = matrix_dims(a.dy);
  const std::int64_t V = a.dweight.shape()[0], slices = (N + kSlice - 1) / kSlice;
  const SortedTokens sorted = sort_tokens(stream, a.tokens.data<std::int32_t>(), N, V, scratch);
  float *const partial = scratch.take<float>(2 * slices * C), *const dweight = a.dweight.data<float>();
  with_cuda_dtype(a.dy.dtype(), [&, N = N, C = C]<class T>() {
    T* const dy = a.dy.data<T>();
    with_width<T>(C % kWidth<T> == 0 && aligned_16({dy, dweight}), [&]<int W>() {
      const std::int64_t threads = row_threads(C / W), columns = threads * W;
      launch(stream, slices_kernel<W, T>, {slices, (C + columns - 1) / columns}, threads, 0, dweight, partial, dy,
             sorted.tokens, sorted.positions, N, C);
    });
  });
  launch(stream, long_runs_kernel, {slices, std::min<std::int64_t>((C + kColumns - 1) / kColumns, 16)},
         {kColumns, kGroups}, 0, dweight, partial, sorted.tokens, N, C);
}

}  // namespace spikesink::kernels::cuda
