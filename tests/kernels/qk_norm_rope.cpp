#include "kernels/rope/qk_norm_rope.h"

#include "kernels/norm/rms_norm.h"
#include "kernels/rope/rope.h"
#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;
using kernels::QkNormMode;

namespace {
constexpr double kQkNormRopeEps = 1e-5, kTheta = 500;

/// H query and K key-value heads of D channels, sequences of T.
struct Case {
  std::int64_t sequences, T, H, K, D;
  QkNormMode mode;
  kernels::RopeScaling scaling = {};

  std::int64_t rows() const { return sequences * T; }
  std::int64_t width() const { return (H + 2 * K) * D; }
  bool full() const { return mode == QkNormMode::kFull; }
  Tensor q_weight(DType dtype) const { return random({(full() ? H : 1) * D}, dtype, 11); }
  Tensor k_weight(DType dtype) const { return random({(full() ? K : 1) * D}, dtype, 12); }
};

struct Forward {
  Tensor y, rstd;
};
Forward run_forward(const Stream& stream, const Case& c, const Tensor& x, const Tensor& q_weight,
                    const Tensor& k_weight, Tensor y = {}) {
  if (!y) y = on(stream, poisoned(x.shape(), x.dtype()));
  Forward f{y, on(stream, poisoned({c.rows(), c.full() ? 2 : c.H + c.K}, acc_dtype(x.dtype())))};
  kernels::qk_norm_rope_forward(stream, {.y = f.y,
                                         .rstd = f.rstd,
                                         .x = x,
                                         .q_weight = q_weight,
                                         .k_weight = k_weight,
                                         .n_heads = c.H,
                                         .n_kv_heads = c.K,
                                         .d_head = c.D,
                                         .length = c.T,
                                         .theta = kTheta,
                                         .scaling = c.scaling,
                                         .eps = kQkNormRopeEps,
                                         .mode = c.mode});
  return f;
}

struct QkNormRopeGradients {
  Tensor dx, dq_weight, dk_weight;
};
QkNormRopeGradients run_backward(const Stream& stream, const Case& c, const Tensor& dy, const Tensor& x,
                                 const Tensor& q_weight, const Tensor& k_weight, double sums = 0, Tensor dx = {}) {
  const Forward f = run_forward(stream, c, x, q_weight, k_weight);
  if (!dx) dx = on(stream, poisoned(x.shape(), x.dtype()));
  const DType acc = acc_dtype(x.dtype());
  QkNormRopeGradients out{dx, on(stream, filled(q_weight.shape(), acc, sums)),
                          on(stream, filled(k_weight.shape(), acc, sums))};
  kernels::qk_norm_rope_backward(stream, {.dx = out.dx,
                                          .dq_weight = out.dq_weight,
                                          .dk_weight = out.dk_weight,
                                          .dy = dy,
                                          .x = x,
                                          .rstd = f.rstd,
                                          .q_weight = q_weight,
                                          .k_weight = k_weight,
                                          .n_heads = c.H,
                                          .n_kv_heads = c.K,
                                          .d_head = c.D,
                                          .length = c.T,
                                          .theta = kTheta,
                                          .scaling = c.scaling,
                                          .mode = c.mode});
  return out;
}

/// Columns [from, from + width) of a matrix, as rows of `row` each.
Tensor columns(const Tensor& x, std::int64_t from, std::int64_t width, std::int64_t row) {
  const auto [N, W] = matrix_dims(x);
  const auto v = values(x);
  std::vector<double> out;
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t c = from; c < from + width; ++c) out.push_back(v[static_cast<std::size_t>(n * W + c)]);
  return from_values({N * width / row, row}, x.dtype(), out);
}
void put_columns(const Tensor& x, std::int64_t from, std::int64_t width, const Tensor& part) {
  const auto [N, W] = matrix_dims(x);
  for (std::int64_t n = 0; n < N; ++n)
    std::memcpy(x.raw() + (n * W + from) * size_of(x.dtype()), part.raw() + n * width * size_of(x.dtype()),
                static_cast<std::size_t>(width * size_of(x.dtype())));
}

