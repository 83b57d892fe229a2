#include "kernels/norm/rms_norm.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;

namespace {
constexpr double kRmsNormEps = 1e-5;

struct RmsNormGradients {
  Tensor dx, dweight;
};
RmsNormGradients run_backward(const Stream& stream, const Tensor& dy, const Tensor& x, const Tensor& weight) {
  const auto [N, C] = matrix_dims(x);
  const Tensor y = poisoned(x.shape(), x.dtype()), rstd = poisoned({N}, x.dtype());
  kernels::rms_norm_forward(stream, {.y = y, .rstd = rstd, .x = x, .weight = weight, .eps = kRmsNormEps});
  RmsNormGradients out{poisoned(x.shape(), x.dtype()), filled({C}, x.dtype(), 0)};
  kernels::rms_norm_backward(stream,
                             {.dx = out.dx, .dweight = out.dweight, .dy = dy, .x = x, .weight = weight, .rstd = rstd});
  return out;
}
}  // namespace

TEST_CASE("rms_norm_forward is x / rms(x) * weight", "[kernels][norm]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const auto [N, C] = GENERATE(table<std::int64_t, std::int64_t>(
      {{1, 1}, {3, 7}, {5, 64}, {9, 1000}, {2, 4104}, {2, 8200}, {2, 2101}}));  // each way to hold a row
  CAPTURE(name_of(stream.device), name_of(dtype), N, C, stream.num_threads);
  const Tensor x = on(stream, random({N, C}, dtype, 1)), weight = on(stream, random({C}, dtype, 2));
  const auto [y, rstd] = repeated(stream, [&, N = N, C = C] {
    const Tensor out = on(stream, poisoned({N, C}, dtype)), kept = on(stream, poisoned({N}, acc_dtype(dtype)));
    kernels::rms_norm_forward(stream, {.y = out, .rstd = kept, .x = x, .weight = weight, .eps = kRmsNormEps});
    return std::array{out, kept};
  });

  const auto xs = values(x), ws = values(weight);
  std::vector<double> want_y, want_rstd;
  for (std::int64_t n = 0; n < N; ++n) {
    double squares = 0;
    for (std::int64_t c = 0; c < C; ++c) squares += std::pow(xs[static_cast<std::size_t>(n * C + c)], 2);
    want_rstd.push_back(1 / std::sqrt(squares / static_cast<double>(C) + kRmsNormEps));
    for (std::int64_t c = 0; c < C; ++c)
      want_y.push_back(xs[static_cast<std::size_t>(n * C + c)] * want_rstd.back() * ws[static_cast<std::size_t>(c)]);
  }
  const double sum_error = std::sqrt(static_cast<double>(C));  // C terms, in any order
  check_close(rstd, want_rstd, 4 + sum_error, 0);
  check_close(y, want_y, stored(dtype, 8 + sum_error), 0);

  const Tensor in_place = copy(x), again = copy(rstd);
  kernels::rms_norm_forward(stream,
                            {.y = in_place, .rstd = again, .x = in_place, .weight = weight, .eps = kRmsNormEps});
  CHECK(same_bits(in_place, y));
}

