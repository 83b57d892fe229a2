#pragma once
#include <cstdint>
#include <vector>

#include "analysis/study/study.h"

namespace spikesink {

inline constexpr std::int64_t kLargestChannels = 8;     ///< by |U_k|, beside the spike channels
inline constexpr std::int64_t kMostSpikeChannels = 16;  ///< that are looked at, by their plateau
inline constexpr std::int64_t kEigenvalues = 4;
/// A channel is an outlier if |U_k| is further above the block's median than this many robust deviations, 1.4826 times
/// the median distance from the median. Source: Iglewicz and Hoaglin 1993.
inline constexpr double kOutlierDeviations = 10;

/// Which of these norms are outliers, see kOutlierDeviations.
std::vector<std::int64_t> outlier_channels(const std::vector<double>& norms);

/// "quadratic": the directional quadratic amplifiers S_k of every FFN (Amplifier): norms of all channels, outliers; of
/// the spike channels and the largest others the leading eigenpairs, how far the largest eigenvalue lambda* is the
/// whole of S_k, how alike the leading eigenvectors s* are, and how well x^T S_k x and lambda* (s*.x)^2 are the FFN's
/// true output on the study's tokens. Source: Sun, Canziani, LeCun, Zhu 2026, arXiv:2603.05498, section 3.
void quadratic(const Study& study, Results& results);

/// The amplifier that makes the spikes: block (1-based) and leading eigenvector s* (C), of length 1, of its first
/// channel: the first step-up block that is an FFN and the first spike channel; in a model without, the block and
/// channel whose |U_k| is largest.
struct LeadingDirection {
  std::int64_t block = 0, channel = 0;
  double eigenvalue = 0;
  std::vector<double> s;
};
LeadingDirection leading_direction(const Study& study);

}  // namespace spikesink
