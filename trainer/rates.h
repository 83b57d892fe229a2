#pragma once
#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "trainer/probe.h"
#include "trainer/step_news.h"

namespace spikesink {

inline double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// How fast a run goes: in each interval between two logged steps, and since it began.
class Rates {
 public:
  using Clock = std::chrono::steady_clock;
  struct Run {
    int world;
    std::int64_t step_tokens, total_steps;
    double token_flops;
  };
  explicit Rates(const Run& run) : run_(run), busy_(static_cast<std::size_t>(run.world)) {}

  /// FLOP/s that all ranks' devices can do, of which MFU is a share.
  void set_peak(double peak) { peak_ = peak; }
  /// From here on, behind step `step`, rates and what is left of the run are taken.
  void begin(std::int64_t step);
  /// One more step is done, which was finite: what each rank tells of it.
  void add(std::span<const StepNews> news);
  /// Time that was no training: not of tokens/s.
  void leave_out(Clock::duration time) { interval_ += time; }

  /// "step 10/100  loss 3.2100  950 tokens/s  MFU 41.0 %  left 12 s"
  std::string progress(std::int64_t step, double loss) const { return progress(step, loss, tokens_per_second()); }

  struct Interval {
    std::string text;  ///< progress(), and which ranks have waited
    Scalars scalars;   ///< tokens_per_second, mfu, data_wait; of many ranks busiest_rank_share and mean_rank_share
    std::vector<std::pair<std::string, std::int64_t>> identities;  ///< of many ranks busiest_rank
  };
  /// That which ends with `step`; another begins.
  Interval end_interval(std::int64_t step, double loss);

 private:
  /// Seconds of a rank's steps, those in which it did not wait for others, and those in which it waited for its
  /// samples.
  struct Busy {
    double seconds = 0, busy = 0, data = 0;
    double share() const { return seconds > 0 ? busy / seconds : 0; }
    double data_share() const { return seconds > 0 ? data / seconds : 0; }
  };
  void begin_interval();
  double tokens_per_second() const;
  double mfu(double rate) const { return rate * run_.token_flops / peak_; }
  std::string progress(std::int64_t step, double loss, double rate) const;

  Run run_;
  double peak_ = 1;
  std::vector<Busy> busy_;  // in the interval, by rank
  std::int64_t first_step_ = 0, steps_in_interval_ = 0;
  Clock::time_point begin_, interval_;
};

}  // namespace spikesink
