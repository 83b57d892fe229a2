#include <array>

#include "analysis/study/distance.h"
#include "analysis/study/norm.h"
#include "analysis/study/silu.h"
#include "analysis/study/sisters.h"
#include "analysis/study/study.h"
#include "analysis/study/trajectory.h"

namespace spikesink {
namespace {

std::string for_all(const ModelConfig&) { return ""; }

constexpr auto kAnalyses = std::to_array<AnalysisRow>({
    {"sinks", "sink ratio, first-token mass and spikes of every sequence, at two lengths", sisters, for_all},
    {"trajectory", "the residual stream and what each block adds: rise, plateau, fall; the blocks that step",
     trajectory, for_all},
    {"silu", "how near SiLU is to the identity at spike tokens and others", silu_identity, silu_not_for},
    {"norm", "what blocks read after their norm: bound, sparsity, cosines of spike tokens", normed_tokens,
     norm_not_for},
    {"distance", "how far back each head looks: sink heads and others", attention_distance, for_all},
});

}  // namespace

std::span<const AnalysisRow> analyses() { return kAnalyses; }

}  // namespace spikesink
