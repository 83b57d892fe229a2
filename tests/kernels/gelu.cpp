#include "kernels/ffn/gelu.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;
using kernels::GeluForm;

namespace {
double gelu(double x, GeluForm form) {
  const double pi = std::acos(-1.0);
  if (form == GeluForm::kExact) return x * std::erfc(-x / std::sqrt(2.0)) / 2;
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / pi) * (x + 0.044715 * x * x * x)));
}

/// d/dx of the above.
double gelu_gradient(double x, GeluForm form) {
  const double pi = std::acos(-1.0), scale = std::sqrt(2 / pi);
  if (form == GeluForm::kExact)
    return std::erfc(-x / std::sqrt(2.0)) / 2 + x * std::exp(-x * x / 2) / std::sqrt(2 * pi);
  const double t = std::tanh(scale * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * scale * (1 + 3 * 0.044715 * x * x);
}

Tensor run_forward(const Stream& stream, const Tensor& x, GeluForm form) {
  Tensor y = on(stream, poisoned(x.shape(), x.dtype()));
  kernels::gelu_forward(stream, {.y = y, .x = x, .form = form});
  return y;
}
Tensor run_backward(const Stream& stream, const Tensor& dy, const Tensor& x, GeluForm form) {
  Tensor dx = on(stream, poisoned(x.shape(), x.dtype()));
  kernels::gelu_backward(stream, {.dx = dx, .dy = dy, .x = x, .form = form});
  return dx;
}
}  // namespace

TEST_CASE("gelu follows both of its formulas and their derivatives, in place too", "[kernels][ffn]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const GeluForm form = GENERATE(GeluForm::kExact, GeluForm::kTanh);
  const Shape shape = GENERATE(Shape{1}, matrix(3, 7), matrix(17, 1001));
  const std::int64_t skipped = GENERATE(0, 1);  // 1: no access of 16 bytes is aligned
  CAPTURE(name_of(stream.device), name_of(dtype), static_cast<int>(form), shape, skipped, stream.num_threads);
  const auto input = [&](std::uint64_t seed, double scale) {
    return on(stream, random({shape.numel() + skipped}, dtype, seed, scale)).slice(skipped, shape);
  };
  const Tensor x = input(1, 3), dy = input(2, 1);
  const auto [y, dx] = repeated(stream, [&] {
    return std::array{run_forward(stream, x, form), run_backward(stream, dy, x, form)};
  });
  const auto xs = values(x);
  std::vector<double> want_y, want_dx = values(dy);
  for (const double v : xs) want_y.push_back(gelu(v, form));
  for (std::size_t i = 0; i < want_dx.size(); ++i) want_dx[i] *= gelu_gradient(xs[i], form);
  // The formula by tanh cancels for negative x, in the reference: to the size of 1 only.
  const bool exact = form == GeluForm::kExact;
  check_close(y, want_y, stored(dtype, exact ? 8 : 24), exact ? 0.01 : dtype == DType::kBF16 ? 0.05 : 1);
  check_close(dx, want_dx, stored(dtype, 24), dtype == DType::kBF16 ? 0.05 : 1);
  const Tensor in_place = copy(x), over_dy = copy(dy);
  kernels::gelu_forward(stream, {.y = in_place, .x = in_place, .form = form});
  kernels::gelu_backward(stream, {.dx = over_dy, .dy = over_dy, .x = x, .form = form});
  CHECK(same_bits(in_place, y));
  CHECK(same_bits(over_dy, dx));
}

TEST_CASE("the two forms of gelu are near, and not the same", "[kernels][ffn]") {
  const Tensor x = random({2000}, DType::kF64, 1, 2);
  const auto exact = values(run_forward(Stream::cpu(1), x, GeluForm::kExact)),
             approximate = values(run_forward(Stream::cpu(1), x, GeluForm::kTanh));
  double worst = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) worst = std::max(worst, std::abs(exact[i] - approximate[i]));
  CHECK(worst < 5e-4);
  CHECK(worst > 3e-4);
}

