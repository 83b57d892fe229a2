#include "cli/session.h"

#include "io/failure.h"
#include "kernels/linear/gemm_cuda.h"
#include "trainer/dist/rank_cores.h"
#include "trainer/dist/rank_gpu.h"

namespace spikesink::cli {
namespace {
void require_precision(const SystemConfig& system) {
  if (const std::string problem = precision_problem(system); !problem.empty()) throw UsageError(problem);
}

Stream cuda_stream(const SystemConfig& system, int gpu) {
  Stream stream = Stream::cuda(gpu);
  stream.deterministic = system.deterministic;
  if constexpr (kHasCuda) kernels::cuda::require_gemm_library();
  return stream;
}
}  // namespace

std::string precision_problem(const SystemConfig& system) {
  if (system.resolved_device() == Device::kCuda)
    return system.precision == PrecisionChoice::kF64
               ? "system.precision: f64 is there on the CPU only; set system.precision=f32, or system.device=cpu"
               : "";
  if (system.precision == PrecisionChoice::kBF16)
    return "system.precision: bf16 is there on cuda only, and this build has none; set system.precision=f32";
  if (system.state_precision == StatePrecision::kBF16)
    return "system.state_precision: bf16 has an effect only with bf16 weights, on cuda; set system.state_precision=f32";
  return "";
}

Stream make_stream(const SystemConfig& system) {
  require_precision(system);
  return system.resolved_device() == Device::kCuda ? cuda_stream(system, 0) : Stream::cpu();
}

Stream make_stream(const SystemConfig& system, const Ranks& ranks) {
  require_precision(system);
  return system.resolved_device() == Device::kCuda ? cuda_stream(system, gpu_of_rank(ranks))
                                                   : Stream::cpu(threads_of_rank(ranks));
}

void require_kernels(const Config& config) {
  require_precision(config.system);
  if (const std::string problem = problem_on(config.system.resolved_device(), config.model); !problem.empty())
    throw UsageError(problem);
}

Session make_session(const Config& config) { return make_session(config, make_stream(config.system)); }

Session make_session(const Config& config, Stream stream) {
  require_kernels(config);
  return {.stream = std::move(stream), .model = std::make_unique<Decoder>(config.model, config.system.recompute)};
}

MeasureOptions measure_options(const Config& config, const Tokenizer& tokenizer) {
  return {.metrics = config.metrics.probe,
          .micro_batch = config.train.micro_batch,
          .loss_from_position = config.train.loss_from_position,
          .end_of_text = document_end(config, tokenizer)};
}

std::optional<std::int32_t> document_end(const Config& config, const Tokenizer& tokenizer) {
  return config.data.document_mask ? std::optional(tokenizer.end_of_text()) : std::nullopt;
}

}  // namespace spikesink::cli
