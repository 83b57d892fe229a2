#include "analysis/study/quadratic.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "analysis/study/amplifier.h"
#include "analysis/study/passes.h"
#include "analysis/study/prediction.h"
#include "analysis/study/spike_places.h"

namespace spikesink {
namespace {

double median_of(std::vector<double> values) {
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::ranges::nth_element(values, middle);
  return *middle;
}

std::vector<std::int64_t> largest_first(const std::vector<double>& norms) {
  std::vector<std::int64_t> order(norms.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater{}, [&](std::int64_t k) { return norms[static_cast<std::size_t>(k)]; });
  return order;
}

/// The spike channels that are looked at, then the channels of largest norm beside them.
std::vector<std::int64_t> channels_of(const std::vector<double>& norms, const std::vector<std::int64_t>& spikes) {
  std::vector<std::int64_t> channels(spikes.begin(),
                                     spikes.begin() + std::min<std::ptrdiff_t>(std::ssize(spikes), kMostSpikeChannels));
  const auto n = std::min(std::ssize(channels) + kLargestChannels, std::ssize(norms));
  for (const std::int64_t k : largest_first(norms)) {
    if (std::ssize(channels) == n) break;
    if (std::ranges::find(channels, k) == channels.end()) channels.push_back(k);
  }
  return channels;
}

/// What is found of one FFN.
struct QuadraticBlock {
  std::size_t index = 0;  // 0-based, of all blocks
  Amplifier::Norms norms;
  std::vector<std::int64_t> channels;
  std::vector<Eigenpairs> pairs;  // of the channels
};

QuadraticBlock find(const Study& study, std::size_t index, const std::vector<std::int64_t>& spikes) {
  const Amplifier amplifier(study, index);
  QuadraticBlock block{.index = index, .norms = amplifier.norms()};
  block.channels = channels_of(block.norms.u, spikes);
  block.pairs = amplifier.eigenpairs(block.channels, std::min(kEigenvalues, study.model.config().d_model));
  return block;
}

double cosine(const std::vector<double>& a, const std::vector<double>& b) {
  return std::abs(std::inner_product(a.begin(), a.end(), b.begin(), 0.0));
}

/// Mean |cosine| of the s* of the first n channels, in pairs.
double sharing(const QuadraticBlock& block, std::ptrdiff_t n) {
  double sum = 0;
  for (std::ptrdiff_t i = 0; i < n; ++i)
    for (std::ptrdiff_t j = 0; j < i; ++j)
      sum += cosine(block.pairs[static_cast<std::size_t>(i)].vectors[0],
                    block.pairs[static_cast<std::size_t>(j)].vectors[0]);
  const std::ptrdiff_t pairs = n * (n - 1) / 2;
  return sum / static_cast<double>(pairs);  // of one channel NaN
}

void write(const Study& study, const std::vector<QuadraticBlock>& blocks, Results& results) {
  const std::int64_t C = study.model.config().d_model, B = std::ssize(blocks), n = std::ssize(blocks[0].channels),
                     wanted = std::min(kEigenvalues, C);
  std::vector<double> u, s, values, vectors, share, cosines;
  std::vector<std::int64_t> is_outlier, channels, index;
  for (const QuadraticBlock& block : blocks) {
    index.push_back(static_cast<std::int64_t>(block.index) + 1);
    u.insert(u.end(), block.norms.u.begin(), block.norms.u.end());
    s.insert(s.end(), block.norms.s.begin(), block.norms.s.end());
    std::vector<std::int64_t> outliers(static_cast<std::size_t>(C));
    for (const std::int64_t k : outlier_channels(block.norms.u)) outliers[static_cast<std::size_t>(k)] = 1;
    is_outlier.insert(is_outlier.end(), outliers.begin(), outliers.end());
    for (std::size_t i = 0; i < block.channels.size(); ++i) {
      channels.push_back(block.channels[i]);
      auto found = block.pairs[i].values;
      found.resize(
          static_cast<std::size_t>(wanted));  // what a first vector finds of a matrix of low rank: the rest is 0
      values.insert(values.end(), found.begin(), found.end());
      share.push_back(std::abs(found[0]) / block.norms.s[static_cast<std::size_t>(block.channels[i])]);
      vectors.insert(vectors.end(), block.pairs[i].vectors[0].begin(), block.pairs[i].vectors[0].end());
      for (const Eigenpairs& other : block.pairs)
        cosines.push_back(cosine(block.pairs[i].vectors[0], other.vectors[0]));
    }
  }
  results.array("blocks", index, {B}, "1", "(FFN): 1-based block that it is");
  results.array("norm", std::move(u), {B, C}, "activation", "(FFN, channel): Frobenius norm of U_k");
  results.array("symmetric_norm", std::move(s), {B, C}, "activation", "(FFN, channel): Frobenius norm of S_k");
  results.array("is_outlier", std::move(is_outlier), {B, C}, "1", "(FFN, channel): 1 if norm is an outlier, else 0");
  results.array("channels", std::move(channels), {B, n}, "1",
                "(FFN, looked at): 0-based channels k: the spike channels, then the largest others by norm");
  results.array("eigenvalues", std::move(values), {B, n, wanted}, "activation",
                "(FFN, looked at, rank): eigenvalues of S_k, falling by magnitude");
  results.array("eigenvalue_share", std::move(share), {B, n}, "1",
                "(FFN, looked at): |lambda*| over the norm of S_k, 1 where S_k has rank one");
  results.array("eigenvector", std::move(vectors), {B, n, C}, "1", "(FFN, looked at, channel): s*, of length 1");
  results.array("sharing", std::move(cosines), {B, n, n}, "1", "(FFN, looked at, looked at): |cosine| of their s*");
}

/// An FFN, as a 0-based block, and a channel.
struct Place {
  std::size_t block;
  std::int64_t channel;
};

std::optional<Place> step_up_place(const SpikePlaces& places) {
  for (const std::int64_t block : places.step_up)
    if (block % 2 == 0) return Place{static_cast<std::size_t>(block - 1), places.channels[0]};
  return std::nullopt;
}

/// By the norms of each FFN's channels.
Place largest_place(const std::vector<std::vector<double>>& norms) {
  Place place{1, 0};
  double most = -1;
  for (std::size_t f = 0; f < norms.size(); ++f) {
    const auto largest = std::ranges::max_element(norms[f]);
    if (*largest <= most) continue;
    most = *largest;
    place = {2 * f + 1, largest - norms[f].begin()};
  }
  return place;
}

}  // namespace

std::vector<std::int64_t> outlier_channels(const std::vector<double>& norms) {
  const double median = median_of(norms);
  std::vector<double> distances;
  for (const double norm : norms) distances.push_back(std::abs(norm - median));
  const double bound = median + kOutlierDeviations * 1.4826 * median_of(distances);
  std::vector<std::int64_t> outliers;
  for (const std::int64_t k : largest_first(norms))
    if (norms[static_cast<std::size_t>(k)] > bound) outliers.push_back(k);
  return outliers;
}

void quadratic(const Study& study, Results& results) {
  const SpikePlaces& places = spike_places(study);
  const auto num_blocks = study.model.blocks().size();
  const auto num_spikes = std::min<std::ptrdiff_t>(std::ssize(places.channels), kMostSpikeChannels);
  std::vector<QuadraticBlock> blocks;
  std::vector<Predictor> predictors;
  for (std::size_t b = 1; b < num_blocks; b += 2) {
    blocks.push_back(find(study, b, places.channels));
    predictors.emplace_back(study, b, blocks.back().channels, blocks.back().pairs);
    study.progress(0.7 * static_cast<double>(b + 1) / static_cast<double>(num_blocks));
  }
  write(study, blocks, results);
  predict(study, places.is_spike, predictors, 0.7, 1);
  write_predictions(predictors, results);

  // Those of leading_direction().
  std::vector<std::vector<double>> norms;
  for (const QuadraticBlock& block : blocks) norms.push_back(block.norms.u);
  const Place place = step_up_place(places).value_or(largest_place(norms));
  const std::size_t best = place.block / 2;
  const QuadraticBlock& block = blocks[best];
  const auto at = static_cast<std::size_t>(std::ranges::find(block.channels, place.channel) - block.channels.begin());
  const auto& share = std::get<std::vector<double>>(results.at("eigenvalue_share").values);
  results.summary = {{"block", block.index + 1},
                     {"outliers", outlier_channels(block.norms.u)},
                     {"channel", place.channel},
                     {"eigenvalue", block.pairs[at].values[0]},
                     {"eigenvalue_share", share[best * block.channels.size() + at]},
                     {"sharing_of_spike_channels", sharing(block, num_spikes)},
                     {"quadratic_form", predictors[best].summary(at, Predictor::kForm)},
                     {"leading_eigenpair", predictors[best].summary(at, Predictor::kLeading)}};
}

LeadingDirection leading_direction(const Study& study) {
  std::optional<Place> place = step_up_place(spike_places(study));
  if (!place) {
    std::vector<std::vector<double>> norms;
    for (std::size_t b = 1; b < study.model.blocks().size(); b += 2) norms.push_back(Amplifier(study, b).norms().u);
    place = largest_place(norms);
  }
  Eigenpairs pairs = Amplifier(study, place->block).eigenpairs({place->channel}, 1)[0];
  return {.block = static_cast<std::int64_t>(place->block) + 1,
          .channel = place->channel,
          .eigenvalue = pairs.values[0],
          .s = std::move(pairs.vectors[0])};
}

}  // namespace spikesink
