#include "kernels/norm/dynamic_tanh.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;

namespace {
Tensor run_forward(const Stream& stream, const Tensor& x, const Tensor& weight, const Tensor& bias,
                   const Tensor& alpha) {
  Tensor y = on(stream, poisoned(x.shape(), x.dtype()));
  kernels::dynamic_tanh_forward(stream, {.y = y, .x = x, .weight = weight, .bias = bias, .alpha = alpha});
  return y;
}

struct DynamicTanhGradients {
  Tensor dx, dweight, dbias, dalpha;
};
/// `dx` may be given, dy too or, to be accumulated to, a tensor; the sums start at `sums`.
DynamicTanhGradients run_backward(const Stream& stream, const Tensor& dy, const Tensor& x, const Tensor& weight,
                                  const Tensor& alpha, bool biased, double sums = 0, Tensor dx = {},
                                  bool accumulate = false) {
  if (!dx) dx = on(stream, poisoned(x.shape(), x.dtype()));
  const auto start = [&](Shape shape) { return on(stream, filled(shape, acc_dtype(x.dtype()), sums)); };
  DynamicTanhGradients out{dx, start(weight.shape()), biased ? start(weight.shape()) : Tensor(), start({1})};
  kernels::dynamic_tanh_backward(stream, {.dx = out.dx,
                                          .dweight = out.dweight,
                                          .dbias = out.dbias,
                                          .dalpha = out.dalpha,
                                          .dy = dy,
                                          .x = x,
                                          .weight = weight,
                                          .alpha = alpha,
                                          .accumulate = accumulate});
  return out;
}
}  // namespace

TEST_CASE("dynamic_tanh_forward is weight * tanh(alpha x), plus the bias where there is one", "[kernels][norm]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const auto [N, C] = GENERATE(table<std::int64_t, std::int64_t>({{1, 1}, {3, 7}, {50, 64}, {9, 1000}, {3, 2101}}));
  const bool biased = GENERATE(false, true);
  CAPTURE(name_of(stream.device), name_of(dtype), N, C, biased, stream.num_threads);
  const Tensor x = on(stream, random({N, C}, dtype, 1, 3)), weight = on(stream, random({C}, dtype, 2)),
               bias = biased ? on(stream, random({C}, dtype, 3)) : Tensor(),
               alpha = on(stream, filled({1}, dtype, 0.8));
  const auto [y] = repeated(stream, [&] { return std::array{run_forward(stream, x, weight, bias, alpha)}; });

  const auto xs = values(x), ws = values(weight), bs = biased ? values(bias) : std::vector<double>(ws.size(), 0);
  const double a = values(alpha)[0];
  std::vector<double> want;
  for (std::size_t i = 0; i < xs.size(); ++i) {
    const std::size_t c = i % static_cast<std::size_t>(C);
    want.push_back(ws[c] * std::tanh(a * xs[i]) + bs[c]);
  }
  check_close(y, want, stored(dtype, 6), biased ? dtype == DType::kBF16 ? 0.05 : 1 : 0);

  const Tensor in_place = copy(x);
  kernels::dynamic_tanh_forward(stream, {.y = in_place, .x = in_place, .weight = weight, .bias = bias, .alpha = alpha});
  CHECK(same_bits(in_place, y));
}

