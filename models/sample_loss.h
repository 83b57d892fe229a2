#pragma once
#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/core/graph.h"
#include "kernels/core/staging.h"
#include "models/decoder.h"
#include "models/step_share.h"

namespace spikesink {

/// How sequences go through the model.
struct SampleShape {
  std::int64_t context;             ///< T
  std::int64_t micro_batch;         ///< sequences a pass
  std::int64_t loss_from_position;  ///< 1-based
  /// The token that ends a document, where attention is to stay inside one; absent: it may cross.
  std::optional<std::int32_t> end_of_text = std::nullopt;
};

/// Token ids, or other i32, on the stream's device.
Tensor upload_ids(const Stream& stream, std::span<const std::int32_t> ids);

/// The first position of the document that every one of `tokens` lies in, rows of `length` one after another: the
/// position after the last end of text before it, or 0. For Batch::document_starts.
std::vector<std::int32_t> document_starts(std::span<const std::int32_t> tokens, std::int64_t length,
                                          std::int32_t end_of_text);

/// Calls f(first, count) for each pass that `total` sequences take, `at_once` of them in each and the rest in the last.
/// On a dry stream, where whole passes are alike, the first counts for all of them.
template <class F>
void for_passes(const Stream& stream, std::int64_t total, std::int64_t at_once, F&& f) {
  std::int64_t first = 0;
  if (const std::int64_t whole = total / at_once; stream.dry && whole > 1) {
    const Work before = *stream.dry;
    f(first, at_once);
    stream.dry->repeat(before, whole);
    first = whole * at_once;
  }
  for (; first < total; first += at_once) f(first, std::min(at_once, total - first));
}

/// What passes read, on the device: inputs, targets and first positions, i32, a sequence after another.
struct PassInput {
  Tensor tokens, targets;
  Tensor starts = {};  ///< or no tensor
  /// Sequences `first` to `first + count` of `length` tokens.
  PassInput slice(std::int64_t first, std::int64_t count, std::int64_t length) const;
};

/// The training passes of one step after another over steps of equal shape. On a GPU the host waits neither for the
/// upload of a step's samples, which goes by pinned memory, nor for the passes. From its second time on a pass of
/// one size is a CUDA graph, replayed; passes of which the model's hooks have to know are not.
class TrainingPasses {
 public:
  /// `model`, allocated with gradients, outlives it.
  TrainingPasses(const Stream& stream, const Decoder& model, const SampleShape& shape);

  /// Forward and backward of `samples` (n, T + 1): inputs are the first T tokens of a row, targets the last T.
  /// Gradients of the mean loss over all counted tokens are added to the model's.
  void run(std::span<const std::int32_t> samples);
  /// The same of a rank that has `samples` of a step: of the mean over the counted tokens of all ranks.
  void run(std::span<const std::int32_t> samples, const StepShare& share);
  /// On a dry stream: the same for a share whose samples need not be there.
  void run_dry(const StepShare& share);
  /// The sum of the losses of the last run(), f64 (1): ranks sum it up before loss().
  const Tensor& loss_sum() const { return total_; }
  /// That sum over the counted tokens of all ranks, in nats. Waits for it.
  double loss() const;
  /// Memory that activations lie in.
  const Pool& pool() const { return *passes_.pool; }
  bool has_own_pool() const { return passes_.pool != stream_.pool; }

 private:
  /// Passes of one number of sequences.
  struct Recorded {
    std::string name;  ///< in a profiler's timeline, where a replay has no names of modules
    PassInput input;
    double grad_scale = 0;
    Graph graph;
  };
  void run(const PassInput& input, const StepShare& share);
  void pass(const PassInput& samples, const StepShare& share, std::int64_t p);
  std::int64_t num_alike(const StepShare& share, std::int64_t p) const;
  void one_pass(const PassInput& input, std::int64_t sequences, double grad_scale);
  void pass_by_graph(const PassInput& input, std::int64_t sequences, double grad_scale);

  Stream stream_;  // inputs and results
  Stream passes_;  // activations: on a GPU in a pool of their own, whose blocks the graphs know
  const Decoder& model_;
  SampleShape shape_;
  Staging staging_;
  Tensor total_;  // f64 (1)
  double counted_ = 0;
  std::map<std::int64_t, Recorded> recorded_;  // by sequences
};

/// One run of TrainingPasses; returns its loss.
double accumulate_gradients(const Stream& stream, const Decoder& model, std::span<const std::int32_t> samples,
                            const SampleShape& shape);

/// The mean loss of `samples` over counted tokens, forward only; `observer` sees every pass.
double mean_loss(const Stream& stream, const Decoder& model, std::span<const std::int32_t> samples,
                 const SampleShape& shape, Observer* observer = nullptr);

}  // namespace spikesink
