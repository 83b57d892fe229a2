#include "kernels/norm/dynamic_tanh.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;

namespace {
Tensor run_forward(const Stream& stream, const Tensor& x, const Tensor& weight, const Tensor& bias,
                   const Tensor& alpha) {
  Tensor y = poisoned(x.shape(), x.dtype());
  kernels::dynamic_tanh_forward(stream, {.y = y, .x = x, .weight = weight, .bias = bias, .alpha = alpha});
  return y;
}

struct Backward {
  Tensor dx, dweight, dbias, dalpha;
};
Backward run_backward(const Stream& stream, const Tensor& dy, const Tensor& x, const Tensor& weight,
                      const Tensor& alpha, bool biased, double sums = 0, Tensor dx = {}) {
  if (!dx) dx = poisoned(x.shape(), x.dtype());
  Backward out{dx, filled(weight.shape(), x.dtype(), sums), biased ? filled(weight.shape(), x.dtype(), sums) : Tensor(),
               filled({1}, x.dtype(), sums)};
  kernels::dynamic_tanh_backward(stream, {.dx = out.dx,
                                          .dweight = out.dweight,
                                          .dbias = out.dbias,
                                          .dalpha = out.dalpha,
                                          .dy = dy,
                                          .x = x,
                                          .weight = weight,
                                          .alpha = alpha});
  return out;
}
}  // namespace

TEST_CASE("dynamic_tanh_forward is weight * tanh(alpha x), plus the bias where there is one", "[kernels][norm]") {
  const DType dtype = GENERATE(DType::kF32, DType::kF64);
  const auto [N, C] = GENERATE(table<std::int64_t, std::int64_t>({{1, 1}, {3, 7}, {5, 64}, {65, 1000}}));
  const bool biased = GENERATE(false, true);
  const Stream stream = Stream::cpu(GENERATE(1, 3));
  CAPTURE(name_of(dtype), N, C, biased, stream.num_threads);
  const Tensor x = random({N, C}, dtype, 1, 3), weight = random({C}, dtype, 2),
               bias = biased ? random({C}, dtype, 3) : Tensor(), alpha = filled({1}, dtype, 0.8);
  const Tensor y = run_forward(stream, x, weight, bias, alpha);

  const auto xs = values(x), ws = values(weight);
  const double a = values(alpha)[0];
  std::vector<double> want;
  for (std::size_t i = 0; i < xs.size(); ++i) {
    const std::size_t c = i % static_cast<std::size_t>(C);
    want.push_back(ws[c] * std::tanh(a * xs[i]) + (biased ? values(bias)[c] : 0));
  }
  check_close(y, want, 6, biased ? 1 : 0);

  const Tensor in_place = copy(x);
  kernels::dynamic_tanh_forward(stream, {.y = in_place, .x = in_place, .weight = weight, .bias = bias, .alpha = alpha});
  CHECK(same_bits(in_place, y));
}

TEST_CASE("dynamic_tanh_backward is the gradient of its forward in x, weight, bias and alpha",
          "[kernels][norm][grad]") {
  const auto [N, C] =
      GENERATE(table<std::int64_t, std::int64_t>({{1, 1}, {1, 9}, {3, 7}, {64, 33}, {65, 64}, {200, 5}}));
  const bool biased = GENERATE(false, true);
  const Stream stream = Stream::cpu(GENERATE(1, 4));
  CAPTURE(N, C, biased, stream.num_threads);
  const Tensor x = random({N, C}, DType::kF64, 1), weight = random({C}, DType::kF64, 2),
               bias = biased ? random({C}, DType::kF64, 3) : Tensor(), alpha = filled({1}, DType::kF64, 0.7),
               dy = random({N, C}, DType::kF64, 4);
  const auto d = run_backward(stream, dy, x, weight, alpha, biased);
  const auto loss = [&] { return dot(run_forward(stream, x, weight, bias, alpha), dy); };
  CHECK(gradient_error(loss, x, d.dx, 5) < 1e-6);
  CHECK(gradient_error(loss, weight, d.dweight, 6) < 1e-6);
  CHECK(gradient_error(loss, alpha, d.dalpha, 7) < 1e-6);
  if (biased) CHECK(gradient_error(loss, bias, d.dbias, 8) < 1e-6);
}

