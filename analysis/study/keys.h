#pragma once
#include <cstdint>
#include <vector>

#include "analysis/study/study.h"

namespace spikesink {

inline constexpr std::size_t kPlottedHeads =
    4;  ///< whose points are given: half by the largest sink share, half smallest
inline constexpr std::int64_t kPlottedPoints = 256;  ///< of a kind and head, at most

/// The participation ratio (sum of eigenvalues)^2 / (sum of their squares) of a covariance (D, D), from its entries:
/// the dimension of a cloud of points. 0 without variance.
double participation_ratio(const std::vector<double>& covariance, std::int64_t D);

/// "keys": geometry of sink keys and of others, from q and k after the rotary embedding, of each layer and query head.
/// The sink position of a sequence is the sink token (SinkFigures) of most of its sink heads, over all layers; position
/// 1 where there is none. *Dimension*: participation ratio of the covariance of the sink keys over sequences, and of
/// all other keys. *Logit gap*: mean over sequences and over queries t behind the sink position p, in its document, of
/// scale q_t.k_p minus the mean of scale q_t.k_s over the other s that t sees. Of a few heads the first two principal
/// components of a sample of q, sink keys and other keys, for a plot. Source: Sun, Canziani, LeCun, Zhu 2026,
/// arXiv:2603.05498, section 3; participation ratio: Gao et al. 2017, bioRxiv 214262.
void key_geometry(const Study& study, Results& results);

}  // namespace spikesink
