#include "kernels/gate/gate.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;
using kernels::GateRows;

namespace {
/// Sequences of T, H heads of D channels; `granularity` 0: a logit for each channel, 1: head, 2: row.
struct Case {
  std::int64_t sequences, T, H, D;
  int granularity;
  GateRows rows;

  std::int64_t N() const { return sequences * T; }
  std::int64_t W() const { return H * D; }
  std::int64_t G() const { return granularity == 0 ? W() : granularity == 1 ? H : 1; }
  std::int64_t R() const { return rows == GateRows::kToken ? N() : rows == GateRows::kConstant ? 1 : T + 2; }
  /// The logit that gates column c of row n.
  std::size_t logit(std::int64_t n, std::int64_t c) const {
    const std::int64_t row = rows == GateRows::kToken ? n : rows == GateRows::kConstant ? 0 : n % T;
    return static_cast<std::size_t>(row * G() + (granularity == 0 ? c : granularity == 1 ? c / D : 0));
  }
};

Case generated() {
  const auto [sequences, T, H, D] = GENERATE(table<int, int, int, int>(
      {{1, 1, 1, 1}, {3, 5, 2, 7}, {2, 70, 3, 8}, {1, 130, 4, 64}, {4, 33, 1, 100}, {2, 3, 2, 256}}));
  return {sequences, T, H, D, GENERATE(0, 1, 2), GENERATE(GateRows::kToken, GateRows::kConstant, GateRows::kPosition)};
}

Tensor run_forward(const Stream& stream, const Case& c, const Tensor& x, const Tensor& logits, Tensor y = {}) {
  if (!y) y = on(stream, poisoned(x.shape(), x.dtype()));
  kernels::gate_forward(
      stream, {.y = y, .x = x, .logits = logits, .rows = c.rows, .n_heads = c.H, .d_head = c.D, .length = c.T});
  return y;
}

struct Backward {
  Tensor dx, dlogits;
};
/// dlogits of parameters start at `sums`, those of tokens as NaN.
Backward run_backward(const Stream& stream, const Case& c, const Tensor& dy, const Tensor& x, const Tensor& logits,
                      double sums = 0, Tensor dx = {}) {
  if (!dx) dx = on(stream, poisoned(x.shape(), x.dtype()));
  Backward out{dx, on(stream, c.rows == GateRows::kToken ? poisoned(logits.shape(), x.dtype())
                                                         : filled(logits.shape(), acc_dtype(x.dtype()), sums))};
  kernels::gate_backward(stream, {.dx = out.dx,
                                  .dlogits = out.dlogits,
                                  .dy = dy,
                                  .x = x,
                                  .logits = logits,
                                  .rows = c.rows,
                                  .n_heads = c.H,
                                  .d_head = c.D,
                                  .length = c.T});
  return out;
}
}  // namespace

