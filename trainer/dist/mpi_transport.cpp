#include "trainer/dist/mpi_transport.h"

#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <list>
#include <mutex>
#include <string>
#include <thread>

#include "io/failure.h"

namespace spikesink {
namespace {

/// The longest single message, far below the 2^31 elements that MPI can count. Longer ones go in pieces.
constexpr std::size_t kMaxBytes = std::size_t{16} << 20;

void check(int result, const char* call) {
  if (result == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(result, text, &length);
  throw Failure(ExitCode::kInternal, std::string(call) + ": " + std::string(text, static_cast<std::size_t>(length)));
}
#define MPI_CHECK(...) check(__VA_ARGS__, #__VA_ARGS__)

MPI_Comm duplicate(MPI_Comm comm) {
  MPI_Comm copy = MPI_COMM_NULL;
  MPI_CHECK(MPI_Comm_dup(comm, &copy));
  MPI_CHECK(MPI_Comm_set_errhandler(copy, MPI_ERRORS_RETURN));
  return copy;
}

class MpiMessages final : public Messages {
 public:
  MpiMessages(MPI_Comm comm, std::mutex& mutex) : comm_(comm), mutex_(mutex) {}

  void send(int to, std::span<const std::byte> bytes) override {
    const std::lock_guard lock(mutex_);
    in_pieces(bytes.size(), [&](std::size_t first, int count) {
      MPI_CHECK(MPI_Isend(bytes.data() + first, count, MPI_BYTE, to, 0, comm_, add({.peer = to, .incoming = false})));
    });
  }
  void receive(int from, std::span<std::byte> bytes) override {
    const std::lock_guard lock(mutex_);
    in_pieces(bytes.size(), [&](std::size_t first, int count) {
      MPI_CHECK(
          MPI_Irecv(bytes.data() + first, count, MPI_BYTE, from, 0, comm_, add({.peer = from, .incoming = true})));
    });
  }

  std::size_t advance() override {
    const std::lock_guard lock(mutex_);
    if (requests_.empty()) return 0;
    int num_done = 0;
    std::vector<int> done(requests_.size());
    MPI_CHECK(MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &num_done, done.data(),
                           MPI_STATUSES_IGNORE));
    if (num_done > 0) forget_done();
    return requests_.size();
  }

  std::vector<int> missing() const override {
    std::vector<int> ranks;
    for (const bool incoming : {true, false}) {
      for (const Peer& p : peers_)
        if (p.incoming == incoming) ranks.push_back(p.peer);
      if (!ranks.empty()) break;
    }
    std::ranges::sort(ranks);
    ranks.erase(std::ranges::unique(ranks).begin(), ranks.end());
    return ranks;
  }

 private:
  struct Peer {
    int peer;
    bool incoming;
  };

  template <class F>
  static void in_pieces(std::size_t bytes, F f) {
    for (std::size_t first = 0; first == 0 || first < bytes; first += kMaxBytes)
      f(first, static_cast<int>(std::min(kMaxBytes, bytes - first)));
  }
  MPI_Request* add(Peer peer) {
    peers_.push_back(peer);
    return &requests_.emplace_back(MPI_REQUEST_NULL);
  }
  void forget_done() {  // their requests have become null
    std::size_t kept = 0;
    for (std::size_t i = 0; i < requests_.size(); ++i) {
      if (requests_[i] == MPI_REQUEST_NULL) continue;
      requests_[kept] = requests_[i];
      peers_[kept++] = peers_[i];
    }
    requests_.resize(kept);
    peers_.resize(kept);
  }

  MPI_Comm comm_;
  std::mutex& mutex_;
  std::vector<MPI_Request> requests_;
  std::vector<Peer> peers_;  ///< of each request
};

class MpiTransport final : public Transport {
 public:
  MpiTransport() {
    int level = 0;
    MPI_CHECK(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &level));
    if (level < MPI_THREAD_SERIALIZED)
      throw UsageError("this MPI library serves one thread only; take one that gives MPI_THREAD_SERIALIZED");
    MPI_CHECK(MPI_Comm_rank(MPI_COMM_WORLD, &rank_));
    MPI_CHECK(MPI_Comm_size(MPI_COMM_WORLD, &world_));
    tensors_ = duplicate(MPI_COMM_WORLD);
    host_ = duplicate(MPI_COMM_WORLD);
    news_ = duplicate(MPI_COMM_WORLD);
    MPI_Comm node = MPI_COMM_NULL;
    MPI_CHECK(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node));
    MPI_CHECK(MPI_Comm_rank(node, &local_rank_));
    MPI_CHECK(MPI_Comm_size(node, &local_world_));
    MPI_CHECK(MPI_Comm_free(&node));
  }

