#pragma once
#include <vector>

#include "kernels/core/stream.h"

namespace spikesink {

/// A new tensor on the stream's device with the values of `x` after f(std::span of them, float or double) has changed
/// them on the host. bf16 is widened to f32 and rounded once.
template <class F>
Tensor edited(const Stream& stream, const Tensor& x, F&& f) {
  const Tensor y = stream.empty(x.shape(), x.dtype());
  with_stored_dtype(x.dtype(), [&]<class T>() {
    const Tensor host = stream.on_host(x);
    std::vector<acc_t<T>> values(host.span<T>().begin(), host.span<T>().end());
    f(std::span<acc_t<T>>(values));
    if constexpr (std::is_same_v<T, bf16>) {
      const std::vector<bf16> rounded(values.begin(), values.end());
      stream.upload(y, rounded.data());
    } else {
      stream.upload(y, values.data());
    }
  });
  return y;
}

}  // namespace spikesink
