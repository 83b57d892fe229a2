#include "kernels/attention/attention.h"

#include "kernels/attention/flash.h"
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
/// `qkv`, `dout` and `starts` lie where the stream runs.
Forward run_forward(const Stream& stream, const Tensor& qkv, const AttentionDims& d, const Tensor& starts = {}) {
  const std::int64_t N = qkv.shape()[0];
  Forward f{on(stream, poisoned({N, d.out_width()}, qkv.dtype())),
            on(stream, poisoned({N / d.length, d.n_heads, d.length}, acc_dtype(qkv.dtype())))};
  kernels::attention_forward(stream, {.out = f.out, .lse = f.lse, .qkv = qkv, .starts = starts, .dims = d});
  return f;
}
Tensor run_backward(const Stream& stream, const Tensor& qkv, const Tensor& dout, const AttentionDims& d,
                    const Tensor& starts = {}) {
  const Forward f = run_forward(stream, qkv, d, starts);
  Tensor dqkv = on(stream, poisoned(qkv.shape(), qkv.dtype()));
  kernels::attention_backward(
      stream, {.dqkv = dqkv, .dout = dout, .out = f.out, .lse = f.lse, .qkv = qkv, .starts = starts, .dims = d});
  return dqkv;
}
/// Both ways, with the same bits every time: out, lse, dqkv.
std::array<Tensor, 3> run(const Stream& stream, const Tensor& qkv, const Tensor& dout, const AttentionDims& d,
                          const Tensor& starts = {}) {
  const auto outputs = [&] {
    const Forward f = run_forward(stream, qkv, d, starts);
    const Tensor dqkv = on(stream, poisoned(qkv.shape(), qkv.dtype()));
    kernels::attention_backward(
        stream, {.dqkv = dqkv, .dout = dout, .out = f.out, .lse = f.lse, .qkv = qkv, .starts = starts, .dims = d});
    return std::array{f.out, f.lse, dqkv};
  };
  const auto first = repeated(stream, outputs);
  if (stream.device == Device::kCpu) {
    const auto again = outputs();
    for (std::size_t i = 0; i < 3; ++i) CHECK(same_bits(first[i], again[i]));
  }
  return first;
}

