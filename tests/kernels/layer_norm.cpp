#include "kernels/norm/layer_norm.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;

namespace {
constexpr double kEps = 1e-5;

struct Forward {
  Tensor y, mean, rstd;
};
Forward run_forward(const Stream& stream, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const std::int64_t N = matrix_dims(x).rows;
  Forward f{poisoned(x.shape(), x.dtype()), poisoned({N}, x.dtype()), poisoned({N}, x.dtype())};
  kernels::layer_norm_forward(
      stream, {.y = f.y, .mean = f.mean, .rstd = f.rstd, .x = x, .weight = weight, .bias = bias, .eps = kEps});
  return f;
}

struct Backward {
  Tensor dx, dweight, dbias;
};
/// `dy` may be given as dx, and the sums start at `sums`.
Backward run_backward(const Stream& stream, const Tensor& dy, const Tensor& x, const Tensor& weight, double sums = 0,
                      Tensor dx = {}) {
  const Forward f = run_forward(stream, x, weight, weight);
  if (!dx) dx = poisoned(x.shape(), x.dtype());
  Backward out{dx, filled(weight.shape(), x.dtype(), sums), filled(weight.shape(), x.dtype(), sums)};
  kernels::layer_norm_backward(stream, {.dx = out.dx,
                                        .dweight = out.dweight,
                                        .dbias = out.dbias,
                                        .dy = dy,
                                        .x = x,
                                        .weight = weight,
                                        .mean = f.mean,
                                        .rstd = f.rstd});
  return out;
}
}  // namespace

TEST_CASE("layer_norm_forward is (x - mean) / std * weight + bias", "[kernels][norm]") {
  const DType dtype = GENERATE(DType::kF32, DType::kF64);
  const auto [N, C] = GENERATE(table<std::int64_t, std::int64_t>({{1, 1}, {3, 7}, {5, 64}, {65, 1000}}));
  const Stream stream = Stream::cpu(GENERATE(1, 3));
  CAPTURE(name_of(dtype), N, C, stream.num_threads);
  const Tensor x = random({N, C}, dtype, 1), weight = random({C}, dtype, 2), bias = random({C}, dtype, 3);
  const Forward f = run_forward(stream, x, weight, bias);

  const auto xs = values(x), ws = values(weight), bs = values(bias);
  std::vector<double> want_y, want_mean, want_rstd;
  const auto columns = static_cast<std::size_t>(C);
  for (std::size_t row = 0; row < xs.size(); row += columns) {
    double sum = 0, squares = 0;
    for (std::size_t c = 0; c < columns; ++c) sum += xs[row + c];
    const double mean = sum / static_cast<double>(C);
    for (std::size_t c = 0; c < columns; ++c) squares += (xs[row + c] - mean) * (xs[row + c] - mean);
    want_mean.push_back(mean);
    want_rstd.push_back(1 / std::sqrt(squares / static_cast<double>(C) + kEps));
    for (std::size_t c = 0; c < columns; ++c) want_y.push_back((xs[row + c] - mean) * want_rstd.back() * ws[c] + bs[c]);
  }
  const double sum_error = std::sqrt(static_cast<double>(C));  // C terms, in any order
  check_close(f.mean, want_mean, 2 + sum_error);
  check_close(f.rstd, want_rstd, 4 + sum_error, 0);
  check_close(f.y, want_y, 8 + sum_error);

  const Tensor in_place = copy(x);
  kernels::layer_norm_forward(
      stream,
      {.y = in_place, .mean = f.mean, .rstd = f.rstd, .x = in_place, .weight = weight, .bias = bias, .eps = kEps});
  CHECK(same_bits(in_place, f.y));
}

TEST_CASE("layer_norm keeps its digits where the mean is far above the deviation", "[kernels][norm]") {
  const std::int64_t C = 512;
  const Tensor x = empty({1, C}, DType::kF32);
  for (std::int64_t c = 0; c < C; ++c) x.data<float>()[c] = 4096 + static_cast<float>(c % 2);  // deviation 1/2
  const Tensor ones = filled({C}, DType::kF32, 1), zeros = filled({C}, DType::kF32, 0);
  const Forward f = run_forward(Stream::cpu(1), x, ones, zeros);
  CHECK(values(f.mean)[0] == 4096.5);
  CHECK(values(f.rstd)[0] == Approx(1 / std::sqrt(0.25 + kEps)).epsilon(1e-6));
}

