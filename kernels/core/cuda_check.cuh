#pragma once
#include <cuda_runtime.h>

#include <source_location>
#include <string>

#include "kernels/core/gpu.h"

namespace spikesink {

/// Throws CudaError unless `status` is success, after clearing the error that CUDA would report once more.
inline void cuda_check(cudaError_t status, const char* call,
                       std::source_location at = std::source_location::current()) {
  if (status == cudaSuccess) [[likely]]
    return;
  (void)cudaGetLastError();
  throw CudaError(std::string(at.file_name()) + ":" + std::to_string(at.line()) + ": " + call + ": " +
                  cudaGetErrorString(status));
}

}  // namespace spikesink

/// CUDA_CHECK(cudaMalloc(&p, n)): every call of the runtime goes through it.
#define CUDA_CHECK(call) ::spikesink::cuda_check((call), #call)
