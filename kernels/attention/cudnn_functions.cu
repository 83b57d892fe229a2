#ifdef SPIKESINK_HAS_CUDNN

#include <cudnn.h>

#include "kernels/core/shared_library.h"

// The functions of cuDNN that cudnn-frontend and attention_cudnn.cu call. Each opens the library when it is first
// needed and hands the call on, or throws UsageError where it is missing or too old. A program exports none of its own
// functions, so cuDNN does not see these.
namespace spikesink::kernels::cuda {
namespace {

constexpr std::size_t kOldest = 90800;  // the first that says what a device is, and so builds plans without one

SharedLibrary open_cudnn() {
  const std::string major = std::to_string(CUDNN_MAJOR);
  const SharedLibrary library("cuDNN " + major, "libcudnn.so." + major,
                              "install NVIDIA's cuDNN " + major + " and put its folder first into LD_LIBRARY_PATH");
  const decltype(&cudnnGetVersion) version = library["cudnnGetVersion"];
  library.require_version(version(), kOldest);
  return library;
}

const SharedLibrary& cudnn() {
  static const SharedLibrary library = open_cudnn();
  return library;
}

/// What the library has by the name of our own function `self`.
template <auto self, class... Args>
auto call(const char* name, Args... args) {
  static const decltype(self) function = cudnn()[name];
  return function(args...);
}

}  // namespace
}  // namespace spikesink::kernels::cuda

using spikesink::kernels::cuda::call;

size_t cudnnGetVersion() { return call<cudnnGetVersion>(__func__); }
const char* cudnnGetErrorString(cudnnStatus_t status) { return call<cudnnGetErrorString>(__func__, status); }
void cudnnGetLastErrorString(char* message, size_t most) { call<cudnnGetLastErrorString>(__func__, message, most); }
cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) { return call<cudnnCreate>(__func__, handle); }
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) { return call<cudnnDestroy>(__func__, handle); }
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  return call<cudnnSetStream>(__func__, handle, stream);
}
cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t* stream) {
  return call<cudnnGetStream>(__func__, handle, stream);
}
cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* descriptor) {
  return call<cudnnBackendCreateDescriptor>(__func__, type, descriptor);
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  return call<cudnnBackendDestroyDescriptor>(__func__, descriptor);
}
cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
  return call<cudnnBackendFinalize>(__func__, descriptor);
}
cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void* values) {
  return call<cudnnBackendSetAttribute>(__func__, descriptor, name, type, count, values);
}
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t most, int64_t* count, void* values) {
  return call<cudnnBackendGetAttribute>(__func__, descriptor, name, type, most, count, values);
}
cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack) {
  return call<cudnnBackendExecute>(__func__, handle, plan, pack);
}

#endif
