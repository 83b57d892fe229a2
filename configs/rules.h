#pragma once
#include <array>
#include <string_view>

#include "configs/config.h"

namespace spikesink {

/// Two keys that say the same thing: the one that was written later counts, and in one file only one may stand.
struct Alternative {
  std::string_view key, other;
};

inline constexpr std::array kAlternatives = {
    Alternative{"train.tokens", "train.steps"},
};

/// A key that counts only under a choice. Where it does not hold, the key is refused in the file (or --set) that writes
/// it, since there the choice is known: it stands beside the key or in what the file extends. Inherited, it is dropped.
struct Condition {
  std::string_view key, choice;
  bool (*holds)(const Config&);
  std::string_view otherwise;  ///< "has no effect ...", when it does not hold
};

inline constexpr std::string_view kOnlyDynamicTanh = "has an effect only with norm kind dynamic_tanh";
inline constexpr std::string_view kOnlyBlockNorms = "has no effect where norm.input and norm.output are both false";
inline bool has_block_norms(const Config& c) { return c.model.norm.input || c.model.norm.output; }
inline bool has_norms(const Config& c) { return has_block_norms(c) || c.model.norm.final; }
inline bool has_dynamic_tanh(const Config& c) { return has_norms(c) && c.model.norm.kind == NormKind::kDynamicTanh; }
inline constexpr std::string_view kOnlyLlama3 = "has an effect only with rope_scaling.kind llama3";
inline bool scales_as_llama3(const Config& c) {
  return c.model.attention.rope_scaling.kind == RopeScalingKind::kLlama3;
}

// A choice stands before the keys that hang on it: a choice that is dropped itself takes them with it.
inline constexpr std::array kConditions = {
    Condition{"model.norm.kind", "model.norm.input", has_norms,
              "has no effect where norm.input, norm.output and norm.final are all false"},
    Condition{"model.norm.eps", "model.norm.input",
              [](const Config& c) { return has_norms(c) || c.model.norm.qk != QkNorm::kNone; },
              "has no effect without a norm: input, output and final are false and qk is none"},
    Condition{"model.norm.eps", "model.norm.kind",
              [](const Config& c) { return !has_dynamic_tanh(c) || c.model.norm.qk != QkNorm::kNone; },
              "has no effect with dynamic_tanh and without norm.qk"},
    Condition{"model.norm.eps", "model.norm.input",
              [](const Config& c) {
                const NormConfig& norm = c.model.norm;
                return norm.input || norm.final || norm.qk != QkNorm::kNone || !norm.output_eps;
              },
              "has no effect where every norm is an output norm, which takes norm.output_eps"},
    Condition{"model.norm.output_eps", "model.norm.output", [](const Config& c) { return c.model.norm.output; },
              "has no effect without the norms after attention and FFN"},
    Condition{"model.norm.output_eps", "model.norm.kind", [](const Config& c) { return !has_dynamic_tanh(c); },
              "has no effect with dynamic_tanh"},
    Condition{"model.norm.alpha.attention", "model.norm.kind", has_dynamic_tanh, kOnlyDynamicTanh},
    Condition{"model.norm.alpha.ffn", "model.norm.kind", has_dynamic_tanh, kOnlyDynamicTanh},
    Condition{"model.norm.alpha.final", "model.norm.kind", has_dynamic_tanh, kOnlyDynamicTanh},
    Condition{"model.norm.alpha.attention", "model.norm.input", has_block_norms, kOnlyBlockNorms},
    Condition{"model.norm.alpha.ffn", "model.norm.input", has_block_norms, kOnlyBlockNorms},
    Condition{"model.norm.alpha.final", "model.norm.final", [](const Config& c) { return c.model.norm.final; },
              "has no effect without the final norm"},
    Condition{"model.norm.beta", "model.norm.kind", has_dynamic_tanh, kOnlyDynamicTanh},
    Condition{"model.attention.rope_scaling.factor", "model.attention.rope_scaling.kind",
              [](const Config& c) { return c.model.attention.rope_scaling.kind != RopeScalingKind::kNone; },
              "has no effect without rope_scaling.kind"},
    Condition{"model.attention.rope_scaling.low_freq_factor", "model.attention.rope_scaling.kind", scales_as_llama3,
              kOnlyLlama3},
    Condition{"model.attention.rope_scaling.high_freq_factor", "model.attention.rope_scaling.kind", scales_as_llama3,
              kOnlyLlama3},
    Condition{"model.attention.rope_scaling.original_context", "model.attention.rope_scaling.kind", scales_as_llama3,
              kOnlyLlama3},
    Condition{"model.attention.gate.granularity", "model.attention.gate.source",
              [](const Config& c) { return c.model.attention.gate.source != GateSource::kNone; },
              "has no effect without a gate"},
    Condition{
        "model.ffn.d_hidden", "model.ffn.kind",
        [](const Config& c) { return c.model.ffn.kind == FfnKind::kSwiGlu || c.model.ffn.kind == FfnKind::kGelu; },
        "has an effect only with ffn kinds swiglu and gelu, which have a hidden layer"},
    Condition{"model.ffn.gelu", "model.ffn.kind", [](const Config& c) { return c.model.ffn.kind == FfnKind::kGelu; },
              "has an effect only with ffn kind gelu"},
    Condition{"data.holdout", "data.validation", [](const Config& c) { return c.data.validation.empty(); },
              "has no effect where data.validation names shards"},
    Condition{"system.state_precision", "system.device",
              [](const Config& c) { return c.system.device != DeviceChoice::kCpu; },
              "has an effect only with bf16 weights, on cuda"},
    Condition{"system.state_precision", "system.precision",
              [](const Config& c) {
                return c.system.precision == PrecisionChoice::kAuto || c.system.precision == PrecisionChoice::kBF16;
              },
              "has an effect only with bf16 weights"},
    Condition{"system.deterministic", "system.device",
              [](const Config& c) { return c.system.device != DeviceChoice::kCpu; },
              "has an effect only on cuda: on the CPU equal runs are equal"},
    Condition{"system.reduce_precision", "system.precision",
              [](const Config& c) { return c.system.precision != PrecisionChoice::kF64; },
              "has no effect on f64, which is sent as it is"},
    Condition{"train.max_divergences", "train.on_divergence",
              [](const Config& c) { return c.train.on_divergence != OnDivergence::kStop; },
              "has an effect only with on_divergence skip and rollback"},
    Condition{"train.schedule.min_ratio", "train.schedule.kind",
              [](const Config& c) { return c.train.schedule.kind != ScheduleKind::kConstant; },
              "has no effect with a constant schedule"},
    Condition{"train.schedule.decay_share", "train.schedule.kind",
              [](const Config& c) { return c.train.schedule.kind == ScheduleKind::kWsd; },
              "has an effect only with schedule kind wsd"},
};

/// False for a key whose condition does not hold: the resolved config does not have it.
inline bool has_effect(const Config& config, std::string_view key) {
  for (const Condition& condition : kConditions)
    if (condition.key == key && !condition.holds(config)) return false;
  return true;
}

}  // namespace spikesink
