#include "analysis/study/keys.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <span>

#include "analysis/sinks.h"
#include "analysis/study/distribution.h"
#include "analysis/study/eigen.h"
#include "analysis/study/passes.h"
#include "kernels/core/parallel.h"
#include "kernels/linear/gemm.h"
#include "kernels/metrics/attention_mass.h"

namespace spikesink {
namespace {

using Index = std::map<std::string, std::size_t, std::less<>>;  // path -> layer, in the order of first sight

/// Sink tokens of every sequence.
class Voter final : public StudyObserver {
 public:
  explicit Voter(const Study& study) : study_(study), votes_(study.tokens.size()) {}
  void begin_pass(std::int64_t first, std::int64_t) override { first_ = first; }
  void attention(std::string_view path, const AttentionTap& tap) override {
    const auto [at, is_new] = index_.try_emplace(std::string(path), sinks_.size());
    if (is_new) sinks_.emplace_back(static_cast<std::size_t>(tap.dims.n_heads));
    const std::int64_t T = tap.dims.length, H = tap.dims.n_heads, B = tap.lse.shape()[0];
    const Tensor mass = study_.stream.empty(tap.lse.shape(), tap.lse.dtype());  // (B, H, T)
    kernels::attention_mass(study_.stream,
                            {.alpha = mass, .qkv = tap.qkv, .lse = tap.lse, .starts = tap.starts, .dims = tap.dims});
    const auto alpha = host_values(study_.stream, mass);
    for (std::int64_t b = 0; b < B; ++b)
      for (std::int64_t h = 0; h < H; ++h) {
        const std::span row(alpha.data() + (b * H + h) * T, static_cast<std::size_t>(T));
        const auto sink = sink_of(row, study_.sink_epsilon);
        if (!sink) continue;
        ++votes_[static_cast<std::size_t>((first_ + b) * T + *sink)];
        ++sinks_[at->second][static_cast<std::size_t>(h)];
      }
  }
  /// (S) 0-based.
  std::vector<std::int64_t> positions() const {
    std::vector<std::int64_t> out;
    for (auto row = votes_.begin(); row != votes_.end(); row += study_.length)
      out.push_back(std::max_element(row, row + study_.length) - row);
    return out;
  }

  /// Sequences that have a sink in any head.
  std::int64_t num_with_sink() const {
    std::int64_t count = 0;
    for (auto row = votes_.begin(); row != votes_.end(); row += study_.length)
      count += std::any_of(row, row + study_.length, [](std::int64_t votes) { return votes > 0; });
    return count;
  }
  /// Sequences whose sink position is the first.
  std::int64_t num_at_first() const {
    std::int64_t count = 0;
    for (auto row = votes_.begin(); row != votes_.end(); row += study_.length)
      count += *row > 0 && *row == *std::max_element(row, row + study_.length);
    return count;
  }
  std::size_t num_layers() const { return sinks_.size(); }
  /// (layer, head): share of sequences in which it is a sink head.
  std::vector<double> shares() const {
    std::vector<double> out;
    for (const auto& layer : sinks_)
      for (const std::int64_t count : layer)
        out.push_back(static_cast<double>(count) / static_cast<double>(study_.sequences()));
    return out;
  }

 private:
  const Study& study_;
  Index index_;
  std::vector<std::int64_t> votes_;               // (S, T)
  std::vector<std::vector<std::int64_t>> sinks_;  // (layer, head): sequences
  std::int64_t first_ = 0;
};

/// Points in D dimensions, by their moments.
struct Cloud {
  explicit Cloud(std::int64_t D) : sum(static_cast<std::size_t>(D)), squares(static_cast<std::size_t>(D * D)) {}

  double count = 0;
  std::vector<double> sum, squares;  // (D), (D, D)

