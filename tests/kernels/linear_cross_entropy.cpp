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

struct Result {
  Tensor loss, dx, dweight;
};
Result run(const Stream& stream, const Problem& p, double grad_scale, std::int64_t chunk_elements) {
  const auto [N, C] = matrix_dims(p.x);
  Result r{poisoned({N}, p.x.dtype()), poisoned({N, C}, p.x.dtype()), filled(p.weight.shape(), p.x.dtype(), 1)};
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
}  // namespace

TEST_CASE("linear_cross_entropy is logsumexp - logit of the target, with its gradient, in chunks of any size",
          "[kernels][loss]") {
  const DType dtype = GENERATE(DType::kF32, DType::kF64);
  const auto [N, C, V] =
      GENERATE(table<std::int64_t, std::int64_t, std::int64_t>({{1, 1, 1}, {1, 3, 2}, {7, 5, 11}, {67, 32, 301}}));
  const bool holes = GENERATE(false, true);
  const std::int64_t chunk_rows = GENERATE(2, 1000);
  const Stream stream = Stream::cpu(3);
  CAPTURE(name_of(dtype), N, C, V, holes, chunk_rows, stream.num_threads);
  const Problem p = problem(N, C, V, dtype, holes);
  const Result r = run(stream, p, 0.25, chunk_rows * V);

  const auto x = values(p.x), w = values(p.weight);
  std::vector<double> loss, dx(x.size(), 0), dweight(w.size(), 1);
  for (std::int64_t n = 0; n < N; ++n) {
    const std::int32_t target = p.targets.data<std::int32_t>()[n];
    if (target < 0) {
      loss.push_back(0);
      continue;
    }
    std::vector<double> z(static_cast<std::size_t>(V), 0);
    double sum = 0;
    for (std::size_t v = 0; v < z.size(); ++v) {
      for (std::int64_t c = 0; c < C; ++c)
        z[v] +=
            x[static_cast<std::size_t>(n * C + c)] * w[v * static_cast<std::size_t>(C) + static_cast<std::size_t>(c)];
      sum += std::exp(z[v]);
    }
    loss.push_back(std::log(sum) - z[static_cast<std::size_t>(target)]);
    for (std::size_t v = 0; v < z.size(); ++v) {
      const double dz = 0.25 * (std::exp(z[v]) / sum - (static_cast<std::int64_t>(v) == target ? 1 : 0));
      for (std::int64_t c = 0; c < C; ++c) {
        const auto xc = static_cast<std::size_t>(n * C + c),
                   wc = v * static_cast<std::size_t>(C) + static_cast<std::size_t>(c);
        dx[xc] += dz * w[wc];
        dweight[wc] += dz * x[xc];
      }
    }
  }
  // Logits of up to 20 in size carry their absolute error into loss and probabilities.
  check_close(r.loss, loss, 64);
  check_close(r.dx, dx, 64);
  check_close(r.dweight, dweight, 64);

  const Result again = run(stream, p, 0.25, chunk_rows * V);
  CHECK(same_bits(again.loss, r.loss));
  CHECK(same_bits(again.dx, r.dx));
  CHECK(same_bits(again.dweight, r.dweight));

  const Tensor only_loss = poisoned({N}, dtype);
  kernels::linear_cross_entropy(
      stream, {.loss = only_loss, .dx = {}, .dweight = {}, .x = p.x, .weight = p.weight, .targets = p.targets});
  check_close(only_loss, loss, 64);
}

TEST_CASE("the gradient of linear_cross_entropy is that of grad_scale * the summed losses", "[kernels][loss][grad]") {
  const bool holes = GENERATE(false, true);
  const Stream stream = Stream::cpu(2);
  const Problem p = problem(9, 6, 13, DType::kF64, holes);
  const Result r = run(stream, p, 0.5, 30);
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
  const Stream stream = Stream::cpu(1);
  Problem p{filled({2, 1}, DType::kF32, 1000), from_values({3, 1}, DType::kF32, {1, -1, 0.5}), ids({0, 1})};
  const Result r = run(stream, p, 1, 100);
  CHECK(values(r.loss)[0] == 0);
  CHECK(values(r.loss)[1] == 2000);
  CHECK(values(r.dx)[1] == 2);  // all mass on 1, and the target is -1

  p.targets = ids({-1, -1});
  const Result none = run(stream, p, 1, 100);
  check_close(none.loss, {0, 0}, 0);
  check_close(none.dx, {0, 0}, 0);
  check_close(none.dweight, {1, 1, 1}, 0);
}

TEST_CASE("linear_cross_entropy shows NaN in the loss of its row only", "[kernels][loss]") {
  const Problem p = problem(5, 8, 40, DType::kF32, false);
  p.x.data<float>()[2 * 8 + 3] = NAN;
  const auto loss = values(run(Stream::cpu(1), p, 1, 1000).loss);
  for (std::size_t n = 0; n < 5; ++n) CHECK(std::isnan(loss[n]) == (n == 2));
}

TEST_CASE("linear_cross_entropy refuses targets outside [-1, V)", "[kernels][loss]") {
  Problem p = problem(2, 3, 4, DType::kF32, false);
  for (const std::int32_t bad : {-2, 4}) {
    p.targets = ids({0, bad});
    CHECK_THROWS_WITH(run(Stream::cpu(1), p, 1, 100), Catch::Contains("target " + std::to_string(bad) + " of 4"));
  }
}
