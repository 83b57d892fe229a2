#include "trainer/dist/host_communicator.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "trainer/dist/rank_sum.h"

namespace spikesink {
namespace {

std::span<std::byte> bytes_of(const Tensor& t) { return {t.raw(), static_cast<std::size_t>(t.bytes())}; }

void require_host(const Stream& stream) {
  require(stream.device == Device::kCpu && !stream.dry, "communication of host memory: a dry stream or one of ",
          name_of(stream.device));
}

}  // namespace

HostCommunicator::HostCommunicator(Transport& transport, Watch& watch)
    : transport_(transport), watch_(watch), thread_([this] { work(); }) {}

HostCommunicator::~HostCommunicator() { stop(); }

Transfer HostCommunicator::reduce_scatter(const Stream& stream, const Tensor& to, const Tensor& from) {
  require_host(stream);
  begin_reduce_scatter(stream, to, from);
  return enqueue([this, to, from] { sum_parts(to, from); });
}

Transfer HostCommunicator::all_gather(const Stream& stream, const Tensor& to, const Tensor& from) {
  require_host(stream);
  begin_all_gather(stream, to, from);
  return enqueue([this, to, from] { gather(to, from); });
}

Transfer HostCommunicator::all_reduce(const Stream& stream, const Tensor& t) {
  require_host(stream);
  begin_all_reduce(stream, t);
  return enqueue([this, t] { sum_all(t); });
}

Transfer HostCommunicator::enqueue(std::function<void()> run) {
  const auto job = std::make_shared<Job>(Job{.run = std::move(run)});
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(job);
  }
  changed_.notify_all();
  return Transfer([this, job](const Stream&) {
    const auto begin = std::chrono::steady_clock::now();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return job->done || error_ || stopping_; });
    waited_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (!job->done && error_) std::rethrow_exception(error_);
    require(job->done, "a transfer is waited for after the end");
  });
}

void HostCommunicator::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return;
    const std::shared_ptr<Job> job = jobs_.front();
    lock.unlock();
    std::exception_ptr error;
    try {
      job->run();
      job->run = nullptr;  // its tensors go back before anybody goes on
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (error) {
      error_ = error;  // the jobs stay as they are: messages may still come for their tensors
    } else {
      job->done = true;
      jobs_.pop_front();
    }
    changed_.notify_all();
    if (error) return;
  }
}

void HostCommunicator::finish() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return jobs_.empty() || error_; });
  if (error_) std::rethrow_exception(error_);
}

void HostCommunicator::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  watch_.stop();
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void HostCommunicator::sum_parts(const Tensor& to, const Tensor& from) {
  constexpr std::int64_t kStaging = 8 << 20, kLeast = 16 << 10;
  const int W = world(), me = rank();
  const std::int64_t n = to.numel(), size = size_of(from.dtype());
  const std::int64_t chunk = std::min(n, std::max(kStaging / (2 * W), kLeast) / size);  // elements at a time
  const auto bytes = [&](std::int64_t elements) { return static_cast<std::size_t>(elements * size); };
  staging_.resize(std::max(staging_.size(), bytes(2 * W * chunk)));

  // Two halves: while the parts in one are summed, the next ones arrive in the other.
  const auto part = [&](std::int64_t number, int r) { return staging_.data() + bytes((number % 2 * W + r) * chunk); };
  const auto count = [&](std::int64_t number) { return std::min(chunk, n - number * chunk); };
  const auto begin = [&](std::int64_t number) {
    auto messages = transport_.messages(Channel::kTensors);
    for (int i = 1; i < W; ++i) {
      const int source = (me + i) % W, target = (me + W - i) % W;
      messages->receive(source, {part(number, source), bytes(count(number))});
      messages->send(target, {from.raw() + bytes(target * n + number * chunk), bytes(count(number))});
    }
    return messages;
  };
  auto next = n > 0 ? begin(0) : nullptr;
  for (std::int64_t number = 0; number * chunk < n; ++number) {
    const auto messages = std::move(next);
    if ((number + 1) * chunk < n) next = begin(number + 1);
    watch_.await(*messages, "in reduce_scatter");
    for (int r = 0; r < W; ++r) {
      const std::byte* const theirs = r == me ? from.raw() + bytes(me * n + number * chunk) : part(number, r);
      (r == 0 ? take_part : add_part)(to, number * chunk, count(number), theirs, from.dtype());
    }
  }
}

