#pragma once
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "kernels/core/gpu.h"
#include "trainer/dist/communicator.h"
#include "trainer/dist/nccl.h"
#include "trainer/dist/watch.h"

namespace spikesink {

/// A Communicator on the memory of GPUs, one a rank. Operations run in a stream of their own, which waits for what was
/// put into the compute stream before them, as that does for them at Transfer::wait; the host waits for neither. Their
/// tensors are held until a Transfer of them or of a later one is waited for: then the compute stream, in whose order
/// the pool hands memory out again, is behind them. Room for the parts of a rounded reduce_scatter, as many bytes as
/// `from` has, comes from the compute stream's pool.
///
/// Sums of bf16 and of all_reduce are taken here, rank by rank. Those of f32 and f64 into parts are NCCL's: the same
/// communicator, sizes and order of calls on the same machines give the same bits, other links may give others.
///
/// The host waits for the compute stream under a watch (BeforeWaiting): it hears that a rank has failed, and gives up
/// on one that is silent.
class NcclCommunicator final : public Communicator {
 public:
  /// All ranks call. `host` and `watch` outlive it. Only where kHasNccl.
  NcclCommunicator(const Stream& stream, Communicator& host, Watch& watch);
  /// Ends what is under way where it is, unless finish() was called.
  ~NcclCommunicator() override;

  int rank() const override { return host_.rank(); }
  int world() const override { return host_.world(); }
  Transfer reduce_scatter(const Stream& stream, const Tensor& to, const Tensor& from) override;
  Transfer all_gather(const Stream& stream, const Tensor& to, const Tensor& from) override;
  Transfer all_reduce(const Stream& stream, const Tensor& t) override;
  std::vector<std::byte> exchange(std::span<const std::byte> mine) override;
  std::vector<std::byte> from_rank_0(std::span<const std::byte> text) override;
  void abandon() noexcept override;

  /// Waits until all that was asked for is done on all ranks, and throws what went wrong with it. Nothing follows.
  void finish();

 private:
  struct Operation {
    std::int64_t number;
    std::string name;
    gpu::Event ready, done;       ///< the compute stream has come to it; it is through
    std::vector<Tensor> tensors;  ///< until the compute stream waits for it
  };

  void require_own(const Stream& stream) const;
  template <class F>
  Transfer put(const char* kind, std::int64_t bytes, std::vector<Tensor> tensors, F work);
  void wait(std::int64_t number);
  void forget_done();
  Watch::OnDevice look();
  void check();
  void await(const std::function<bool()>& done);
  void before_waiting();
  void before_host_news();

  Communicator& host_;
  Watch& watch_;
  const Stream stream_;
  const Stream side_;                ///< of the operations
  std::int64_t asked_ = 0;           ///< operations
  std::string calling_;              ///< what NCCL is called for
  std::deque<Operation> under_way_;  ///< in order
  bool failed_ = false;              ///< NCCL has said so
  Nccl nccl_;
};

}  // namespace spikesink
