#include "analysis/practice/cache_attention.h"

#include "kernels/rope/rope.h"
#include "tests/kernels/support.h"

namespace spikesink {
namespace {

constexpr double kTheta = 50, kSlower = 3;  // the frequencies are divided by that

/// Rows of q, k, v before their rotation, and attention over a cache by plain loops, each pair of a query and a key
/// turned by its own positions inside the cache.
struct Case {
  kernels::AttentionDims dims;
  std::int64_t sequences;
  Tensor raw;                        // (N, W) f64
  std::vector<std::int32_t> starts;  // (N), or empty

  Case(const kernels::AttentionDims& d, std::int64_t B, DType dtype, bool documents)
      : dims(d), sequences(B), raw(test::random({B * d.length, d.qkv_width()}, dtype, 6)) {
    for (std::int64_t n = 0; documents && n < B * d.length; ++n)
      starts.push_back(static_cast<std::int32_t>(n % d.length / 5 * 5));
  }
  Tensor rotated(const Stream& stream) const {
    const Tensor x = stream.empty(raw.shape(), raw.dtype());
    kernels::rope_forward(stream, {.y = x,
                                   .x = test::on(stream, raw),
                                   .num_heads = dims.n_heads + dims.n_kv_heads,
                                   .d_head = dims.d_head,
                                   .length = dims.length,
                                   .theta = kTheta,
                                   .scaling = {.kind = kernels::RopeScaling::Kind::kLinear, .factor = kSlower}});
    return x;
  }
  double score(const std::vector<double>& x, std::int64_t query_row, std::int64_t key_row, std::int64_t head,
               std::int64_t apart) const {
    const std::int64_t W = dims.qkv_width(), D = dims.d_head, kv = head / (dims.n_heads / dims.n_kv_heads);
    const double *q = x.data() + query_row * W + head * D, *k = x.data() + key_row * W + (dims.n_heads + kv) * D;
    double sum = 0;
    for (std::int64_t i = 0; i < D / 2; ++i) {  // (q turned by m) . (k turned by n) = q turned by m - n . k
      const double angle = static_cast<double>(apart) / kSlower *
                           std::pow(kTheta, -2.0 * static_cast<double>(i) / static_cast<double>(D));
      const double low = q[i] * std::cos(angle) - q[i + D / 2] * std::sin(angle);
      const double high = q[i] * std::sin(angle) + q[i + D / 2] * std::cos(angle);
      sum += low * k[i] + high * k[i + D / 2];
    }
    return dims.scale * sum;
  }
  std::vector<double> attended(const CachedKeys& keys) const {
    const std::vector<double> x = test::values(raw);
    const std::int64_t T = dims.length, W = dims.qkv_width(), D = dims.d_head;
    std::vector<double> out;
    for (std::int64_t n = 0; n < sequences * T; ++n)
      for (std::int64_t h = 0; h < dims.n_heads; ++h) {
        const std::int64_t t = n % T, first = n - t, kv = h / (dims.n_heads / dims.n_kv_heads);
        // The cache of query t, as a list: when it is full the oldest that is not kept goes.
        std::vector<std::int64_t> cache;
        for (std::int64_t s = 0; s <= t; ++s) {
          if (std::ssize(cache) == keys.size) cache.erase(cache.begin() + keys.kept);
          cache.push_back(s);
        }
        std::vector<double> weighted(static_cast<std::size_t>(D));
        double total = 0;
        for (std::int64_t place = 0; place < std::ssize(cache); ++place) {
          const std::int64_t s = cache[static_cast<std::size_t>(place)];
          if (!starts.empty() && s < starts[static_cast<std::size_t>(n)]) continue;
          if (s == keys.without && s != t) continue;
          const double weight = std::exp(score(x, n, first + s, h, std::ssize(cache) - 1 - place));
          total += weight;
          for (std::int64_t i = 0; i < D; ++i)
            weighted[static_cast<std::size_t>(i)] +=
                weight * x[static_cast<std::size_t>((first + s) * W + (dims.n_heads + dims.n_kv_heads + kv) * D + i)];
        }
        for (const double value : weighted) out.push_back(value / total);
      }
    return out;
  }
  std::vector<double> computed(const Stream& stream, const CachedKeys* keys) const {
    const Tensor out = stream.empty({sequences * dims.length, dims.out_width()}, raw.dtype()),
                 lse = stream.empty({sequences, dims.n_heads, dims.length}, acc_dtype(raw.dtype())),
                 first = starts.empty() ? Tensor{} : test::on(stream, test::ids(starts));
    const kernels::AttentionForward args{.out = out, .lse = lse, .qkv = rotated(stream), .starts = first, .dims = dims};
    if (keys) {
      CacheAttention cache(stream,
                           {.n_heads = dims.n_heads,
                            .n_kv_heads = dims.n_kv_heads,
                            .d_head = dims.d_head,
                            .rope_theta = kTheta,
                            .rope_scaling = {.kind = RopeScalingKind::kLinear, .factor = kSlower}},
                           *keys);
      CHECK(cache.attention("", args));
    } else {
      kernels::attention_forward(stream, args);
    }
    std::vector<double> all = test::values(out), log_sums = test::values(lse);
    all.insert(all.end(), log_sums.begin(), log_sums.end());
    return all;
  }
};

kernels::AttentionDims dims_of(std::int64_t T) {
  return {.n_heads = 4, .n_kv_heads = 2, .d_head = 6, .length = T, .scale = 0.6};
}

double tolerance(DType dtype) { return dtype == DType::kF64 ? 1e-11 : dtype == DType::kF32 ? 2e-4 : 0.05; }

void check_close(const std::vector<double>& got, const std::vector<double>& want, double tolerance) {
  REQUIRE(got.size() >= want.size());
  double worst = 0;
  for (std::size_t i = 0; i < want.size(); ++i) worst = std::max(worst, std::abs(got[i] - want[i]));
  CHECK(worst < tolerance);
}

}  // namespace

TEST_CASE("a cache of the last tokens and kept first ones is met with its own positions", "[analysis][eviction]") {
  const Stream stream = GENERATE(from_range(test::streams()));
  const DType dtype = GENERATE_COPY(from_range(test::dtypes(stream)));
  const auto [T, size, kept] = GENERATE(table<std::int64_t, std::int64_t, std::int64_t>(
      {{150, 20, 0}, {150, 20, 1}, {150, 70, 4}, {70, 9, 8}, {7, 3, 2}, {5, 1, 0}, {6, 6, 2}, {4, 30, 8}}));
  const bool documents = GENERATE(false, true);
  CAPTURE(name_of(stream.device), name_of(dtype), T, size, kept, documents);
  const Case c(dims_of(T), 2, dtype, documents);
  const CachedKeys keys{.size = size, .kept = kept};
  check_close(c.computed(stream, &keys), c.attended(keys), tolerance(dtype));
}

TEST_CASE("a cache that holds all tokens is plain attention, log-sum-exp too", "[analysis][eviction]") {
  const Stream stream = GENERATE(from_range(test::streams()));
  const DType dtype = GENERATE_COPY(from_range(test::dtypes(stream)));
  const Case c(dims_of(130), 2, dtype, GENERATE(false, true));
  const CachedKeys keys{.size = 130, .kept = GENERATE(0, 4)};
  check_close(c.computed(stream, &keys), c.computed(stream, nullptr), tolerance(dtype));
}

TEST_CASE("without a key that only its own query meets", "[analysis][eviction]") {
  const Stream stream = Stream::cpu(2);
  Case c(dims_of(70), 2, DType::kF64, false);
  const CachedKeys keys{.size = 70, .without = GENERATE(0, 17)};
  check_close(c.computed(stream, &keys), c.attended(keys), 1e-11);
  if (keys.without != 0) return;
  const auto got = c.computed(stream, &keys);
  for (std::int64_t n = 0; n < 140; ++n) c.starts.push_back(n % 70 > 0);
  check_close(got, c.computed(stream, nullptr), 1e-11);
}

TEST_CASE("a cache has room for a token that is not kept", "[analysis][eviction]") {
  const Stream stream = Stream::cpu(1);
  CHECK_THROWS_AS(CacheAttention(stream, {}, {.size = 4, .kept = 4}), ContractError);
  CHECK_THROWS_AS(CacheAttention(stream, {}, {.size = 0}), ContractError);
}

}  // namespace spikesink
