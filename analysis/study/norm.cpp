#include "analysis/study/norm.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>

#include "analysis/study/passes.h"
#include "analysis/study/spike_places.h"

namespace spikesink {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

/// What the tokens of a class are like at the input of a block.
struct Tokens {
  double count = 0, max = 0, maxima = 0, scaled_max = 0, spike_share = 0, participation = 0;
  std::vector<double> directions;  // (C) sum of x / |x|

  double mean(double sum) const { return count > 0 ? sum / count : kNone; }
  /// Over pairs of tokens: |sum u|^2 = n + sum over ordered pairs of u.v, for unit vectors.
  double cosine() const {
    double squares = 0;
    for (const double value : directions) squares += value * value;
    return count > 1 ? (squares - count) / (count * (count - 1)) : kNone;
  }
};

/// The block's norm without its scale and bias, in place.
void normalise(std::span<double> x, NormKind kind, double eps, double alpha) {
  const auto C = static_cast<double>(x.size());
  double mean = 0, squares = 0;
  if (kind == NormKind::kDynamicTanh) {
    for (double& value : x) value = std::tanh(alpha * value);
    return;
  }
  if (kind == NormKind::kLayerNorm)
    for (const double value : x) mean += value / C;
  for (const double value : x) squares += (value - mean) * (value - mean) / C;
  const double rstd = 1 / std::sqrt(squares + eps);
  for (double& value : x) value = (value - mean) * rstd;
}

class NormObserver final : public StudyObserver {
 public:
  NormObserver(const Study& study, const SpikePlaces& places)
      : points(study.model.blocks().size() + 1), study_(study), places_(places) {
    const auto C = static_cast<std::size_t>(study.model.config().d_model);
    for (auto& classes : points)
      for (Tokens& tokens : classes) tokens.directions.resize(C);
    for (std::size_t b = 0; b < study.model.blocks().size(); ++b) {
      const BlockPaths& block = study.model.blocks()[b];
      norms_[block.input_norm] = b;
      residuals_[block.residual] = b + 1;
      if (study.model.config().norm.kind == NormKind::kDynamicTanh)
        alphas_.push_back(host_values(study.stream, parameter(study.model, block.input_norm + ".alpha"))[0]);
    }
  }
  void begin_pass(std::int64_t first, std::int64_t count) override {
    first_ = first * study_.length;
    see(0, embeddings(count * study_.length));
  }
  void activation(std::string_view path, const Tensor& value) override {
    if (const auto at = norms_.find(path); at != norms_.end()) see_scaled(at->second, value);
    if (const auto at = residuals_.find(path); at != residuals_.end())
      see(at->second, host_values(study_.stream, value));
  }

  std::vector<std::array<Tokens, kClasses>> points;  // (2 L + 1): before each block, after the last

 private:
  Tokens& tokens_at(std::size_t point, std::int64_t n) {
    return points[point][places_.is_spike[static_cast<std::size_t>(first_ + n)] ? kSpike : kOther];
  }

  /// What the first block reads, of `N` tokens from first_ on.
  std::vector<double> embeddings(std::int64_t N) const {
    const Tensor table = parameter(study_.model, "model.embed_tokens.weight"),
                 factor = parameter(study_.model, "model.embed_tokens.scale");
    const double scale = factor ? host_values(study_.stream, factor)[0] : 1;
    std::vector<double> x;
    for (std::int64_t n = 0; n < N; ++n)
      for (const double value : host_row(study_.stream, table, study_.tokens[static_cast<std::size_t>(first_ + n)]))
        x.push_back(scale * value);
    return x;
  }

  void see(std::size_t point, std::vector<double> values) {
    const ModelConfig& config = study_.model.config();
    const auto C = static_cast<std::size_t>(config.d_model);
    for (std::size_t n = 0; n < values.size() / C; ++n) {
      const std::span<double> x(values.data() + n * C, C);
      Tokens& tokens = tokens_at(point, static_cast<std::int64_t>(n));
      double length = 0;
      for (const double value : x) length += value * value;
      length = std::sqrt(length);
      ++tokens.count;
      for (std::size_t c = 0; c < C && length > 0; ++c) tokens.directions[c] += x[c] / length;
      if (point + 1 == points.size()) continue;

      normalise(x, config.norm.kind, config.norm.eps, alphas_.empty() ? 0 : alphas_[point]);
      double most = 0, squares = 0, fourths = 0, on_spikes = 0;
      for (const double value : x) {
        most = std::max(most, std::abs(value));
        squares += value * value;
        fourths += value * value * value * value;
      }
      for (const std::int64_t c : places_.channels)
        on_spikes += x[static_cast<std::size_t>(c)] * x[static_cast<std::size_t>(c)];
      tokens.max = std::max(tokens.max, most);
      tokens.maxima += most;
      tokens.spike_share += squares > 0 ? on_spikes / squares : 0;
      tokens.participation += fourths > 0 ? squares * squares / fourths : 0;
    }
  }