/// What the kernel fuses: rms_norm of q and of k, then rope of both; and the same on the way back.
Tensor unfused_forward(const Stream& stream, const Case& c, const Tensor& x, const Tensor& q_weight,
                       const Tensor& k_weight) {
  Tensor y = copy(x);
  const auto norm = [&](std::int64_t from, std::int64_t width, const Tensor& weight) {
    const Tensor part = columns(x, from, width, weight.numel());
    const Tensor rstd = poisoned({part.shape()[0]}, x.dtype());
    kernels::rms_norm_forward(stream, {.y = part, .rstd = rstd, .x = part, .weight = weight, .eps = kQkNormRopeEps});
    put_columns(y, from, width, part);
  };
  norm(0, c.H * c.D, q_weight);
  norm(c.H * c.D, c.K * c.D, k_weight);
  kernels::rope_forward(
      stream,
      {.y = y, .x = y, .num_heads = c.H + c.K, .d_head = c.D, .length = c.T, .theta = kTheta, .scaling = c.scaling});
  return y;
}
QkNormRopeGradients unfused_backward(const Stream& stream, const Case& c, const Tensor& dy, const Tensor& x,
                                     const Tensor& q_weight, const Tensor& k_weight) {
  QkNormRopeGradients out{copy(dy), filled(q_weight.shape(), x.dtype(), 0), filled(k_weight.shape(), x.dtype(), 0)};
  kernels::rope_backward(stream, {.dx = out.dx,
                                  .dy = out.dx,
                                  .num_heads = c.H + c.K,
                                  .d_head = c.D,
                                  .length = c.T,
                                  .theta = kTheta,
                                  .scaling = c.scaling});
  const auto norm = [&](std::int64_t from, std::int64_t width, const Tensor& weight, const Tensor& dweight) {
    const Tensor part = columns(x, from, width, weight.numel()), grad = columns(out.dx, from, width, weight.numel());
    const Tensor rstd = poisoned({part.shape()[0]}, x.dtype()), y = poisoned(part.shape(), x.dtype());
    kernels::rms_norm_forward(stream, {.y = y, .rstd = rstd, .x = part, .weight = weight, .eps = kQkNormRopeEps});
    kernels::rms_norm_backward(stream,
                               {.dx = grad, .dweight = dweight, .dy = grad, .x = part, .weight = weight, .rstd = rstd});
    put_columns(out.dx, from, width, grad);
  };
  norm(0, c.H * c.D, q_weight, out.dq_weight);
  norm(c.H * c.D, c.K * c.D, k_weight, out.dk_weight);
  return out;
}

/// In plain loops: a group's root mean square, then the pairs as complex numbers.
std::vector<double> reference(const Case& c, const Tensor& x, const Tensor& q_weight, const Tensor& k_weight) {
  const auto size = [](std::int64_t n) { return static_cast<std::size_t>(n); };
  const auto xs = values(x);
  auto y = xs;
  const auto qw = values(q_weight), kw = values(k_weight);
  for (std::int64_t n = 0; n < c.rows(); ++n)
    for (std::int64_t h = 0; h < c.H + c.K; ++h) {
      const bool key = h >= c.H;
      const std::int64_t first = c.full() ? (key ? c.H : 0) : h, heads = c.full() ? (key ? c.K : c.H) : 1;
      double squares = 0;
      for (std::int64_t i = first * c.D; i < (first + heads) * c.D; ++i)
        squares += std::pow(xs[size(n * c.width() + i)], 2);
      const double rstd = 1 / std::sqrt(squares / static_cast<double>(heads * c.D) + kQkNormRopeEps);
      for (std::int64_t i = 0; i < c.D / 2; ++i) {
        const std::size_t low = size(n * c.width() + h * c.D + i), high = low + size(c.D / 2);
        const std::size_t w = size((h - first) * c.D + i);
        const double angle =
            static_cast<double>(n % c.T) * std::pow(kTheta, -2 * static_cast<double>(i) / static_cast<double>(c.D));
        const double a = y[low] * rstd * (key ? kw : qw)[w], b = y[high] * rstd * (key ? kw : qw)[w + size(c.D / 2)];
        y[low] = a * std::cos(angle) - b * std::sin(angle);
        y[high] = a * std::sin(angle) + b * std::cos(angle);
      }
    }
  return y;
}

