#include "trainer/dist/communicator.h"

#include "kernels/shards/sum_of_parts.h"

namespace spikesink {
namespace {

bool is_sum(DType dtype) { return dtype == DType::kF32 || dtype == DType::kF64; }

class Alone final : public Communicator {
 public:
  int rank() const override { return 0; }
  int world() const override { return 1; }

  Transfer reduce_scatter(const Stream& stream, const Tensor& to, const Tensor& from) override {
    begin_reduce_scatter(stream, to, from);
    if (to.dtype() == from.dtype()) {
      copy(stream, to, from);
    } else {
      const std::int64_t n = to.numel();
      kernels::sum_of_parts(stream, {.y = to.view({n}), .parts = from.view({1, n})});
    }
    return {};
  }
  Transfer all_gather(const Stream& stream, const Tensor& to, const Tensor& from) override {
    begin_all_gather(stream, to, from);
    copy(stream, to, from);
    return {};
  }
  Transfer all_reduce(const Stream& stream, const Tensor& t) override {
    begin_all_reduce(stream, t);
    return {};
  }
  std::vector<std::byte> exchange(std::span<const std::byte> mine) override { return {mine.begin(), mine.end()}; }
  std::vector<std::byte> from_rank_0(std::span<const std::byte> text) override { return {text.begin(), text.end()}; }

 private:
  static void copy(const Stream& stream, const Tensor& to, const Tensor& from) {
    if (to.raw() != from.raw()) stream.copy(to.view({to.numel()}), from.view({from.numel()}));
  }
};

}  // namespace

void Communicator::begin_reduce_scatter(const Stream& stream, const Tensor& to, const Tensor& from) {
  require(is_sum(to.dtype()), "reduce_scatter to: ", name_of(to.dtype()), ", expected f32 or f64");
  const bool rounded = from.dtype() == DType::kBF16 && to.dtype() == DType::kF32;
  require_tensor(to, "reduce_scatter to", to.shape(), to.dtype(), stream.device);
  require_tensor(from, "reduce_scatter from", from.shape(), rounded ? DType::kBF16 : to.dtype(), stream.device);
  require(from.numel() == world() * to.numel(), "reduce_scatter from: ", from.numel(), " elements, expected ", world(),
          " * ", to.numel());
  count_ring(from.bytes());
}

void Communicator::begin_all_gather(const Stream& stream, const Tensor& to, const Tensor& from) {
  require_tensor(to, "all_gather to", to.shape(), from.dtype(), stream.device);
  require_tensor(from, "all_gather from", from.shape(), from.dtype(), stream.device);
  require(to.numel() == world() * from.numel(), "all_gather to: ", to.numel(), " elements, expected ", world(), " * ",
          from.numel());
  count_ring(to.bytes());
}

void Communicator::begin_all_reduce(const Stream& stream, const Tensor& t) {
  require(is_sum(t.dtype()), "all_reduce: ", name_of(t.dtype()), ", expected f32 or f64");
  require_tensor(t, "all_reduce", t.shape(), t.dtype(), stream.device);
  count_ring(2 * t.bytes());
}

std::shared_ptr<Communicator> alone() { return std::make_shared<Alone>(); }

}  // namespace spikesink
