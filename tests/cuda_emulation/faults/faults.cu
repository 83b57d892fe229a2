#include "tests/cuda_emulation/faults/faults.h"

#include <cstring>

#include "kernels/core/launch.cuh"
#include "kernels/core/mma.cuh"
#include "kernels/core/reduce.cuh"
#include "kernels/core/vec.cuh"

namespace faults {
namespace {

using spikesink::cuda_check;
using spikesink::dynamic_shared;
using spikesink::launch;
using spikesink::Stream;

constexpr int kThreads = 64;

/// Device memory of `n` floats, and what is in it.
struct Buffer {
  explicit Buffer(const Stream& stream_, std::int64_t n)
      : stream(stream_), tensor(stream_.empty({n}, spikesink::DType::kF32)) {}
  float* data() const { return tensor.data<float>(); }
  std::vector<float> read() const {
    std::vector<float> out(static_cast<std::size_t>(tensor.numel()));
    CUDA_CHECK(cudaMemcpyAsync(out.data(), data(), out.size() * sizeof(float), cudaMemcpyDefault,
                               static_cast<cudaStream_t>(stream.native.get())));
    stream.synchronize();
    return out;
  }

  const Stream& stream;
  spikesink::Tensor tensor;
};

/// Launches a kernel on `n` floats with 64 threads and gives them.
template <class... Args>
std::vector<float> run(void (*kernel)(float*, Args...), std::int64_t n = kThreads, int blocks = 1,
                       std::int64_t shared_bytes = 0, Args... args) {
  const Stream stream = Stream::cuda();
  const Buffer out(stream, n);
  launch(stream, kernel, blocks, kThreads, shared_bytes, out.data(), args...);
  return out.read();
}

__global__ void neighbour(float* out, bool wait) {
  __shared__ float own[kThreads];
  const unsigned t = threadIdx.x;
  own[t] = static_cast<float>(t);
  if (wait) __syncthreads();
  out[t] = own[(t + 1) % kThreads];
}

__global__ void copy_async_kernel(float* out, bool wait, int shift) {
  __shared__ float shared[kThreads];
  const unsigned t = threadIdx.x;
  out[t] = static_cast<float>(t + 1);
  __syncthreads();
  spikesink::copy_async<4>(shared + t, out + t + shift, true);
  spikesink::copy_async_commit();
  if (wait) spikesink::copy_async_wait<0>();
  __syncthreads();
  out[t] = shared[kThreads - 1 - t];
}

__global__ void load_matrices_kernel(float* out, int shift) {
  auto* const shared = dynamic_shared<__nv_bfloat16>();
  for (unsigned i = threadIdx.x; i < kThreads * 16; i += kThreads) shared[i] = 1.0f;
  __syncthreads();
  std::uint32_t pairs[4];
  spikesink::load_matrices<false>(pairs, shared + threadIdx.x * 8 + shift);
  out[threadIdx.x] = static_cast<float>(pairs[0]);
}

__global__ void mma_kernel(float* out) {
  if (threadIdx.x == 40) return;
  spikesink::FragmentC c{};
  spikesink::mma(c, {}, {});
  out[threadIdx.x] = c.at[0];
}

__global__ void sums_that_overtake(float* out) {
  __shared__ float partial[8];
  for (unsigned round = 0; round < 4; ++round) {
    const float x = spikesink::warp_sum(static_cast<float>(threadIdx.x * (round + 1)));
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
    __syncthreads();
    float sum = 0;
    for (const float each : partial) sum += each;
    out[round * 256 + threadIdx.x] = sum;
  }
}

__global__ void one_place(float* out) { out[0] = static_cast<float>(threadIdx.x); }
/// A kernel of its own, for which nobody has asked for shared memory.
__global__ void one_place_again(float* out) { out[0] = static_cast<float>(threadIdx.x); }
__global__ void one_place_of_all_blocks(float* out) { out[threadIdx.x] = static_cast<float>(blockIdx.x); }

__global__ void exit_before_barrier(float* out) {
  if (threadIdx.x >= 40) return;
  __syncthreads();
  out[threadIdx.x] = 1;
}

__global__ void two_branches(float* out) {
  if (threadIdx.x < 32) {
    out[threadIdx.x] = 1;
    __syncthreads();
  } else {
    out[threadIdx.x] = 2;
    __syncthreads();
  }
}

__global__ void shuffle_without_last_lane(float* out) {
  float x = static_cast<float>(threadIdx.x);
  if (threadIdx.x % 32 != 31) x = spikesink::warp_sum(x);
  out[threadIdx.x] = x;
}

__global__ void shuffle_from_upper_half(float* out) {
  float x = static_cast<float>(threadIdx.x);
  if (threadIdx.x % 32 < 16) x = __shfl_sync(0x0000ffffu, x, 20);
  out[threadIdx.x] = x;
}

__global__ void shifted_store(float* out, int by) { out[threadIdx.x + static_cast<unsigned>(by)] = 1; }

__global__ void dynamic_shared_store(float* out, int by) {
  float* const shared = dynamic_shared<float>();
  shared[threadIdx.x + static_cast<unsigned>(by)] = 1;
  __syncthreads();
  out[threadIdx.x] = shared[threadIdx.x];
}

__global__ void static_shared_store(float* out, int by) {
  __shared__ float shared[kThreads];
  shared[threadIdx.x + static_cast<unsigned>(by)] = 1;
  __syncthreads();
  out[threadIdx.x] = shared[threadIdx.x];
}

__global__ void vector_load(float* out, int by) {
  const auto v = spikesink::load<4>(out + by);
  out[threadIdx.x] = v.at[0];
}

__global__ void read_only(float* out) { out[threadIdx.x] += 0; }

__global__ void leave_in_shared(float* out) {
  __shared__ float left;
  if (threadIdx.x != 0) return;
  out[blockIdx.x] = left;
  left = 1;
}

__global__ void copy_kernel(float* out, const float* in) { out[threadIdx.x] = in[threadIdx.x]; }

cudaStream_t native(const Stream& stream) { return static_cast<cudaStream_t>(stream.native.get()); }
}  // namespace

std::vector<float> missing_barrier() { return run(neighbour, kThreads, 1, 0, false); }
std::vector<float> with_barrier() { return run(neighbour, kThreads, 1, 0, true); }
std::vector<float> overtaking_warps() {
  const Stream stream = Stream::cuda();
  const Buffer out(stream, 4 * 256);
  launch(stream, sums_that_overtake, 1, 256, 0, out.data());
  return out.read();
}
std::vector<float> two_threads_write_one_place() { return run(one_place, 1); }
std::vector<float> blocks_write_one_place() { return run(one_place_of_all_blocks, kThreads, 4); }

void some_threads_exit_before_barrier() { run(exit_before_barrier); }
void barriers_in_two_branches() { run(two_branches); }
void lane_misses_shuffle() { run(shuffle_without_last_lane); }
void shuffle_from_outside_of_mask() { run(shuffle_from_upper_half); }

void store_past_end() { run(shifted_store, kThreads, 1, 0, 1); }
void store_past_dynamic_shared() { run(dynamic_shared_store, kThreads, 1, kThreads * 4, 1); }
void store_past_static_shared() { run(static_shared_store, kThreads, 1, 0, 1); }
void misaligned_vector_load() { run(vector_load, kThreads, 1, 0, 1); }

void kernel_uses_freed_memory() {
  const Stream stream = Stream::cuda();
  float* freed = nullptr;
  {
    const Buffer gone(stream, kThreads);
    freed = gone.data();
  }
  launch(stream, read_only, 1, kThreads, 0, freed);
  stream.synchronize();
}

void host_reads_device_memory() {
  const Stream stream = Stream::cuda();
  const Buffer buffer(stream, kThreads);
  volatile float read = buffer.data()[3];
  (void)read;
}

void host_copies_into_device_memory() {
  const Stream stream = Stream::cuda();
  const Buffer buffer(stream, kThreads);
  std::vector<float> values(kThreads);
  std::memcpy(buffer.data(), values.data(), values.size() * sizeof(float));
}

void kernel_given_host_memory() {
  const Stream stream = Stream::cuda();
  std::vector<float> host(kThreads);
  launch(stream, one_place, 1, kThreads, 0, host.data());
}

float read_of_unwritten_memory() { return run(read_only)[5]; }
float read_of_unwritten_shared_memory() { return run(leave_in_shared, 2, 2)[1]; }

std::vector<float> asynchronous_copy(bool with_wait) { return run(copy_async_kernel, kThreads, 1, 0, with_wait, 0); }
void asynchronous_copy_past_end() { run(copy_async_kernel, kThreads, 1, 0, true, 1); }
void misaligned_rows_of_matrices() { run(load_matrices_kernel, kThreads, 1, kThreads * 16 * 2, 1); }
void mma_without_a_lane() { run(mma_kernel); }

float two_streams(bool with_event) {
  const Stream first = Stream::cuda(), second = Stream::cuda();
  const Buffer in(first, kThreads), out(second, kThreads);
  first.synchronize();
  const std::vector<float> ones(kThreads, 1.0f);
  cudaEvent_t copied = nullptr;
  CUDA_CHECK(cudaEventCreateWithFlags(&copied, cudaEventDisableTiming));
  CUDA_CHECK(cudaMemcpyAsync(in.data(), ones.data(), ones.size() * sizeof(float), cudaMemcpyDefault, native(first)));
  CUDA_CHECK(cudaEventRecord(copied, native(first)));
  if (with_event) CUDA_CHECK(cudaStreamWaitEvent(native(second), copied, 0));
  launch(second, copy_kernel, 1, kThreads, 0, out.data(), in.data());
  const float got = out.read()[7];
  first.synchronize();
  CUDA_CHECK(cudaEventDestroy(copied));
  return got;
}

float pinned_buffer_reused(bool with_wait) {
  const Stream stream = Stream::cuda();
  const Buffer buffer(stream, kThreads);
  float* pinned = nullptr;
  CUDA_CHECK(cudaMallocHost(reinterpret_cast<void**>(&pinned), kThreads * sizeof(float)));
  for (int i = 0; i < kThreads; ++i) pinned[i] = 1;
  CUDA_CHECK(cudaMemcpyAsync(buffer.data(), pinned, kThreads * sizeof(float), cudaMemcpyDefault, native(stream)));
  if (with_wait) stream.synchronize();
  for (int i = 0; i < kThreads; ++i) pinned[i] = 2;
  const float got = buffer.read()[7];
  CUDA_CHECK(cudaFreeHost(pinned));
  return got;
}

void too_many_threads() {
  const Stream stream = Stream::cuda();
  const Buffer buffer(stream, 1);
  launch(stream, one_place, 1, 2048, 0, buffer.data());
}

void too_much_shared_memory() { run(one_place, 1, 1, 300 * 1024); }
void shared_memory(std::int64_t bytes) { run(one_place, 1, 1, bytes); }
void shared_memory_unasked(std::int64_t bytes) {
  const Stream stream = Stream::cuda();
  const Buffer buffer(stream, 1);
  cudaLaunchConfig_t config{};
  config.gridDim = config.blockDim = dim3(1);
  config.dynamicSmemBytes = static_cast<std::size_t>(bytes);
  config.stream = native(stream);
  CUDA_CHECK(cudaLaunchKernelEx(&config, one_place_again, buffer.data()));
  stream.synchronize();
}

}  // namespace faults
