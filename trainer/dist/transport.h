#pragma once
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace spikesink {

/// Messages between two processes of a run that go the same way on the same channel arrive in their order.
enum class Channel { kTensors, kHost };

/// Messages that are on their way. What they read and write stays until they are done.
class Messages {
 public:
  virtual ~Messages() = default;
  /// Each send meets the receive of its turn, of the same size, on the other rank. Of any size.
  virtual void send(int to, std::span<const std::byte> bytes) = 0;
  virtual void receive(int from, std::span<std::byte> bytes) = 0;
  /// Moves them on, without waiting; how many are still on their way.
  virtual std::size_t advance() = 0;
  /// The ranks whose messages are not here; if all are, those that have not taken ours. In order.
  virtual std::vector<int> missing() const = 0;
};

/// The processes of a run, and bytes between them. No call waits for another process, but open and close; threads may
/// call at once. Throws Failure with the library's words when that refuses.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual int rank() const = 0;
  virtual int world() const = 0;
  virtual int local_rank() const = 0;   ///< among the processes of this node
  virtual int local_world() const = 0;  ///< processes of this node

  virtual std::unique_ptr<Messages> messages(Channel channel) = 0;

  /// News are short, are sent without being asked for, and arrive when they are looked for.
  struct News {
    int from;
    std::vector<std::byte> bytes;
  };
  virtual void send_news(int to, std::span<const std::byte> bytes) = 0;
  virtual std::optional<News> next_news() = 0;

  /// Ends with the other processes, which do the same; all messages are done.
  virtual void close() = 0;
  /// Until the news that this process has sent are on their way. Then it may end without close(), with an exit code
  /// that is not 0 and with messages that are not done.
  virtual void send_off() = 0;
  /// Ends all processes of the run at once with this exit code.
  [[noreturn]] virtual void abort(int code) = 0;
};

}  // namespace spikesink
