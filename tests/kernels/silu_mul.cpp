#include "kernels/ffn/silu_mul.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;

TEST_CASE("silu_mul_forward is silu(gate) * up of rows [gate | up]", "[kernels][ffn]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const auto [N, F] = GENERATE(table<std::int64_t, std::int64_t>({{1, 1}, {3, 7}, {5, 64}, {20, 2568}, {17, 1001}}));
  CAPTURE(name_of(stream.device), name_of(dtype), N, F, stream.num_threads);
  const Tensor gate_up = on(stream, random({N, 2 * F}, dtype, 1, 3));
  const auto [y] = repeated(stream, [&, N = N, F = F] {
    const Tensor out = on(stream, poisoned({N, F}, dtype));
    kernels::silu_mul_forward(stream, {.y = out, .gate_up = gate_up});
    return std::array{out};
  });

  const auto x = values(gate_up);
  std::vector<double> want;
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t f = 0; f < F; ++f) {
      const double gate = x[static_cast<std::size_t>(n * 2 * F + f)];
      want.push_back(gate / (1 + std::exp(-gate)) * x[static_cast<std::size_t>(n * 2 * F + F + f)]);
    }
  check_close(y, want, stored(dtype, 4), 1e-6);  // exp, sum, quotient, two products
}

TEST_CASE("silu_mul_backward is the derivative of silu(gate) * up in both", "[kernels][ffn]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const auto [N, F] = GENERATE(table<std::int64_t, std::int64_t>({{1, 1}, {3, 7}, {5, 64}, {20, 2568}, {17, 1001}}));
  CAPTURE(name_of(stream.device), name_of(dtype), N, F, stream.num_threads);
  const Tensor gate_up = on(stream, random({N, 2 * F}, dtype, 1, 3)), dy = on(stream, random({N, F}, dtype, 2));
  const auto [dgate_up] = repeated(stream, [&, N = N, F = F] {
    const Tensor out = on(stream, poisoned({N, 2 * F}, dtype));
    kernels::silu_mul_backward(stream, {.dgate_up = out, .dy = dy, .gate_up = gate_up});
    return std::array{out};
  });

  const auto x = values(gate_up), d = values(dy);
  std::vector<double> want(x.size());
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t f = 0; f < F; ++f) {
      const auto g = static_cast<std::size_t>(n * 2 * F + f), u = g + static_cast<std::size_t>(F);
      const double s = 1 / (1 + std::exp(-x[g])), dy_nf = d[static_cast<std::size_t>(n * F + f)];
      want[g] = dy_nf * x[u] * (s + x[g] * s * (1 - s));
      want[u] = dy_nf * x[g] * s;
    }
  // 1 + g (1 - s) cancels near g = -1.3: an error of f32 that bf16's rounding hides from 0.05 upwards.
  check_close(dgate_up, want, stored(dtype, 8), dtype == DType::kBF16 ? 0.05 : 1);
}

TEST_CASE("silu_mul_backward is the gradient of its forward", "[kernels][ffn][grad]") {
  const auto [N, F] = GENERATE(table<std::int64_t, std::int64_t>({{1, 1}, {3, 7}, {33, 65}}));
  const Stream stream = Stream::cpu(2);
  CAPTURE(N, F);
  const Tensor gate_up = random({N, 2 * F}, DType::kF64, 1), dy = random({N, F}, DType::kF64, 2),
               y = poisoned({N, F}, DType::kF64), dgate_up = poisoned({N, 2 * F}, DType::kF64);
  kernels::silu_mul_backward(stream, {.dgate_up = dgate_up, .dy = dy, .gate_up = gate_up});
  const auto loss = [&] {
    kernels::silu_mul_forward(stream, {.y = y, .gate_up = gate_up});
    return dot(y, dy);
  };
  CHECK(gradient_error(loss, gate_up, dgate_up, 3) < 1e-6);
}

TEST_CASE("silu_mul_backward in f32 is that in f64, on any number of threads", "[kernels][ffn]") {
  const std::int64_t N = 70, F = 1001;
  const Tensor x32 = random({N, 2 * F}, DType::kF32, 1, 3), dy32 = random({N, F}, DType::kF32, 2);
  const Tensor x64 = from_values({N, 2 * F}, DType::kF64, values(x32)),
               dy64 = from_values({N, F}, DType::kF64, values(dy32));
  const Tensor want = poisoned({N, 2 * F}, DType::kF64), one = poisoned({N, 2 * F}, DType::kF32),
               three = poisoned({N, 2 * F}, DType::kF32);
  kernels::silu_mul_backward(Stream::cpu(1), {.dgate_up = want, .dy = dy64, .gate_up = x64});
  kernels::silu_mul_backward(Stream::cpu(1), {.dgate_up = one, .dy = dy32, .gate_up = x32});
  kernels::silu_mul_backward(Stream::cpu(3), {.dgate_up = three, .dy = dy32, .gate_up = x32});
  check_close(one, values(want), 8);
  CHECK(same_bits(one, three));
}

TEST_CASE("silu_mul and its gradient stay finite for huge gates, and show NaN", "[kernels][ffn]") {
  const DType dtype = GENERATE(DType::kF32, DType::kF64);
  CAPTURE(name_of(dtype));
  const double huge = dtype == DType::kF32 ? 1e30 : 1e300;
  const Stream stream = Stream::cpu(1);
  // Columns of gate, up, dy, and what y, dgate and dup must be: dy up and dy gate overflow where a slope of 0 follows.
  const std::vector<double> gate{-huge, huge, -huge, -huge, NAN}, up{1, 1, huge, huge, 1}, dy{1, 1, 1, huge, 1},
      y{0, huge, 0, 0, NAN}, dgate{0, 1, 0, 0, NAN}, dup{0, huge, 0, 0, NAN};
  auto gate_up = gate;
  gate_up.insert(gate_up.end(), up.begin(), up.end());
  const Tensor x = from_values({1, 10}, dtype, gate_up), out = poisoned({1, 5}, dtype), dx = poisoned({1, 10}, dtype);
  kernels::silu_mul_forward(stream, {.y = out, .gate_up = x});
  kernels::silu_mul_backward(stream, {.dgate_up = dx, .dy = from_values({1, 5}, dtype, dy), .gate_up = x});
  for (std::size_t f = 0; f < 5; ++f) {
    CAPTURE(f);
    if (std::isnan(y[f])) {
      CHECK(std::isnan(values(out)[f]));
      CHECK(std::isnan(values(dx)[f]));
      CHECK(std::isnan(values(dx)[5 + f]));
    } else {
      CHECK(values(out)[f] == Approx(y[f]));
      CHECK(values(dx)[f] == Approx(dgate[f]));
      CHECK(values(dx)[5 + f] == Approx(dup[f]));
    }
  }
}

TEST_CASE("silu_mul leaves NaN in its element and refuses rows that are not [gate | up]", "[kernels][ffn]") {
  const Stream stream = Stream::cpu(1);
  const Tensor gate_up = filled({1, 80}, DType::kF32, 1), y = empty({1, 40}, DType::kF32);
  gate_up.data<float>()[17] = NAN;
  kernels::silu_mul_forward(stream, {.y = y, .gate_up = gate_up});
  for (std::size_t f = 0; f < 40; ++f) CHECK(std::isnan(values(y)[f]) == (f == 17));
  CHECK_THROWS_WITH(kernels::silu_mul_forward(stream, {.y = empty({1, 39}, DType::kF32), .gate_up = gate_up}),
                    Catch::Contains("silu_mul gate_up"));
}
