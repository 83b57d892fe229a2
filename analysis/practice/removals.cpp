#include "analysis/practice/removals.h"

#include <algorithm>
#include <cmath>

#include "analysis/practice/host_edit.h"
#include "analysis/study/passes.h"
#include "kernels/core/random.h"
#include "kernels/metrics/magnitudes.h"

namespace spikesink {
std::vector<double> massive_bounds(const Study& study, const Tensor& x) {
  const std::int64_t T = study.length, C = matrix_dims(x).cols, B = matrix_dims(x).rows / T;
  const Stream& stream = study.stream;
  const DType dtype = acc_dtype(x.dtype());
  const Tensor median = stream.empty({B}, dtype);
  kernels::magnitudes(stream, {.channel_max = stream.empty({B, C}, dtype),
                               .token_max = stream.empty({B, T}, dtype),
                               .median = median,
                               .x = x,
                               .length = T});
  std::vector<double> bounds = host_values(stream, median);
  for (double& bound : bounds) bound = study.spike.bound(bound);
  return bounds;
}

ChannelsSet::ChannelsSet(const Study& study, std::vector<std::int64_t> channels, std::vector<double> values,
                         Where where)
    : study_(study), channels_(std::move(channels)), values_(std::move(values)), where_(where) {
  const auto& blocks = study.model.blocks();
  require(values_.size() == blocks.size() * channels_.size(), "ChannelsSet: ", values_.size(), " values for ",
          channels_.size(), " channels after ", blocks.size(), " blocks");
  for (std::size_t b = 0; b < blocks.size(); ++b) index_[blocks[b].residual] = b;
}

Tensor ChannelsSet::activation(std::string_view path, const Tensor& value) {
  const auto at = index_.find(path);
  if (at == index_.end()) return value;
  const double* const to = values_.data() + at->second * channels_.size();
  const bool everywhere = where_ == Where::kEverywhere;
  const std::vector<double> bounds = everywhere ? std::vector<double>{} : massive_bounds(study_, value);
  const auto [N, C] = matrix_dims(value);
  return edited(study_.stream, value, [&, N = N, C = C]<class T>(std::span<T> x) {
    for (std::int64_t n = 0; n < N; ++n)
      for (std::size_t i = 0; i < channels_.size(); ++i) {
        T& h = x[static_cast<std::size_t>(n * C + channels_[i])];
        if (everywhere || std::abs(static_cast<double>(h)) > bounds[static_cast<std::size_t>(n / study_.length)])
          h = static_cast<T>(to[i]);
      }
  });
}

Tensor HeadsZeroed::heads(std::string_view path, const Tensor& value) {
  auto at = index_.find(path);
  if (at == index_.end()) at = index_.emplace(path, std::ssize(index_)).first;
  const auto& c = study_.model.config().attention;
  const std::int64_t first = at->second * c.n_heads;
  std::vector<std::int64_t> here;
  for (std::int64_t h = 0; h < c.n_heads; ++h)
    if (heads_.contains(first + h)) here.push_back(h);
  if (here.empty()) return value;
  const auto [N, O] = matrix_dims(value);
  return edited(study_.stream, value, [&, N = N, O = O]<class T>(std::span<T> x) {
    for (std::int64_t n = 0; n < N; ++n)
      for (const std::int64_t h : here) std::fill_n(x.begin() + n * O + h * c.d_head, c.d_head, T(0));
  });
}

std::vector<std::int64_t> drawn_others(std::int64_t n, std::int64_t count, const std::set<std::int64_t>& but,
                                       std::uint64_t seed) {
  std::vector<std::int64_t> all;
  for (std::int64_t i = 0; i < n; ++i)
    if (!but.contains(i)) all.push_back(i);
  const Random random{.seed = seed, .stream = name_hash("interventions control")};
  require(count <= std::ssize(all), "drawn_others: ", count, " of ", all.size());
  for (std::int64_t i = 0; i < count; ++i)  // the first steps of a shuffle
    std::swap(all[static_cast<std::size_t>(i)],
              all[static_cast<std::size_t>(i) +
                  static_cast<std::size_t>(
                      random.below(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(std::ssize(all) - i)))]);
  all.resize(static_cast<std::size_t>(count));
  std::ranges::sort(all);
  return all;
}

}  // namespace spikesink
