#pragma once
#include "kernels/core/scratch.h"
#include "kernels/core/stream.h"

namespace spikesink::kernels {

/// The one device switch of a kernel: dispatch<cpu::f, cuda::f>(stream, args). A build without CUDA does not refer to
/// cuda::f, which need not exist there; on a dry stream nothing is called.
template <auto on_cpu, auto on_cuda, class Args>
void dispatch(const Stream& stream, const Args& args) {
  if (stream.dry) return;
  if constexpr (kHasCuda)
    if (stream.device == Device::kCuda) return on_cuda(stream, args);
  on_cpu(stream, args);
}

/// The same for kernels that need memory while they run, f(stream, args, scratch).
template <auto on_cpu, auto on_cuda, class Args>
void dispatch(const Stream& stream, const Args& args, ScratchBytes bytes) {
  const Tensor memory = stream.empty({stream.device == Device::kCuda ? bytes.cuda : bytes.cpu}, DType::kU8);
  if (stream.dry) return;
  if constexpr (kHasCuda)
    if (stream.device == Device::kCuda) return on_cuda(stream, args, Scratch(memory.raw()));
  on_cpu(stream, args, Scratch(memory.raw()));
}

}  // namespace spikesink::kernels
