#include "analysis/study/products.h"

#include "analysis/study/passes.h"
#include "kernels/linear/linear.h"

namespace spikesink {

Tensor to_device(const Stream& stream, const std::vector<double>& values, Shape shape, DType dtype) {
  const Tensor t = stream.empty(shape, dtype);
  require(t.numel() == std::ssize(values), "to_device: ", values.size(), " values for ", shape);
  with_dtype(dtype, [&]<class T>() {
    const std::vector<T> rounded(values.begin(), values.end());
    stream.upload(t, rounded.data());
  });
  return t;
}

Tensor scaled_columns(const Stream& stream, const Tensor& t, const std::vector<double>& scale) {
  auto values = host_values(stream, t);
  const auto C = static_cast<std::size_t>(matrix_dims(t).cols);
  for (std::size_t i = 0; i < values.size() && !scale.empty(); ++i) values[i] *= scale[i % C];
  return to_device(stream, values, t.shape(), acc_dtype(t.dtype()));
}

Tensor transposed(const Stream& stream, const Tensor& t) {
  const auto [R, C] = matrix_dims(t);
  const auto values = host_values(stream, t);
  std::vector<double> turned(values.size());
  for (std::int64_t r = 0; r < R; ++r)
    for (std::int64_t c = 0; c < C; ++c)
      turned[static_cast<std::size_t>(c * R + r)] = values[static_cast<std::size_t>(r * C + c)];
  return to_device(stream, turned, {C, R}, acc_dtype(t.dtype()));
}

Tensor product(const Stream& stream, const Tensor& x, const Tensor& weight) {
  const Tensor y = stream.empty({matrix_dims(x).rows, matrix_dims(weight).rows}, weight.dtype());
  kernels::linear_forward(stream, {.y = y, .x = x, .weight = weight});
  return y;
}

std::vector<double> product(const Stream& stream, const std::vector<double>& x, const Tensor& weight) {
  const std::int64_t C = matrix_dims(weight).cols;
  return host_values(stream, product(stream, to_device(stream, x, {std::ssize(x) / C, C}, weight.dtype()), weight));
}

}  // namespace spikesink
