#include "kernels/core/gpu.h"

#include "io/failure.h"
#include "kernels/core/cuda_check.cuh"

namespace spikesink::gpu {
namespace {
cudaStream_t native(void* stream) { return static_cast<cudaStream_t>(stream); }

bool on_host(const void* p) {
  cudaPointerAttributes attributes{};
  CUDA_CHECK(cudaPointerGetAttributes(&attributes, p));
  return attributes.type != cudaMemoryTypeDevice;
}
}  // namespace

int num_devices() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  (void)cudaGetLastError();
  return 0;
}

namespace {
__global__ void nothing_kernel() {}

/// Can it run this build's kernels at all?
void require_served(int index) {
  cudaDeviceProp properties{};
  CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
  const std::string gpu = std::string(properties.name) + ", compute capability " + std::to_string(properties.major) +
                          "." + std::to_string(properties.minor);
  if (properties.major < 8)
    throw UsageError("system.device: cuda, but GPU " + std::to_string(index) + " (" + gpu +
                     ") is too old: 8.0 or later is needed; set system.device=cpu");
  cudaFuncAttributes attributes{};
  if (cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(nothing_kernel)) != cudaSuccess) {
    const std::string reason = cudaGetErrorString(cudaGetLastError());
    throw UsageError("system.device: cuda, but this build has no code for GPU " + std::to_string(index) + " (" + gpu +
                     "; " + reason + "); configure it with -DCMAKE_CUDA_ARCHITECTURES=" +
                     std::to_string(properties.major) + std::to_string(properties.minor));
  }
}
}  // namespace

Info info() {
  int index = 0;
  CUDA_CHECK(cudaGetDevice(&index));
  cudaDeviceProp properties{};
  CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
  std::size_t free = 0, total = 0;
  CUDA_CHECK(cudaMemGetInfo(&free, &total));
  return {.name = properties.name,
          .major = properties.major,
          .minor = properties.minor,
          .free_bytes = static_cast<std::int64_t>(free),
          .total_bytes = static_cast<std::int64_t>(total),
          .multiprocessors = properties.multiProcessorCount,
          .shared_bytes = static_cast<std::int64_t>(properties.sharedMemPerBlockOptin)};
}

std::string identity(int index) {
  if (index >= num_devices()) return {};
  cudaDeviceProp properties{};
  CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
  return {properties.uuid.bytes, sizeof properties.uuid.bytes};
}

namespace {
NativeStream owned(cudaStream_t stream) {
  return {stream, [](void* s) { (void)cudaStreamDestroy(native(s)); }};
}
}  // namespace

NativeStream new_stream(int index) {
  int count = 0;
  if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess || count == 0) {
    (void)cudaGetLastError();
    throw UsageError(std::string("system.device: cuda, but CUDA finds no GPU (") + cudaGetErrorString(status) +
                     "); run it on a machine with one, or set system.device=cpu");
  }
  if (index >= count)
    throw UsageError("system.device: cuda, but there is no GPU " + std::to_string(index) + " among " +
                     std::to_string(count) + "; start at most as many processes as there are GPUs");
  CUDA_CHECK(cudaSetDevice(index));
  require_served(index);
  cudaStream_t stream = nullptr;
  CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return owned(stream);
}

NativeStream new_stream_beside() {
  int least = 0, greatest = 0;
  CUDA_CHECK(cudaDeviceGetStreamPriorityRange(&least, &greatest));
  cudaStream_t stream = nullptr;
  CUDA_CHECK(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest));
  return owned(stream);
}

std::byte* allocate(void* stream, std::int64_t bytes) {
  if (is_recording(stream))
    throw CudaError("memory of the GPU, " + std::to_string(bytes) +
                    " bytes, is asked for while a graph is recorded: what is recorded must have run before, on the "
                    "same pool");
  void* memory = nullptr;
  const cudaError_t status = cudaMallocAsync(&memory, static_cast<std::size_t>(bytes), native(stream));
  if (status == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    throw CudaOutOfMemory("out of memory of the GPU: " + std::to_string(bytes) + " bytes more");
  }
  CUDA_CHECK(status);
  return static_cast<std::byte*>(memory);
}

