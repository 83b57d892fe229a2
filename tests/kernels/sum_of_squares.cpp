#include "kernels/optim/sum_of_squares.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;

TEST_CASE("sum_of_squares sums over all tensors in double, with the same bits on any number of threads",
          "[kernels][optim]") {
  const DType dtype = GENERATE(DType::kF32, DType::kF64);
  CAPTURE(name_of(dtype));
  const std::vector<Tensor> tensors{random({1}, dtype, 1), random({100003}, dtype, 2), empty({0}, dtype),
                                    random({7, 33}, dtype, 3), random({16384}, dtype, 4)};
  long double want = 0;
  for (const Tensor& t : tensors)
    for (const double x : values(t)) want += static_cast<long double>(x) * x;
  const double one = kernels::sum_of_squares(Stream::cpu(1), tensors);
  CHECK(one == Approx(static_cast<double>(want)).epsilon(1e-13));
  for (const int threads : {1, 2, 3, 4}) CHECK(kernels::sum_of_squares(Stream::cpu(threads), tensors) == one);
}

TEST_CASE("sum_of_squares neither over- nor underflows in f32, and keeps NaN and infinity", "[kernels][optim]") {
  const Stream stream = Stream::cpu(2);
  const auto of = [&](double x) {
    const Tensor t = filled({50000}, DType::kF32, 0);
    t.data<float>()[33333] = static_cast<float>(x);
    return kernels::sum_of_squares(stream, std::vector{t});
  };
  CHECK(of(1e30) == Approx(1e60));
  CHECK(of(1e-30) == Approx(1e-60));
  CHECK(std::isnan(of(NAN)));
  CHECK(std::isinf(of(INFINITY)));
  CHECK(kernels::sum_of_squares(stream, {}) == 0);
}
