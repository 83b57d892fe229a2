#pragma once
#include <functional>
#include <memory>

#include "trainer/dist/communicator.h"

namespace spikesink {

#ifdef SPIKESINK_HAS_NCCL
inline constexpr bool kHasNccl = true;
#else
inline constexpr bool kHasNccl = false;
#endif

/// Throws UsageError where NCCL is missing or too old.
void require_nccl();

/// NCCL's own communicator, on the GPU of the newest stream. Its operations are put into `stream`, to be done in their
/// order there; no call waits for another rank but by `wait`. Throws CudaError with the library's words.
class Nccl {
 public:
  /// Waits until done(), or throws: then nothing is to be asked for any more.
  using Wait = std::function<void(const std::function<bool()>& done)>;
  /// All ranks call.
  Nccl(Communicator& host, Wait wait);
  /// Ends what is under way where it is, unless finish() was called.
  ~Nccl();
  Nccl(const Nccl&) = delete;
  Nccl& operator=(const Nccl&) = delete;

  /// to (n) = sum of (n) at rank * n in each rank's from (W n), of one dtype, f32 or f64, in an order that NCCL chooses
  /// by the size and the machines' links.
  void reduce_scatter(const Stream& stream, const Tensor& to, const Tensor& from);
  void all_gather(const Stream& stream, const Tensor& to, const Tensor& from);
  /// Row r of to (W, n) = row `rank` of rank r's from (W, n).
  void all_to_all(const Stream& stream, const Tensor& to, const Tensor& from);

  /// Throws what has gone wrong since.
  void check();
  /// All ranks call, when all that was asked for is done.
  void finish();
  /// Ends what is under way where it is. Nothing follows.
  void abandon() noexcept;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace spikesink