TEST_CASE("gate multiplies by the sigmoid of the logit of its row and column, forward and backward",
          "[kernels][gate]") {
  const Case c = generated();
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const std::int64_t skipped = GENERATE(0, 1);  // 1: no access of 16 bytes is aligned
  if (skipped && c.H != 3 && c.D != 256) return;
  CAPTURE(name_of(stream.device), name_of(dtype), c.sequences, c.T, c.H, c.D, c.granularity, static_cast<int>(c.rows),
          stream.num_threads, skipped);
  const auto input = [&](Shape shape, std::uint64_t seed, double scale) {
    return on(stream, random({shape.numel() + skipped}, dtype, seed, scale)).slice(skipped, shape);
  };
  const Tensor x = input({c.N(), c.W()}, 1, 1), dy = input({c.N(), c.W()}, 2, 1), logits = input({c.R(), c.G()}, 3, 2);
  const auto xs = values(x), gs = values(dy), ls = values(logits);
  std::vector<double> want_y, want_dx, want_dlogits(ls.size(), 0), terms(ls.size(), 0);
  for (std::int64_t n = 0; n < c.N(); ++n)
    for (std::int64_t column = 0; column < c.W(); ++column) {
      const auto i = static_cast<std::size_t>(n * c.W() + column);
      const double s = 1 / (1 + std::exp(-ls[c.logit(n, column)]));
      want_y.push_back(xs[i] * s);
      want_dx.push_back(gs[i] * s);
      want_dlogits[c.logit(n, column)] += gs[i] * xs[i] * s * (1 - s);
      terms[c.logit(n, column)] += std::abs(gs[i] * xs[i] * s * (1 - s));
    }
  const auto [y, dx, dlogits] = repeated(stream, [&] {
    const auto back = run_backward(stream, c, dy, x, logits);
    return std::array{run_forward(stream, c, x, logits), back.dx, back.dlogits};
  });
  check_close(y, want_y, stored(dtype, 8), 0);
  check_close(dx, want_dx, stored(dtype, 8), 0);
  // Sums err by some units of the terms' magnitudes; those of tokens are rounded once more where they are stored.
  const double size = *std::max_element(terms.begin(), terms.end());
  if (c.rows == GateRows::kToken)
    check_close(dlogits, want_dlogits, stored(dtype, 16), dtype == DType::kBF16 ? size / 100 : size);
  else
    check_close(dlogits, want_dlogits, 16, size);

  const Tensor over_x = copy(x), over_dy = copy(dy);
  CHECK(same_bits(run_forward(stream, c, over_x, logits, over_x), y));
  CHECK(same_bits(run_backward(stream, c, over_dy, x, logits, 0, over_dy).dx, dx));
}

TEST_CASE("gate_backward is the gradient of its forward in x and the logits", "[kernels][gate][grad]") {
  const Case c = generated();
  const Stream stream = Stream::cpu(GENERATE(1, 4));
  CAPTURE(c.sequences, c.T, c.H, c.D, c.granularity, static_cast<int>(c.rows), stream.num_threads);
  const Tensor x = random({c.N(), c.W()}, DType::kF64, 1), dy = random({c.N(), c.W()}, DType::kF64, 2),
               logits = random({c.R(), c.G()}, DType::kF64, 3);
  const auto [dx, dlogits] = run_backward(stream, c, dy, x, logits);
  const auto loss = [&] { return dot(run_forward(stream, c, x, logits), dy); };
  CHECK(gradient_error(loss, x, dx, 4) < 1e-6);
  CHECK(gradient_error(loss, logits, dlogits, 5) < 1e-6);
}

TEST_CASE("gate_backward has the same bits on any number of threads", "[kernels][gate]") {
  const Case c{3, 200, 4, 32, GENERATE(0, 1, 2), GENERATE(GateRows::kToken, GateRows::kConstant, GateRows::kPosition)};
  CAPTURE(c.granularity, static_cast<int>(c.rows));
  const Tensor x = random({c.N(), c.W()}, DType::kF32, 1), dy = random({c.N(), c.W()}, DType::kF32, 2),
               logits = random({c.R(), c.G()}, DType::kF32, 3);
  const auto one = run_backward(Stream::cpu(1), c, dy, x, logits);
  for (const int threads : {1, 2, 3, 4}) {
    CAPTURE(threads);
    const auto again = run_backward(Stream::cpu(threads), c, dy, x, logits);
    CHECK(same_bits(again.dx, one.dx));
    CHECK(same_bits(again.dlogits, one.dlogits));
  }
}

