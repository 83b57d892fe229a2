#include "analysis/practice/cache_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/core/parallel.h"
#include "kernels/linear/gemm.h"
#include "kernels/rope/rope.h"
#include "models/layers/attention.h"

namespace spikesink {
namespace {

constexpr std::int64_t kQueries = 64;  // that meet their keys at a time

/// cos and sin of the angles of positions 0 to T - 1, a row of D each: what the rotation makes of (1, .. | 0, ..).
template <class T>
std::vector<T> rotations(const Stream& host, const AttentionConfig& c, std::int64_t length) {
  const std::int64_t D = c.d_head;
  const Tensor x = host.zeros({length, D}, dtype_of<T>());
  for (std::int64_t t = 0; t < length; ++t) std::fill_n(x.data<T>() + t * D, D / 2, T(1));
  kernels::rope_forward(host, {.y = x,
                               .x = x,
                               .num_heads = 1,
                               .d_head = D,
                               .length = length,
                               .theta = c.rope_theta,
                               .scaling = rope_scaling(c.rope_scaling)});
  return {x.span<T>().begin(), x.span<T>().end()};
}

/// One attention product on the host.
template <class T>
struct Product {
  const CachedKeys& keys;
  const kernels::AttentionDims& dims;
  const std::vector<T>& rotation;  // (T, D)
  const std::vector<T>& qkv;
  const Tensor& starts;  // on the host
  std::vector<T>&out, &lse;

  void block(const Stream& host, std::int64_t sequence, std::int64_t head, std::int64_t first) const;
  /// The query's position in its cache, where it is not its own: moved to there from position t.
  void turn_back(T* to, const T* q, std::int64_t by) const;
  void softmax(T* row, std::int64_t n, std::int64_t t, std::int64_t oldest, T* log_sum) const;
};

template <class T>
void Product<T>::turn_back(T* to, const T* q, std::int64_t by) const {
  const std::int64_t half = dims.d_head / 2;
  const T *cos = rotation.data() + by * dims.d_head, *sin = cos + half;
  for (std::int64_t i = 0; i < half; ++i) {
    to[i] = q[i] * cos[i] + q[i + half] * sin[i];
    to[i + half] = q[i + half] * cos[i] - q[i] * sin[i];
  }
}

// A row of scores has the kept keys first, met from inside the cache, and then keys `oldest` on, as far as they are
// apart; which of them the query meets is decided here.
template <class T>
void Product<T>::softmax(T* row, std::int64_t n, std::int64_t t, std::int64_t oldest, T* log_sum) const {
  const bool full = t >= keys.size;
  const std::int64_t window = full ? t - (keys.size - keys.kept) + 1 : 0;
  const std::int64_t start = starts ? starts.data<std::int32_t>()[n] : 0;
  const std::int64_t recent = n % dims.length + 1 - oldest;
  const auto met = [&](std::int64_t column) {
    const bool is_kept = column < keys.kept;
    const std::int64_t s = is_kept ? column : oldest + column - keys.kept;
    return s >= start && (s == t || s != keys.without) && (is_kept ? full : s >= window);
  };
  T top = -std::numeric_limits<T>::infinity(), sum = 0;
  for (std::int64_t i = 0; i < keys.kept + recent; ++i)
    if (met(i)) top = std::max(top, row[i]);
  for (std::int64_t i = 0; i < keys.kept + recent; ++i) sum += row[i] = met(i) ? std::exp(row[i] - top) : T(0);
  for (std::int64_t i = 0; i < keys.kept + recent; ++i) row[i] /= sum;
  *log_sum = top + std::log(sum);
}

template <class T>
void Product<T>::block(const Stream& host, std::int64_t sequence, std::int64_t head, std::int64_t first) const {
  using kernels::cpu::gemm;
  const std::int64_t length = dims.length, D = dims.d_head, W = dims.qkv_width(), O = dims.out_width();
  const std::int64_t kept = keys.kept, rows = std::min(kQueries, length - first), end = first + rows;
  const std::int64_t oldest = first < keys.size ? 0 : first - (keys.size - kept) + 1;
  const std::int64_t width = kept + end - oldest;
  const T* base = qkv.data() + sequence * length * W;
  const T* q = base + first * W + head * D;
  const T* k = base + (dims.n_heads + head / (dims.n_heads / dims.n_kv_heads)) * D;
  const T* v = k + dims.n_kv_heads * D;
  std::vector<T> scores(static_cast<std::size_t>(rows * width)), turned(static_cast<std::size_t>(rows * D));
  for (std::int64_t r = 0; r < rows; ++r)
    turn_back(turned.data() + r * D, q + r * W, std::max<std::int64_t>(first + r - (keys.size - 1), 0));
  const T scale = static_cast<T>(dims.scale);
  if (kept > 0) gemm<T>(host, scores.data(), width, {turned.data(), D}, {k, W, true}, rows, kept, D, scale);
  gemm<T>(host, scores.data() + kept, width, {q, W}, {k + oldest * W, W, true}, rows, end - oldest, D, scale);
  T* log_sums = lse.data() + (sequence * dims.n_heads + head) * length + first;
  for (std::int64_t r = 0; r < rows; ++r) {
    T* const row = scores.data() + r * width;
    softmax(row, sequence * length + first + r, first + r, oldest, log_sums + r);
    std::fill(row + kept + first + r + 1 - oldest, row + width, T(0));
  }
  T* const to = out.data() + (sequence * length + first) * O + head * D;
  gemm<T>(host, to, O, {scores.data() + kept, width}, {v + oldest * W, W}, rows, D, end - oldest);
  if (kept > 0) gemm<T>(host, to, O, {scores.data(), width}, {v, W}, rows, D, kept, 1, 1);
}

}  // namespace

CacheAttention::CacheAttention(const Stream& stream, const AttentionConfig& config, const CachedKeys& keys)
    : stream_(stream), config_(config), keys_(keys) {
  require(0 <= keys.kept && keys.kept < keys.size, "CacheAttention: ", keys.kept, " kept tokens in a cache of ",
          keys.size);
}

bool CacheAttention::attention(std::string_view, const kernels::AttentionForward& a) {
  const Stream host = stream_.device == Device::kCpu ? stream_ : Stream::cpu();
  CachedKeys keys = keys_;
  if (keys.size >= a.dims.length) keys.kept = 0;  // nothing ever leaves, so none is kept apart
  const Tensor on_host = stream_.on_host(a.qkv), starts = a.starts ? stream_.on_host(a.starts) : Tensor{};
  with_stored_dtype(a.qkv.dtype(), [&]<class Stored>() {
    using T = acc_t<Stored>;
    const std::vector<T> qkv(on_host.span<Stored>().begin(), on_host.span<Stored>().end());
    const std::vector<T> rotation = rotations<T>(host, config_, a.dims.length);
    std::vector<T> out(static_cast<std::size_t>(a.out.numel())), lse(static_cast<std::size_t>(a.lse.numel()));
    const Product<T> product{keys, a.dims, rotation, qkv, starts, out, lse};
    const std::int64_t heads = a.lse.shape()[0] * a.dims.n_heads, blocks = (a.dims.length + kQueries - 1) / kQueries;
    kernels::cpu::parallel_tasks(host, heads * blocks, [&](std::int64_t task) {
      const std::int64_t head = task % heads;
      product.block(host, head / a.dims.n_heads, head % a.dims.n_heads, task / heads * kQueries);
    });
    stream_.upload(a.lse, lse.data());
    stream_.upload(a.out, std::vector<Stored>(out.begin(), out.end()).data());
  });
  return true;
}

}  // namespace spikesink
