#include "kernels/metrics/gate_statistics.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;
using kernels::kGateBins;

namespace {
struct Result {
  Tensor mean, variance, first, counts;
};

Tensor wrong_counts(Shape shape) {
  return ids(std::vector<std::int32_t>(static_cast<std::size_t>(shape.numel()), -7)).view(shape);
}

/// Of B sequences of `length` and H heads.
Result run(const Stream& stream, const Tensor& logits, std::int64_t B, std::int64_t length, std::int64_t H) {
  const Tensor here = on(stream, logits);
  const DType dtype = acc_dtype(logits.dtype());
  const auto [mean, variance, first, counts] = repeated(stream, [&] {
    const Result r{on(stream, poisoned({B, H}, dtype)), on(stream, poisoned({B, H}, dtype)),
                   on(stream, poisoned({B, H}, dtype)), on(stream, wrong_counts({B, H, kGateBins}))};
    kernels::gate_statistics(stream, {.mean = r.mean,
                                      .variance = r.variance,
                                      .first = r.first,
                                      .counts = r.counts,
                                      .logits = here,
                                      .length = length});
    return std::array{r.mean, r.variance, r.first, r.counts};
  });
  return {mean, variance, first, counts};
}

std::vector<std::int32_t> counts_of(const Result& r) {
  const Tensor host = on_host(r.counts);
  return {host.span<std::int32_t>().begin(), host.span<std::int32_t>().end()};
}
}  // namespace

TEST_CASE("gate_statistics are those of a plain loop over the sigmoids", "[kernels][metrics]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  // A width of 1 is that of a gate by head; H = 1 with it that of a single gate; one position that of a constant.
  const auto [B, T, H, W] = GENERATE(table<int, int, int, int>(
      {{1, 1, 1, 1}, {1, 1, 3, 5}, {3, 5, 2, 7}, {2, 64, 3, 1}, {4, 33, 1, 1}, {2, 130, 4, 16}, {1, 600, 1, 3}}));
  const int spare = GENERATE(0, 3);  // rows behind the last sequence's, as a table of positions has
  CAPTURE(name_of(stream.device), name_of(dtype), B, T, H, W, spare, stream.num_threads);
  const Tensor logits = random({B * T + spare, H * W}, dtype, 1, 2.5);
  const auto ls = values(logits);
  std::vector<double> mean, variance, first;
  std::vector<std::int32_t> counts;
  for (int b = 0; b < B; ++b)
    for (int h = 0; h < H; ++h) {
      std::vector<double> all;
      std::vector<std::int32_t> bins(kGateBins);
      for (int t = 0; t < T; ++t)
        for (int c = 0; c < W; ++c) {
          const auto at = static_cast<std::size_t>(((b * T + t) * H + h) * W + c);
          all.push_back(1 / (1 + std::exp(-ls[at])));
          ++bins[static_cast<std::size_t>(std::min(all.back() * kGateBins, kGateBins - 1.0))];
        }
      double sum = 0, at_first = 0, squares = 0;
      for (std::size_t i = 0; i < all.size(); ++i) {
        sum += all[i];
        if (i < static_cast<std::size_t>(W)) at_first += all[i];
      }
      const auto n = static_cast<double>(all.size());
      for (const double s : all) squares += (s - sum / n) * (s - sum / n);
      mean.push_back(sum / n);
      variance.push_back(squares / n);
      first.push_back(at_first / W);
      counts.insert(counts.end(), bins.begin(), bins.end());
    }
  const Result r = run(stream, logits, B, T, H);
  const double units = 8 + std::sqrt(T * W);
  check_close(r.mean, mean, units);
  check_close(r.variance, variance, units);
  check_close(r.first, first, units);
  CHECK(counts_of(r) == counts);
}

TEST_CASE("gate_statistics keeps a small variance beside a mean that is far from it", "[kernels][metrics]") {
  const Stream stream = GENERATE(from_range(streams()));
  // Logits of 0 and 2^-10 in turn: s is 0.5 and 2^-12 more, its variance 2^-26, below the rounding of s^2 in f32.
  std::vector<double> ls(2000);
  for (std::size_t i = 0; i < ls.size(); ++i) ls[i] = i % 2 == 0 ? 0 : 0x1p-10;
  const Result r = run(stream, from_values({1000, 2}, DType::kF32, ls), 1, 1000, 1);
  CHECK(values(r.mean)[0] == Approx(0.5 + 0x1p-13).epsilon(1e-6));
  CHECK(values(r.variance)[0] == Approx(0x1p-26).epsilon(2e-3));
}

TEST_CASE("gate_statistics counts closed and open gates at the ends, and NaN nowhere", "[kernels][metrics]") {
  const Stream stream = GENERATE(from_range(streams()));
  const Tensor logits = from_values({2, 3}, DType::kF32, {-1e30, 1e30, NAN, -INFINITY, INFINITY, 0});
  const Result r = run(stream, logits, 1, 2, 3);
  std::vector<std::int32_t> want(3 * kGateBins);
  want[0] = 2;                   // closed
  want[2 * kGateBins - 1] = 2;   // open
  want[2 * kGateBins + 10] = 1;  // 0.5, beside NaN
  CHECK(counts_of(r) == want);
  const auto mean = values(r.mean), variance = values(r.variance), first = values(r.first);
  CHECK(mean[0] == 0);
  CHECK(mean[1] == 1);
  CHECK(variance[0] == 0);
  CHECK(variance[1] == 0);
  for (const auto& of_nan : {mean, variance, first}) CHECK(std::isnan(of_nan[2]));
}

TEST_CASE("gate_statistics names the argument that does not fit", "[kernels][metrics]") {
  const Stream stream = Stream::cpu(1);
  const Tensor logits = random({6, 8}, DType::kF32, 1);
  CHECK_NOTHROW(run(stream, logits, 2, 3, 4));
  CHECK_THROWS_WITH(run(stream, logits, 2, 3, 3), Catch::Contains("8 logits a row are not those of 3 heads"));
  CHECK_THROWS_WITH(run(stream, logits, 2, 4, 4), Catch::Contains("6 rows, expected 2 sequences of 4"));
  const Tensor out = poisoned({2, 4}, DType::kF32);
  CHECK_THROWS_WITH(
      kernels::gate_statistics(
          stream,
          {.mean = out, .variance = out, .first = out, .counts = ids({1, 2, 3}), .logits = logits, .length = 3}),
      Catch::Contains("gate_statistics counts"));
}