  void see_scaled(std::size_t block, const Tensor& value) {
    const auto y = host_values(study_.stream, value);
    const auto C = static_cast<std::size_t>(matrix_dims(value).cols);
    for (std::size_t i = 0; i < y.size(); ++i) {
      double& most = tokens_at(block, static_cast<std::int64_t>(i / C)).scaled_max;
      most = std::max(most, std::abs(y[i]));
    }
  }

  const Study& study_;
  const SpikePlaces& places_;
  std::map<std::string, std::size_t, std::less<>> norms_, residuals_;
  std::vector<double> alphas_;  // of DynamicTanh, by block
  std::int64_t first_ = 0;      // token
};

}  // namespace

std::string norm_not_for(const ModelConfig& config) {
  return config.norm.input ? "" : "the model's blocks read the residual stream as it is (norm.input: false)";
}

void normed_tokens(const Study& study, Results& results) {
  const SpikePlaces& places = spike_places(study);
  NormObserver observer(study, places);
  run_passes(study, observer);
  const auto blocks = std::ssize(study.model.blocks());
  const auto array = [&](const char* name, std::int64_t points, const std::string& dim, auto value,
                         const std::string& meaning) {
    std::vector<double> values;
    for (std::int64_t p = 0; p < points; ++p)
      for (const Tokens& tokens : observer.points[static_cast<std::size_t>(p)]) values.push_back(value(tokens));
    results.array(name, std::move(values), {points, kClasses}, "1",
                  "(" + dim + ", class): " + meaning + "; class 0: spike tokens, 1: others");
  };
  const auto of_blocks = [&](const char* name, auto value, const std::string& meaning) {
    array(name, blocks, "block", value, meaning);
  };
  of_blocks(
      "max", [](const Tokens& t) { return t.count > 0 ? t.max : kNone; },
      "largest |n(x)|, n the block's input norm without its learned scale and bias");
  of_blocks(
      "max_mean", [](const Tokens& t) { return t.mean(t.maxima); }, "mean over tokens of each one's largest |n(x)|");
  of_blocks(
      "max_scaled", [](const Tokens& t) { return t.count > 0 ? t.scaled_max : kNone; },
      "largest |y| of what the block reads, y the norm with its scale and bias");
  of_blocks(
      "spike_share", [](const Tokens& t) { return t.mean(t.spike_share); },
      "share of the sum of n(x)^2 on the spike channels, mean over tokens");
  of_blocks(
      "participation", [](const Tokens& t) { return t.mean(t.participation); },
      "(sum of n(x)^2)^2 / (sum of n(x)^4), a number of channels, mean over tokens");
  array(
      "cosine", blocks + 1, "point", [](const Tokens& t) { return t.cosine(); },
      "mean cosine of pairs of tokens' residual streams before block point + 1, the last: after the last block");

  // Blocks that read the residual stream as it is behind a block; null where there is none.
  const auto at = [&](std::int64_t point) -> const Tokens* {
    return point >= 0 && point < blocks ? &observer.points[static_cast<std::size_t>(point)][kSpike] : nullptr;
  };
  const bool tanh = study.model.config().norm.kind == NormKind::kDynamicTanh;
  const std::int64_t step = places.step_up.empty() ? 0 : places.step_up.front();
  const Tokens* plateau = places.plateau_block > 0 ? at(places.plateau_block) : nullptr;
  const auto figure = [](const Tokens* tokens, auto value) { return tokens ? value(*tokens) : kNone; };
  const auto cosine = [&](std::int64_t point, TokenClass of) {
    return step > 0 ? observer.points[static_cast<std::size_t>(point)][of].cosine() : kNone;
  };
  results.summary = {{"bound", tanh ? 1.0 : std::sqrt(static_cast<double>(study.model.config().d_model))},
                     {"behind_plateau",
                      {{"max", figure(plateau, [](const Tokens& t) { return t.max; })},
                       {"spike_share", figure(plateau, [](const Tokens& t) { return t.mean(t.spike_share); })},
                       {"participation", figure(plateau, [](const Tokens& t) { return t.mean(t.participation); })}}},
                     {"first_step_up",
                      {{"block", step},
                       {"cosine_spike_before", cosine(step - 1, kSpike)},
                       {"cosine_spike_after", cosine(step, kSpike)},
                       {"cosine_other_before", cosine(step - 1, kOther)},
                       {"cosine_other_after", cosine(step, kOther)}}}};
}

}  // namespace spikesink