/// The T x T softmax, and its textbook gradient: dS = P (dP - sum P dP).
struct AttentionReference {
  std::vector<double> out, lse, dqkv;
};
AttentionReference reference(const Tensor& qkv, const Tensor& dout, const AttentionDims& d, const Tensor& starts = {}) {
  const std::int64_t N = qkv.shape()[0], T = d.length, D = d.d_head, W = d.qkv_width(), O = d.out_width();
  const auto x = values(qkv), g = values(dout);
  const auto size = [](std::int64_t n) { return static_cast<std::size_t>(n); };
  AttentionReference r{std::vector<double>(size(N * O), 0), std::vector<double>(size(N * d.n_heads), 0),
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

/// Scores have a standard deviation of 1 and sums of D terms; dk and dv gather the queries of a group. In bf16 each
/// probability is rounded (half a unit of 2^-8 relative), and so is what is stored; the gradient of a score also has
/// the rounding of `out` in it, through dout . out. cuDNN's backward came to 2.1 units at d_head 256.
void check_against(const AttentionReference& want, const std::array<Tensor, 3>& got) {
  const auto& [out, lse, dqkv] = got;
  const bool is_bf16 = out.dtype() == DType::kBF16;
  check_close(out, want.out, is_bf16 ? 1 : 16);
  check_close(lse, want.lse, 16);
  check_close(dqkv, want.dqkv, is_bf16 ? 3 : 64);
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
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  // Channels that fill their padding and that do not, and that have no aligned rows; lengths around the tiles' borders.
  const auto [B, H, K, D, T] = GENERATE(table<int, int, int, int, int>({{1, 1, 1, 2, 1},
                                                                        {3, 2, 1, 4, 1},
                                                                        {2, 2, 1, 8, 63},
                                                                        {1, 4, 2, 16, 64},
                                                                        {2, 3, 3, 6, 65},
                                                                        {1, 1, 1, 24, 128},
                                                                        {1, 3, 1, 32, 140},
                                                                        {1, 1, 1, 40, 66},
                                                                        {1, 1, 1, 64, 129},
                                                                        {1, 1, 1, 96, 33},
                                                                        {1, 1, 1, 128, 129},
                                                                        {2, 2, 2, 130, 20},
                                                                        {1, 2, 1, 256, 67}}));
  CAPTURE(name_of(stream.device), name_of(dtype), B, H, K, D, T, stream.num_threads);
  const AttentionDims d = dims_of(H, K, D, T);
  const Tensor qkv = random({B * T, d.qkv_width()}, dtype, 1), dout = random({B * T, d.out_width()}, dtype, 2);
  check_against(reference(qkv, dout, d), run(stream, on(stream, qkv), on(stream, dout), d));
}

// attention_forward() leaves these to cuDNN where it is there, so that the cases above would not show the kernel.
TEST_CASE("the hand-written kernel on tensor cores serves what cuDNN may be given, with documents too",
          "[kernels][attention]") {
  if (!has_gpu()) return skipped();
  const Stream& stream = cuda_stream();
  const auto [B, H, K, D, T] = GENERATE(table<int, int, int, int, int>(
      {{2, 2, 1, 64, 64}, {1, 3, 3, 64, 150}, {1, 2, 1, 128, 64}, {1, 1, 1, 128, 130}, {1, 2, 2, 96, 65}}));
  const bool documents = GENERATE(false, true);
  CAPTURE(B, H, K, D, T, documents);
  const AttentionDims d = dims_of(H, K, D, T);
  const Tensor qkv = random({B * T, d.qkv_width()}, DType::kBF16, 1),
               dout = random({B * T, d.out_width()}, DType::kBF16, 2),
               starts = documents ? packed(B * T, T, {3, 70, 1, 20}) : Tensor{};
  if (kCudaEmulated)
    CHECK(kernels::attention_plan(stream, d, B, DType::kBF16, documents).cudnn_backward == (!documents && D != 96));
  const Tensor x = on(stream, qkv), g = on(stream, dout), first = starts ? on(stream, starts) : Tensor{};
  const auto got = repeated(stream, [&, B = B, H = H, T = T] {
    const std::array outputs{on(stream, poisoned(dout.shape(), DType::kBF16)),
                             on(stream, poisoned({B, H, T}, DType::kF32)),
                             on(stream, poisoned(qkv.shape(), DType::kBF16))};
    const auto& [out, lse, dqkv] = outputs;
    if constexpr (kHasCuda) {
      using namespace kernels;
      const Tensor memory = stream.empty({cuda::flash_backward_bytes(d, B * T, documents)}, DType::kU8);
      cuda::flash_forward_bf16(stream, {.out = out, .lse = lse, .qkv = x, .starts = first, .dims = d});
      cuda::flash_backward_bf16(stream,
                                {.dqkv = dqkv, .dout = g, .out = out, .lse = lse, .qkv = x, .starts = first, .dims = d},
                                Scratch(memory.raw()));
    }
    return outputs;
  });
  check_against(reference(qkv, dout, d, starts), got);
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
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  CAPTURE(name_of(stream.device), name_of(dtype));
  const AttentionDims d = dims_of(2, 1, 8, 70);
  const Tensor qkv = random({140, d.qkv_width()}, dtype, 1);
  const Tensor before = run_forward(stream, on(stream, qkv), d).out;
  // Other tokens from position 66 of the first sequence on, and the whole second one.
  const Tensor mixed = random({140, d.qkv_width()}, dtype, 2);
  std::memcpy(mixed.raw(), qkv.raw(), static_cast<std::size_t>(qkv.slice(0, {66, d.qkv_width()}).bytes()));
  const Tensor after = run_forward(stream, on(stream, mixed), d).out;
  // The last visible block has the same rows either way, so even the bits agree.
  CHECK(same_bits(before.slice(0, {66, d.out_width()}), after.slice(0, {66, d.out_width()})));
  CHECK_FALSE(
      same_bits(before.slice(66 * d.out_width(), {d.out_width()}), after.slice(66 * d.out_width(), {d.out_width()})));
}

TEST_CASE("a NaN in one sequence or head stays there, forward and backward", "[kernels][attention]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  // A wide and a narrow head; tiles reach beyond the end of the sequence, into the rows of the next.
  const std::int64_t D = GENERATE(8, 10), T = 19;
  CAPTURE(name_of(stream.device), name_of(dtype), D);
  const AttentionDims d = dims_of(2, 2, D, T);
  auto x = values(random({3 * T, d.qkv_width()}, dtype, 1)), g = values(random({3 * T, d.out_width()}, dtype, 2));
  const auto at = [&](std::int64_t n, std::int64_t column, std::int64_t width) {
    return static_cast<std::size_t>(n * width + column);
  };
  x[at(T, 1 * D + 2, d.qkv_width())] = NAN;      // a query, the first of sequence 1, head 1
  x[at(T + 3, 3 * D + 1, d.qkv_width())] = NAN;  // a key
  x[at(2 * T - 1, 5 * D, d.qkv_width())] = NAN;  // a value, the last
  g[at(T + 5, 1 * D, d.out_width())] = NAN;
  const auto [out, lse, dqkv] = run(stream, on(stream, from_values({3 * T, d.qkv_width()}, dtype, x)),
                                    on(stream, from_values({3 * T, d.out_width()}, dtype, g)), d);
  const auto finite = [&](const Tensor& t, std::int64_t heads) {
    const auto all = values(t);
    for (std::int64_t n = 0; n < 3 * T; ++n)
      for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t c = 0; c < D; ++c) {
          const bool is_finite = std::isfinite(all[at(n, h * D + c, heads * D)]);
          if (n / T != 1 || h % 2 != 1) REQUIRE(is_finite);
        }
    return std::isfinite(all[at(T + 4, 1 * D, heads * D)]);
  };
  CHECK_FALSE(finite(out, 2));
  CHECK_FALSE(finite(dqkv, 6));
}

TEST_CASE("attention reads slices that begin anywhere", "[kernels][attention]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  CAPTURE(name_of(stream.device), name_of(dtype));
  const AttentionDims d = dims_of(2, 1, 16, 20);
  const Tensor qkv = on(stream, random({40, d.qkv_width()}, dtype, 1)),
               dout = on(stream, random({40, d.out_width()}, dtype, 2));
  const auto shifted = [&](const Tensor& t) {
    const Tensor slice = stream.empty({t.numel() + 1}, t.dtype()).slice(1, t.shape());
    stream.copy(slice, t);
    return slice;
  };
  const auto want = run(stream, qkv, dout, d);
  const Tensor out = shifted(want[0]), lse = shifted(want[1]), dqkv = shifted(want[2]);
  for (const Tensor& t : {out, lse, dqkv}) stream.clear(t);
  const Tensor there = shifted(qkv), gradient = shifted(dout);
  kernels::attention_forward(stream, {.out = out, .lse = lse, .qkv = there, .dims = d});
  kernels::attention_backward(stream,
                              {.dqkv = dqkv, .dout = gradient, .out = out, .lse = lse, .qkv = there, .dims = d});
  CHECK(same_bits(out, want[0]));
  CHECK(same_bits(lse, want[1]));
  // dout . out may be summed in another order, and matrix products on the CPU take another path.
  check_close(dqkv, values(want[2]), dtype == DType::kBF16 ? 1 : 16);
}

TEST_CASE("attention stands scores far beyond the range of exp", "[kernels][attention]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  CAPTURE(name_of(stream.device), name_of(dtype));
  const AttentionDims d = dims_of(1, 1, 4, 5);
  std::vector<double> x(5 * 12, 100);  // scores of 20000
  for (std::size_t t = 0; t < 5; ++t)
    for (std::size_t c = 8; c < 12; ++c) x[t * 12 + c] = static_cast<double>(t);
  const auto [out, lse] = run_forward(stream, on(stream, from_values({5, 12}, dtype, x)), d);
  for (std::size_t t = 0; t < 5; ++t) {
    CHECK(values(out)[4 * t] == Approx(static_cast<double>(t) / 2).epsilon(dtype == DType::kBF16 ? 0x1p-7 : 1e-5));
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

TEST_CASE("attention on a GPU refuses an odd d_head and one above 256, dry too", "[kernels][attention]") {
  const Stream stream = Stream::dry_run(Device::kCuda);
  const auto run = [&](std::int64_t D) {
    kernels::attention_forward(stream, {.out = stream.empty({6, D}, DType::kBF16),
                                        .lse = stream.empty({1, 1, 6}, DType::kF32),
                                        .qkv = stream.empty({6, 3 * D}, DType::kBF16),
                                        .dims = dims_of(1, 1, D, 6)});
  };
  CHECK_NOTHROW(run(8));
  CHECK_THROWS_WITH(run(7), Catch::Contains("d_head 7"));
  CHECK_THROWS_WITH(run(258), Catch::Contains("d_head 258"));
}

TEST_CASE("attention takes the same memory dry as in earnest, and counts its products", "[kernels][attention]") {
  for (const Stream& stream : streams()) {
    const DType dtype = dtypes(stream).back();
    CAPTURE(name_of(stream.device), stream.num_threads);
    const AttentionDims d = dims_of(4, 2, 8, 70);
    const auto peak = [&](const Stream& of) {
      const Tensor qkv = of.zeros({140, d.qkv_width()}, dtype), dqkv = of.empty({140, d.qkv_width()}, dtype),
                   out = of.empty({140, d.out_width()}, dtype), dout = of.zeros({140, d.out_width()}, dtype),
                   lse = of.empty({2, 4, 70}, acc_dtype(dtype)), starts = of.zeros({140}, DType::kI32);
      const std::int64_t held = of.pool->live_bytes();
      of.pool->reset_peak();
      kernels::attention_forward(of, {.out = out, .lse = lse, .qkv = qkv, .starts = starts, .dims = d});
      kernels::attention_backward(
          of, {.dqkv = dqkv, .dout = dout, .out = out, .lse = lse, .qkv = qkv, .starts = starts, .dims = d});
      of.synchronize();
      return of.pool->peak_bytes() - held;
    };
    const Stream dry = Stream::dry_run(stream.device, stream.num_threads);
    CHECK(peak(dry) == peak(stream));
    // Two products of 2 D operations a visible pair forward, four backward; what is computed again is not counted.
    CHECK(dry.dry->flops == 6 * 2 * 8 * 4 * 2 * (70 * 71 / 2));
  }
}

TEST_CASE("attention with documents sees from the start of its own on, forward and backward", "[kernels][attention]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const auto [B, H, K, D, T] = GENERATE(table<int, int, int, int, int>({{1, 1, 1, 2, 1},
                                                                        {2, 2, 1, 8, 63},
                                                                        {2, 3, 3, 6, 65},
                                                                        {1, 2, 1, 16, 200},
                                                                        {1, 2, 2, 32, 130},
                                                                        {1, 2, 1, 256, 67}}));
  // Of one token each, across the edges of blocks, longer than several blocks.
  const std::vector<std::int32_t> lengths =
      GENERATE(std::vector<std::int32_t>{1}, std::vector<std::int32_t>{3, 70, 1, 20}, std::vector<std::int32_t>{64},
               std::vector<std::int32_t>{1000});
  CAPTURE(name_of(stream.device), name_of(dtype), B, H, K, D, T, lengths, stream.num_threads);
  if (stream.device == Device::kCuda && D == 256 && lengths[0] != 3) return;  // slow where it is emulated
  const AttentionDims d = dims_of(H, K, D, T);
  const Tensor qkv = random({B * T, d.qkv_width()}, dtype, 1), dout = random({B * T, d.out_width()}, dtype, 2),
               starts = packed(B * T, T, lengths);
  const Tensor x = on(stream, qkv), g = on(stream, dout);
  const auto got = run(stream, x, g, d, on(stream, starts));
  check_against(reference(qkv, dout, d, starts), got);
  // A document fills each sequence: nothing changes, not even a bit, where the same kernel serves.
  const auto plan = kernels::attention_plan(stream, d, B, dtype, false);
  if (lengths[0] == 1000 && !plan.cudnn_forward && !plan.cudnn_backward) {
    CHECK(same_bits(run_forward(stream, x, d).out, got[0]));
    CHECK(same_bits(run_backward(stream, x, g, d), got[2]));
  }
}

