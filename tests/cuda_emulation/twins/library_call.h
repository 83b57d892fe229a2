#pragma once
#include <initializer_list>
#include <utility>

#include "kernels/core/cuda_check.cuh"
#include "kernels/core/stream.h"

namespace spikesink {

/// What a library is asked for, in the order of the stream: `work` runs when the stream comes to it, with device memory
/// open to it. `pointers` are what it will read and write there.
template <class F>
void library_call(const Stream& stream, std::initializer_list<const void*> pointers, F work) {
  for (const void* p : pointers)
    if (!cuda_emulation::for_kernels(p))
      CUDA_CHECK(cuda_emulation::refuse("a library was given a pointer to host memory"));
  CUDA_CHECK(cuda_emulation::enqueue(static_cast<cudaStream_t>(stream.native.get()), std::move(work)));
}

}  // namespace spikesink
