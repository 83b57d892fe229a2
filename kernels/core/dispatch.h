#pragma once
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// The one device switch of a kernel: dispatch<cpu::f, cuda::f>(stream, args). A build without CUDA does not refer to
/// cuda::f, which need not exist there.
template <auto on_cpu, auto on_cuda, class Args>
decltype(auto) dispatch(const Stream& stream, const Args& args) {
  if constexpr (kHasCuda)
    if (stream.device == Device::kCuda) return on_cuda(stream, args);
  return on_cpu(stream, args);
}

}  // namespace spikesink::kernels
