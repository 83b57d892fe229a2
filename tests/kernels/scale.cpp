#include "kernels/elementwise/scale.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;

namespace {
struct Backward {
  Tensor dx, ds;
};
Backward run_backward(const Stream& stream, const Tensor& dy, const Tensor& x, const Tensor& s, double sum = 0,
                      Tensor dx = {}) {
  if (!dx) dx = poisoned(x.shape(), x.dtype());
  Backward out{dx, filled({1}, x.dtype(), sum)};
  kernels::scale_backward(stream, {.dx = out.dx, .ds = out.ds, .dy = dy, .x = x, .s = s});
  return out;
}
}  // namespace

TEST_CASE("scale multiplies by the scalar, in place too", "[kernels][elementwise]") {
  const DType dtype = GENERATE(DType::kF32, DType::kF64);
  const Shape shape = GENERATE(Shape{1}, matrix(3, 7), matrix(65, 1000));
  const Stream stream = Stream::cpu(GENERATE(1, 3));
  CAPTURE(name_of(dtype), shape, stream.num_threads);
  const Tensor x = random(shape, dtype, 1), s = filled({1}, dtype, 1.7), y = poisoned(shape, dtype);
  kernels::scale_forward(stream, {.y = y, .x = x, .s = s});
  std::vector<double> want;
  for (const double v : values(x)) want.push_back(v * values(s)[0]);
  check_close(y, want, 1, 0);
  const Tensor in_place = copy(x);
  kernels::scale_forward(stream, {.y = in_place, .x = in_place, .s = s});
  CHECK(same_bits(in_place, y));
}

TEST_CASE("scale_backward is the gradient of its forward in x and s", "[kernels][elementwise][grad]") {
  const Shape shape = GENERATE(matrix(1, 1), matrix(3, 7), matrix(200, 5), Shape{2, 70, 3});
  const Stream stream = Stream::cpu(GENERATE(1, 4));
  CAPTURE(shape, stream.num_threads);
  const Tensor x = random(shape, DType::kF64, 1), s = filled({1}, DType::kF64, 1.7), dy = random(shape, DType::kF64, 2),
               y = poisoned(shape, DType::kF64);
  const auto [dx, ds] = run_backward(stream, dy, x, s);
  const auto loss = [&] {
    kernels::scale_forward(stream, {.y = y, .x = x, .s = s});
    return dot(y, dy);
  };
  CHECK(gradient_error(loss, x, dx, 3) < 1e-6);
  CHECK(gradient_error(loss, s, ds, 4) < 1e-6);
}

TEST_CASE("scale_backward adds to ds, may write dx over dy and repeats its bits", "[kernels][elementwise]") {
  const std::int64_t N = 1000, C = 96;
  const Tensor x = random({N, C}, DType::kF32, 1), s = filled({1}, DType::kF32, 3), dy = random({N, C}, DType::kF32, 2);
  const auto one = run_backward(Stream::cpu(1), dy, x, s);
  check_close(one.ds, {dot(dy, x)}, 16, std::sqrt(N * C));
  for (const int threads : {1, 2, 3, 4}) {
    CAPTURE(threads);
    const Tensor both = copy(dy);
    const auto again = run_backward(Stream::cpu(threads), both, x, s, 0, both);
    CHECK(same_bits(again.dx, one.dx));
    CHECK(same_bits(again.ds, one.ds));
  }
  CHECK(values(run_backward(Stream::cpu(1), dy, x, s, 50).ds)[0] == Approx(values(one.ds)[0] + 50));
}

TEST_CASE("scale names the argument that does not fit", "[kernels][elementwise]") {
  const Tensor x = filled({3, 4}, DType::kF32, 1), wide = filled({1}, DType::kF64, 1);
  CHECK_THROWS_WITH(kernels::scale_forward(Stream::cpu(1), {.y = x, .x = x, .s = x}), Catch::Contains("scale s"));
  CHECK_THROWS_WITH(kernels::scale_backward(Stream::cpu(1), {.dx = x, .ds = wide, .dy = x, .x = x, .s = wide}),
                    Catch::Contains("scale s"));
}