TEST_CASE("dynamic_tanh_backward is the formula's, into a place of its own, dy's, or added", "[kernels][norm]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const auto [N, C] = GENERATE(table<std::int64_t, std::int64_t>(
      {{1, 1}, {3, 7}, {100, 64}, {33, 520}, {2, 4104}, {2, 8200}, {3, 2101}}));  // each way to hold a row
  const bool biased = GENERATE(false, true);
  CAPTURE(name_of(stream.device), name_of(dtype), N, C, biased, stream.num_threads);
  const Tensor x = on(stream, random({N, C}, dtype, 1)), weight = on(stream, random({C}, dtype, 2)),
               alpha = on(stream, filled({1}, dtype, 0.7)), dy = on(stream, random({N, C}, dtype, 3)),
               residual = on(stream, random({N, C}, dtype, 4));
  const auto [dx, dweight, dalpha, dbias] = repeated(stream, [&] {
    const auto d = run_backward(stream, dy, x, weight, alpha, biased, 2);
    return std::array{d.dx, d.dweight, d.dalpha, biased ? d.dbias : d.dalpha};
  });

  const auto xs = values(x), ws = values(weight), dys = values(dy);
  const double a = values(alpha)[0];
  std::vector<double> want_dx, want_sum = values(residual), want_dweight(ws.size(), 2.0), want_dbias(ws.size(), 2.0);
  double want_dalpha = 2;
  for (std::size_t i = 0; i < xs.size(); ++i) {
    const std::size_t c = i % ws.size();
    const double t = std::tanh(a * xs[i]), u = ws[c] * dys[i] * (1 - t * t);
    want_dx.push_back(a * u);
    want_sum[i] += a * u;
    want_dweight[c] += dys[i] * t;
    want_dbias[c] += dys[i];
    want_dalpha += u * xs[i];
  }
  const double size = 2 + std::sqrt(static_cast<double>(N)), scale = dtype == DType::kBF16 ? 0.05 : 1;
  check_close(dx, want_dx, stored(dtype, 16), scale);  // 1 - t^2 cancels
  check_close(dweight, want_dweight, 16, size);
  // In f64 the reference errs as much.
  check_close(dalpha, {want_dalpha}, 64, 2 + std::sqrt(static_cast<double>(N * C)));
  if (biased) check_close(dbias, want_dbias, 16, size);

  const Tensor in_place = copy(dy);
  CHECK(same_bits(run_backward(stream, in_place, x, weight, alpha, biased, 2, in_place).dx, dx));
  const auto sum = run_backward(stream, dy, x, weight, alpha, biased, 2, copy(residual), true);
  check_close(sum.dx, want_sum, stored(dtype, 16), scale);
  // The loop that adds is another one to the compiler, which may order its sums otherwise.
  check_close(sum.dweight, values(dweight), 4, size);
  check_close(sum.dalpha, values(dalpha), 8, 2 + std::sqrt(static_cast<double>(N * C)));
  CHECK_THROWS_WITH(run_backward(stream, in_place, x, weight, alpha, biased, 2, in_place, true),
                    Catch::Contains("dynamic_tanh dx"));
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
  const Stream stream = GENERATE(from_range(streams()));
  const Tensor x = random({2, 40}, DType::kF32, 1), weight = filled({40}, DType::kF32, 1.5);
  x.data<float>()[11] = NAN;
  x.data<float>()[50] = -1e30f;
  const auto y =
      values(run_forward(stream, on(stream, x), on(stream, weight), {}, on(stream, filled({1}, DType::kF32, 0.8))));
  for (std::size_t i = 0; i < 80; ++i) CHECK(std::isnan(y[i]) == (i == 11));
  CHECK(y[50] == -1.5);
}

TEST_CASE("dynamic_tanh_backward stays finite for a huge x, and shows NaN", "[kernels][norm]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  CAPTURE(name_of(stream.device), name_of(dtype));
  const double huge = dtype == DType::kF64 ? 1e300 : 1e30;
  // alpha x and dy x overflow; tanh is flat there.
  const Tensor x = on(stream, from_values({1, 2}, dtype, {huge, -huge})), weight = on(stream, filled({2}, dtype, 1.5)),
               dy = on(stream, filled({1, 2}, dtype, huge)), alpha = on(stream, filled({1}, dtype, 1e10));
  const auto d = run_backward(stream, dy, x, weight, alpha, true);
  CHECK(values(d.dx) == std::vector<double>{0, 0});
  CHECK(values(d.dalpha) == std::vector<double>{0});
  CHECK(values(d.dweight)[0] == values(dy)[0]);
  CHECK(values(d.dweight)[1] == -values(dy)[0]);

  const auto nan = run_backward(stream, dy, on(stream, poisoned({1, 2}, dtype)), weight, alpha, true);
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
