#include "kernels/loss/linear_cross_entropy.h"

#include <numeric>

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;

namespace {
struct Problem {
  Tensor x, weight, targets;
};
Problem problem(std::int64_t N, std::int64_t C, std::int64_t V, DType dtype, bool holes) {
  std::vector<std::int32_t> targets;
  for (std::int64_t n = 0; n < N; ++n)
    targets.push_back(static_cast<std::int32_t>(holes && n % 3 == 1 ? -1 : n * 5 % V));
  return {random({N, C}, dtype, 1), random({V, C}, dtype, 2), ids(targets)};
}

struct HeadLoss {
  Tensor loss, dx, dweight;
};
HeadLoss run(const Stream& stream, const Problem& p, double grad_scale, std::int64_t chunk_elements) {
  const auto [N, C] = matrix_dims(p.x);
  const DType sums = acc_dtype(p.x.dtype());
  HeadLoss r{on(stream, poisoned({N}, sums)), on(stream, poisoned({N, C}, p.x.dtype())),
             on(stream, filled(p.weight.shape(), sums, 1))};
  kernels::linear_cross_entropy(stream, {.loss = r.loss,
                                         .dx = r.dx,
                                         .dweight = r.dweight,
                                         .x = p.x,
                                         .weight = p.weight,
                                         .targets = p.targets,
                                         .grad_scale = grad_scale,
                                         .chunk_elements = chunk_elements});
  return r;
}

Problem moved(const Stream& stream, const Problem& p) {
  return {on(stream, p.x), on(stream, p.weight), on(stream, p.targets)};
}

double rounded(double value, DType dtype) {
  return dtype == DType::kBF16 ? static_cast<double>(bf16(static_cast<float>(value))) : value;
}

/// In double, but for what bf16 stores on the way: the logits, and their gradients.
struct HeadLossReference {
  std::vector<double> loss, dx, dweight;
};
HeadLossReference reference(const Problem& p, double grad_scale) {
  const DType dtype = p.x.dtype();
  const auto [N, C] = matrix_dims(p.x);
  const std::int64_t V = p.weight.shape()[0];
  const auto x = values(p.x), w = values(p.weight);
  HeadLossReference r{{}, std::vector<double>(x.size(), 0), std::vector<double>(w.size(), 1)};
  for (std::int64_t n = 0; n < N; ++n) {
    const std::int32_t target = p.targets.data<std::int32_t>()[n];
    if (target < 0) {
      r.loss.push_back(0);
      continue;
    }
    std::vector<double> z(static_cast<std::size_t>(V), 0);
    double sum = 0;
    for (std::size_t v = 0; v < z.size(); ++v) {
      for (std::int64_t c = 0; c < C; ++c)
        z[v] +=
            x[static_cast<std::size_t>(n * C + c)] * w[v * static_cast<std::size_t>(C) + static_cast<std::size_t>(c)];
      z[v] = rounded(z[v], dtype);
      sum += std::exp(z[v]);
    }
    r.loss.push_back(std::log(sum) - z[static_cast<std::size_t>(target)]);
    for (std::size_t v = 0; v < z.size(); ++v) {
      const double dz =
          rounded(grad_scale * (std::exp(z[v]) / sum - (static_cast<std::int64_t>(v) == target ? 1 : 0)), dtype);
      for (std::int64_t c = 0; c < C; ++c) {
        const auto xc = static_cast<std::size_t>(n * C + c),
                   wc = v * static_cast<std::size_t>(C) + static_cast<std::size_t>(c);
        r.dx[xc] += dz * w[wc];
        r.dweight[wc] += dz * x[xc];
      }
    }
  }
  return r;
}
}  // namespace