// Runs in destructors: an error of an earlier kernel, which is what it could return, shows at the next checked call.
void release(void* stream, std::byte* memory) noexcept { (void)cudaFreeAsync(memory, native(stream)); }

void copy(void* stream, std::byte* to, const std::byte* from, std::int64_t bytes) {
  if (bytes == 0) return;
  CUDA_CHECK(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDefault, native(stream)));
  if (on_host(to) || on_host(from)) synchronize(stream);
}

void clear(void* stream, std::byte* memory, std::int64_t bytes) {
  if (bytes == 0) return;
  CUDA_CHECK(cudaMemsetAsync(memory, 0, static_cast<std::size_t>(bytes), native(stream)));
}

std::shared_ptr<std::byte> pinned(std::int64_t bytes) {
  void* memory = nullptr;
  CUDA_CHECK(cudaMallocHost(&memory, static_cast<std::size_t>(bytes)));
  return {static_cast<std::byte*>(memory), [](std::byte* m) { (void)cudaFreeHost(m); }};
}

void copy_from_pinned(void* stream, std::byte* to, const std::byte* from, std::int64_t bytes) {
  if (bytes == 0) return;
  CUDA_CHECK(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyHostToDevice, native(stream)));
}

void begin_recording(void* stream) {
  CUDA_CHECK(cudaStreamBeginCapture(native(stream), cudaStreamCaptureModeThreadLocal));
}

std::shared_ptr<void> end_recording(void* stream) {
  cudaGraph_t graph = nullptr;
  CUDA_CHECK(cudaStreamEndCapture(native(stream), &graph));
  cudaGraphExec_t made = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&made, graph, 0);
  CUDA_CHECK(cudaGraphDestroy(graph));
  CUDA_CHECK(status);
  return {made, [](void* g) { (void)cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(g)); }};
}

bool is_recording(void* stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  CUDA_CHECK(cudaStreamIsCapturing(native(stream), &status));
  return status != cudaStreamCaptureStatusNone;
}

void abandon_recording(void* stream) noexcept {
  cudaGraph_t graph = nullptr;
  (void)cudaStreamEndCapture(native(stream), &graph);  // fails where what was recorded is broken, and ends it too
  if (graph) (void)cudaGraphDestroy(graph);
  (void)cudaGetLastError();
}

void replay(void* stream, void* graph) {
  CUDA_CHECK(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), native(stream)));
}

namespace {
Event record(void* stream, unsigned flags) {
  cudaEvent_t event = nullptr;
  CUDA_CHECK(cudaEventCreateWithFlags(&event, flags));
  Event made(event, [](void* e) { (void)cudaEventDestroy(static_cast<cudaEvent_t>(e)); });
  CUDA_CHECK(cudaEventRecord(event, native(stream)));
  return made;
}
}  // namespace

Event record_event(void* stream) { return record(stream, cudaEventDefault); }
Event record_moment(void* stream) { return record(stream, cudaEventDisableTiming); }

void wait_for(void* stream, const Event& event) {
  CUDA_CHECK(cudaStreamWaitEvent(native(stream), static_cast<cudaEvent_t>(event.get()), 0));
}

bool is_done(const Event& event) {
  const cudaError_t status = cudaEventQuery(static_cast<cudaEvent_t>(event.get()));
  if (status == cudaErrorNotReady) {
    (void)cudaGetLastError();
    return false;
  }
  CUDA_CHECK(status);
  return true;
}

double seconds_between(const Event& begin, const Event& end) {
  CUDA_CHECK(cudaEventSynchronize(static_cast<cudaEvent_t>(end.get())));
  float milliseconds = 0;
  CUDA_CHECK(
      cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(begin.get()), static_cast<cudaEvent_t>(end.get())));
  return 1e-3 * static_cast<double>(milliseconds);
}

void synchronize(void* stream) { CUDA_CHECK(cudaStreamSynchronize(native(stream))); }

}  // namespace spikesink::gpu
