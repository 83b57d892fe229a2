#include <array>

#include "analysis/practice/eviction.h"
#include "analysis/practice/interventions.h"
#include "analysis/practice/quantization.h"
#include "analysis/study/amplifier.h"
#include "analysis/study/delimiters.h"
#include "analysis/study/distance.h"
#include "analysis/study/first_position.h"
#include "analysis/study/keys.h"
#include "analysis/study/norm.h"
#include "analysis/study/quadratic.h"
#include "analysis/study/silu.h"
#include "analysis/study/sisters.h"
#include "analysis/study/study.h"
#include "analysis/study/trajectory.h"
#include "analysis/study/vocabulary.h"

namespace spikesink {
namespace {

std::string for_all(const ModelConfig&) { return ""; }

constexpr auto kAnalyses = std::to_array<AnalysisRow>({
    {"sinks", "sink ratio, first-token mass and spikes of every sequence, at two lengths", sisters, for_all},
    {"trajectory", "the residual stream and what each block adds: rise, plateau, fall; the blocks that step",
     trajectory, for_all},
    {"silu", "how near SiLU is to the identity at spike tokens and others", silu_identity, silu_not_for},
    {"quadratic", "SwiGLU's quadratic forms S_k: norms, eigenvalues, s*, and what they say of the FFN's output",
     quadratic, amplifier_not_for},
    {"vocabulary", "every vocabulary item alone: the share that becomes a spike token", vocabulary, for_all},
    {"first_position", "attention at position 1 as a linear map W_VO, and what it writes along s*", first_position,
     for_all},
    {"delimiters", "embeddings of delimiters along the norm's scale, and their attention to themselves", delimiters,
     for_all},
    {"norm", "what blocks read after their norm: bound, sparsity, cosines of spike tokens", normed_tokens,
     norm_not_for},
    {"distance", "how far back each head looks: sink heads and others", attention_distance, for_all},
    {"keys", "dimension of sink keys and of others, and logits of queries on them, by head", key_geometry, for_all},
    // What they mean to who runs the model; many passes, so only by name.
    {"quantization", "perplexity and error by block under simulated int8, int4 and FP8", quantization, for_all, false},
    {"eviction", "perplexity with a cache of the first and the last tokens", eviction, for_all, false, 4},
    {"interventions", "perplexity without spike channels, sink heads or the first token", interventions, for_all,
     false},
});

}  // namespace

std::span<const AnalysisRow> analyses() { return kAnalyses; }

}  // namespace spikesink
