#pragma once
#include <vector>

#include "kernels/core/stream.h"

// Products with a model's matrices where the model runs, in acc_dtype (f32; f64 of f64), for analyses that hold their
// own vectors on the host in double.
namespace spikesink {

/// Host values as a tensor of the stream's device.
Tensor to_device(const Stream& stream, const std::vector<double>& values, Shape shape, DType dtype);
/// t (R, C) in acc_dtype, column c times scale[c]; an empty scale is 1.
Tensor scaled_columns(const Stream& stream, const Tensor& t, const std::vector<double>& scale);
/// The transpose (C, R) of t (R, C), in acc_dtype.
Tensor transposed(const Stream& stream, const Tensor& t);

/// x weight^T, (N, O), of x (N, C) in the weight's dtype and weight (O, C).
Tensor product(const Stream& stream, const Tensor& x, const Tensor& weight);
/// The same of vectors on the host, rounded to the weight's dtype.
std::vector<double> product(const Stream& stream, const std::vector<double>& x, const Tensor& weight);

}  // namespace spikesink
