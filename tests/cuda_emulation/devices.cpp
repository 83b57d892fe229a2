#include <cstdlib>

#include "tests/cuda_emulation/block.h"
#include "tests/cuda_emulation/include/cuda_runtime.h"

// What GPUs there are. All are one to a process; it sees several where ranks of a test each take their own.

cudaError_t cudaGetDeviceCount(int* count) {
  const char* devices = std::getenv("SPIKESINK_EMULATION_DEVICES");
  *count = devices ? std::atoi(devices) : 1;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  int count = 0;
  cudaGetDeviceCount(&count);
  return device < count ? cudaSuccess : cudaErrorInvalidDevice;
}

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  *properties = {.name = "emulated GPU",
                 .uuid = {.bytes = {static_cast<char>(device)}},
                 .major = 9,
                 .minor = 0,
                 .multiProcessorCount = 4,
                 .sharedMemPerBlockOptin = cuda_emulation::kMostShared};
  return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, const void*) { return cudaSuccess; }

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = *greatest = 0;
  return cudaSuccess;
}
