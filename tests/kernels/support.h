#pragma once
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/core/random.h"
#include "kernels/core/stream.h"

// What tests of kernels share. References are plain loops in double over the values as the kernel saw them, after
// rounding to its dtype.
namespace spikesink::test {

inline Tensor empty(Shape shape, DType dtype) {
  static const Stream stream = Stream::cpu(1);
  return stream.empty(shape, dtype);
}

inline Tensor from_values(Shape shape, DType dtype, const std::vector<double>& values) {
  const Tensor t = empty(shape, dtype);
  REQUIRE(t.numel() == static_cast<std::int64_t>(values.size()));
  with_dtype(dtype, [&]<class T>() {
    for (std::size_t i = 0; i < values.size(); ++i) t.span<T>()[i] = static_cast<T>(values[i]);
  });
  return t;
}

inline Tensor filled(Shape shape, DType dtype, double value) {
  return from_values(shape, dtype, std::vector<double>(static_cast<std::size_t>(shape.numel()), value));
}

/// Standard normal numbers times `scale`; a different seed, a different tensor.
inline Tensor random(Shape shape, DType dtype, std::uint64_t seed, double scale = 1) {
  std::vector<double> values(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = scale * Random{.seed = seed}.normal(i);
  return from_values(shape, dtype, values);
}

/// An output that shows what was not written.
inline Tensor poisoned(Shape shape, DType dtype) {
  return filled(shape, dtype, std::numeric_limits<double>::quiet_NaN());
}

inline Tensor ids(const std::vector<std::int32_t>& values) {
  const Tensor t = empty({static_cast<std::int64_t>(values.size())}, DType::kI32);
  std::copy(values.begin(), values.end(), t.data<std::int32_t>());
  return t;
}

inline Tensor copy(const Tensor& t) {
  const Tensor c = empty(t.shape(), t.dtype());
  std::memcpy(c.raw(), t.raw(), static_cast<std::size_t>(t.bytes()));
  return c;
}

inline std::vector<double> values(const Tensor& t) {
  std::vector<double> out;
  with_dtype(t.dtype(), [&]<class T>() { out.assign(t.span<T>().begin(), t.span<T>().end()); });
  return out;
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(a.raw(), b.raw(), static_cast<std::size_t>(a.bytes())) == 0;
}

/// (3, 7) for element `flat` of `shape`.
inline std::string coordinate(const Shape& shape, std::size_t flat) {
  auto rest = static_cast<std::int64_t>(flat);
  std::string text;
  for (int d = shape.rank() - 1; d >= 0; --d) {
    text = (d ? ", " : "(") + std::to_string(rest % shape[d]) + text;
    rest /= shape[d];
  }
  return text + ")";
}

/// |got - want| <= units * epsilon of the dtype * max(|want|, scale), everywhere; shows the worst element. `scale` is
/// the size of the terms that a sum may cancel.
inline void check_close(const Tensor& got, const std::vector<double>& want, double units, double scale = 1) {
  const auto have = values(got);
  REQUIRE(have.size() == want.size());
  const double epsilon = got.dtype() == DType::kF64 ? std::numeric_limits<double>::epsilon()
                                                    : static_cast<double>(std::numeric_limits<float>::epsilon());
  double worst = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    double error = std::abs(have[i] - want[i]) / (epsilon * std::max(std::abs(want[i]), scale));
    if (std::isnan(error)) error = std::numeric_limits<double>::infinity();
    if (error > worst) {
      worst = error;
      at = i;
    }
  }
  std::ostringstream message;
  message.precision(17);
  if (!want.empty())
    message << "at " << coordinate(got.shape(), at) << " of " << got.shape() << ": " << have[at] << ", expected "
            << want[at] << " (" << worst << " units, allowed " << units << ")";
  INFO(message.str());
  CHECK(worst <= units);
}

inline double dot(const Tensor& a, const Tensor& b) {
  const auto x = values(a), y = values(b);
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

/// The relative difference of <gradient, u> and the central difference of `loss` along u, a random direction in
/// `input` (f64), whose values `loss` reads and which is left as it was.
inline double gradient_error(const std::function<double()>& loss, const Tensor& input, const Tensor& gradient,
                             std::uint64_t seed) {
  const Tensor direction = random(input.shape(), DType::kF64, seed), start = copy(input);
  const auto at = [&](double h) {
    for (std::int64_t i = 0; i < input.numel(); ++i)
      input.data<double>()[i] = start.data<double>()[i] + h * direction.data<double>()[i];
    return loss();
  };
  constexpr double kStep = 1e-5;
  const double measured = (at(kStep) - at(-kStep)) / (2 * kStep), claimed = dot(gradient, direction);
  at(0);
  return std::abs(measured - claimed) / std::max({std::abs(measured), std::abs(claimed), 1e-3});
}

inline Shape matrix(std::int64_t rows, std::int64_t cols) { return {rows, cols}; }

}  // namespace spikesink::test
