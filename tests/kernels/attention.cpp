#include "kernels/attention/attention.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;
using kernels::AttentionDims;

namespace {
AttentionDims dims_of(std::int64_t H, std::int64_t K, std::int64_t D, std::int64_t T) {
  return {.n_heads = H, .n_kv_heads = K, .d_head = D, .length = T, .scale = 1 / std::sqrt(static_cast<double>(D))};
}

struct Forward {
  Tensor out, lse;
};
Forward run_forward(const Stream& stream, const Tensor& qkv, const AttentionDims& d, const Tensor& starts = {}) {
  const std::int64_t N = qkv.shape()[0];
  Forward f{poisoned({N, d.out_width()}, qkv.dtype()), poisoned({N / d.length, d.n_heads, d.length}, qkv.dtype())};
  kernels::attention_forward(stream, {.out = f.out, .lse = f.lse, .qkv = qkv, .starts = starts, .dims = d});
  return f;
}
Tensor run_backward(const Stream& stream, const Tensor& qkv, const Tensor& dout, const AttentionDims& d,
                    const Tensor& starts = {}) {
  const Forward f = run_forward(stream, qkv, d, starts);
  Tensor dqkv = poisoned(qkv.shape(), qkv.dtype());
  kernels::attention_backward(
      stream, {.dqkv = dqkv, .dout = dout, .out = f.out, .lse = f.lse, .qkv = qkv, .starts = starts, .dims = d});
  return dqkv;
}

/// The T x T softmax, and its textbook gradient: dS = P (dP - sum P dP).
struct Reference {
  std::vector<double> out, lse, dqkv;
};
Reference reference(const Tensor& qkv, const Tensor& dout, const AttentionDims& d, const Tensor& starts = {}) {
  const std::int64_t N = qkv.shape()[0], T = d.length, D = d.d_head, W = d.qkv_width(), O = d.out_width();
  const auto x = values(qkv), g = values(dout);
  const auto size = [](std::int64_t n) { return static_cast<std::size_t>(n); };
  Reference r{std::vector<double>(size(N * O), 0), std::vector<double>(size(N * d.n_heads), 0),
              std::vector<double>(size(N * W), 0)};
  for (std::int64_t b = 0; b < N / T; ++b)
    for (std::int64_t h = 0; h < d.n_heads; ++h) {
      const std::int64_t kv = h / (d.n_heads / d.n_kv_heads);
      const auto q = [&](std::int64_t t) { return size((b * T + t) * W + h * D); };
      const auto k = [&](std::int64_t t) { return size((b * T + t) * W + (d.n_heads + kv) * D); };
      const auto v = [&](std::int64_t t) { return size((b * T + t) * W + (d.n_heads + d.n_kv_heads + kv) * D); };
      const auto o = [&](std::int64_t t) { return size((b * T + t) * O + h * D); };
      for (std::int64_t t = 0; t < T; ++t) {
        std::vector<double> p(size(t + 1), 0), dp(size(t + 1), 0);
        double sum = 0, mean = 0;
        const std::int64_t start = starts ? starts.data<std::int32_t>()[b * T + t] : 0;
        for (std::int64_t s = start; s <= t; ++s) {
          for (std::size_t c = 0; c < size(D); ++c) p[size(s)] += d.scale * x[q(t) + c] * x[k(s) + c];
          sum += p[size(s)] = std::exp(p[size(s)]);
        }
        r.lse[size((b * d.n_heads + h) * T + t)] = std::log(sum);
        for (std::int64_t s = start; s <= t; ++s) {
          p[size(s)] /= sum;
          for (std::size_t c = 0; c < size(D); ++c) {
            r.out[o(t) + c] += p[size(s)] * x[v(s) + c];
            r.dqkv[v(s) + c] += p[size(s)] * g[o(t) + c];
            dp[size(s)] += g[o(t) + c] * x[v(s) + c];
          }
          mean += p[size(s)] * dp[size(s)];
        }
        for (std::int64_t s = start; s <= t; ++s)
          for (std::size_t c = 0; c < size(D); ++c) {
            const double ds = d.scale * p[size(s)] * (dp[size(s)] - mean);
            r.dqkv[q(t) + c] += ds * x[k(s) + c];
            r.dqkv[k(s) + c] += ds * x[q(t) + c];
          }
      }
    }
  return r;
}

/// Starts of documents of the given lengths, packed into sequences of T; the last of them ends with its sequence.
Tensor packed(std::int64_t N, std::int64_t T, const std::vector<std::int32_t>& lengths) {
  std::vector<std::int32_t> starts;
  std::size_t document = 0;
  while (std::ssize(starts) < N) {
    const auto start = static_cast<std::int32_t>(std::ssize(starts) % T);
    const std::int32_t length = lengths[document++ % lengths.size()];
    for (std::int32_t i = 0; i < length && start + i < T; ++i) starts.push_back(start);
  }
  return ids(starts);
}
}  // namespace