TEST_CASE("layer_norm_backward is the gradient of its forward in x, weight and bias", "[kernels][norm][grad]") {
  const auto [N, C] =
      GENERATE(table<std::int64_t, std::int64_t>({{1, 1}, {1, 9}, {3, 7}, {64, 33}, {65, 64}, {200, 5}}));
  const Stream stream = Stream::cpu(GENERATE(1, 4));
  CAPTURE(N, C, stream.num_threads);
  const Tensor x = random({N, C}, DType::kF64, 1), weight = random({C}, DType::kF64, 2),
               bias = random({C}, DType::kF64, 3), dy = random({N, C}, DType::kF64, 4);
  const auto [dx, dweight, dbias] = run_backward(stream, dy, x, weight);
  const auto loss = [&] { return dot(run_forward(stream, x, weight, bias).y, dy); };
  CHECK(gradient_error(loss, x, dx, 5) < 1e-6);
  CHECK(gradient_error(loss, weight, dweight, 6) < 1e-6);
  CHECK(gradient_error(loss, bias, dbias, 7) < 1e-6);
}

TEST_CASE("layer_norm_backward in f32 is that in f64, with the same bits on any number of threads", "[kernels][norm]") {
  const std::int64_t N = 1000, C = 96;  // enough for every thread to get a part
  const Tensor x = random({N, C}, DType::kF32, 1), weight = random({C}, DType::kF32, 2),
               dy = random({N, C}, DType::kF32, 3);
  const auto wide = [](const Tensor& t) { return from_values(t.shape(), DType::kF64, values(t)); };
  const auto want = run_backward(Stream::cpu(1), wide(dy), wide(x), wide(weight));
  const auto one = run_backward(Stream::cpu(1), dy, x, weight);
  check_close(one.dx, values(want.dx), 16);
  check_close(one.dweight, values(want.dweight), 16, std::sqrt(N));
  check_close(one.dbias, values(want.dbias), 16, std::sqrt(N));
  for (const int threads : {1, 2, 3, 4}) {
    CAPTURE(threads);
    const auto again = run_backward(Stream::cpu(threads), dy, x, weight);
    CHECK(same_bits(again.dx, one.dx));
    CHECK(same_bits(again.dweight, one.dweight));
    CHECK(same_bits(again.dbias, one.dbias));
  }
}

TEST_CASE("layer_norm_backward adds to dweight and dbias and may write dx over dy", "[kernels][norm]") {
  const Stream stream = Stream::cpu(2);
  const Tensor x = random({9, 20}, DType::kF64, 1), weight = random({20}, DType::kF64, 2),
               dy = random({9, 20}, DType::kF64, 3);
  const auto want = run_backward(stream, dy, x, weight);
  const Tensor both = copy(dy);
  const auto got = run_backward(stream, both, x, weight, 2, both);
  CHECK(same_bits(got.dx, want.dx));
  auto dweight = values(want.dweight), dbias = values(want.dbias);
  for (double& d : dweight) d += 2;
  for (double& d : dbias) d += 2;
  check_close(got.dweight, dweight, 4);
  check_close(got.dbias, dbias, 4);
}

TEST_CASE("layer_norm shows NaN in its row only, and a constant row becomes the bias", "[kernels][norm]") {
  const Tensor x = random({3, 40}, DType::kF32, 1), weight = random({40}, DType::kF32, 2),
               bias = random({40}, DType::kF32, 3);
  x.data<float>()[40 + 11] = NAN;
  std::fill_n(x.data<float>() + 80, 40, 3.0f);
  const auto y = values(run_forward(Stream::cpu(1), x, weight, bias).y), b = values(bias);
  for (std::size_t i = 0; i < 120; ++i) CHECK(std::isnan(y[i]) == (i / 40 == 1));
  for (std::size_t c = 0; c < 40; ++c) CHECK(y[80 + c] == b[c]);
}

TEST_CASE("layer_norm names the argument that does not fit", "[kernels][norm]") {
  const Stream stream = Stream::cpu(1);
  const Tensor x = filled({3, 4}, DType::kF32, 1), w = filled({4}, DType::kF32, 1), three = empty({3}, DType::kF32);
  const auto run = [&](const Tensor& mean, const Tensor& weight, const Tensor& bias, double eps) {
    kernels::layer_norm_forward(
        stream, {.y = copy(x), .mean = mean, .rstd = three, .x = x, .weight = weight, .bias = bias, .eps = eps});
  };
  CHECK_NOTHROW(run(three, w, w, 1));
  CHECK_THROWS_WITH(run(w, w, w, 1), Catch::Contains("layer_norm mean"));
  CHECK_THROWS_WITH(run(three, three, w, 1), Catch::Contains("layer_norm weight"));
  CHECK_THROWS_WITH(run(three, w, {}, 1), Catch::Contains("layer_norm bias: no tensor"));
  CHECK_THROWS_WITH(run(three, w, w, 0), Catch::Contains("layer_norm eps"));
}