  /// Rows (n, D).
  void add(const Stream& cpu, const std::vector<double>& rows) {
    if (rows.empty()) return;
    const std::int64_t D = std::ssize(sum), n = std::ssize(rows) / D;
    count += static_cast<double>(n);
    for (std::size_t i = 0; i < rows.size(); ++i) sum[i % static_cast<std::size_t>(D)] += rows[i];
    kernels::cpu::gemm<double>(cpu, squares.data(), D, {rows.data(), D, true}, {rows.data(), D}, D, D, n, 1, 1);
  }
  /// All zeros where there is no point, and where what is left beside the mean is rounding: the points are one.
  std::vector<double> covariance() const {
    std::vector<double> out = squares;
    if (count == 0) return out;
    const std::size_t D = sum.size();
    double variance = 0, size = 0;
    for (std::size_t i = 0; i < D; ++i)
      for (std::size_t j = 0; j < D; ++j) out[i * D + j] = (out[i * D + j] - sum[i] * sum[j] / count) / count;
    for (std::size_t i = 0; i < D; ++i) variance += out[i * D + i], size += squares[i * D + i] / count;
    if (!(variance > 1e-12 * size)) std::ranges::fill(out, 0.0);
    return out;
  }
};

/// Sums over queries of one head.
struct Logits {
  double sink = 0, others = 0, count = 0;
};

/// What is drawn of one head.
struct Points {
  std::vector<double> q, sink, others;  // (n, D) each
};

struct Head {
  Logits logits;
  Points points;
  bool is_plotted = false;
};
struct KeyHead {
  explicit KeyHead(std::int64_t D) : sink(D), others(D) {}
  Cloud sink, others;
};
struct KeyLayer {
  std::vector<Head> heads;
  std::vector<KeyHead> keys;
};

class KeyObserver final : public StudyObserver {
 public:
  KeyObserver(const Study& study, std::vector<std::int64_t> sinks, std::size_t num_layers)
      : layers(num_layers), study_(study), sinks_(std::move(sinks)), cpu_(Stream::cpu()) {
    const AttentionConfig& c = study.model.config().attention;
    for (KeyLayer& layer : layers) {
      layer.heads.resize(static_cast<std::size_t>(c.n_heads));
      layer.keys.resize(static_cast<std::size_t>(c.kv_heads()), KeyHead(c.d_head));
    }
  }
  void begin_pass(std::int64_t first, std::int64_t) override { first_ = first; }
  void attention(std::string_view path, const AttentionTap& tap) override {
    KeyLayer& layer = layers[index_.try_emplace(std::string(path), index_.size()).first->second];
    const auto qkv = host_values(study_.stream, tap.qkv);
    const Tensor starts = tap.starts ? study_.stream.on_host(tap.starts) : Tensor{};
    const std::int64_t H = tap.dims.n_heads, K = tap.dims.n_kv_heads;
    kernels::cpu::parallel_tasks(cpu_, H + K, [&](std::int64_t task) {
      if (task < H)
        add_queries(layer.heads[static_cast<std::size_t>(task)], task, qkv, starts, tap.dims);
      else
        add_keys(layer.keys[static_cast<std::size_t>(task - H)], task - H, qkv, tap.dims);
    });
  }

  std::vector<KeyLayer> layers;

 private:
  void add_keys(KeyHead& head, std::int64_t k, const std::vector<double>& qkv, const kernels::AttentionDims& d) const {
    std::vector<double> sink, others;
    for (std::int64_t n = 0; n < std::ssize(qkv) / d.qkv_width(); ++n) {
      const double* key = qkv.data() + n * d.qkv_width() + (d.n_heads + k) * d.d_head;
      auto& rows = n % d.length == sink_of(n, d) ? sink : others;
      rows.insert(rows.end(), key, key + d.d_head);
    }
    head.sink.add(cpu_, sink);
    head.others.add(cpu_, others);
  }