void HostCommunicator::gather(const Tensor& to, const Tensor& from) {
  const int W = world(), me = rank();
  const auto part = [&](int r) { return bytes_of(to.view({to.numel()}).slice(r * from.numel(), {from.numel()})); };
  const auto messages = transport_.messages(Channel::kTensors);
  for (int i = 1; i < W; ++i) {
    messages->receive((me + i) % W, part((me + i) % W));
    messages->send((me + W - i) % W, bytes_of(from));
  }
  if (part(me).data() != from.raw()) std::ranges::copy(bytes_of(from), part(me).begin());
  watch_.await(*messages, "in all_gather");
}

void HostCommunicator::sum_all(const Tensor& t) {
  const int W = world(), me = rank();
  const auto size = static_cast<std::size_t>(t.bytes());
  staging_.resize(std::max(staging_.size(), static_cast<std::size_t>(W) * size));
  const auto part = [&](int r) { return std::span(staging_).subspan(static_cast<std::size_t>(r) * size, size); };
  std::ranges::copy(bytes_of(t), part(me).begin());
  const auto messages = transport_.messages(Channel::kTensors);
  for (int i = 1; i < W; ++i) {
    messages->receive((me + i) % W, part((me + i) % W));
    messages->send((me + W - i) % W, part(me));
  }
  watch_.await(*messages, "in all_reduce");
  for (int r = 0; r < W; ++r) (r == 0 ? take_part : add_part)(t, 0, t.numel(), part(r).data(), t.dtype());
}

/// f on bytes that messages may still find after an error.
template <class F>
std::vector<std::byte> HostCommunicator::with_host_bytes(std::size_t size, F f) {
  std::vector<std::byte> bytes(size);
  try {
    f(std::span(bytes));
  } catch (...) {
    kept_.push_back(std::move(bytes));
    throw;
  }
  return bytes;
}

std::vector<std::byte> HostCommunicator::exchange(std::span<const std::byte> mine) {
  const int W = world(), me = rank();
  return with_host_bytes(mine.size() * static_cast<std::size_t>(W), [&](std::span<std::byte> all) {
    const auto part = [&](int r) { return all.subspan(static_cast<std::size_t>(r) * mine.size(), mine.size()); };
    std::ranges::copy(mine, part(me).begin());
    const auto messages = transport_.messages(Channel::kHost);
    for (int i = 1; i < W; ++i) {
      messages->receive((me + i) % W, part((me + i) % W));
      messages->send((me + W - i) % W, part(me));
    }
    watch_.await(*messages, "in exchange");
  });
}

std::vector<std::byte> HostCommunicator::from_rank_0(std::span<const std::byte> text) {
  const auto pass_on = [&](std::span<std::byte> bytes) {
    const auto messages = transport_.messages(Channel::kHost);
    if (rank() != 0) messages->receive(0, bytes);
    if (rank() == 0)
      for (int r = 1; r < world(); ++r) messages->send(r, bytes);
    watch_.await(*messages, "in from_rank_0");
  };
  const std::vector<std::byte> size_bytes = with_host_bytes(sizeof(std::uint64_t), [&](std::span<std::byte> bytes) {
    const std::uint64_t size = text.size();
    std::memcpy(bytes.data(), &size, sizeof size);
    pass_on(bytes);
  });
  std::uint64_t size = 0;
  std::memcpy(&size, size_bytes.data(), sizeof size);
  return with_host_bytes(size, [&](std::span<std::byte> bytes) {
    if (rank() == 0) std::ranges::copy(text, bytes.begin());
    pass_on(bytes);
  });
}

}  // namespace spikesink