Case generated() {
  const auto [sequences, T, H, K, D] = GENERATE(table<int, int, int, int, int>(
      {{1, 1, 1, 1, 2}, {2, 5, 3, 1, 4}, {1, 9, 4, 2, 6}, {2, 70, 4, 4, 8}, {1, 65, 2, 1, 64}, {1, 3, 2, 1, 256}}));
  return {sequences, T, H, K, D, GENERATE(QkNormMode::kHead, QkNormMode::kFull)};
}

/// Several rows a block and a last block that is not full; heads whose pairs are not a power of two of accesses (96,
/// 80), that no wide access fits (6), that one lane holds, or 32 in several steps (512 in f32); rows that the registers
/// of a block do not hold.
Case shaped() {
  const auto [sequences, T, H, K, D] = GENERATE(table<int, int, int, int, int>({{1, 1, 1, 1, 2},
                                                                                {2, 5, 3, 1, 4},
                                                                                {1, 9, 4, 2, 6},
                                                                                {3, 33, 2, 1, 16},
                                                                                {1, 7, 3, 1, 96},
                                                                                {2, 20, 5, 5, 80},
                                                                                {2, 3, 17, 2, 64},
                                                                                {1, 3, 2, 1, 256},
                                                                                {1, 2, 1, 1, 512},
                                                                                {1, 2, 180, 1, 6},
                                                                                {1, 2, 130, 2, 64}}));
  return {sequences, T, H, K, D, GENERATE(QkNormMode::kHead, QkNormMode::kFull)};
}
}  // namespace

TEST_CASE("qk_norm_rope normalises q and k, turns them and copies v", "[kernels][rope]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const Case c = shaped();
  CAPTURE(name_of(stream.device), name_of(dtype), c.sequences, c.T, c.H, c.K, c.D, c.full());
  const Tensor x = on(stream, random({c.rows(), c.width()}, dtype, 1)), qw = on(stream, c.q_weight(dtype)),
               kw = on(stream, c.k_weight(dtype));
  const auto [y, rstd] = repeated(stream, [&] {
    const Forward f = run_forward(stream, c, x, qw, kw);
    return std::array{f.y, f.rstd};
  });
  check_close(y, reference(c, x, qw, kw), stored(dtype, dtype == DType::kF64 ? 200 : 16));
  const Tensor in_place = copy(x);
  CHECK(same_bits(run_forward(stream, c, in_place, qw, kw, in_place).y, y));
}

TEST_CASE("qk_norm_rope_backward is that in double on the CPU, into a place of its own or dy's", "[kernels][rope]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const Case c = shaped();
  CAPTURE(name_of(stream.device), name_of(dtype), c.sequences, c.T, c.H, c.K, c.D, c.full());
  const Tensor x = on(stream, random({c.rows(), c.width()}, dtype, 1)),
               dy = on(stream, random({c.rows(), c.width()}, dtype, 2)), qw = on(stream, c.q_weight(dtype)),
               kw = on(stream, c.k_weight(dtype));
  const auto [dx, dq_weight, dk_weight] = repeated(stream, [&] {
    const QkNormRopeGradients d = run_backward(stream, c, dy, x, qw, kw, 2);
    return std::array{d.dx, d.dq_weight, d.dk_weight};
  });
  const auto in_double = [](const Tensor& t) { return from_values(t.shape(), DType::kF64, values(t)); };
  const QkNormRopeGradients want =
      run_backward(Stream::cpu(1), c, in_double(dy), in_double(x), in_double(qw), in_double(kw), 2);
  // Where a group is two channels, dx cancels: its terms, of size rstd, are the scale. Angles are off by 1e-7.
  check_close(dx, values(want.dx), stored(dtype, 64), dtype == DType::kBF16 ? 0.25 : 4);
  const double sum_size = std::sqrt(static_cast<double>(c.rows() * (c.H + c.K)));
  check_close(dq_weight, values(want.dq_weight), 32, sum_size);
  check_close(dk_weight, values(want.dk_weight), 32, sum_size);
  const Tensor in_place = copy(dy);
  CHECK(same_bits(run_backward(stream, c, in_place, x, qw, kw, 2, in_place).dx, dx));
}

