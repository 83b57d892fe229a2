#pragma once
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "trainer/dist/communicator.h"
#include "trainer/dist/transport.h"
#include "trainer/dist/watch.h"

namespace spikesink {

/// A Communicator on host memory. A thread of its own does the operations in their order, while the caller computes.
/// Each rank gives its part to each other, and sums are taken here, rank by rank: the same bits on any network.
/// reduce_scatter goes through 8 MiB beside the tensors, or 32 KiB for each rank where that is more.
class HostCommunicator final : public Communicator {
 public:
  HostCommunicator(Transport& transport, Watch& watch);
  ~HostCommunicator() override;

  int rank() const override { return transport_.rank(); }
  int world() const override { return transport_.world(); }
  Transfer reduce_scatter(const Stream& stream, const Tensor& to, const Tensor& from) override;
  Transfer all_gather(const Stream& stream, const Tensor& to, const Tensor& from) override;
  Transfer all_reduce(const Stream& stream, const Tensor& t) override;
  std::vector<std::byte> exchange(std::span<const std::byte> mine) override;
  std::vector<std::byte> from_rank_0(std::span<const std::byte> text) override;

  double waited_seconds() const override { return waited_seconds_; }

  /// Waits until all that was asked for is done, and throws what went wrong with it.
  void finish();
  /// Ends the thread where it is. What it had begun stays in memory, since messages may still arrive.
  void stop();

 private:
  struct Job {
    std::function<void()> run;  ///< holds the tensors, until it is done
    bool done = false;
  };
  Transfer enqueue(std::function<void()> run);
  void work();
  void sum_parts(const Tensor& to, const Tensor& from);
  void gather(const Tensor& to, const Tensor& from);
  void sum_all(const Tensor& t);
  template <class F>
  std::vector<std::byte> with_host_bytes(std::size_t size, F f);

  Transport& transport_;
  Watch& watch_;
  double waited_seconds_ = 0;  ///< of the caller
  std::mutex mutex_;           ///< of what follows
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Job>> jobs_;  ///< the first is under way; after an error those that it left
  std::exception_ptr error_;               ///< of the first job that failed: none follows it
  bool stopping_ = false;
  std::list<std::vector<std::byte>> kept_;  ///< of exchanges that failed
  std::vector<std::byte> staging_;          ///< of the thread
  std::thread thread_;                      ///< last: it uses what stands above
};

}  // namespace spikesink
