#include "tests/cuda_emulation/include/cuda_runtime.h"

#include <sanitizer/asan_interface.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/cuda_emulation/control.h"

extern "C" {
extern char __executable_start;  // the linker's
/// AddressSanitizer would end the program where new throws.
const char* __asan_default_options();
const char* __asan_default_options() { return "allocator_may_return_null=1"; }
}

struct CUgraph_st;

/// What a stream has still to do.
struct CUstream_st {
  struct Task {
    std::function<void()> run;
    std::shared_ptr<const bool> after = {};  ///< an event's record, which must be done before
    bool even_after_fault = false;
  };
  std::deque<Task> tasks;
  std::unique_ptr<CUgraph_st> recording = {};  ///< what is asked for goes there while a graph is captured

  inline void push(Task task);
};

/// What was asked for between the begin and the end of a capture, to be done again and again.
struct CUgraph_st {
  std::vector<CUstream_st::Task> tasks;
  bool broken = false;  ///< something was asked for that cannot be recorded
};

void CUstream_st::push(Task task) {
  if (recording)
    recording->tasks.push_back(std::move(task));
  else
    tasks.push_back(std::move(task));
}

struct CUevent_st {
  std::shared_ptr<const bool> last;  ///< is the last record done? null: never recorded
  std::shared_ptr<const std::chrono::steady_clock::time_point> at = {};  ///< when it was
};

namespace cuda_emulation {
namespace {

constexpr std::size_t kDeviceBytes = std::size_t{8} << 30;
constexpr const char* kKernelsFolder = "SPIKESINK_EMULATION_KERNELS";
constexpr std::size_t kDefaultShared = 48 * 1024;
/// What a kernel's __shared__ variables, of unknown size here, are taken to leave less for its dynamic memory.
constexpr std::size_t kStaticShared = 1024;

using Ranges = std::map<std::uintptr_t, std::size_t>;  // begin: bytes

/// Does [p, p + bytes) lie in one of the ranges?
bool inside(const Ranges& ranges, const void* p, std::size_t bytes) {
  const auto at = reinterpret_cast<std::uintptr_t>(p);
  const auto after = ranges.upper_bound(at);
  if (after == ranges.begin()) return false;
  const auto [begin, size] = *std::prev(after);
  return at + bytes <= begin + size;
}

/// Where in the program's file each kernel that ran lies, into a file of the program's name, for kernels_run.py.
void write_kernels();

struct Runtime {
  std::recursive_mutex mutex;
  std::vector<CUstream_st*> streams{new CUstream_st};  // the first is the default stream
  Ranges device, pinned;
  std::size_t device_bytes = 0;
  std::int64_t launches = 0;
  std::map<const void*, std::size_t> shared_limits;
  std::mt19937_64 random;
  cudaError_t error = cudaSuccess;  // sticky until it is asked for
  std::string fault;

  std::set<const void*> kernels;  // that ran

  Runtime() {
    if (std::getenv(kKernelsFolder)) std::atexit(write_kernels);
    const char* seed = std::getenv("SPIKESINK_EMULATION_SEED");
    random.seed(seed ? std::strtoull(seed, nullptr, 10) : 0);
  }

  cudaError_t fail(cudaError_t code) { return error = code; }

  /// Device memory is the host's to touch only inside of one of these.
  void open(bool accessible) {
    for (const auto& [begin, bytes] : device) {
      void* const p = reinterpret_cast<void*>(begin);
      if (accessible)
        __asan_unpoison_memory_region(p, bytes);
      else
        __asan_poison_memory_region(p, bytes);
    }
  }
  struct Access {
    explicit Access(Runtime& runtime_) : runtime(runtime_) { runtime.open(true); }
    ~Access() { runtime.open(false); }
    Runtime& runtime;
  };

