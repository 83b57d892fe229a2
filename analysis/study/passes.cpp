#include "analysis/study/passes.h"

#include <algorithm>

#include "kernels/metrics/magnitudes.h"
#include "models/sample_loss.h"

namespace spikesink {

void run_passes(const Study& study, StudyObserver& observer, double from, double to) {
  run_passes(study, study.tokens, study.length, observer, from, to);
}

void run_passes(const Study& study, std::span<const std::int32_t> tokens, std::int64_t length, StudyObserver& observer,
                double from, double to) {
  const auto total = static_cast<std::int64_t>(tokens.size()) / length;
  require(total > 0 && total * length == static_cast<std::int64_t>(tokens.size()), "study: ", tokens.size(),
          " tokens are not whole sequences of ", length);
  const std::int64_t at_once = std::max<std::int64_t>(study.micro_batch * study.length / length, 1);
  for (std::int64_t first = 0; first < total; first += at_once) {
    const std::int64_t count = std::min(at_once, total - first);
    const auto part =
        tokens.subspan(static_cast<std::size_t>(first * length), static_cast<std::size_t>(count * length));
    Tensor starts;
    if (study.end_of_text) starts = upload_ids(study.stream, document_starts(part, length, *study.end_of_text));
    observer.begin_pass(first, count);
    Pass pass(study.stream, {count, length, starts}, Pass::Mode::kForwardOnly, &observer);
    study.model.hidden(pass, upload_ids(study.stream, part));
    study.progress(from + (to - from) * static_cast<double>(first + count) / static_cast<double>(total));
  }
}

std::vector<double> host_values(const Stream& stream, const Tensor& t) {
  const Tensor host = stream.on_host(t);
  return with_stored_dtype(host.dtype(), [&]<class T>() {
    const auto values = host.span<T>();
    return std::vector<double>(values.begin(), values.end());
  });
}

std::vector<double> host_row(const Stream& stream, const Tensor& t, std::int64_t n) {
  const std::int64_t C = matrix_dims(t).cols;
  return host_values(stream, t.slice(n * C, {C}));
}

SequenceMagnitudes magnitudes_of(const Stream& stream, const Tensor& x, std::int64_t length) {
  const auto [N, C] = matrix_dims(x);
  const DType dtype = acc_dtype(x.dtype());
  const Tensor channels = stream.empty({N / length, C}, dtype), tokens = stream.empty({N / length, length}, dtype),
               medians = stream.empty({N / length}, dtype);
  kernels::magnitudes(stream,
                      {.channel_max = channels, .token_max = tokens, .median = medians, .x = x, .length = length});
  return {host_values(stream, channels), host_values(stream, tokens), host_values(stream, medians)};
}

Tensor parameter(const Decoder& model, std::string_view name) {
  for (const Param& param : model.params().all())
    for (const NamedTensor& part : split_parts(param, param.value))
      if (part.part->name == name) return part.tensor;
  return {};
}

}  // namespace spikesink