TEST_CASE("linear_cross_entropy is logsumexp - logit of the target, with its gradient, in chunks of any size",
          "[kernels][loss]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const auto [N, C, V] =
      GENERATE(table<std::int64_t, std::int64_t, std::int64_t>({{1, 1, 1}, {1, 3, 2}, {7, 5, 11}, {67, 32, 301}}));
  const bool holes = GENERATE(false, true);
  const std::int64_t chunk_rows = GENERATE(2, 1000);
  CAPTURE(name_of(stream.device), name_of(dtype), N, C, V, holes, chunk_rows, stream.num_threads);
  const Problem host = problem(N, C, V, dtype, holes), p = moved(stream, host);
  const HeadLossReference want = reference(host, 0.25);
  const auto [loss, dx, dweight] = repeated(stream, [&, V = V] {
    const HeadLoss r = run(stream, p, 0.25, chunk_rows * V);
    return std::array{r.loss, r.dx, r.dweight};
  });
  // Logits of up to 20 in size carry their absolute error into loss and probabilities. In bf16 a gradient of a logit
  // may be rounded the other way than the reference's: one of the terms, half a unit of 0.25 off.
  check_close(loss, want.loss, 64);
  check_close(dx, want.dx, dtype == DType::kBF16 ? 1 : 64);
  check_close(dweight, want.dweight, dtype == DType::kBF16 ? 0x1p14 : 64);

  const Tensor only_loss = on(stream, poisoned({N}, acc_dtype(dtype)));
  kernels::linear_cross_entropy(
      stream, {.loss = only_loss, .dx = {}, .dweight = {}, .x = p.x, .weight = p.weight, .targets = p.targets});
  check_close(only_loss, want.loss, 64);
}

TEST_CASE("linear_cross_entropy goes through rows longer than a block's stride", "[kernels][loss]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const std::int64_t V = GENERATE(4096, 9001);  // a block takes 4096 of them in bf16, 2048 in f32, at a time
  CAPTURE(name_of(stream.device), name_of(dtype), V, stream.num_threads);
  Problem host = problem(3, 2, V, dtype, false);
  host.targets = ids({0, static_cast<std::int32_t>(V) - 1, -1});
  const Problem p = moved(stream, host);
  const HeadLossReference want = reference(host, 1);
  const auto [loss, dx, dweight] = repeated(stream, [&] {
    const HeadLoss r = run(stream, p, 1, 0);
    return std::array{r.loss, r.dx, r.dweight};
  });
  check_close(loss, want.loss, 64);
  check_close(dx, want.dx, dtype == DType::kBF16 ? 1 : 256);
  check_close(dweight, want.dweight, dtype == DType::kBF16 ? 0x1p14 : 64);
}

TEST_CASE("the gradient of linear_cross_entropy is that of grad_scale * the summed losses", "[kernels][loss][grad]") {
  const bool holes = GENERATE(false, true);
  const Stream stream = Stream::cpu(2);
  const Problem p = problem(9, 6, 13, DType::kF64, holes);
  const HeadLoss r = run(stream, p, 0.5, 30);
  const Tensor dweight = from_values({13, 6}, DType::kF64, [&] {
    auto g = values(r.dweight);
    for (double& v : g) v -= 1;  // what it was added to
    return g;
  }());
  const auto loss = [&] {
    const auto l = values(run(stream, p, 0.5, 30).loss);
    return 0.5 * std::accumulate(l.begin(), l.end(), 0.0);
  };
  CHECK(gradient_error(loss, p.x, r.dx, 4) < 1e-6);
  CHECK(gradient_error(loss, p.weight, dweight, 5) < 1e-6);
}

TEST_CASE("linear_cross_entropy stands huge logits and rows that all do not count", "[kernels][loss]") {
  const Stream stream = GENERATE(from_range(streams()));
  Problem p = moved(
      stream, Problem{filled({2, 1}, DType::kF32, 1000), from_values({3, 1}, DType::kF32, {1, -1, 0.5}), ids({0, 1})});
  const HeadLoss r = run(stream, p, 1, 100);
  CHECK(values(r.loss)[0] == 0);
  CHECK(values(r.loss)[1] == 2000);
  CHECK(values(r.dx)[1] == 2);  // all mass on 1, and the target is -1

  p.targets = on(stream, ids({-1, -1}));
  const HeadLoss none = run(stream, p, 1, 100);
  check_close(none.loss, {0, 0}, 0);
  check_close(none.dx, {0, 0}, 0);
  check_close(none.dweight, {1, 1, 1}, 0);
}

