#pragma once
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "analysis/study/study.h"
#include "models/interventions.h"

namespace spikesink {

/// The magnitude above which a value of x (N, C) is massive, of each of its sequences.
std::vector<double> massive_bounds(const Study& study, const Tensor& x);

/// Sets channels of the residual stream after every block, at every token or only where the value is massive (see
/// SpikeConfig; the median is that of the sequence as it is then). On a GPU the values go through the host.
class ChannelsSet final : public Intervention {
 public:
  enum class Where : std::uint8_t { kEverywhere, kMassive };
  /// `values` (2 L, channels): what they are set to after each block.
  ChannelsSet(const Study& study, std::vector<std::int64_t> channels, std::vector<double> values, Where where);

  Tensor activation(std::string_view path, const Tensor& value) override;

 private:
  const Study& study_;
  std::map<std::string, std::size_t, std::less<>> index_;  // path of a residual join -> block
  std::vector<std::int64_t> channels_;
  std::vector<double> values_;
  Where where_;
};

/// Sets the output of heads to zero, before a gate and o_proj. Heads are numbered as SinkFigures has them: layer * H +
/// head, layers of attention in the order in which a pass meets them.
class HeadsZeroed final : public Intervention {
 public:
  HeadsZeroed(const Study& study, std::set<std::int64_t> heads) : study_(study), heads_(std::move(heads)) {}

  Tensor heads(std::string_view path, const Tensor& value) override;

 private:
  const Study& study_;
  std::set<std::int64_t> heads_;
  std::map<std::string, std::int64_t, std::less<>> index_;  // path -> layer of attention
};

/// `count` different numbers below n that are not in `but`, drawn by Philox; rising. There are as many.
std::vector<std::int64_t> drawn_others(std::int64_t n, std::int64_t count, const std::set<std::int64_t>& but,
                                       std::uint64_t seed);

}  // namespace spikesink