  bool capturing() const {
    return std::any_of(streams.begin(), streams.end(), [](const auto* s) { return s->recording != nullptr; });
  }
  /// For what cannot be recorded: it breaks what is being recorded.
  cudaError_t fail_in_capture() {
    for (CUstream_st* s : streams)
      if (s->recording) s->recording->broken = true;
    return fail(cudaErrorStreamCaptureUnsupported);
  }

  CUstream_st* of(cudaStream_t stream) { return stream ? stream : streams.front(); }

  /// Runs the head of a queue, of a stream that is drawn; false if none can run. After a fault the rest is dropped.
  bool step() {
    std::vector<CUstream_st*> able;
    for (CUstream_st* s : streams)
      if (!s->tasks.empty() && (!s->tasks.front().after || *s->tasks.front().after)) able.push_back(s);
    if (able.empty()) return false;
    CUstream_st* const s = able[random() % able.size()];
    const auto task = std::move(s->tasks.front());
    s->tasks.pop_front();
    try {
      task.run();
    } catch (const Fault& caught) {
      fault = caught.what();
      error = cudaErrorLaunchFailure;
      for (CUstream_st* each : streams) {
        for (const auto& rest : each->tasks)
          if (rest.even_after_fault) rest.run();
        each->tasks.clear();
      }
    }
    return true;
  }
  /// Until `done` holds.
  template <class F>
  cudaError_t drain(F&& done) {
    if (capturing()) return fail_in_capture();
    const Access access(*this);
    while (!done() && step()) {
    }
    return error;
  }
  void go_on() {
    if (capturing()) return;
    const Access access(*this);
    step();
  }
  cudaError_t drain_all() {
    return drain(
        [this] { return std::all_of(streams.begin(), streams.end(), [](const auto* s) { return s->tasks.empty(); }); });
  }

  cudaError_t allocate(Ranges& ranges, void** memory, std::size_t bytes) {
    if (&ranges == &device && bytes > kDeviceBytes - device_bytes) return fail(cudaErrorMemoryAllocation);
    if (bytes == 0 || posix_memalign(memory, 256, bytes) != 0) {
      *memory = nullptr;
      return bytes == 0 ? cudaSuccess : fail(cudaErrorMemoryAllocation);
    }
    std::memset(*memory, 0xff, bytes);  // NaN
    ranges[reinterpret_cast<std::uintptr_t>(*memory)] = bytes;
    if (&ranges == &device) {
      device_bytes += bytes;
      __asan_poison_memory_region(*memory, bytes);
    }
    return cudaSuccess;
  }
  cudaError_t release(Ranges& ranges, void* memory) {
    if (!memory) return cudaSuccess;
    const auto found = ranges.find(reinterpret_cast<std::uintptr_t>(memory));
    if (found == ranges.end()) return fail(cudaErrorInvalidValue);
    if (&ranges == &device) {
      device_bytes -= found->second;
      __asan_unpoison_memory_region(memory, found->second);
    }
    ranges.erase(found);
    std::free(memory);
    return cudaSuccess;
  }
};

Runtime& runtime() {
  static Runtime* const the = new Runtime;
  return *the;
}

/// Most calls: the runtime, locked.
struct Locked {
  Runtime* operator->() const { return &runtime(); }
  Runtime& operator*() const { return runtime(); }
  std::lock_guard<std::recursive_mutex> guard{runtime().mutex};
};

void write_kernels() {
  std::ofstream file(std::string(std::getenv(kKernelsFolder)) + "/" + program_invocation_short_name);
  for (const void* kernel : Locked()->kernels)
    file << std::hex << static_cast<const char*>(kernel) - &__executable_start << '\n';
}
}  // namespace

bool for_kernels(const void* pointer) {
  const Locked r;
  return pointer == nullptr || inside(r->device, pointer, 0) || inside(r->pinned, pointer, 0);
}

cudaError_t refuse(const std::string& why) {
  const Locked r;
  r->fault = why;
  return r->fail(cudaErrorLaunchFailure);
}

cudaError_t enqueue(const cudaLaunchConfig_t& c, const void* kernel, std::function<void()> thread) {
  const Locked r;
  const std::size_t threads = std::size_t{c.blockDim.x} * c.blockDim.y * c.blockDim.z;
  const auto asked = r->shared_limits.find(kernel);
  const std::size_t limit = asked == r->shared_limits.end() ? kDefaultShared - kStaticShared : asked->second;
  const bool fine = threads >= 1 && threads <= 1024 && c.blockDim.z <= 64 && c.gridDim.x >= 1 &&
                    c.gridDim.x <= 0x7fffffff && c.gridDim.y >= 1 && c.gridDim.y <= 65535 && c.gridDim.z >= 1 &&
                    c.gridDim.z <= 65535;
  if (!fine) return r->fail(cudaErrorInvalidConfiguration);
  if (c.dynamicSmemBytes > limit) return r->fail(cudaErrorInvalidValue);
  r->kernels.insert(kernel);
  r->of(c.stream)->push({[grid = Grid{c.gridDim, c.blockDim, c.dynamicSmemBytes, std::move(thread)}] {
    ++runtime().launches;
    run(grid);
  }});
  return cudaSuccess;
}

cudaError_t enqueue(cudaStream_t stream, std::function<void()> work) {
  const Locked r;
  r->of(stream)->push({[work = std::move(work)] {
    ++runtime().launches;
    work();
  }});
  return cudaSuccess;
}

void set_stream_seed(std::uint64_t seed) { Locked()->random.seed(seed); }
std::int64_t live_device_bytes() { return static_cast<std::int64_t>(Locked()->device_bytes); }
std::int64_t num_launches() { return Locked()->launches; }

}  // namespace cuda_emulation

