#include "kernels/optim/sum_of_squares.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;

namespace {
Tensor sum_of(const Stream& stream, const std::vector<Tensor>& tensors) {
  const Tensor total = on(stream, poisoned({1}, DType::kF64));
  kernels::sum_of_squares(stream, {.total = total, .tensors = tensors});
  return total;
}
}  // namespace

TEST_CASE("sum_of_squares sums over all tensors in double, with the same bits on any number of threads",
          "[kernels][optim]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  CAPTURE(name_of(stream.device), name_of(dtype), stream.num_threads);
  std::vector<Tensor> tensors;
  for (const std::int64_t n : {1, 100003, 0, 231, 16384, 20003})
    tensors.push_back(on(stream, random({n}, dtype, static_cast<std::uint64_t>(n))));
  tensors.back() = tensors.back().slice(1, {20002});  // no access of 16 bytes is aligned
  long double want = 0;
  for (const Tensor& t : tensors)
    for (const double x : values(t)) want += static_cast<long double>(x) * x;
  const auto [sum] = repeated(stream, [&] { return std::array{sum_of(stream, tensors)}; });
  CHECK(values(sum)[0] == Approx(static_cast<double>(want)).epsilon(1e-13));
  if (stream.device == Device::kCpu)
    for (const int threads : {1, 2, 3, 4}) CHECK(same_bits(sum_of(Stream::cpu(threads), tensors), sum));
}

TEST_CASE("sum_of_squares neither over- nor underflows in f32, and keeps NaN and infinity", "[kernels][optim]") {
  const Stream stream = GENERATE(from_range(streams()));
  const auto of = [&](double x) {
    const Tensor t = filled({50000}, DType::kF32, 0);
    t.data<float>()[33333] = static_cast<float>(x);
    return values(sum_of(stream, {on(stream, t)}))[0];
  };
  CHECK(of(1e30) == Approx(1e60));
  CHECK(of(1e-30) == Approx(1e-60));
  CHECK(std::isnan(of(NAN)));
  CHECK(std::isinf(of(INFINITY)));
  CHECK(values(sum_of(stream, {}))[0] == 0);
}
