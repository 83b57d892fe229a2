#include "cli/session.h"

namespace spikesink::cli {

Session make_session(const Config& config, bool with_gradients) {
  Session session{.stream = Stream::cpu(), .model = std::make_unique<Decoder>(config.model, config.system.recompute)};
  const DType dtype = config.system.precision == PrecisionChoice::kF64 ? DType::kF64 : DType::kF32;
  session.model->params().allocate(session.stream, dtype, with_gradients);
  return session;
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