  void add_queries(Head& head, std::int64_t h, const std::vector<double>& qkv, const Tensor& starts,
                   const kernels::AttentionDims& d) const {
    const std::int64_t D = d.d_head, W = d.qkv_width(), T = d.length;
    const auto dot = [D](const double* a, const double* b) { return std::inner_product(a, a + D, b, 0.0); };
    std::vector<double> seen(static_cast<std::size_t>(D));  // sum of the keys that a query sees
    const std::int64_t step = (study_.sequences() * T + kPlottedPoints - 1) / kPlottedPoints,
                       sink_step = (study_.sequences() + kPlottedPoints - 1) / kPlottedPoints;
    for (std::int64_t n = 0; n < std::ssize(qkv) / W; ++n) {
      const double *q = qkv.data() + n * W + h * D,
                   *keys = qkv.data() + (d.n_heads + h / (d.n_heads / d.n_kv_heads)) * D, *key = keys + n * W;
      const std::int64_t t = n % T, p = sink_of(n, d), start = starts ? starts.data<std::int32_t>()[n] : 0;
      if (t == start) std::ranges::fill(seen, 0.0);
      for (std::size_t c = 0; c < seen.size(); ++c) seen[c] += key[c];
      if (head.is_plotted) {
        const auto put = [&](std::vector<double>& rows, const double* row) { rows.insert(rows.end(), row, row + D); };
        const std::int64_t all = first_ * T + n;
        if (all % step == 0) put(head.points.q, q);
        if (t == p && all / T % sink_step == 0) put(head.points.sink, key);
        if (t != p && all % step == 0) put(head.points.others, key);
      }
      if (t <= p || start > p) continue;
      const double sink = dot(q, keys + (n - t + p) * W);
      head.logits.sink += d.scale * sink;
      head.logits.others += d.scale * (dot(q, seen.data()) - sink) / static_cast<double>(t - start);
      ++head.logits.count;
    }
  }

  std::int64_t sink_of(std::int64_t n, const kernels::AttentionDims& d) const {
    return sinks_[static_cast<std::size_t>(first_ + n / d.length)];
  }

