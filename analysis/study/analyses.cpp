#include <array>

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
});

}  // namespace

std::span<const AnalysisRow> analyses() { return kAnalyses; }

}  // namespace spikesink
