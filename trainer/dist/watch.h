#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/dist/communicator.h"
#include "trainer/dist/transport.h"

namespace spikesink {

/// Waits for other ranks, and never for ever: whoever waits also hears that a rank has failed, and gives up on ranks
/// that say nothing for too long. Who waits long says so, and is not taken for one of those. Ranks end together: each
/// says how it ends to rank 0, which tells all the exit code. Threads may call at once.
class Watch {
 public:
  explicit Watch(Transport& transport) : transport_(transport) {}

  /// The longest silence that is not a failure. Time that this process was stopped does not count.
  void set_timeout(double seconds) { timeout_ = seconds; }

  /// Waits until `messages` are done. Throws RankFailure if a rank has failed, and Failure with the ranks that are
  /// silent, and `where`: "in reduce_scatter".
  void await(Messages& messages, std::string_view where);
  /// The same for operations that a device does with those of other ranks, and that tell nobody whom they wait for: a
  /// rank that waits long says how many it has asked its device for. Waits until done().
  struct OnDevice {
    std::int64_t asked = 0;                      ///< operations so far, counted alike on all ranks
    std::optional<std::int64_t> under_way = {};  ///< the number of the one that the device is in, if any
    std::string where = {};                      ///< of that one
  };
  void await_device(const std::function<bool()>& done, const std::function<OnDevice()>& look);
  /// Hears for some time whether a rank has failed, and throws that.
  void listen(double seconds);
  /// From now on waiting throws. What messages read and write must outlive MPI.
  void stop() { stopped_ = true; }
  /// Did a wait end because of silence?
  bool silence() const { return silence_; }
  /// What another rank has failed with, as far as this one has heard.
  std::optional<RankFailure> failure();

  /// The end of this rank, with its error (`own`) or one that it heard of. Waits for all ranks' ends, and returns the
  /// exit code of the run: that of the lowest rank with an error of its own. Rank 0 calls print(rank, message) for each
  /// error as it comes. Throws Failure on silence.
  ExitCode end(ExitCode code, bool own, const std::string& message,
               const std::function<void(int rank, const std::string& message)>& print);

 private:
  using Clock = std::chrono::steady_clock;
  enum class Kind : std::int32_t { kFailure, kEnd, kVerdict, kAsked, kWaiting };
  struct Header {
    Kind kind;
    ExitCode code;
    std::int32_t own;
    std::int64_t asked = 0;  ///< operations on a device
  };
  struct End {
    ExitCode code;
    bool own;
    std::string message;
  };
  struct Waiting {
    int polls = 0;        ///< since something came
    double silent_s = 0;  ///< likewise
    int times_told = 0;   ///< likewise, that this rank waits
    Clock::time_point last = Clock::now();
  };

  void tell(int rank, const Header& header, const std::string& text);
  void hear();
  void poll(Waiting& waiting, const std::function<std::vector<int>()>& missing, std::string_view where);
  void count_silence(Waiting& waiting, const std::function<std::vector<int>()>& missing, std::string_view where);
  std::vector<int> not_asked_for(std::int64_t operation);
  std::vector<int> silent(const std::vector<int>& missing);
  Clock::time_point heard_from(int rank);

  Transport& transport_;
  std::atomic<double> timeout_ = 600;
  std::atomic<bool> stopped_ = false, silence_ = false;
  std::mutex mutex_;  ///< of what follows
  std::optional<RankFailure> failure_;
  std::map<int, End> ends_;
  std::optional<ExitCode> verdict_;
  std::map<int, std::int64_t> asked_;       ///< by ranks that wait for their devices
  std::map<int, Clock::time_point> heard_;  ///< when the last news came
};

}  // namespace spikesink