TEST_CASE("gelu_backward is the gradient of its forward", "[kernels][ffn][grad]") {
  const GeluForm form = GENERATE(GeluForm::kExact, GeluForm::kTanh);
  const Shape shape = GENERATE(matrix(1, 1), matrix(3, 7), matrix(65, 400));
  const Stream stream = Stream::cpu(GENERATE(1, 4));
  CAPTURE(static_cast<int>(form), shape, stream.num_threads);
  const Tensor x = random(shape, DType::kF64, 1, 2), dy = random(shape, DType::kF64, 2),
               dx = run_backward(stream, dy, x, form);
  CHECK(gradient_error([&] { return dot(run_forward(stream, x, form), dy); }, x, dx, 3) < 1e-6);
  const Tensor in_place = copy(dy);
  kernels::gelu_backward(stream, {.dx = in_place, .dy = in_place, .x = x, .form = form});
  CHECK(same_bits(in_place, dx));
}

TEST_CASE("gelu_backward in f32 is that in f64, with the same bits on any number of threads", "[kernels][ffn]") {
  const GeluForm form = GENERATE(GeluForm::kExact, GeluForm::kTanh);
  const Tensor x = random({300, 333}, DType::kF32, 1, 2), dy = random({300, 333}, DType::kF32, 2);
  const auto wide = [](const Tensor& t) { return from_values(t.shape(), DType::kF64, values(t)); };
  const Tensor one = run_backward(Stream::cpu(1), dy, x, form);
  check_close(one, values(run_backward(Stream::cpu(1), wide(dy), wide(x), form)), 16);
  for (const int threads : {1, 2, 3, 4}) CHECK(same_bits(run_backward(Stream::cpu(threads), dy, x, form), one));
}

TEST_CASE("gelu is x or 0 far out, without NaN of its own", "[kernels][ffn]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const GeluForm form = GENERATE(GeluForm::kExact, GeluForm::kTanh);
  CAPTURE(name_of(stream.device), name_of(dtype), static_cast<int>(form));
  // The squares of the last ones overflow, in f32 and in f64.
  std::vector<double> x{40, 1e6, 1e12, 1e20, 1e30, 3e38};
  if (dtype == DType::kF64) x.insert(x.end(), {1e160, 1e300, 1.7e308});
  const auto positive = x.size();
  for (std::size_t i = 0; i < positive; ++i) x.push_back(-x[i]);
  x.insert(x.end(), {0, NAN});
  const auto n = static_cast<std::int64_t>(x.size());
  const Tensor in = on(stream, from_values({n}, dtype, x));
  const auto y = values(run_forward(stream, in, form)),
             dx = values(run_backward(stream, on(stream, filled({n}, dtype, 1)), in, form)), in_values = values(in);
  for (std::size_t i = 0; i < positive; ++i) {
    CAPTURE(x[i]);
    CHECK(y[i] == in_values[i]);
    CHECK(y[i + positive] == 0);
    CHECK(dx[i] == 1);
    CHECK(dx[i + positive] == 0);
  }
  CHECK(y[2 * positive] == 0);
  CHECK(dx[2 * positive] == 0.5);
  CHECK(std::isnan(y.back()));
  CHECK(std::isnan(dx.back()));
}

TEST_CASE("gelu names the argument that does not fit", "[kernels][ffn]") {
  const Stream stream = Stream::cpu(1);
  const Tensor x = filled({3, 4}, DType::kF32, 1), other = filled({4, 3}, DType::kF32, 1);
  CHECK_THROWS_WITH(kernels::gelu_forward(stream, {.y = other, .x = x, .form = GeluForm::kExact}),
                    Catch::Contains("gelu y"));
  CHECK_THROWS_WITH(kernels::gelu_backward(stream, {.dx = x, .dy = other, .x = x, .form = GeluForm::kExact}),
                    Catch::Contains("gelu dy"));
}