using cuda_emulation::inside;
using cuda_emulation::Locked;

cudaError_t cudaGetLastError() { return std::exchange(Locked()->error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return Locked()->error; }
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    case cudaErrorLaunchFailure:
      return Locked()->fault.c_str();
  }
  return "unknown error";
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *total = cuda_emulation::kDeviceBytes;
  *free = *total - Locked()->device_bytes;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() { return Locked()->drain_all(); }

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  const Locked r;
  return r->allocate(r->device, memory, bytes);
}
cudaError_t cudaFree(void* memory) {  // waits for the device, as CUDA's does
  const Locked r;
  const cudaError_t earlier = r->drain_all();
  const cudaError_t now = r->release(r->device, memory);
  return earlier == cudaSuccess ? now : earlier;
}
/// CUDA would make memory a part of the graph; the project's graphs have none of their own.
cudaError_t cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t stream) {
  const Locked r;
  if (r->of(stream)->recording) return r->fail_in_capture();
  return cudaMalloc(memory, bytes);
}
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  const Locked r;
  if (r->of(stream)->recording) return r->fail_in_capture();
  if (memory && !inside(r->device, memory, 1)) return r->fail(cudaErrorInvalidValue);
  r->of(stream)->push({.run = [memory] { Locked()->release(Locked()->device, memory); }, .even_after_fault = true});
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  const Locked r;
  return r->allocate(r->pinned, memory, bytes);
}
cudaError_t cudaFreeHost(void* memory) {
  const Locked r;
  return r->release(r->pinned, memory);
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* memory) {
  const Locked r;
  attributes->type = inside(r->device, memory, 0)   ? cudaMemoryTypeDevice
                     : inside(r->pinned, memory, 0) ? cudaMemoryTypeHost
                                                    : cudaMemoryTypeUnregistered;
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  const Locked r;
  const cudaError_t status = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
  return status == cudaSuccess ? cudaStreamSynchronize(nullptr) : status;
}