TEST_CASE("attention is the causal softmax of T x T scores, forward and backward", "[kernels][attention]") {
  const DType dtype = GENERATE(DType::kF32, DType::kF64);
  const auto [B, H, K, D, T] = GENERATE(table<int, int, int, int, int>({{1, 1, 1, 2, 1},
                                                                        {3, 2, 1, 4, 1},
                                                                        {2, 2, 1, 8, 63},
                                                                        {1, 4, 2, 16, 64},
                                                                        {2, 3, 3, 6, 65},
                                                                        {1, 6, 2, 32, 200},
                                                                        {1, 2, 1, 128, 129},
                                                                        {1, 2, 1, 256, 67}}));
  const Stream stream = Stream::cpu(GENERATE(1, 3));
  CAPTURE(name_of(dtype), B, H, K, D, T, stream.num_threads);
  const AttentionDims d = dims_of(H, K, D, T);
  const Tensor qkv = random({B * T, d.qkv_width()}, dtype, 1), dout = random({B * T, d.out_width()}, dtype, 2);
  const auto [out, lse] = run_forward(stream, qkv, d);
  const Tensor dqkv = run_backward(stream, qkv, dout, d);
  const Reference want = reference(qkv, dout, d);
  // Scores have a standard deviation of 1 and sums of D terms; dk and dv gather the queries of a group.
  check_close(out, want.out, 16);
  check_close(lse, want.lse, 16);
  check_close(dqkv, want.dqkv, 64);

  const auto again = run_forward(stream, qkv, d);
  CHECK(same_bits(again.out, out));
  CHECK(same_bits(again.lse, lse));
  CHECK(same_bits(run_backward(stream, qkv, dout, d), dqkv));
}

TEST_CASE("attention_backward is the gradient of its forward", "[kernels][attention][grad]") {
  const auto [B, H, K, D, T] =
      GENERATE(table<int, int, int, int, int>({{1, 1, 1, 2, 1}, {2, 4, 2, 4, 9}, {1, 2, 2, 8, 65}}));
  const Stream stream = Stream::cpu(2);
  CAPTURE(B, H, K, D, T);
  const AttentionDims d = dims_of(H, K, D, T);
  const Tensor qkv = random({B * T, d.qkv_width()}, DType::kF64, 1),
               dout = random({B * T, d.out_width()}, DType::kF64, 2);
  const Tensor dqkv = run_backward(stream, qkv, dout, d);
  CHECK(gradient_error([&] { return dot(run_forward(stream, qkv, d).out, dout); }, qkv, dqkv, 3) < 1e-6);
}

