#include "trainer/config.h"

#include <algorithm>
#include <cmath>
#include <sstream>

namespace spikesink {

std::int64_t TrainConfig::total_steps(std::int64_t context) const {
  if (steps) return *steps;
  const auto step_tokens = static_cast<double>(sequences(context) * context);
  return static_cast<std::int64_t>(std::ceil(tokens.value_or(0) / step_tokens));
}

namespace {
/// Empty if it is a number of steps, `least` or more.
std::string problem_of_steps(const char* key, std::int64_t steps, std::int64_t least) {
  std::ostringstream out;
  if (steps < least || steps > kMostSteps)
    out << key << ": " << steps << ", must lie between " << least << " and " << kMostSteps;
  return out.str();
}
}  // namespace

std::string problem_of(const TrainConfig& c, std::int64_t context) {
  if (context < 1) return "";  // which the model's config is refused for
  std::ostringstream out;
  const OptimizerConfig& o = c.optimizer;
  if (c.tokens.has_value() == c.steps.has_value())
    out << "train: " << (c.tokens ? "both tokens and steps are given" : "neither tokens nor steps is given")
        << "; give one of them, e.g. train.steps: 1000";
  else if (c.steps)
    out << problem_of_steps("train.steps", *c.steps, 0);
  else if (!(*c.tokens >= 0 && *c.tokens < kMostInputTokens))
    out << "train.tokens: " << *c.tokens << ", must lie between 0 and " << kMostInputTokens;
  if (!out.str().empty()) return out.str();
  if (c.batch_tokens < context)
    out << "train.batch_tokens: " << c.batch_tokens << " is less than one sequence (model.context " << context
        << "); raise it to a multiple of the context";
  else if (c.batch_tokens > std::int64_t{1} << 36)
    out << "train.batch_tokens: " << c.batch_tokens << ", must be at most " << (std::int64_t{1} << 36);
  else if (const auto steps = c.total_steps(context); steps > kMostSteps)
    out << "train.tokens: " << steps << " steps of " << c.sequences(context) * context << " tokens, more than "
        << kMostSteps << "; raise train.batch_tokens";
  else if (const auto step_tokens = c.sequences(context) * context;
           static_cast<double>(steps) * static_cast<double>(step_tokens) > kMostInputTokens)
    out << (c.steps ? "train.steps: " : "train.tokens: ") << steps << " steps of " << step_tokens
        << " tokens are more than " << kMostInputTokens << " tokens; lower it or train.batch_tokens";
  else if (c.micro_batch < 1)
    out << "train.micro_batch: " << c.micro_batch << ", must be at least 1";
  else if (c.micro_batch > 1 << 24)
    out << "train.micro_batch: " << c.micro_batch << ", must be at most " << (1 << 24);
  else if (c.loss_from_position < 1 || c.loss_from_position > context)
    out << "train.loss_from_position: " << c.loss_from_position << ", must lie between 1 and model.context " << context;
  else if (c.max_divergences < 0)
    out << "train.max_divergences: " << c.max_divergences << ", must not be negative";
  else if (!(o.lr >= 0 && std::isfinite(o.lr)))
    out << "train.optimizer.lr: " << o.lr << ", must be finite and not negative";
  else if (o.betas.size() != 2)
    out << "train.optimizer.betas: " << o.betas.size() << " values, needs two, e.g. [0.9, 0.95]";
  else if (!(o.betas[0] >= 0 && o.betas[0] < 1 && o.betas[1] >= 0 && o.betas[1] < 1))
    out << "train.optimizer.betas: [" << o.betas[0] << ", " << o.betas[1] << "], each must lie in [0, 1)";
  else if (!(o.eps >= 1e-30))
    out << "train.optimizer.eps: " << o.eps << ", must be at least 1e-30, which f32 still holds; 1e-8 is usual";
  else if (!(o.weight_decay >= 0))
    out << "train.optimizer.weight_decay: " << o.weight_decay << ", must not be negative";
  else if (!(o.clip >= 0))
    out << "train.optimizer.clip: " << o.clip << ", must be positive, or 0 for no clipping";
  else if (const std::string warmup = problem_of_steps("train.schedule.warmup_steps", c.schedule.warmup_steps, 0);
           !warmup.empty())
    out << warmup;
  else if (!(c.schedule.min_ratio >= 0 && c.schedule.min_ratio <= 1))
    out << "train.schedule.min_ratio: " << c.schedule.min_ratio << ", must lie between 0 and 1";
  else if (!(c.schedule.decay_share > 0 && c.schedule.decay_share <= 1))
    out << "train.schedule.decay_share: " << c.schedule.decay_share << ", must lie between 0 (excluded) and 1";
  return out.str();
}

Device SystemConfig::resolved_device() const {
  if (device == DeviceChoice::kAuto) return kHasCuda ? Device::kCuda : Device::kCpu;
  return device == DeviceChoice::kCuda ? Device::kCuda : Device::kCpu;
}

DType SystemConfig::resolved_precision() const {
  switch (precision) {
    case PrecisionChoice::kAuto:
      return resolved_device() == Device::kCuda ? DType::kBF16 : DType::kF32;
    case PrecisionChoice::kBF16:
      return DType::kBF16;
    case PrecisionChoice::kF64:
      return DType::kF64;
    case PrecisionChoice::kF32:
      break;
  }
  return DType::kF32;
}

std::string problem_of(const SystemConfig& c) {
  if (c.device == DeviceChoice::kCpu && c.precision == PrecisionChoice::kBF16)
    return "system.device: cpu, where system.precision bf16 is not; set system.precision=f32 with it";
  if (c.device == DeviceChoice::kCuda && c.precision == PrecisionChoice::kF64)
    return "system.device: cuda, but system.precision f64 is for the CPU only; set system.precision=f32 (or bf16) with "
           "it";
  std::ostringstream out;
  if (!(c.rank_timeout >= 1)) out << "system.rank_timeout: " << c.rank_timeout << ", must be at least 1 second";
  return out.str();
}

std::string problem_of(const CheckpointConfig& c) {
  if (const std::string every = problem_of_steps("checkpoint.every_steps", c.every_steps, 1); !every.empty())
    return every;
  std::ostringstream out;
  if (c.keep < 0) out << "checkpoint.keep: " << c.keep << ", must be positive, or 0 to keep all";
  return out.str();
}

std::string problem_of(const LoggingConfig& c) {
  for (const std::string& problem : {problem_of_steps("metrics.every_steps", c.every_steps, 1),
                                     problem_of_steps("metrics.probe_every_steps", c.probe_every_steps, 0)})
    if (!problem.empty()) return problem;
  std::ostringstream out;
  if (!(c.loss_spike_deviations >= 0))
    out << "metrics.loss_spike_deviations: " << c.loss_spike_deviations << ", must not be negative";
  else if (const auto has = [&](Logger logger) { return std::ranges::count(c.loggers, logger) > 0; };
           has(Logger::kWandb) && !has(Logger::kJsonl))
    out << "metrics.loggers: wandb sends what jsonl writes; name both, [jsonl, wandb]";
  return out.str();
}

}  // namespace spikesink
