#include "trainer/dist/nccl.h"

#include <cstring>
#include <exception>

#include "tests/cuda_emulation/twins/library_call.h"

// Ranks are processes, each with an emulated GPU. An operation is done over the host's communicator when the stream
// comes to it: whoever drains the stream waits for the other ranks there.
namespace spikesink {
namespace {

const Stream& host_stream() {
  static const Stream* const stream = new Stream(Stream::cpu(1));
  return *stream;
}

/// The same bytes for the host. Does not keep them: who lets go too early is to be found.
Tensor host_view(const Tensor& t) { return {{std::shared_ptr<void>{}, t.raw()}, t.shape(), t.dtype()}; }

}  // namespace

void require_nccl() {}

struct Nccl::State {
  /// `work` on the host, unless something went wrong before.
  template <class F>
  static void put(const std::shared_ptr<State>& state, const Stream& stream, const Tensor& to, const Tensor& from,
                  F work) {
    library_call(stream, {to.raw(), from.raw()},
                 [state, work = std::move(work), to = host_view(to), from = host_view(from)] {
                   if (state->over || state->error) return;
                   try {
                     work(state->host, to, from);
                   } catch (...) {
                     state->error = std::current_exception();
                   }
                 });
  }

  Communicator& host;
  std::exception_ptr error = {};
  bool over = false;
};

Nccl::Nccl(Communicator& host, Wait) : state_(std::make_shared<State>(host)) { host.barrier(); }
Nccl::~Nccl() { state_->over = true; }

void Nccl::reduce_scatter(const Stream& stream, const Tensor& to, const Tensor& from) {
  State::put(state_, stream, to, from, [](Communicator& host, const Tensor& sum, const Tensor& given) {
    host.reduce_scatter(host_stream(), sum, given).wait(host_stream());
  });
}

void Nccl::all_gather(const Stream& stream, const Tensor& to, const Tensor& from) {
  State::put(state_, stream, to, from, [](Communicator& host, const Tensor& all, const Tensor& mine) {
    host.all_gather(host_stream(), all, mine).wait(host_stream());
  });
}

void Nccl::all_to_all(const Stream& stream, const Tensor& to, const Tensor& from) {
  State::put(state_, stream, to, from, [](Communicator& host, const Tensor& rows, const Tensor& mine) {
    const int W = host.world();
    const std::int64_t n = mine.numel(), row = mine.bytes() / W;
    const Tensor all = host_stream().empty({W, n}, mine.dtype());
    host.all_gather(host_stream(), all, mine).wait(host_stream());
    for (int r = 0; r < W; ++r)
      std::memcpy(rows.raw() + r * row, all.raw() + r * mine.bytes() + host.rank() * row,
                  static_cast<std::size_t>(row));
  });
}

void Nccl::check() {
  if (state_->error) std::rethrow_exception(state_->error);
}

void Nccl::finish() {
  check();
  state_->over = true;
}

void Nccl::abandon() noexcept { state_->over = true; }

}  // namespace spikesink