/// From pageable memory the values are taken now, and to it they have come on return: so does CUDA. Pinned memory is
/// read and written when the stream comes to it.
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const Locked r;
  const bool to_device = inside(r->device, to, 0), from_device = inside(r->device, from, 0);
  const bool as_said = kind == cudaMemcpyDefault ||
                       ((kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice) == to_device &&
                        (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice) == from_device);
  if (!as_said || (to_device && !inside(r->device, to, bytes)) || (from_device && !inside(r->device, from, bytes)))
    return r->fail(cudaErrorInvalidValue);
  const bool from_pageable = !from_device && !inside(r->pinned, from, bytes);
  const bool to_pageable = !to_device && !inside(r->pinned, to, bytes);
  if (r->of(stream)->recording && (from_pageable || to_pageable)) return r->fail_in_capture();
  if (from_pageable) {
    const auto* const bytes_of = static_cast<const char*>(from);
    r->of(stream)->push(
        {[to, taken = std::vector<char>(bytes_of, bytes_of + bytes)] { std::memcpy(to, taken.data(), taken.size()); }});
  } else {
    r->of(stream)->push({[to, from, bytes] { std::memcpy(to, from, bytes); }});
  }
  return to_pageable ? cudaStreamSynchronize(stream) : cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
  const Locked r;
  if (!inside(r->device, memory, bytes)) return r->fail(cudaErrorInvalidValue);
  r->of(stream)->push({[memory, value, bytes] { std::memset(memory, value, bytes); }});
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = Locked()->streams.emplace_back(new CUstream_st);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Locked r;
  const cudaError_t status = cudaStreamSynchronize(stream);  // CUDA lets it finish; nobody could tell the difference
  std::erase(r->streams, stream);
  delete stream;
  return status;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Locked r;
  return r->drain([s = r->of(stream)] { return s->tasks.empty(); });
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Locked r;
  if (event->last) r->of(stream)->push({.run = [] {}, .after = event->last});
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Locked r;
  const auto done = std::make_shared<bool>(false);
  const auto at = std::make_shared<std::chrono::steady_clock::time_point>();
  event->last = done;
  event->at = at;
  const auto run = [done, at] {
    *done = true;
    *at = std::chrono::steady_clock::now();
  };
  r->of(stream)->push({.run = run, .even_after_fault = true});
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return Locked()->drain([last = event->last] { return !last || *last; });
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const Locked r;
  if (!event->last || *event->last) return r->error;
  r->go_on();
  return r->error == cudaSuccess ? cudaErrorNotReady : r->error;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  const Locked r;
  for (const cudaEvent_t event : {begin, end}) {
    if (!event->last) return r->fail(cudaErrorInvalidValue);
    if (!*event->last) return r->fail(cudaErrorNotReady);
  }
  *milliseconds = std::chrono::duration<float, std::milli>(*end->at - *begin->at).count();
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  const Locked r;
  if (value < 0 || static_cast<std::size_t>(value) > cuda_emulation::kMostShared - cuda_emulation::kStaticShared)
    return r->fail(cudaErrorInvalidValue);
  r->shared_limits[kernel] = static_cast<std::size_t>(value);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const Locked r;
  if (r->of(stream)->recording) return r->fail(cudaErrorStreamCaptureUnsupported);
  r->of(stream)->recording = std::make_unique<CUgraph_st>();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const Locked r;
  *graph = nullptr;
  std::unique_ptr<CUgraph_st> recorded = std::move(r->of(stream)->recording);
  if (!recorded) return r->fail(cudaErrorInvalidValue);
  if (recorded->broken) return r->fail(cudaErrorStreamCaptureInvalidated);
  *graph = recorded.release();
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const Locked r;
  const auto& recording = r->of(stream)->recording;
  *status = !recording          ? cudaStreamCaptureStatusNone
            : recording->broken ? cudaStreamCaptureStatusInvalidated
                                : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* made, cudaGraph_t graph, unsigned long long) {
  *made = new CUgraph_st(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  const Locked r;
  for (const auto& task : graph->tasks) r->of(stream)->push(task);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) { return cudaGraphDestroy(graph); }