TEST_CASE("dynamic_tanh_backward in f32 is that in f64, with the same bits on any number of threads",
          "[kernels][norm]") {
  const std::int64_t N = 1000, C = 96;  // enough for every thread to get a part
  const Tensor x = random({N, C}, DType::kF32, 1), weight = random({C}, DType::kF32, 2),
               alpha = filled({1}, DType::kF32, 0.5), dy = random({N, C}, DType::kF32, 3);
  const auto wide = [](const Tensor& t) { return from_values(t.shape(), DType::kF64, values(t)); };
  const auto want = run_backward(Stream::cpu(1), wide(dy), wide(x), wide(weight), wide(alpha), true);
  const auto one = run_backward(Stream::cpu(1), dy, x, weight, alpha, true);
  check_close(one.dx, values(want.dx), 16);
  check_close(one.dweight, values(want.dweight), 16, std::sqrt(N));
  check_close(one.dbias, values(want.dbias), 16, std::sqrt(N));
  check_close(one.dalpha, values(want.dalpha), 16, std::sqrt(N * C));
  for (const int threads : {1, 2, 3, 4}) {
    CAPTURE(threads);
    const auto again = run_backward(Stream::cpu(threads), dy, x, weight, alpha, true);
    CHECK(same_bits(again.dx, one.dx));
    CHECK(same_bits(again.dweight, one.dweight));
    CHECK(same_bits(again.dbias, one.dbias));
    CHECK(same_bits(again.dalpha, one.dalpha));
  }
}

TEST_CASE("dynamic_tanh_backward adds to the gradients of parameters and may write dx over dy", "[kernels][norm]") {
  const Stream stream = Stream::cpu(2);
  const Tensor x = random({9, 20}, DType::kF64, 1), weight = random({20}, DType::kF64, 2),
               alpha = filled({1}, DType::kF64, 0.5), dy = random({9, 20}, DType::kF64, 3), both = copy(dy);
  const auto want = run_backward(stream, dy, x, weight, alpha, true);
  const auto got = run_backward(stream, both, x, weight, alpha, true, 2, both);
  CHECK(same_bits(got.dx, want.dx));
  const auto plus_two = [](const Tensor& t) {
    auto v = values(t);
    for (double& d : v) d += 2;
    return v;
  };
  check_close(got.dweight, plus_two(want.dweight), 4);
  check_close(got.dbias, plus_two(want.dbias), 4);
  check_close(got.dalpha, plus_two(want.dalpha), 4);
}

TEST_CASE("dynamic_tanh shows NaN in its element only and bounds a spike by the weight", "[kernels][norm]") {
  const Tensor x = random({2, 40}, DType::kF32, 1), weight = filled({40}, DType::kF32, 1.5);
  x.data<float>()[11] = NAN;
  x.data<float>()[50] = -1e30f;
  const auto y = values(run_forward(Stream::cpu(1), x, weight, {}, filled({1}, DType::kF32, 0.8)));
  for (std::size_t i = 0; i < 80; ++i) CHECK(std::isnan(y[i]) == (i == 11));
  CHECK(y[50] == -1.5);
}

TEST_CASE("dynamic_tanh_backward stays finite for a huge x, and shows NaN", "[kernels][norm]") {
  const DType dtype = GENERATE(DType::kF32, DType::kF64);
  CAPTURE(name_of(dtype));
  const double huge = dtype == DType::kF32 ? 1e30 : 1e300;
  // alpha x and dy x overflow; tanh is flat there.
  const Tensor x = from_values({1, 2}, dtype, {huge, -huge}), weight = filled({2}, dtype, 1.5),
               dy = filled({1, 2}, dtype, huge), alpha = filled({1}, dtype, 1e10);
  const auto d = run_backward(Stream::cpu(1), dy, x, weight, alpha, true);
  CHECK(values(d.dx) == std::vector<double>{0, 0});
  CHECK(values(d.dalpha) == std::vector<double>{0});
  CHECK(values(d.dweight)[0] == values(dy)[0]);
  CHECK(values(d.dweight)[1] == -values(dy)[0]);

  const auto nan = run_backward(Stream::cpu(1), dy, poisoned({1, 2}, dtype), weight, alpha, true);
  for (const Tensor& t : {nan.dx, nan.dweight, nan.dalpha})
    for (const double v : values(t)) CHECK(std::isnan(v));
}

TEST_CASE("dynamic_tanh names the argument that does not fit", "[kernels][norm]") {
  const Stream stream = Stream::cpu(1);
  const Tensor x = filled({3, 4}, DType::kF32, 1), w = filled({4}, DType::kF32, 1), one = filled({1}, DType::kF32, 1);
  CHECK_NOTHROW(run_forward(stream, x, w, {}, one));
  CHECK_THROWS_WITH(run_forward(stream, x, one, {}, one), Catch::Contains("dynamic_tanh weight"));
  CHECK_THROWS_WITH(run_forward(stream, x, w, one, one), Catch::Contains("dynamic_tanh bias"));
  CHECK_THROWS_WITH(run_forward(stream, x, w, {}, w), Catch::Contains("dynamic_tanh alpha"));
}