  int rank() const override { return rank_; }
  int world() const override { return world_; }
  int local_rank() const override { return local_rank_; }
  int local_world() const override { return local_world_; }

  std::unique_ptr<Messages> messages(Channel channel) override {
    return std::make_unique<MpiMessages>(channel == Channel::kTensors ? tensors_ : host_, mutex_);
  }

  void send_news(int to, std::span<const std::byte> bytes) override {
    const std::lock_guard lock(mutex_);
    Sent& sent = sent_.emplace_back(Sent{.bytes = {bytes.begin(), bytes.end()}});
    MPI_CHECK(MPI_Isend(sent.bytes.data(), static_cast<int>(sent.bytes.size()), MPI_BYTE, to, 0, news_, &sent.request));
  }

  std::optional<News> next_news() override {
    const std::lock_guard lock(mutex_);
    forget_sent();
    int here = 0, count = 0;
    MPI_Status status;
    MPI_CHECK(MPI_Iprobe(MPI_ANY_SOURCE, 0, news_, &here, &status));
    if (here == 0) return std::nullopt;
    MPI_CHECK(MPI_Get_count(&status, MPI_BYTE, &count));
    News news{.from = status.MPI_SOURCE, .bytes = std::vector<std::byte>(static_cast<std::size_t>(count))};
    MPI_CHECK(MPI_Recv(news.bytes.data(), count, MPI_BYTE, news.from, 0, news_, MPI_STATUS_IGNORE));
    return news;
  }

  void close() override {
    const std::lock_guard lock(mutex_);
    for (Sent& sent : sent_) MPI_CHECK(MPI_Wait(&sent.request, MPI_STATUS_IGNORE));
    sent_.clear();
    for (MPI_Comm* comm : {&tensors_, &host_, &news_}) MPI_CHECK(MPI_Comm_free(comm));
    MPI_CHECK(MPI_Finalize());
  }

  void send_off() override {
    using namespace std::chrono_literals;
    const auto until = std::chrono::steady_clock::now() + 2s;
    while (!sent_.empty() && std::chrono::steady_clock::now() < until) {
      {
        const std::lock_guard lock(mutex_);
        forget_sent();
      }
      std::this_thread::sleep_for(1ms);
    }
  }

  [[noreturn]] void abort(int code) override {
    const std::lock_guard lock(mutex_);
    MPI_Abort(MPI_COMM_WORLD, code);
    std::_Exit(code);
  }

 private:
  struct Sent {
    std::vector<std::byte> bytes;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  void forget_sent() {
    std::erase_if(sent_, [](Sent& sent) {
      int done = 0;
      MPI_CHECK(MPI_Test(&sent.request, &done, MPI_STATUS_IGNORE));
      return done != 0;
    });
  }

  int rank_ = 0, world_ = 1, local_rank_ = 0, local_world_ = 1;
  MPI_Comm tensors_ = MPI_COMM_NULL, host_ = MPI_COMM_NULL, news_ = MPI_COMM_NULL;
  std::mutex mutex_;  ///< MPI is asked by one thread at a time: MPI_THREAD_SERIALIZED
  std::list<Sent> sent_;
};

}  // namespace

std::unique_ptr<Transport> open_mpi() { return std::make_unique<MpiTransport>(); }

}  // namespace spikesink
