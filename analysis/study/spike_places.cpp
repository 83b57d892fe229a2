#include "analysis/study/spike_places.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>

#include "analysis/study/passes.h"

namespace spikesink {
namespace {

using Paths = std::map<std::string, std::size_t, std::less<>>;

/// Path of the residual stream after a block -> block, from 0.
Paths residual_paths(const Decoder& model) {
  Paths paths;
  for (std::size_t b = 0; b < model.blocks().size(); ++b) paths[model.blocks()[b].residual] = b;
  return paths;
}

/// Which positions and channels hold massive activations.
class Finder final : public StudyObserver {
 public:
  explicit Finder(const Study& study)
      : study_(study),
        paths_(residual_paths(study.model)),
        largest_(static_cast<std::size_t>(study.sequences())),
        is_channel_(static_cast<std::size_t>(study.model.config().d_model)) {
    places.is_spike.resize(study.tokens.size());
    places.position.assign(largest_.size(), -1);
  }
  void begin_pass(std::int64_t first, std::int64_t) override { first_ = first; }
  void activation(std::string_view path, const Tensor& value) override {
    if (!paths_.contains(path)) return;
    const std::int64_t T = study_.length, C = matrix_dims(value).cols, B = matrix_dims(value).rows / T;
    const SequenceMagnitudes found = magnitudes_of(study_.stream, value, T);
    for (std::int64_t b = 0; b < B; ++b) {
      const double bound = study_.spike.bound(found.medians[static_cast<std::size_t>(b)]);
      const auto sequence = static_cast<std::size_t>(first_ + b);
      for (std::int64_t t = 0; t < T; ++t) {
        const double h = found.tokens[static_cast<std::size_t>(b * T + t)];
        if (!(h > bound)) continue;
        places.is_spike[sequence * static_cast<std::size_t>(T) + static_cast<std::size_t>(t)] = 1;
        if (h <= largest_[sequence]) continue;
        largest_[sequence] = h;
        places.position[sequence] = t;
      }
      for (std::int64_t c = 0; c < C; ++c)
        if (found.channels[static_cast<std::size_t>(b * C + c)] > bound) is_channel_[static_cast<std::size_t>(c)] = 1;
    }
  }
  void finish() {
    for (std::size_t c = 0; c < is_channel_.size(); ++c)
      if (is_channel_[c]) places.channels.push_back(static_cast<std::int64_t>(c));
  }

  SpikePlaces places;

 private:
  const Study& study_;
  Paths paths_;
  std::int64_t first_ = 0;
  std::vector<double> largest_;  // (S)
  std::vector<char> is_channel_;
};

/// Sums, over sequences that have one, of the spike channels' values at the spike position.
class Gatherer final : public StudyObserver {
 public:
  Gatherer(const Study& study, SpikePlaces& places)
      : study_(study), places_(places), residual_(residual_paths(study.model)) {
    for (std::size_t b = 0; b < study.model.blocks().size(); ++b) added_[study.model.blocks()[b].added] = b;
    places.residual.assign(residual_.size() * places.channels.size(), 0);
    places.output = places.residual;
  }
  void begin_pass(std::int64_t first, std::int64_t count) override { first_ = first, count_ = count; }
  void activation(std::string_view path, const Tensor& value) override {
    if (const auto at = residual_.find(path); at != residual_.end()) add(places_.residual, at->second, value);
    if (const auto at = added_.find(path); at != added_.end()) add(places_.output, at->second, value);
  }

 private:
  void add(std::vector<double>& sums, std::size_t block, const Tensor& value) const {
    const std::size_t n = places_.channels.size();
    for (std::int64_t b = 0; b < count_; ++b) {
      const std::int64_t t = places_.position[static_cast<std::size_t>(first_ + b)];
      if (t < 0) continue;
      const auto row = host_row(study_.stream, value, b * study_.length + t);
      for (std::size_t i = 0; i < n; ++i) sums[block * n + i] += row[static_cast<std::size_t>(places_.channels[i])];
    }
  }

  const Study& study_;
  SpikePlaces& places_;
  Paths residual_, added_;
  std::int64_t first_ = 0, count_ = 0;
};

/// Finds plateau and steps from the sums of a Gatherer, and puts the channels in the order of the plateau.
void find_steps(SpikePlaces& p) {
  const std::size_t n = p.channels.size(), blocks = p.residual.size() / n;
  const auto with = static_cast<double>(std::ranges::count_if(p.position, [](auto t) { return t >= 0; }));
  for (double& value : p.residual) value /= with;
  for (double& value : p.output) value /= with;
  const auto dot = [n](const double* a, const double* b) { return std::inner_product(a, a + n, b, 0.0); };
  double most = -1;
  for (std::size_t b = 0; b < blocks; ++b) {
    const double* r = p.residual.data() + b * n;
    if (dot(r, r) <= most) continue;
    most = dot(r, r);
    p.plateau_block = static_cast<std::int64_t>(b) + 1;
  }
  const double* plateau = p.residual.data() + static_cast<std::size_t>(p.plateau_block - 1) * n;
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::greater{}, [&](std::size_t i) { return std::abs(plateau[i]); });
  const auto reorder = [&](auto& values) {
    const auto old = values;
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = old[i / n * n + order[i % n]];
  };
  reorder(p.channels);
  reorder(p.residual);
  reorder(p.output);
  plateau = p.residual.data() + static_cast<std::size_t>(p.plateau_block - 1) * n;
  p.plateau.assign(plateau, plateau + n);
  for (std::size_t b = 0; b < blocks; ++b) {
    p.share.push_back(dot(p.output.data() + b * n, plateau) / most);
    if (p.share.back() >= kStepShare) p.step_up.push_back(static_cast<std::int64_t>(b) + 1);
    if (p.share.back() <= -kStepShare) p.step_down.push_back(static_cast<std::int64_t>(b) + 1);
  }
}

}  // namespace

std::int64_t SpikePlaces::num_spikes() const { return std::ranges::count(is_spike, char{1}); }

const SpikePlaces& spike_places(const Study& study) {
  if (study.found_places) return *study.found_places;
  Finder finder(study);
  run_passes(study, finder, 0, 0);
  finder.finish();
  SpikePlaces places = std::move(finder.places);
  if (places.channels.empty()) {
    places.share.assign(study.model.blocks().size(), 0);
  } else {
    Gatherer gatherer(study, places);
    run_passes(study, gatherer, 0, 0);
    find_steps(places);
  }
  study.found_places = std::make_shared<const SpikePlaces>(std::move(places));
  return *study.found_places;
}

}  // namespace spikesink
