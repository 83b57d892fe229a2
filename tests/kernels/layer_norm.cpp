#include "kernels/norm/layer_norm.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;

namespace {
constexpr double kLayerNormEps = 1e-5;

struct Forward {
  Tensor y, mean, rstd;
};
Forward run_forward(const Stream& stream, const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor y = {}) {
  const Shape rows{matrix_dims(x).rows};
  const DType acc = acc_dtype(x.dtype());
  Forward f{y ? y : on(stream, poisoned(x.shape(), x.dtype())), on(stream, poisoned(rows, acc)),
            on(stream, poisoned(rows, acc))};
  kernels::layer_norm_forward(
      stream, {.y = f.y, .mean = f.mean, .rstd = f.rstd, .x = x, .weight = weight, .bias = bias, .eps = kLayerNormEps});
  return f;
}

struct LayerNormGradients {
  Tensor dx, dweight, dbias;
};
/// `dx` may be given, dy too or, to be accumulated to, a tensor; the sums start at `sums`.
LayerNormGradients run_backward(const Stream& stream, const Tensor& dy, const Tensor& x, const Tensor& weight,
                                double sums = 0, Tensor dx = {}, bool accumulate = false) {
  const Forward f = run_forward(stream, x, weight, weight);
  if (!dx) dx = on(stream, poisoned(x.shape(), x.dtype()));
  const Tensor start = filled(weight.shape(), acc_dtype(x.dtype()), sums);
  LayerNormGradients out{dx, on(stream, copy(start)), on(stream, copy(start))};
  kernels::layer_norm_backward(stream, {.dx = out.dx,
                                        .dweight = out.dweight,
                                        .dbias = out.dbias,
                                        .dy = dy,
                                        .x = x,
                                        .weight = weight,
                                        .mean = f.mean,
                                        .rstd = f.rstd,
                                        .accumulate = accumulate});
  return out;
}
}  // namespace

TEST_CASE("layer_norm_forward is (x - mean) / std * weight + bias", "[kernels][norm]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const auto [N, C] = GENERATE(table<std::int64_t, std::int64_t>(
      {{1, 1}, {3, 7}, {5, 64}, {9, 1000}, {2, 4104}, {2, 8200}, {2, 2101}}));  // each way to hold a row
  CAPTURE(name_of(stream.device), name_of(dtype), N, C, stream.num_threads);
  const Tensor x = on(stream, random({N, C}, dtype, 1)), weight = on(stream, random({C}, dtype, 2)),
               bias = on(stream, random({C}, dtype, 3));
  const auto [y, mean, rstd] = repeated(stream, [&] {
    const Forward f = run_forward(stream, x, weight, bias);
    return std::array{f.y, f.mean, f.rstd};
  });

  const auto xs = values(x), ws = values(weight), bs = values(bias);
  std::vector<double> want_y, want_mean, want_rstd;
  const auto columns = static_cast<std::size_t>(C);
  for (std::size_t row = 0; row < xs.size(); row += columns) {
    double sum = 0, squares = 0;
    for (std::size_t c = 0; c < columns; ++c) sum += xs[row + c];
    const double m = sum / static_cast<double>(C);
    for (std::size_t c = 0; c < columns; ++c) squares += (xs[row + c] - m) * (xs[row + c] - m);
    want_mean.push_back(m);
    want_rstd.push_back(1 / std::sqrt(squares / static_cast<double>(C) + kLayerNormEps));
    for (std::size_t c = 0; c < columns; ++c) want_y.push_back((xs[row + c] - m) * want_rstd.back() * ws[c] + bs[c]);
  }
  const double sum_error = std::sqrt(static_cast<double>(C));  // C terms, in any order
  check_close(mean, want_mean, 2 + sum_error);
  check_close(rstd, want_rstd, 4 + sum_error, 0);
  check_close(y, want_y, stored(dtype, 8 + sum_error), dtype == DType::kBF16 ? 0.05 : 1);

  const Tensor in_place = copy(x);
  run_forward(stream, in_place, weight, bias, in_place);
  CHECK(same_bits(in_place, y));
}

