#pragma once
#include "trainer/dist/communicator.h"

namespace spikesink {

/// Another communicator, whose operations on tensors stay on the rank while it is muted: gathers and sums then have the
/// rank's own part. For measuring what communication costs; values are of no use.
class MutedCommunicator final : public Communicator {
 public:
  /// `communicator` outlives it.
  explicit MutedCommunicator(Communicator& communicator) : communicator_(communicator) {}
  void mute(bool muted) { muted_ = muted; }

  int rank() const override { return communicator_.rank(); }
  int world() const override { return communicator_.world(); }
  double waited_seconds() const override { return communicator_.waited_seconds(); }
  Transfer reduce_scatter(const Stream& stream, const Tensor& to, const Tensor& from) override;
  Transfer all_gather(const Stream& stream, const Tensor& to, const Tensor& from) override;
  Transfer all_reduce(const Stream& stream, const Tensor& t) override;
  std::vector<std::byte> exchange(std::span<const std::byte> mine) override { return communicator_.exchange(mine); }
  std::vector<std::byte> from_rank_0(std::span<const std::byte> text) override {
    return communicator_.from_rank_0(text);
  }
  void abandon() noexcept override { communicator_.abandon(); }

 private:
  Communicator& communicator_;
  bool muted_ = false;
};

}  // namespace spikesink