  const Study& study_;
  std::vector<std::int64_t> sinks_;
  Stream cpu_;
  Index index_;
  std::int64_t first_ = 0;
};

/// Heads as layer * H + head, those with the largest and the smallest sink shares.
std::vector<std::size_t> plotted_heads(const std::vector<double>& shares) {
  std::vector<std::size_t> order(shares.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::greater{}, [&](std::size_t i) { return shares[i]; });
  const std::size_t n = std::min(kPlottedHeads, order.size());
  order.erase(order.begin() + static_cast<std::ptrdiff_t>(n - n / 2), order.end() - static_cast<std::ptrdiff_t>(n / 2));
  return order;
}

void write_points(const std::vector<const Head*>& heads, std::int64_t D, const Stream& cpu, Results& results) {
  std::array<std::vector<double>, 3> points;
  std::vector<double> variance;
  for (const Head* head : heads) {
    const std::array kinds{&head->points.q, &head->points.sink, &head->points.others};
    Cloud cloud(D);
    for (const auto* rows : kinds) cloud.add(cpu, *rows);
    const Eigenpairs axes = symmetric_eigenpairs(cloud.covariance(), D);
    const double all = std::accumulate(axes.values.begin(), axes.values.end(), 0.0);
    for (std::size_t axis = 0; axis < 2; ++axis) variance.push_back(axes.values[axis] / all);
    for (std::size_t kind = 0; kind < kinds.size(); ++kind)
      for (auto row = kinds[kind]->begin(); row != kinds[kind]->end(); row += D)
        for (std::size_t axis = 0; axis < 2; ++axis) {
          double along = 0;
          for (std::int64_t c = 0; c < D; ++c)
            along += (row[c] - cloud.sum[static_cast<std::size_t>(c)] / cloud.count) *
                     axes.vectors[axis][static_cast<std::size_t>(c)];
          points[kind].push_back(along);
        }
  }
  const auto n = std::ssize(heads);
  const char* const names[] = {"points/q", "points/sink_keys", "points/other_keys"};
  for (std::size_t kind = 0; kind < points.size(); ++kind) {
    const auto rows = std::ssize(points[kind]) / (2 * n);
    results.array(names[kind], std::move(points[kind]), {n, rows, 2}, "activation",
                  "(plotted head, point, axis): along the first two principal components of all points of the head");
  }
  results.array("points/variance", std::move(variance), {n, 2}, "1",
                "(plotted head, axis): share of the variance of these points");
}

}  // namespace

double participation_ratio(const std::vector<double>& covariance, std::int64_t D) {
  double trace = 0, squares = 0;
  for (std::int64_t i = 0; i < D; ++i) trace += covariance[static_cast<std::size_t>(i * D + i)];
  for (const double c : covariance) squares += c * c;
  return squares > 0 ? trace * trace / squares : 0;
}

void key_geometry(const Study& study, Results& results) {
  Voter voter(study);
  run_passes(study, voter, 0, 0.4);
  const std::vector<double> shares = voter.shares();
  const auto positions = voter.positions();
  KeyObserver observer(study, positions, voter.num_layers());
  const AttentionConfig& config = study.model.config().attention;
  const std::int64_t L = std::ssize(observer.layers), H = config.n_heads, K = config.kv_heads(), D = config.d_head;
  std::vector<std::int64_t> plotted;
  std::vector<const Head*> drawn;
  for (const std::size_t i : plotted_heads(shares)) {
    plotted.insert(plotted.end(), {static_cast<std::int64_t>(i) / H + 1, static_cast<std::int64_t>(i) % H + 1});
    Head& head = observer.layers[i / static_cast<std::size_t>(H)].heads[i % static_cast<std::size_t>(H)];
    head.is_plotted = true;
    drawn.push_back(&head);
  }
  run_passes(study, observer, 0.4, 1);

  std::vector<double> sink_dimension, other_dimension, sink, others, gap;
  std::array<std::vector<double>, 2> sink_dimensions, other_dimensions, gaps;  // of sink heads, of others
  for (const KeyLayer& layer : observer.layers)
    for (std::int64_t h = 0; h < H; ++h) {
      const auto& [logits, points, is_plotted] = layer.heads[static_cast<std::size_t>(h)];
      const KeyHead& keys = layer.keys[static_cast<std::size_t>(h / (H / K))];
      const std::size_t kind = is_sink_head(shares[sink.size()]) ? 0 : 1;
      sink.push_back(logits.sink / logits.count);
      others.push_back(logits.others / logits.count);
      gap.push_back(sink.back() - others.back());
      sink_dimension.push_back(participation_ratio(keys.sink.covariance(), D));
      other_dimension.push_back(participation_ratio(keys.others.covariance(), D));
      const auto keep = [&](auto& of, double value) {
        if (!std::isnan(value)) of[kind].push_back(value);
      };
      keep(gaps, gap.back());
      keep(sink_dimensions, sink_dimension.back());
      keep(other_dimensions, other_dimension.back());
    }
  const auto means = [](const std::array<std::vector<double>, 2>& of) {
    return nlohmann::ordered_json{{"sink_heads", mean_of(of[0])}, {"other_heads", mean_of(of[1])}};
  };
  results.summary = {{"sink_heads", std::ranges::count_if(shares, is_sink_head)},
                     {"sink_at_first_position",
                      static_cast<double>(voter.num_at_first()) / static_cast<double>(voter.num_with_sink())},
                     {"dimension_of_sink_keys", means(sink_dimensions)},
                     {"dimension_of_other_keys", means(other_dimensions)},
                     {"logit_gap", means(gaps)}};
  results.array("sink_position", positions, {study.sequences()}, "1",
                "(sequence): 0-based position that is the sink of most heads; 0 where none has a sink");
  const auto array = [&](const char* name, std::vector<double> values, const char* unit, const char* meaning) {
    results.array(name, std::move(values), {L, H}, unit, meaning);
  };
  array("sink_share", shares, "1", "(layer, head): share of sequences in which it is a sink head");
  array("sink_dimension", std::move(sink_dimension), "1",
        "(layer, head): participation ratio of the covariance of its sink keys, over sequences");
  array("other_dimension", std::move(other_dimension), "1", "(layer, head): the same of its other keys");
  array("sink_logit", std::move(sink), "nats", "(layer, head): mean logit of queries on the sink key");
  array("other_logit", std::move(others), "nats", "(layer, head): mean logit of the same queries on the other keys");
  array("logit_gap", std::move(gap), "nats", "(layer, head): sink_logit - other_logit");
  results.array("points/heads", std::move(plotted), {std::ssize(drawn), 2}, "1",
                "(plotted head, which): 1-based layer and head");
  write_points(drawn, D, Stream::cpu(), results);
}

}  // namespace spikesink