TEST_CASE("qk_norm_rope is rms_norm and then rope, forward and backward", "[kernels][rope]") {
  const Case c = generated();
  const DType dtype = GENERATE(DType::kF32, DType::kF64);
  const Stream stream = Stream::cpu(GENERATE(1, 3));
  CAPTURE(name_of(dtype), c.sequences, c.T, c.H, c.K, c.D, c.full(), stream.num_threads);
  const Tensor x = random({c.rows(), c.width()}, dtype, 1), dy = random({c.rows(), c.width()}, dtype, 2),
               qw = c.q_weight(dtype), kw = c.k_weight(dtype);
  const Forward f = run_forward(stream, c, x, qw, kw);
  check_close(f.y, values(unfused_forward(stream, c, x, qw, kw)), 16);
  for (const double r : values(f.rstd)) CHECK(std::isfinite(r));
  const QkNormRopeGradients got = run_backward(stream, c, dy, x, qw, kw),
                            want = unfused_backward(stream, c, dy, x, qw, kw);
  const double sum_size = std::sqrt(static_cast<double>(c.rows() * (c.H + c.K)));
  check_close(got.dx, values(want.dx), 64);
  check_close(got.dq_weight, values(want.dq_weight), 32, sum_size);
  check_close(got.dk_weight, values(want.dk_weight), 32, sum_size);

  const Tensor over_x = copy(x), over_dy = copy(dy);
  CHECK(same_bits(run_forward(stream, c, over_x, qw, kw, over_x).y, f.y));
  CHECK(same_bits(run_backward(stream, c, over_dy, x, qw, kw, 0, over_dy).dx, got.dx));
}

TEST_CASE("qk_norm_rope scales its frequencies as rope does", "[kernels][rope]") {
  const Stream stream = GENERATE(from_range(streams()));
  const QkNormMode mode = GENERATE(QkNormMode::kHead, QkNormMode::kFull);
  Case c{2, 40, 4, 2, 16, mode, {.kind = kernels::RopeScaling::Kind::kLinear, .factor = 3}};
  CAPTURE(name_of(stream.device), c.full());
  const DType dtype = DType::kF32;
  const Tensor x = random({c.rows(), c.width()}, dtype, 1), dy = random({c.rows(), c.width()}, dtype, 2),
               qw = c.q_weight(dtype), kw = c.k_weight(dtype);
  const auto forward = [&] { return run_forward(stream, c, on(stream, x), on(stream, qw), on(stream, kw)).y; };
  const Tensor y = forward(),
               dx = run_backward(stream, c, on(stream, dy), on(stream, x), on(stream, qw), on(stream, kw)).dx;
  check_close(y, values(unfused_forward(Stream::cpu(1), c, x, qw, kw)), 16);
  check_close(dx, values(unfused_backward(Stream::cpu(1), c, dy, x, qw, kw).dx), 64);
  c.scaling = {};
  CHECK_FALSE(same_bits(forward(), y));
}

