#include "kernels/metrics/attention_mass.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;
using kernels::AttentionDims;

namespace {
/// alpha by way of attention_forward's log-sum-exp, taken on the CPU in double.
Tensor mass(const Stream& stream, const Tensor& qkv, const AttentionDims& d, const Tensor& starts = {}) {
  const std::int64_t N = qkv.shape()[0], B = N / d.length;
  const DType f64 = DType::kF64, acc = acc_dtype(qkv.dtype());
  const Tensor out = poisoned({N, d.out_width()}, f64), lse = poisoned({B, d.n_heads, d.length}, f64),
               in_double = from_values(qkv.shape(), f64, values(qkv));
  kernels::attention_forward(Stream::cpu(1), {.out = out, .lse = lse, .qkv = in_double, .starts = starts, .dims = d});
  const Tensor kept = on(stream, from_values(lse.shape(), acc, values(lse))), here = on(stream, qkv),
               starts_here = starts ? on(stream, starts) : starts;
  const auto [alpha] = repeated(stream, [&] {
    const Tensor result = on(stream, poisoned({B, d.n_heads, d.length}, acc));
    kernels::attention_mass(stream, {.alpha = result, .qkv = here, .lse = kept, .starts = starts_here, .dims = d});
    return std::array{result};
  });
  return alpha;
}
}  // namespace

TEST_CASE("uniform attention over 64 positions has the mass H_64 / 64 on the first", "[kernels][metrics]") {
  const AttentionDims d{.n_heads = 2, .n_kv_heads = 1, .d_head = 4, .length = 64, .scale = 0.5};
  const Tensor alpha = mass(Stream::cpu(2), filled({64, d.qkv_width()}, DType::kF64, 0), d);
  CHECK(values(alpha)[0] == Approx(0.0741).margin(5e-5));
  std::vector<double> want;
  for (int h = 0; h < 2; ++h)
    for (int k = 1; k <= 64; ++k) {
      double sum = 0;
      for (int t = k; t <= 64; ++t) sum += 1.0 / t;
      want.push_back(sum / 64);
    }
  check_close(alpha, want, 64);
}

TEST_CASE("a head whose queries all meet the key of one position puts the mass of its later queries there",
          "[kernels][metrics]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const std::int64_t T = GENERATE(10, 130);
  // Head 0 reads key-value head 0, whose key at position 0 has a 1 in channel 0; head 1 reads head 1 with position 4.
  const AttentionDims d{.n_heads = 2, .n_kv_heads = 2, .d_head = 2, .length = T, .scale = 1};
  const Tensor qkv = filled({T, d.qkv_width()}, dtype, 0);
  with_stored_dtype(dtype, [&]<class S>() {
    S* x = qkv.data<S>();
    for (std::int64_t t = 0; t < T; ++t) x[t * 12] = x[t * 12 + 2] = S(200);
    x[4] = x[4 * 12 + 6] = S(1);
  });
  const auto alpha = values(mass(stream, qkv, d));
  CAPTURE(name_of(dtype), T);
  const auto share = [&](double queries) { return Approx(queries / static_cast<double>(T)).margin(1e-6); };
  const auto* second = alpha.data() + T;
  CHECK(alpha[0] == Approx(1));
  CHECK(alpha[1] == Approx(0).margin(1e-6));
  // Queries 0..3 do not see position 4 and spread evenly; all from 4 on go there.
  CHECK(second[4] == share(static_cast<double>(T) - 4));
  CHECK(second[0] == share(1 + 1.0 / 2 + 1.0 / 3 + 1.0 / 4));
  CHECK(second[3] == share(1.0 / 4));
  CHECK(second[5] == share(0));
}

TEST_CASE("attention_mass is the column mean of the T x T probabilities, and sums to 1", "[kernels][metrics]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const auto [B, H, K, D, T] = GENERATE(table<int, int, int, int, int>({{1, 1, 1, 2, 1},
                                                                        {2, 4, 2, 8, 63},
                                                                        {1, 2, 1, 16, 64},
                                                                        {2, 3, 3, 4, 65},
                                                                        {1, 2, 2, 32, 200},
                                                                        {1, 2, 1, 40, 129},
                                                                        {1, 2, 1, 8, 300},
                                                                        {1, 2, 1, 256, 67}}));
  CAPTURE(name_of(stream.device), name_of(dtype), B, H, K, D, T, stream.num_threads);
  const AttentionDims d{.n_heads = H, .n_kv_heads = K, .d_head = D, .length = T, .scale = 0.7};
  const Tensor qkv = random({B * T, d.qkv_width()}, dtype, 1);
  const auto x = values(qkv);
  std::vector<double> want(static_cast<std::size_t>(B * H * T), 0);
  for (int b = 0; b < B; ++b)
    for (int h = 0; h < H; ++h)
      for (int t = 0; t < T; ++t) {
        std::vector<double> p;
        double sum = 0;
        for (int s = 0; s <= t; ++s) {
          double score = 0;
          for (int c = 0; c < D; ++c)
            score += x[static_cast<std::size_t>((b * T + t) * d.qkv_width() + h * D + c)] *
                     x[static_cast<std::size_t>((b * T + s) * d.qkv_width() + (H + h / (H / K)) * D + c)];
          p.push_back(std::exp(0.7 * score));
          sum += p.back();
        }
        for (int s = 0; s <= t; ++s)
          want[static_cast<std::size_t>((b * H + h) * T + s)] += p[static_cast<std::size_t>(s)] / sum / T;
      }
  const Tensor alpha = mass(stream, qkv, d);
  check_close(alpha, want, 64);
  const auto a = values(alpha);
  for (int row = 0; row < B * H; ++row) {
    double total = 0;
    for (int t = 0; t < T; ++t) total += a[static_cast<std::size_t>(row * T + t)];
    CHECK(total == Approx(1).epsilon(1e-5));
  }
  CHECK(same_bits(mass(stream, qkv, d), alpha));
}

TEST_CASE("uniform attention within documents has the mass of each document's queries", "[kernels][metrics]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  // Documents [0, 50), [50, 53), [53, 140), then [0, 140) in the second sequence.
  const AttentionDims d{.n_heads = 2, .n_kv_heads = 1, .d_head = 4, .length = 140, .scale = 0.5};
  std::vector<std::int32_t> starts(280, 0);
  std::fill(starts.begin() + 50, starts.begin() + 53, 50);
  std::fill(starts.begin() + 53, starts.begin() + 140, 53);
  std::vector<double> want(4 * 140, 0);
  for (std::size_t row = 0; row < 280; ++row)
    for (std::size_t h = 0; h < 2; ++h) {
      const auto t = row % 140, first = static_cast<std::size_t>(starts[row]);
      for (std::size_t k = first; k <= t; ++k)
        want[(row / 140 * 2 + h) * 140 + k] += 1.0 / (static_cast<double>(t - first + 1) * 140);
    }
  check_close(mass(stream, filled({280, d.qkv_width()}, dtype, 0), d, ids(starts)), want, 64);
}