TEST_CASE("attention never looks ahead, nor into another sequence", "[kernels][attention]") {
  const Stream stream = Stream::cpu(2);
  const AttentionDims d = dims_of(2, 1, 8, 70);
  const Tensor qkv = random({140, d.qkv_width()}, DType::kF32, 1);
  const Tensor before = run_forward(stream, qkv, d).out;
  // Other tokens from position 66 of the first sequence on, and the whole second one.
  const Tensor other = random({140, d.qkv_width()}, DType::kF32, 2), mixed = copy(other);
  std::copy_n(qkv.data<float>(), 66 * d.qkv_width(), mixed.data<float>());
  const Tensor after = run_forward(stream, mixed, d).out;
  // The last visible block has the same rows either way, so even the bits agree.
  CHECK(same_bits(before.slice(0, {66, d.out_width()}), after.slice(0, {66, d.out_width()})));
  CHECK_FALSE(
      same_bits(before.slice(66 * d.out_width(), {d.out_width()}), after.slice(66 * d.out_width(), {d.out_width()})));
}

TEST_CASE("attention stands scores far beyond the range of exp", "[kernels][attention]") {
  const AttentionDims d = dims_of(1, 1, 4, 5);
  const Tensor qkv = filled({5, 12}, DType::kF32, 100);  // scores of 20000
  for (std::int64_t t = 0; t < 5; ++t)
    for (std::int64_t c = 8; c < 12; ++c) qkv.data<float>()[t * 12 + c] = static_cast<float>(t);
  const auto [out, lse] = run_forward(Stream::cpu(1), qkv, d);
  for (std::size_t t = 0; t < 5; ++t) {
    CHECK(values(out)[4 * t] == Approx(static_cast<double>(t) / 2));
    CHECK(values(lse)[t] == Approx(20000 + std::log(t + 1.0)));
  }
}

TEST_CASE("attention refuses heads that do not group and broken sequences", "[kernels][attention]") {
  const Stream stream = Stream::cpu(1);
  const Tensor qkv = random({6, 20}, DType::kF32, 1), out = empty({6, 12}, DType::kF32),
               lse = empty({1, 3, 6}, DType::kF32);
  const auto run = [&](std::int64_t H, std::int64_t K, std::int64_t T) {
    kernels::attention_forward(stream, {.out = out, .lse = lse, .qkv = qkv, .dims = dims_of(H, K, 4, T)});
  };
  CHECK_NOTHROW(run(3, 1, 6));
  CHECK_THROWS_WITH(run(3, 2, 6), Catch::Contains("3 over 2 key-value heads"));
  CHECK_THROWS_WITH(run(3, 1, 4), Catch::Contains("whole sequences"));
  CHECK_THROWS_WITH(run(4, 2, 6), Catch::Contains("attention qkv"));
}

TEST_CASE("attention with documents sees from the start of its own on, forward and backward", "[kernels][attention]") {
  const DType dtype = GENERATE(DType::kF32, DType::kF64);
  const auto [B, H, K, D, T] = GENERATE(table<int, int, int, int, int>({{1, 1, 1, 2, 1},
                                                                        {2, 2, 1, 8, 63},
                                                                        {2, 3, 3, 6, 65},
                                                                        {1, 4, 2, 16, 200},
                                                                        {2, 2, 1, 32, 130},
                                                                        {1, 2, 1, 256, 67}}));
  // Of one token each, across the edges of blocks, longer than several blocks.
  const std::vector<std::int32_t> lengths =
      GENERATE(std::vector<std::int32_t>{1}, std::vector<std::int32_t>{3, 70, 1, 20}, std::vector<std::int32_t>{64},
               std::vector<std::int32_t>{1000});
  const Stream stream = Stream::cpu(GENERATE(1, 3));
  CAPTURE(name_of(dtype), B, H, K, D, T, lengths, stream.num_threads);
  const AttentionDims d = dims_of(H, K, D, T);
  const Tensor qkv = random({B * T, d.qkv_width()}, dtype, 1), dout = random({B * T, d.out_width()}, dtype, 2),
               starts = packed(B * T, T, lengths);
  const auto [out, lse] = run_forward(stream, qkv, d, starts);
  const Tensor dqkv = run_backward(stream, qkv, dout, d, starts);
  const Reference want = reference(qkv, dout, d, starts);
  check_close(out, want.out, 16);
  check_close(lse, want.lse, 16);
  check_close(dqkv, want.dqkv, 64);
  CHECK(same_bits(run_forward(stream, qkv, d, starts).out, out));
  CHECK(same_bits(run_backward(stream, qkv, dout, d, starts), dqkv));
  if (lengths[0] == 1000) {  // a document fills each sequence: nothing changes, not even a bit
    CHECK(same_bits(run_forward(stream, qkv, d).out, out));
    CHECK(same_bits(run_backward(stream, qkv, dout, d), dqkv));
  }
}

