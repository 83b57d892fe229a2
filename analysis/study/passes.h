#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "analysis/study/study.h"

// How a study goes through its model, and reads it.
namespace spikesink {

/// An observer that knows which of the study's sequences a pass has.
class StudyObserver : public Observer {
 public:
  /// Called before a pass over sequences `first` to `first + count`, from 0.
  virtual void begin_pass(std::int64_t first, std::int64_t count) { (void)first, (void)count; }
};

/// Runs the study's sequences through the model up to the final norm, `observer` seeing every pass. study.progress is
/// told shares `from` to `to`.
void run_passes(const Study& study, StudyObserver& observer, double from = 0, double to = 1);
/// The same over other sequences (n, length), in passes of as many tokens.
void run_passes(const Study& study, std::span<const std::int32_t> tokens, std::int64_t length, StudyObserver& observer,
                double from = 0, double to = 1);

/// The values of a tensor, of any floating-point dtype and on any device.
std::vector<double> host_values(const Stream& stream, const Tensor& t);
/// Row n of an (N, C) tensor.
std::vector<double> host_row(const Stream& stream, const Tensor& t, std::int64_t n);

/// kernels::magnitudes of a residual stream of sequences of `length`, on the host.
struct SequenceMagnitudes {
  std::vector<double> channels;  ///< (B, C) max over positions of |x|
  std::vector<double> tokens;    ///< (B, T) max over channels
  std::vector<double> medians;   ///< (B)
};
SequenceMagnitudes magnitudes_of(const Stream& stream, const Tensor& x, std::int64_t length);

/// The value of the parameter of this name (Hugging Face's); no tensor if the model has none.
Tensor parameter(const Decoder& model, std::string_view name);

}  // namespace spikesink