TEST_CASE("layer_norm keeps its digits where the mean is far above the deviation", "[kernels][norm]") {
  const Stream stream = GENERATE(from_range(streams()));
  const std::int64_t C = GENERATE(512, 4096);
  const Tensor x = empty({1, C}, DType::kF32);
  for (std::int64_t c = 0; c < C; ++c) x.data<float>()[c] = 4096 + static_cast<float>(c % 2);  // deviation 1/2
  const Tensor ones = on(stream, filled({C}, DType::kF32, 1)), zeros = on(stream, filled({C}, DType::kF32, 0));
  const Forward f = run_forward(stream, on(stream, x), ones, zeros);
  CHECK(values(f.mean)[0] == 4096.5);
  CHECK(values(f.rstd)[0] == Approx(1 / std::sqrt(0.25 + kLayerNormEps)).epsilon(1e-6));
}

TEST_CASE("layer_norm_backward is the formula's, into a place of its own, dy's, or added", "[kernels][norm]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const auto [N, C] = GENERATE(table<std::int64_t, std::int64_t>(
      {{3, 7}, {100, 64}, {33, 520}, {2, 4104}, {2, 8200}, {3, 2101}}));  // each way to hold a row
  CAPTURE(name_of(stream.device), name_of(dtype), N, C, stream.num_threads);
  const Tensor x = on(stream, random({N, C}, dtype, 1)), weight = on(stream, random({C}, dtype, 2)),
               dy = on(stream, random({N, C}, dtype, 3)), residual = on(stream, random({N, C}, dtype, 4));
  const auto [dx, dweight, dbias] = repeated(stream, [&] {
    const auto d = run_backward(stream, dy, x, weight, 2);
    return std::array{d.dx, d.dweight, d.dbias};
  });

  const auto xs = values(x), ws = values(weight), dys = values(dy);
  const auto columns = static_cast<double>(C);
  std::vector<double> want_dx(xs.size()), want_dweight(ws.size(), 2.0), want_dbias(ws.size(), 2.0);
  for (std::size_t row = 0; row < xs.size(); row += ws.size()) {
    double m = 0, squares = 0, sum = 0, dot = 0;
    for (std::size_t c = 0; c < ws.size(); ++c) m += xs[row + c] / columns;
    for (std::size_t c = 0; c < ws.size(); ++c) squares += (xs[row + c] - m) * (xs[row + c] - m);
    const double r = 1 / std::sqrt(squares / columns + kLayerNormEps);
    for (std::size_t c = 0; c < ws.size(); ++c) {
      sum += ws[c] * dys[row + c];
      dot += ws[c] * dys[row + c] * (xs[row + c] - m) * r;
    }
    for (std::size_t c = 0; c < ws.size(); ++c) {
      const double z = (xs[row + c] - m) * r;
      want_dx[row + c] = r * (ws[c] * dys[row + c] - sum / columns - z * dot / columns);
      want_dweight[c] += dys[row + c] * z;
      want_dbias[c] += dys[row + c];
    }
  }
  const double units = 32 + std::sqrt(columns) / 2;  // a row's sums have C terms, in the reference too
  check_close(dx, want_dx, stored(dtype, units), dtype == DType::kBF16 ? 0.05 : 1);
  const double size = 2 + std::sqrt(static_cast<double>(N));
  check_close(dweight, want_dweight, 32, size);
  check_close(dbias, want_dbias, 16, size);

  const Tensor in_place = copy(dy);
  CHECK(same_bits(run_backward(stream, in_place, x, weight, 2, in_place).dx, dx));

  const auto [sum, sum_dweight, sum_dbias] = run_backward(stream, dy, x, weight, 2, copy(residual), true);
  CHECK(same_bits(sum_dweight, dweight));
  CHECK(same_bits(sum_dbias, dbias));
  auto want = values(residual);
  for (std::size_t i = 0; i < want.size(); ++i) want[i] += want_dx[i];
  check_close(sum, want, stored(dtype, units), dtype == DType::kBF16 ? 0.05 : 1);
  CHECK_THROWS_WITH(run_backward(stream, in_place, x, weight, 2, in_place, true), Catch::Contains("layer_norm dx"));
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
