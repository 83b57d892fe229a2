#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

namespace spikesink {

/// A CUDA call or kernel failed: the message has file:line, the call's text and CUDA's reason.
struct CudaError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// There is no memory left on the GPU.
struct CudaOutOfMemory : CudaError {
  using CudaError::CudaError;
};

/// What host code asks of the CUDA runtime, without its headers. Defined in gpu.cu, so only where kHasCuda. They throw
/// CudaError.
namespace gpu {

/// A cudaStream_t, destroyed with its last handle.
using NativeStream = std::shared_ptr<void>;

/// GPUs that a program can use; 0 without a driver.
int num_devices();

/// What the driver says of the GPU of the newest stream.
struct Info {
  std::string name;
  int major, minor;                      ///< compute capability
  std::int64_t free_bytes, total_bytes;  ///< memory
  int multiprocessors;
  std::int64_t shared_bytes;  ///< most that a block may take
};
Info info();

/// 16 bytes that no other GPU has, or empty where there is no GPU `index`.
std::string identity(int index);

/// A stream on GPU `index`. Throws UsageError where there is no such GPU.
NativeStream new_stream(int index);
/// Another stream on the GPU of the newest one. Where both have kernels to start, its go first.
NativeStream new_stream_beside();

/// Device memory in the order of the stream: it may be used by what is put into the stream after `allocate`, and is
/// free when what was put into it before `release` has run. Aligned to 256 bytes. Refused while the stream is recorded:
/// it would be the graph's, there only while that runs.
std::byte* allocate(void* stream, std::int64_t bytes);
void release(void* stream, std::byte* memory) noexcept;

/// Between device and device in the order of the stream; from or to the host waits until it is done.
void copy(void* stream, std::byte* to, const std::byte* from, std::int64_t bytes);
void clear(void* stream, std::byte* memory, std::int64_t bytes);  ///< zero bytes

/// Host memory that the GPU reads by itself. It must outlive the copies from it.
std::shared_ptr<std::byte> pinned(std::int64_t bytes);
/// From such memory to the device, in the order of the stream: the host does not wait.
void copy_from_pinned(void* stream, std::byte* to, const std::byte* from, std::int64_t bytes);

/// Between the two, what is put into the stream is recorded instead of run. Nothing may wait for the stream, allocate
/// or release there.
void begin_recording(void* stream);
std::shared_ptr<void> end_recording(void* stream);  ///< a cudaGraphExec_t
void abandon_recording(void* stream) noexcept;      ///< instead of end_recording, after an error
bool is_recording(void* stream);
void replay(void* stream, void* graph);

/// A moment of a stream: when all is done that was put into it before.
using Event = std::shared_ptr<void>;
Event record_event(void* stream);
Event record_moment(void* stream);  ///< the same without its time, which costs less
/// What is put into the stream from here on waits for `event`.
void wait_for(void* stream, const Event& event);
bool is_done(const Event& event);
/// By the GPU's clock, which ticks every microsecond or faster. Waits for `end`.
double seconds_between(const Event& begin, const Event& end);

/// Waits for all that the stream holds; faults of its kernels show here at the latest.
void synchronize(void* stream);

}  // namespace gpu
}  // namespace spikesink