TEST_CASE("attention takes starts that do not rise from query to query", "[kernels][attention]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  CAPTURE(name_of(stream.device), name_of(dtype));
  const AttentionDims d = dims_of(2, 1, 4, 140);
  const Tensor qkv = random({140, d.qkv_width()}, dtype, 1), dout = random({140, d.out_width()}, dtype, 2);
  std::vector<std::int32_t> first;
  for (std::int32_t t = 0; t < 140; ++t) first.push_back(t < 70 ? t * 37 % (t + 1) : t - t * 37 % 70);
  const Tensor starts = ids(first);
  check_against(reference(qkv, dout, d, starts), run(stream, on(stream, qkv), on(stream, dout), d, on(stream, starts)));
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
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  CAPTURE(name_of(stream.device), name_of(dtype));
  const AttentionDims d = dims_of(1, 1, 4, 300);
  auto x = values(random({300, d.qkv_width()}, dtype, 1));
  const Tensor starts = packed(300, 300, {70, 90, 140});  // documents begin at 0, 70 and 160
  x[3 * 12 + 5] = NAN;                                    // the key of position 3
  x[3 * 12 + 9] = NAN;                                    // and its value
  const auto out =
      values(run_forward(stream, on(stream, from_values({300, d.qkv_width()}, dtype, x)), d, on(stream, starts)).out);
  for (std::size_t t = 256; t < 300; ++t) CHECK(std::isfinite(out[t * 4]));
  CHECK(std::isnan(out[3 * 4 + 1]));
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
