#pragma once
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/failure.h"
#include "kernels/core/stream.h"

namespace spikesink {

/// Another rank has failed, so this one cannot go on: it ends with that rank's code.
struct RankFailure : Failure {
  RankFailure(ExitCode exit_code, int failed_rank, int world, const std::string& message)
      : Failure(exit_code, "rank " + std::to_string(failed_rank) + " of " + std::to_string(world) + ": " + message),
        rank(failed_rank) {}
  int rank;  ///< that failed
};

/// A collective operation that is under way. Copies share it.
class Transfer {
 public:
  Transfer() = default;  ///< one that is done
  explicit Transfer(std::function<void(const Stream&)> wait)
      : wait_(std::make_shared<std::function<void(const Stream&)>>(std::move(wait))) {}
  /// What is put into `stream` from here on finds the operation done. On the CPU this waits for it; on CUDA the stream
  /// does, and the host goes on. Throws RankFailure if another rank failed meanwhile.
  void wait(const Stream& stream) const {
    if (wait_) (*wait_)(stream);
  }

 private:
  std::shared_ptr<const std::function<void(const Stream&)>> wait_;
};

/// Bytes that a rank has given to others.
struct Traffic {
  std::int64_t sent_bytes =
      0;  ///< by the theory of a ring: (W - 1)/W of what is gathered or reduced, twice if all-reduced
  std::int64_t operations = 0;
};

/// What ranks of a run do together. All of them call the same operations with the same sizes in the same order, on the
/// thread that owns the stream. Operations on tensors begin when what was put into the stream before them is done and
/// run beside the stream, one after another; neither may `to` be used nor `from` be written before the Transfer was
/// waited for. Both stay alive until then. Sums are taken in the order of the ranks where the transport leaves it to
/// us, so that runs repeat to the last bit.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int world() const = 0;

  /// to (n) = sum over ranks of their from (W n), elements rank * n on. `from` may be of bf16 where `to` is f32: sums
  /// are then of the rounded values, in f32.
  virtual Transfer reduce_scatter(const Stream& stream, const Tensor& to, const Tensor& from) = 0;
  /// to (W n) = from (n) of all ranks, one after another. `from` may be its own part of `to`.
  virtual Transfer all_gather(const Stream& stream, const Tensor& to, const Tensor& from) = 0;
  /// t (n) = sum over ranks, f64 or f32, the same bits on all ranks. For few elements.
  virtual Transfer all_reduce(const Stream& stream, const Tensor& t) = 0;

  /// What each rank gives, by rank; equal sizes. Waits for all of them: for the host's own news, not for tensors.
  virtual std::vector<std::byte> exchange(std::span<const std::byte> mine) = 0;
  /// What rank 0 gives, of any size.
  virtual std::vector<std::byte> from_rank_0(std::span<const std::byte> text) = 0;
  void barrier() { (void)exchange({}); }

  /// Before this rank frees what it has, because of a failure; nothing is asked for any more. Where the failure is
  /// another rank's, what is under way ends where it is: else the device waits for that rank, and who frees its memory
  /// for the device. Others hear of one's own first.
  virtual void abandon() noexcept {}

  Traffic traffic() const { return traffic_; }
  /// Time that the host has stood in Transfer::wait().
  virtual double waited_seconds() const { return 0; }

 protected:
  // What each operation begins with: ContractError for sizes, dtypes or devices that the operation does not take, and
  // the traffic counted.
  void begin_reduce_scatter(const Stream& stream, const Tensor& to, const Tensor& from);
  void begin_all_gather(const Stream& stream, const Tensor& to, const Tensor& from);
  void begin_all_reduce(const Stream& stream, const Tensor& t);

 private:
  void count_ring(std::int64_t bytes) {
    traffic_ = {traffic_.sent_bytes + bytes / world() * (world() - 1), traffic_.operations + 1};
  }

  Traffic traffic_;
};

/// Gives a communicator up when an exception leaves its scope, before what was made earlier there is freed.
class Abandoning {
 public:
  explicit Abandoning(Communicator& communicator) : communicator_(communicator), before_(std::uncaught_exceptions()) {}
  ~Abandoning() {
    if (std::uncaught_exceptions() > before_) communicator_.abandon();
  }
  Abandoning(const Abandoning&) = delete;
  Abandoning& operator=(const Abandoning&) = delete;

 private:
  Communicator& communicator_;
  int before_;
};

/// The communicator of a run of one process: copies, and where `to` is `from` nothing at all.
std::shared_ptr<Communicator> alone();

}  // namespace spikesink
