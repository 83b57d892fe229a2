#pragma once
#include <cuda_bf16.h>

#include "kernels/core/dtype.h"

namespace spikesink {

template <>
struct DTypeOf<__nv_bfloat16> {
  static constexpr DType value = DType::kBF16;
};

/// CUDA's dtype switch: calls f.operator()<float>() or <__nv_bfloat16>().
template <class F>
decltype(auto) with_cuda_dtype(DType dtype, F&& f) {
  require(dtype == DType::kF32 || dtype == DType::kBF16, "on cuda: ", name_of(dtype), ", expected f32 or bf16");
  if (dtype == DType::kBF16) return f.template operator()<__nv_bfloat16>();
  return f.template operator()<float>();
}

}  // namespace spikesink