TEST_CASE("attention takes starts that do not rise from query to query", "[kernels][attention]") {
  const AttentionDims d = dims_of(2, 1, 4, 70);
  const Tensor qkv = random({70, d.qkv_width()}, DType::kF64, 1), dout = random({70, d.out_width()}, DType::kF64, 2);
  std::vector<std::int32_t> first;
  for (std::int32_t t = 0; t < 70; ++t) first.push_back(t * 37 % (t + 1));
  const Tensor starts = ids(first);
  const Reference want = reference(qkv, dout, d, starts);
  check_close(run_forward(Stream::cpu(2), qkv, d, starts).out, want.out, 16);
  check_close(run_backward(Stream::cpu(2), qkv, dout, d, starts), want.dqkv, 64);
}

TEST_CASE("attention_backward with documents is the gradient of its forward", "[kernels][attention][grad]") {
  const auto [B, H, K, D, T] = GENERATE(table<int, int, int, int, int>({{2, 4, 2, 4, 9}, {1, 2, 2, 8, 150}}));
  CAPTURE(B, H, K, D, T);
  const Stream stream = Stream::cpu(2);
  const AttentionDims d = dims_of(H, K, D, T);
  const Tensor qkv = random({B * T, d.qkv_width()}, DType::kF64, 1),
               dout = random({B * T, d.out_width()}, DType::kF64, 2), starts = packed(B * T, T, {4, 2, 75});
  const Tensor dqkv = run_backward(stream, qkv, dout, d, starts);
  CHECK(gradient_error([&] { return dot(run_forward(stream, qkv, d, starts).out, dout); }, qkv, dqkv, 3) < 1e-6);
}

TEST_CASE("a NaN in one document does not reach the others of its sequence", "[kernels][attention]") {
  const AttentionDims d = dims_of(1, 1, 4, 200);
  const Tensor qkv = random({200, d.qkv_width()}, DType::kF32, 1), starts = packed(200, 200, {70, 90, 40});
  qkv.data<float>()[3 * d.qkv_width() + 5] = NAN;  // the key of position 3; documents begin at 0, 70 and 160
  const auto out = values(run_forward(Stream::cpu(1), qkv, d, starts).out);
  for (std::size_t t = 160; t < 200; ++t) CHECK(std::isfinite(out[t * 4]));
  CHECK(std::isnan(out[3 * 4]));
}

TEST_CASE("attention refuses starts behind their query, before 0 or of another size", "[kernels][attention]") {
  const AttentionDims d = dims_of(1, 1, 4, 3);
  const Tensor qkv = random({6, 12}, DType::kF32, 1);
  const auto run = [&](const std::vector<std::int32_t>& starts) { run_forward(Stream::cpu(1), qkv, d, ids(starts)); };
  CHECK_NOTHROW(run({0, 1, 1, 0, 0, 2}));
  CHECK_THROWS_WITH(run({0, 1, 1, 1, 0, 2}), Catch::Contains("attention starts: 1 at position 0 of row 3"));
  CHECK_THROWS_WITH(run({0, -1, 1, 0, 0, 2}), Catch::Contains("attention starts: -1 at position 1"));
  CHECK_THROWS_WITH(run({0, 0, 0}), Catch::Contains("attention starts"));
}
