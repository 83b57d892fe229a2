#include "trainer/dist/dry_communicator.h"

namespace spikesink {
namespace {

class DryCommunicator final : public Communicator {
 public:
  DryCommunicator(int rank, int world) : rank_(rank), world_(world) {
    require(rank >= 0 && rank < world, "dry_communicator: rank ", rank, " of ", world);
  }
  int rank() const override { return rank_; }
  int world() const override { return world_; }

  Transfer reduce_scatter(const Stream& stream, const Tensor& to, const Tensor& from) override {
    counted(stream, [&] { begin_reduce_scatter(stream, to, from); });
    return from.dtype() == to.dtype() ? Transfer() : with_parts(stream, to.numel(), from.dtype());
  }
  Transfer all_gather(const Stream& stream, const Tensor& to, const Tensor& from) override {
    counted(stream, [&] { begin_all_gather(stream, to, from); });
    return {};
  }
  Transfer all_reduce(const Stream& stream, const Tensor& t) override {
    counted(stream, [&] { begin_all_reduce(stream, t); });
    return with_parts(stream, t.numel(), t.dtype());
  }
  std::vector<std::byte> exchange(std::span<const std::byte> mine) override {
    std::vector<std::byte> all;
    for (int rank = 0; rank < world_; ++rank) all.insert(all.end(), mine.begin(), mine.end());
    return all;
  }
  std::vector<std::byte> from_rank_0(std::span<const std::byte> text) override { return {text.begin(), text.end()}; }

 private:
  /// On GPUs all ranks' parts of a sum lie in the pool until the transfer was waited for (nccl_communicator.h).
  Transfer with_parts(const Stream& stream, std::int64_t n, DType dtype) const {
    if (stream.device == Device::kCpu || world_ == 1) return {};
    const auto parts = std::make_shared<Tensor>(stream.empty({world_, n}, dtype));
    return Transfer([parts](const Stream&) { *parts = {}; });
  }

  template <class F>
  void counted(const Stream& stream, F&& begin) {
    require(stream.dry != nullptr, "dry_communicator: a stream that is not dry");
    const std::int64_t before = traffic().sent_bytes;
    begin();
    stream.dry->sent_bytes += static_cast<double>(traffic().sent_bytes - before);
  }

  int rank_, world_;
};

}  // namespace

std::shared_ptr<Communicator> dry_communicator(int rank, int world) {
  return std::make_shared<DryCommunicator>(rank, world);
}

}  // namespace spikesink
