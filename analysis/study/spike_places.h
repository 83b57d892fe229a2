#pragma once
#include <cstdint>
#include <vector>

#include "analysis/study/study.h"

namespace spikesink {

/// Of analyses that hold spike tokens against others.
enum TokenClass : std::size_t { kSpike, kOther, kClasses };

/// A block takes the spike channels up or down if its own output along the plateau is at least this share of it.
inline constexpr double kStepShare = 0.1;

/// Where a model's massive activations stand, and which blocks make and end them. A value h of the residual stream
/// after a block is massive if |h| > spike.abs and |h| > spike.ratio * the median of its sequence after that block
/// (Sun et al. 2024, arXiv:2402.17762). A model without any has no spike tokens, channels and steps.
///
/// Of each sequence that has one, the *spike position* is that of its largest. r[b,c] and o[b,c] are means over these
/// sequences, at their spike positions, of the residual stream after block b and of what block b adds, at spike channel
/// c. The plateau P is r[b] of the block at which |r[b]| is largest; a block is a step-up block if o[b].P / P.P >=
/// kStepShare, a step-down block if it is <= -kStepShare. Blocks are 1-based, as in the paper.
struct SpikePlaces {
  std::vector<char> is_spike;          ///< (S T) the position holds a massive activation after some block
  std::vector<std::int64_t> position;  ///< (S) the spike position, 0-based; -1: the sequence has none
  std::vector<std::int64_t> channels;  ///< (n) spike channels, 0-based, falling by |P|
  std::int64_t plateau_block = 0;      ///< 0: there are no spikes
  std::vector<double> plateau;         ///< (n) P
  std::vector<double> residual;        ///< (2 L, n) r
  std::vector<double> output;          ///< (2 L, n) o
  std::vector<double> share;           ///< (2 L) o[b].P / P.P
  std::vector<std::int64_t> step_up, step_down;

  std::int64_t num_spikes() const;  ///< positions
};

/// Those of the study, found once. Takes up to two runs over its sequences.
const SpikePlaces& spike_places(const Study& study);

}  // namespace spikesink