TEST_CASE("rms_norm_backward is the formula's, into a place of its own or dy's", "[kernels][norm]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const auto [N, C] = GENERATE(table<std::int64_t, std::int64_t>(
      {{1, 1}, {3, 7}, {100, 64}, {33, 520}, {2, 4104}, {2, 8200}, {3, 2101}}));  // each way to hold a row
  CAPTURE(name_of(stream.device), name_of(dtype), N, C, stream.num_threads);
  const Tensor x = on(stream, random({N, C}, dtype, 1)), weight = on(stream, random({C}, dtype, 2)),
               dy = on(stream, random({N, C}, dtype, 3)), y = on(stream, poisoned({N, C}, dtype)),
               rstd = on(stream, poisoned({N}, acc_dtype(dtype)));
  kernels::rms_norm_forward(stream, {.y = y, .rstd = rstd, .x = x, .weight = weight, .eps = kRmsNormEps});
  const auto [dx, dweight] = repeated(stream, [&, N = N, C = C] {
    const Tensor out = on(stream, poisoned({N, C}, dtype)), sum = on(stream, filled({C}, acc_dtype(dtype), 2));
    kernels::rms_norm_backward(stream, {.dx = out, .dweight = sum, .dy = dy, .x = x, .weight = weight, .rstd = rstd});
    return std::array{out, sum};
  });

  const auto xs = values(x), ws = values(weight), dys = values(dy);
  std::vector<double> want_dx(xs.size()), want_dweight(ws.size(), 2.0);
  for (std::size_t n = 0; n < static_cast<std::size_t>(N); ++n) {
    const std::size_t row = n * ws.size();
    double squares = 0, dot = 0;
    for (std::size_t c = 0; c < ws.size(); ++c) {
      squares += xs[row + c] * xs[row + c];
      dot += ws[c] * dys[row + c] * xs[row + c];
    }
    const double r = 1 / std::sqrt(squares / static_cast<double>(C) + kRmsNormEps);
    for (std::size_t c = 0; c < ws.size(); ++c) {
      want_dx[row + c] = r * (ws[c] * dys[row + c] - xs[row + c] * r * r * dot / static_cast<double>(C));
      want_dweight[c] += dys[row + c] * xs[row + c] * r;
    }
  }
  // Where N = C = 1, r x is nearly 1 and the two terms of dx cancel; their size is the scale.
  check_close(dx, want_dx, stored(dtype, 16), dtype == DType::kBF16 ? 0.05 : 1);
  // Its terms have the error of rstd, a sum of C terms.
  check_close(dweight, want_dweight, 16 + std::sqrt(static_cast<double>(C)), 2 + std::sqrt(static_cast<double>(N)));

  const Tensor in_place = copy(dy), again = on(stream, filled({C}, acc_dtype(dtype), 2));
  kernels::rms_norm_backward(
      stream, {.dx = in_place, .dweight = again, .dy = in_place, .x = x, .weight = weight, .rstd = rstd});
  CHECK(same_bits(in_place, dx));
}

TEST_CASE("rms_norm_backward adds to a gradient that dx holds, rounding the sum once", "[kernels][norm]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const auto [N, C] = GENERATE(table<std::int64_t, std::int64_t>({{1, 1}, {40, 64}, {33, 520}, {2, 4104}, {2, 8200}}));
  CAPTURE(name_of(stream.device), name_of(dtype), N, C, stream.num_threads);
  const Tensor x = on(stream, random({N, C}, dtype, 1)), weight = on(stream, random({C}, dtype, 2)),
               dy = on(stream, random({N, C}, dtype, 3)), residual = on(stream, random({N, C}, dtype, 4)),
               rstd = on(stream, filled({N}, acc_dtype(dtype), 0.9));
  const auto run = [&, C = C](const Tensor& into, bool accumulate) {
    const Tensor sum = on(stream, filled({C}, acc_dtype(dtype), 0));
    kernels::rms_norm_backward(
        stream,
        {.dx = into, .dweight = sum, .dy = dy, .x = x, .weight = weight, .rstd = rstd, .accumulate = accumulate});
    return sum;
  };
  const Tensor plain = on(stream, poisoned({N, C}, dtype)), plain_sum = run(plain, false);
  const auto [dx, dweight] = repeated(stream, [&] {
    const Tensor into = copy(residual), sum = run(into, true);
    return std::array{into, sum};
  });
  CHECK(same_bits(dweight, plain_sum));
  auto want = values(residual);
  const auto added = values(plain);
  for (std::size_t i = 0; i < want.size(); ++i) want[i] += added[i];
  // Of bf16, `added` itself is rounded: half a unit of its own, which may be larger than the sum.
  check_close(dx, want, dtype == DType::kBF16 ? 1.1 : 1, 4);
  CHECK_THROWS_WITH(
      kernels::rms_norm_backward(
          stream, {.dx = dx, .dweight = dweight, .dy = dx, .x = x, .weight = weight, .rstd = rstd, .accumulate = true}),
      Catch::Contains("rms_norm dx"));
}

TEST_CASE("rms_norm_backward is the gradient of its forward in x and weight", "[kernels][norm][grad]") {
  const auto [N, C] =
      GENERATE(table<std::int64_t, std::int64_t>({{1, 1}, {1, 9}, {3, 7}, {64, 33}, {65, 64}, {200, 5}}));
  const Stream stream = Stream::cpu(GENERATE(1, 4));
  CAPTURE(N, C, stream.num_threads);
  const Tensor x = random({N, C}, DType::kF64, 1), weight = random({C}, DType::kF64, 2),
               dy = random({N, C}, DType::kF64, 3), y = poisoned({N, C}, DType::kF64),
               rstd = poisoned({N}, DType::kF64);
  const auto [dx, dweight] = run_backward(stream, dy, x, weight);
  const auto loss = [&] {
    kernels::rms_norm_forward(stream, {.y = y, .rstd = rstd, .x = x, .weight = weight, .eps = kRmsNormEps});
    return dot(y, dy);
  };
  CHECK(gradient_error(loss, x, dx, 4) < 1e-6);
  CHECK(gradient_error(loss, weight, dweight, 5) < 1e-6);
}