TEST_CASE("linear_cross_entropy shows NaN in the loss of its row only", "[kernels][loss]") {
  const Stream stream = GENERATE(from_range(streams()));
  const Problem p = problem(5, 8, 40, DType::kF32, false);
  p.x.data<float>()[2 * 8 + 3] = NAN;
  const auto loss = values(run(stream, moved(stream, p), 1, 1000).loss);
  for (std::size_t n = 0; n < 5; ++n) CHECK(std::isnan(loss[n]) == (n == 2));
}

TEST_CASE("linear_cross_entropy takes the same memory whatever the targets, and a dry run counts it",
          "[kernels][loss]") {
  const Stream stream = GENERATE(from_range(streams()));
  const bool grad = GENERATE(false, true);
  CAPTURE(name_of(stream.device), grad, stream.num_threads);
  const auto peak = [&](const Stream& at, const Problem& p) {
    const Tensor loss = at.empty({40}, DType::kF32), dx = grad ? at.empty({40, 16}, DType::kF32) : Tensor{},
                 dweight = grad ? at.empty({30, 16}, DType::kF32) : Tensor{};
    at.synchronize();
    const std::int64_t before = at.pool->live_bytes();
    at.pool->reset_peak();
    kernels::linear_cross_entropy(
        at, {.loss = loss, .dx = dx, .dweight = dweight, .x = p.x, .weight = p.weight, .targets = p.targets});
    at.synchronize();
    return at.pool->peak_bytes() - before;
  };
  const std::int64_t all = peak(stream, moved(stream, problem(40, 16, 30, DType::kF32, false)));
  CHECK(all >= 40 * 30 * size_of(DType::kF32));
  CHECK(peak(stream, moved(stream, problem(40, 16, 30, DType::kF32, true))) == all);
  const Stream dry = Stream::dry_run(stream.device);
  CHECK(peak(dry, {dry.empty({40, 16}, DType::kF32), dry.empty({30, 16}, DType::kF32), dry.empty({40}, DType::kI32)}) ==
        all);
  CHECK(dry.dry->flops == (grad ? 3 : 1) * 2.0 * 40 * 16 * 30);
}

TEST_CASE("chunks of linear_cross_entropy are alike, in whole tiles, and bounded", "[kernels][loss]") {
  const auto rows = [](std::int64_t N, std::int64_t V) { return kernels::cross_entropy_chunk(Device::kCuda, N, V, 0); };
  CHECK(rows(32768, 32000) == 4096);
  CHECK(rows(32768, 128256) == 4096);
  CHECK(rows(32768, 256000) == 2048);
  CHECK(rows(4097, 32000) == 2176);  // twice, not 4096 and one row
  CHECK(rows(100, 32000) == 100);
  CHECK(rows(0, 32000) == 1);
  CHECK(rows(1000, std::int64_t{1} << 40) == 128);
  CHECK(kernels::cross_entropy_chunk(Device::kCpu, 100000, 32000, 0) == 262);
  CHECK(kernels::cross_entropy_chunk(Device::kCuda, 10, 7, 21) == 3);
  CHECK(kernels::cross_entropy_chunk(Device::kCuda, 10, 7, 1) == 1);
}

TEST_CASE("linear_cross_entropy refuses targets outside [-1, V)", "[kernels][loss]") {
  Problem p = problem(2, 3, 4, DType::kF32, false);
  for (const std::int32_t bad : {-2, 4}) {
    p.targets = ids({0, bad});
    CHECK_THROWS_WITH(run(Stream::cpu(1), p, 1, 100), Catch::Contains("target " + std::to_string(bad) + " of 4"));
  }
}