TEST_CASE("gate_backward adds to the gradients of constants and positions, and leaves positions behind alone",
          "[kernels][gate]") {
  const Case c{2, 5, 2, 3, GENERATE(0, 1, 2), GENERATE(GateRows::kConstant, GateRows::kPosition)};
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  CAPTURE(name_of(stream.device), name_of(dtype), c.granularity, static_cast<int>(c.rows));
  const Tensor x = on(stream, random({c.N(), c.W()}, dtype, 1)), dy = on(stream, random({c.N(), c.W()}, dtype, 2)),
               logits = on(stream, random({c.R(), c.G()}, dtype, 3));
  auto want = values(run_backward(stream, c, dy, x, logits).dlogits);
  for (double& d : want) d += 2;
  const Tensor got = run_backward(stream, c, dy, x, logits, 2).dlogits;
  check_close(got, want, 8);
  if (c.rows == GateRows::kPosition)
    for (auto i = static_cast<std::size_t>(c.T * c.G()); i < want.size(); ++i) CHECK(values(got)[i] == 2);
}

TEST_CASE("gate closes and opens without NaN, and shows the NaN of a logit where it gates", "[kernels][gate]") {
  const Stream stream = GENERATE(from_range(streams()));
  const Case c{1, 1, 3, 2, 1, GateRows::kToken};
  const Tensor x = on(stream, filled({1, 6}, DType::kF32, 5));
  const auto y = values(run_forward(stream, c, x, on(stream, from_values({1, 3}, DType::kF32, {-1e30, 1e30, NAN}))));
  CHECK(y[0] == 0);
  CHECK(y[2] == 5);
  CHECK(std::isnan(y[4]));
  CHECK(std::isnan(y[5]));
}

TEST_CASE("gate and its gradient stay finite for huge values behind a closed or open gate", "[kernels][gate]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const double huge = dtype == DType::kF64 ? 1e300 : 1e30;
  // dy x overflows; the slope of the gate is 0.
  const Case c{2, 8, 2, 9, GENERATE(0, 1, 2), GateRows::kToken};
  CAPTURE(name_of(stream.device), name_of(dtype), c.granularity);
  const Tensor x = on(stream, filled({c.N(), c.W()}, dtype, huge)),
               dy = on(stream, filled({c.N(), c.W()}, dtype, -huge)),
               open = on(stream, filled({c.N(), c.G()}, dtype, huge)),
               closed = on(stream, filled({c.N(), c.G()}, dtype, -huge));
  for (const Tensor& logits : {open, closed}) {
    const double s = logits.raw() == open.raw() ? 1 : 0;
    const auto got = run_backward(stream, c, dy, x, logits);
    for (const double d : values(run_forward(stream, c, x, logits))) CHECK(d == s * values(x)[0]);
    for (const double d : values(got.dx)) CHECK(d == s * values(dy)[0]);
    for (const double d : values(got.dlogits)) CHECK(d == 0);
  }
  const Tensor nan = on(stream, poisoned(open.shape(), dtype));
  for (const double d : values(run_backward(stream, c, dy, x, nan).dlogits)) CHECK(std::isnan(d));
}

TEST_CASE("gate names the argument that does not fit", "[kernels][gate]") {
  const Stream stream = Stream::cpu(1);
  const Tensor x = random({6, 8}, DType::kF32, 1);
  const auto run = [&](std::int64_t R, std::int64_t G, GateRows rows, std::int64_t T) {
    run_forward(stream, {6 / T, T, 2, 4, 0, rows}, x, random({R, G}, DType::kF32, 2));
  };
  CHECK_NOTHROW(run(6, 8, GateRows::kToken, 3));
  CHECK_NOTHROW(run(1, 2, GateRows::kConstant, 4));
  CHECK_THROWS_WITH(run(6, 4, GateRows::kToken, 3), Catch::Contains("gate logits: 4 a row"));
  CHECK_THROWS_WITH(run(5, 8, GateRows::kToken, 3), Catch::Contains("gate logits"));
  CHECK_THROWS_WITH(run(6, 8, GateRows::kConstant, 3), Catch::Contains("gate logits"));
  CHECK_THROWS_WITH(run(2, 8, GateRows::kPosition, 3), Catch::Contains("2 positions, expected at least 3"));
  CHECK_THROWS_WITH(run(6, 8, GateRows::kPosition, 4), Catch::Contains("whole sequences"));
}