TEST_CASE("qk_norm_rope_backward is the gradient of its forward in x and both weights", "[kernels][rope][grad]") {
  const Case c = generated();
  const Stream stream = Stream::cpu(GENERATE(1, 4));
  CAPTURE(c.sequences, c.T, c.H, c.K, c.D, c.full(), stream.num_threads);
  const DType f64 = DType::kF64;
  const Tensor x = random({c.rows(), c.width()}, f64, 1), dy = random({c.rows(), c.width()}, f64, 2),
               qw = c.q_weight(f64), kw = c.k_weight(f64);
  const QkNormRopeGradients d = run_backward(stream, c, dy, x, qw, kw);
  const auto loss = [&] { return dot(run_forward(stream, c, x, qw, kw).y, dy); };
  CHECK(gradient_error(loss, x, d.dx, 3) < 1e-6);
  CHECK(gradient_error(loss, qw, d.dq_weight, 4) < 1e-6);
  CHECK(gradient_error(loss, kw, d.dk_weight, 5) < 1e-6);
}

TEST_CASE("qk_norm_rope_backward adds to the weights' gradients, with the same bits on any number of threads",
          "[kernels][rope]") {
  const Case c{2, 300, 4, 2, 16, GENERATE(QkNormMode::kHead, QkNormMode::kFull)};
  const DType f32 = DType::kF32;
  const Tensor x = random({c.rows(), c.width()}, f32, 1), dy = random({c.rows(), c.width()}, f32, 2),
               qw = c.q_weight(f32), kw = c.k_weight(f32);
  const QkNormRopeGradients one = run_backward(Stream::cpu(1), c, dy, x, qw, kw);
  for (const int threads : {1, 2, 3, 4}) {
    CAPTURE(threads);
    const QkNormRopeGradients again = run_backward(Stream::cpu(threads), c, dy, x, qw, kw);
    CHECK(same_bits(again.dx, one.dx));
    CHECK(same_bits(again.dq_weight, one.dq_weight));
    CHECK(same_bits(again.dk_weight, one.dk_weight));
  }
  const QkNormRopeGradients added = run_backward(Stream::cpu(2), c, dy, x, qw, kw, 2);
  auto want = values(one.dk_weight);
  for (double& d : want) d += 2;
  check_close(added.dk_weight, want, 8);
}

TEST_CASE("qk_norm_rope shows NaN in its head (per head), or in all of q (full), only", "[kernels][rope]") {
  const Case c{1, 2, 2, 1, 4, GENERATE(QkNormMode::kHead, QkNormMode::kFull)};
  const Tensor x = random({2, 16}, DType::kF32, 1);
  x.data<float>()[16 + 5] = NAN;  // row 1, query head 1
  const auto y = values(run_forward(Stream::cpu(1), c, x, c.q_weight(DType::kF32), c.k_weight(DType::kF32)).y);
  for (std::size_t i = 0; i < 32; ++i) {
    CAPTURE(i);
    CHECK(std::isnan(y[i]) == (i >= (c.full() ? 16 : 20) && i < 24));
  }
}

TEST_CASE("qk_norm_rope names the argument that does not fit", "[kernels][rope]") {
  const Stream stream = Stream::cpu(1);
  const Tensor x = random({6, 16}, DType::kF32, 1), w = random({4}, DType::kF32, 1), wide = random({8}, DType::kF32, 1);
  const auto run = [&](std::int64_t T, std::int64_t H, std::int64_t D, QkNormMode mode, const Tensor& q) {
    run_forward(stream, {6 / T, T, H, 1, D, mode}, x, q, w);
  };
  CHECK_NOTHROW(run(3, 2, 4, QkNormMode::kHead, w));
  CHECK_NOTHROW(run(3, 2, 4, QkNormMode::kFull, wide));
  CHECK_THROWS_WITH(run(3, 2, 4, QkNormMode::kHead, wide), Catch::Contains("qk_norm_rope q_weight"));
  CHECK_THROWS_WITH(run(3, 2, 4, QkNormMode::kFull, w), Catch::Contains("qk_norm_rope q_weight"));
  CHECK_THROWS_WITH(run(4, 2, 4, QkNormMode::kHead, w), Catch::Contains("whole sequences"));
  CHECK_THROWS_WITH(run(3, 3, 4, QkNormMode::kHead, w), Catch::Contains("rows of 16"));
  CHECK_THROWS_WITH(run(3, 2, 3, QkNormMode::kHead, w), Catch::Contains("d_head"));
}