TEST_CASE("rms_norm_backward in f32 is that in f64, with the same bits on any number of threads", "[kernels][norm]") {
  const std::int64_t N = 1000, C = 96;  // enough for every thread to get a part
  const Tensor x = random({N, C}, DType::kF32, 1), weight = random({C}, DType::kF32, 2),
               dy = random({N, C}, DType::kF32, 3);
  const auto wide = [](const Tensor& t) { return from_values(t.shape(), DType::kF64, values(t)); };
  const auto want = run_backward(Stream::cpu(1), wide(dy), wide(x), wide(weight));
  const auto one = run_backward(Stream::cpu(1), dy, x, weight);
  check_close(one.dx, values(want.dx), 16);
  check_close(one.dweight, values(want.dweight), 16, std::sqrt(N));
  for (const int threads : {1, 2, 3, 4}) {
    CAPTURE(threads);
    const auto again = run_backward(Stream::cpu(threads), dy, x, weight);
    CHECK(same_bits(again.dx, one.dx));
    CHECK(same_bits(again.dweight, one.dweight));
  }
}

TEST_CASE("rms_norm_backward adds to dweight and may write dx over dy", "[kernels][norm]") {
  const Stream stream = Stream::cpu(2);
  const Tensor x = random({9, 20}, DType::kF64, 1), weight = random({20}, DType::kF64, 2),
               dy = random({9, 20}, DType::kF64, 3);
  const auto want = run_backward(stream, dy, x, weight);
  const Tensor y = empty({9, 20}, DType::kF64), rstd = empty({9}, DType::kF64), dx = copy(dy),
               dweight = filled({20}, DType::kF64, 2);
  kernels::rms_norm_forward(stream, {.y = y, .rstd = rstd, .x = x, .weight = weight, .eps = kRmsNormEps});
  kernels::rms_norm_backward(stream, {.dx = dx, .dweight = dweight, .dy = dx, .x = x, .weight = weight, .rstd = rstd});
  CHECK(same_bits(dx, want.dx));
  auto sums = values(want.dweight);
  for (double& s : sums) s += 2;
  check_close(dweight, sums, 4);
}

TEST_CASE("rms_norm shows NaN in its row only, and a row of zeros stays finite", "[kernels][norm]") {
  const Tensor x = filled({3, 40}, DType::kF32, 1), y = poisoned({3, 40}, DType::kF32),
               rstd = poisoned({3}, DType::kF32);
  x.data<float>()[40 + 11] = NAN;
  std::fill_n(x.data<float>() + 80, 40, 0.0f);
  kernels::rms_norm_forward(Stream::cpu(1),
                            {.y = y, .rstd = rstd, .x = x, .weight = filled({40}, DType::kF32, 1), .eps = kRmsNormEps});
  for (std::size_t i = 0; i < 120; ++i) CHECK(std::isnan(values(y)[i]) == (i / 40 == 1));
  CHECK(values(y)[100] == 0);
  CHECK(values(rstd)[2] == Approx(1 / std::sqrt(kRmsNormEps)));
}

TEST_CASE("rms_norm names the argument that does not fit", "[kernels][norm]") {
  const Stream stream = Stream::cpu(1);
  const Tensor x = filled({3, 4}, DType::kF32, 1), w = filled({4}, DType::kF32, 1), rstd = empty({3}, DType::kF32);
  CHECK_THROWS_WITH(kernels::rms_norm_forward(stream, {.y = x, .rstd = rstd, .x = x, .weight = rstd, .eps = 1}),
                    Catch::Contains("rms_norm weight"));
  CHECK_THROWS_WITH(kernels::rms_norm_forward(stream, {.y = x, .rstd = w, .x = x, .weight = w, .eps = 1}),
                    Catch::Contains("rms_norm rstd"));
  CHECK_THROWS_WITH(kernels::rms_norm_forward(stream, {.y = x, .rstd = rstd, .x = x, .weight = w, .eps = 0}),
                    Catch::Contains("rms_norm eps"));
}
