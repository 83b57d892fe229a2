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
  if (!dx) dx = on(stream, poisoned(x.shape(), x.dtype()));
  Backward out{dx, on(stream, filled({1}, acc_dtype(x.dtype()), sum))};
  kernels::scale_backward(stream, {.dx = out.dx, .ds = out.ds, .dy = dy, .x = x, .s = s});
  return out;
}
}  // namespace

TEST_CASE("scale multiplies by the scalar, forward and backward, in place too", "[kernels][elementwise]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const Shape shape = GENERATE(Shape{1}, matrix(3, 7), matrix(33, 1001));
  const std::int64_t skipped = GENERATE(0, 1);  // 1: no access of 16 bytes is aligned
  CAPTURE(name_of(stream.device), name_of(dtype), shape, skipped, stream.num_threads);
  const auto input = [&](std::uint64_t seed) {
    return on(stream, random({shape.numel() + skipped}, dtype, seed)).slice(skipped, shape);
  };
  const Tensor x = input(1), dy = input(2), s = on(stream, filled({1}, dtype, 1.7));
  const auto [y, dx, ds] = repeated(stream, [&] {
    const Tensor out = on(stream, poisoned(shape, dtype));
    kernels::scale_forward(stream, {.y = out, .x = x, .s = s});
    const auto d = run_backward(stream, dy, x, s, 3);
    return std::array{out, d.dx, d.ds};
  });
  const double factor = values(s)[0];
  std::vector<double> want_y, want_dx;
  for (const double v : values(x)) want_y.push_back(v * factor);
  for (const double v : values(dy)) want_dx.push_back(v * factor);
  check_close(y, want_y, stored(dtype, 1), 0);
  check_close(dx, want_dx, stored(dtype, 1), 0);
  check_close(ds, {3 + dot(dy, x)}, 16, 3 + std::sqrt(static_cast<double>(shape.numel())));

  const Tensor in_place = copy(x), over_dy = copy(dy);
  kernels::scale_forward(stream, {.y = in_place, .x = in_place, .s = s});
  CHECK(same_bits(in_place, y));
  CHECK(same_bits(run_backward(stream, over_dy, x, s, 3, over_dy).dx, dx));
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
