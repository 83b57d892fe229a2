#include "trainer/dist/nccl_communicator.h"

#include <fmt/format.h>

#include "kernels/core/nvtx.h"
#include "kernels/shards/sum_of_parts.h"

namespace spikesink {
namespace {

/// How long news of a failed rank may take after NCCL has missed it, in seconds.
constexpr double kNewsAfterError = 5;

Stream beside(const Stream& stream) {
  const gpu::NativeStream native = gpu::new_stream_beside();
  return {.pool = std::make_shared<Pool>(native),
          .device = stream.device,
          .native = native,
          .libraries = std::make_shared<Libraries>()};
}

}  // namespace

NcclCommunicator::NcclCommunicator(const Stream& stream, Communicator& host, Watch& watch)
    : host_(host),
      watch_(watch),
      stream_(stream),
      side_(beside(stream)),
      calling_("at the start of NCCL"),
      nccl_(host, [this](const std::function<bool()>& done) {
        watch_.await_device(
            done, [this] { return Watch::OnDevice{.asked = asked_ + 1, .under_way = asked_, .where = calling_}; });
      }) {
  asked_ = 1;  // NCCL's start, which others may have been told of
  stream_.libraries->get<BeforeWaiting>().call = [this] { before_waiting(); };
}

NcclCommunicator::~NcclCommunicator() { stream_.libraries->get<BeforeWaiting>().call = nullptr; }

void NcclCommunicator::require_own(const Stream& stream) const {
  require(stream.native == stream_.native && !stream.dry, "communication of a GPU's memory: another stream");
}

Transfer NcclCommunicator::reduce_scatter(const Stream& stream, const Tensor& to, const Tensor& from) {
  require_own(stream);
  begin_reduce_scatter(stream, to, from);
  if (to.dtype() == from.dtype())
    return put("reduce_scatter", from.bytes(), {to, from}, [&] { nccl_.reduce_scatter(side_, to, from); });
  const Tensor parts = stream_.empty({world(), to.numel()}, from.dtype());
  return put("reduce_scatter", from.bytes(), {to, from, parts}, [&] {
    nccl_.all_to_all(side_, parts, from);
    kernels::sum_of_parts(side_, {.y = to.view({to.numel()}), .parts = parts});
  });
}

Transfer NcclCommunicator::all_gather(const Stream& stream, const Tensor& to, const Tensor& from) {
  require_own(stream);
  begin_all_gather(stream, to, from);
  return put("all_gather", to.bytes(), {to, from}, [&] { nccl_.all_gather(side_, to, from); });
}

Transfer NcclCommunicator::all_reduce(const Stream& stream, const Tensor& t) {
  require_own(stream);
  begin_all_reduce(stream, t);
  const Tensor parts = stream_.empty({world(), t.numel()}, t.dtype());
  return put("all_reduce", t.bytes(), {t, parts}, [&] {
    nccl_.all_gather(side_, parts, t);
    kernels::sum_of_parts(side_, {.y = t.view({t.numel()}), .parts = parts});
  });
}

/// Room that `work` needs was allocated before: the compute stream has it from here on.
template <class F>
Transfer NcclCommunicator::put(const char* kind, std::int64_t bytes, std::vector<Tensor> tensors, F work) {
  if (const auto failed = watch_.failure()) throw *failed;
  std::string range;
  if constexpr (kHasRanges) range = fmt::format("{} {:.3g} MB", kind, 1e-6 * static_cast<double>(bytes));
  const Range named(range.c_str());
  forget_done();
  calling_ = std::string("in ") + kind;
  const gpu::Event ready = gpu::record_moment(stream_.native.get());
  gpu::wait_for(side_.native.get(), ready);
  work();
  const std::int64_t number = asked_++;
  under_way_.push_back({.number = number,
                        .name = calling_,
                        .ready = ready,
                        .done = gpu::record_moment(side_.native.get()),
                        .tensors = std::move(tensors)});
  return Transfer([this, number](const Stream& stream) {
    require_own(stream);
    wait(number);
  });
}

void NcclCommunicator::wait(std::int64_t number) {
  if (const auto failed = watch_.failure()) throw *failed;
  for (const Operation& operation : under_way_)
    if (operation.number == number) gpu::wait_for(stream_.native.get(), operation.done);
  for (Operation& operation : under_way_)
    if (operation.number <= number) operation.tensors.clear();
}

/// What is through needs no wait: nothing that the host puts into the stream from now on comes before it.
void NcclCommunicator::forget_done() {
  while (!under_way_.empty() && gpu::is_done(under_way_.front().done)) under_way_.pop_front();
}

Watch::OnDevice NcclCommunicator::look() {
  check();
  forget_done();
  Watch::OnDevice now{.asked = asked_};
  if (!under_way_.empty() && gpu::is_done(under_way_.front().ready)) {
    now.under_way = under_way_.front().number;
    now.where = under_way_.front().name;
  }
  return now;
}

/// An error of NCCL's is mostly that of another rank, which then says more of it.
void NcclCommunicator::check() {
  try {
    nccl_.check();
  } catch (const CudaError&) {
    failed_ = true;
    watch_.listen(kNewsAfterError);
    throw;
  }
}

void NcclCommunicator::await(const std::function<bool()>& done) {
  watch_.await_device(done, [this] { return look(); });
  check();
}

void NcclCommunicator::before_waiting() {
  forget_done();
  if (under_way_.empty()) return check();
  const gpu::Event here = gpu::record_moment(stream_.native.get());
  await([&] { return gpu::is_done(here); });
}

/// Others may wait for what this rank's GPU was asked for, and meet it here only then. One that is emulated does
/// nothing by itself.
void NcclCommunicator::before_host_news() {
  if constexpr (kCudaEmulated)
    await([this] {
      forget_done();
      return under_way_.empty();
    });
}

std::vector<std::byte> NcclCommunicator::exchange(std::span<const std::byte> mine) {
  before_host_news();
  return host_.exchange(mine);
}

std::vector<std::byte> NcclCommunicator::from_rank_0(std::span<const std::byte> text) {
  before_host_news();
  return host_.from_rank_0(text);
}

void NcclCommunicator::abandon() noexcept {
  stream_.libraries->get<BeforeWaiting>().call = nullptr;
  if (failed_ || watch_.failure() || watch_.silence()) nccl_.abandon();
}

void NcclCommunicator::finish() {
  await([this] {
    forget_done();
    return under_way_.empty();
  });
  stream_.libraries->get<BeforeWaiting>().call = nullptr;
  calling_ = "at the end of NCCL";
  nccl_.finish();
}

}  // namespace spikesink
