#pragma once
#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/core/gpu.h"
#include "kernels/core/random.h"
#include "kernels/core/stream.h"
#ifdef SPIKESINK_CUDA_EMULATED
#include "tests/cuda_emulation/control.h"
#endif

// What tests of kernels share. References are plain loops in double over the values as the kernel saw them, after
// rounding to its dtype.
namespace spikesink::test {

/// Is there a GPU, or one that is emulated?
inline bool has_gpu() {
  if constexpr (kHasCuda) return gpu::num_devices() > 0;
  return false;
}

/// For a test that returns without a look: scripts/test.sh counts it by this line.
inline void skipped(const std::string& why = "no GPU") {
  static std::string last;  // once a test, whatever it generates
  const std::string name = Catch::getResultCapture().getCurrentTestName();
  if (name != last) std::puts(("skipped: " + name + ": " + why).c_str());
  last = name;
}

/// The one CUDA stream of a test program. Never destroyed: what nobody waited for would run at exit, when libraries
/// have gone.
inline const Stream& cuda_stream() {
  static const Stream* const stream = new Stream(Stream::cuda());
  return *stream;
}

/// Where a kernel that has a CUDA version is tested: CPU streams of one and several threads, and CUDA where build and
/// machine have it.
inline std::vector<Stream> streams() {
  std::vector<Stream> all{Stream::cpu(1), Stream::cpu(3)};
  if (has_gpu()) all.push_back(cuda_stream());
  return all;
}
inline std::vector<DType> dtypes(const Stream& stream) {
  if (stream.device == Device::kCpu) return {DType::kF32, DType::kF64};
  return {DType::kF32, DType::kBF16};
}

inline Tensor empty(Shape shape, DType dtype) {
  static const Stream stream = Stream::cpu(1);
  return stream.empty(shape, dtype);
}

inline Tensor from_values(Shape shape, DType dtype, const std::vector<double>& values) {
  const Tensor t = empty(shape, dtype);
  REQUIRE(t.numel() == static_cast<std::int64_t>(values.size()));
  with_stored_dtype(dtype, [&]<class T>() {
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
  const bool on_cpu = t.device() == Device::kCpu;
  const Tensor c = on_cpu ? empty(t.shape(), t.dtype()) : cuda_stream().empty(t.shape(), t.dtype());
  (on_cpu ? Stream::cpu(1) : cuda_stream()).copy(c, t);
  return c;
}

/// `t` where the stream runs: itself, or a copy on its device.
inline Tensor on(const Stream& stream, const Tensor& t) {
  if (t.device() == stream.device) return t;
  const Tensor c = stream.empty(t.shape(), t.dtype());
  stream.copy(c, t);
  return c;
}
inline Tensor on_host(const Tensor& t) {
  if (t.device() == Device::kCpu) return t;
  const Tensor c = empty(t.shape(), t.dtype());
  cuda_stream().copy(c, t);
  return c;
}

inline std::vector<double> values(const Tensor& t) {
  std::vector<double> out;
  const Tensor host = on_host(t);
  with_stored_dtype(t.dtype(), [&]<class T>() { out.assign(host.span<T>().begin(), host.span<T>().end()); });
  return out;
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(on_host(a).raw(), on_host(b).raw(), static_cast<std::size_t>(a.bytes())) == 0;
}

/// What `run` returns, an array of output tensors, after checking that running it again gives the same bits: on CUDA
/// once more, under emulation with the threads and blocks in three other orders.
template <class F>
auto repeated(const Stream& stream, F run) {
  const auto first = run();
  if (stream.device == Device::kCpu) return first;
  const auto again = [&] {
    const auto next = run();
    for (std::size_t i = 0; i < first.size(); ++i) CHECK(same_bits(first[i], next[i]));
  };
#ifdef SPIKESINK_CUDA_EMULATED
  using cuda_emulation::Order;
  const auto launches = cuda_emulation::num_launches();
  for (const auto& [order, seed] : {std::pair{Order::kDescending, 0}, {Order::kRandom, 1}, {Order::kRandom, 2}}) {
    cuda_emulation::set_order(order, static_cast<std::uint64_t>(seed));
    again();
  }
  cuda_emulation::set_order(Order::kAscending);
  CHECK(cuda_emulation::num_launches() > launches);
#else
  again();
#endif
  return first;
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
  const double epsilon = got.dtype() == DType::kF64    ? std::numeric_limits<double>::epsilon()
                         : got.dtype() == DType::kBF16 ? 0x1p-7
                                                       : static_cast<double>(std::numeric_limits<float>::epsilon());
  double worst = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    double error =
        have[i] == want[i] ? 0 : std::abs(have[i] - want[i]) / (epsilon * std::max(std::abs(want[i]), scale));
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

/// Units for a result that is computed in f32 and stored as `dtype`: bf16 adds one rounding to the nearest, half a
/// unit, beside which the errors of f32 are small. `units` otherwise.
inline double stored(DType dtype, double units) { return dtype == DType::kBF16 ? 0.51 : units; }

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
