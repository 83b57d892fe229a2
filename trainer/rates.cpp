#include "trainer/rates.h"

#include <fmt/format.h>

#include <algorithm>

#include "io/readable.h"

namespace spikesink {
void Rates::begin(std::int64_t step) {
  first_step_ = step;
  begin_ = Clock::now();
  begin_interval();
}

void Rates::begin_interval() {
  std::ranges::fill(busy_, Busy{});
  steps_in_interval_ = 0;
  interval_ = Clock::now();
}

void Rates::add(std::span<const StepNews> news) {
  for (std::size_t rank = 0; rank < news.size(); ++rank) {
    busy_[rank].seconds += news[rank].seconds;
    busy_[rank].busy += news[rank].busy_seconds;
    busy_[rank].data += news[rank].data_seconds;
  }
  ++steps_in_interval_;
}

double Rates::tokens_per_second() const {
  return static_cast<double>(steps_in_interval_ * run_.step_tokens) / seconds_since(interval_);
}

std::string Rates::progress(std::int64_t step, double loss, double rate) const {
  const auto done = static_cast<double>(step - first_step_), left = static_cast<double>(run_.total_steps - step);
  return fmt::format("step {}/{}  loss {:.4f}  {} tokens/s  MFU {:.1f} %  left {}", step, run_.total_steps, loss,
                     count_text(rate), 100 * mfu(rate), duration_text(seconds_since(begin_) / done * left));
}

Rates::Interval Rates::end_interval(std::int64_t step, double loss) {
  const double rate = tokens_per_second(),
               data_wait = std::ranges::max_element(busy_, {}, &Busy::data_share)->data_share();
  Interval out{.text = progress(step, loss, rate),
               .scalars = {{"tokens_per_second", rate}, {"mfu", mfu(rate)}, {"data_wait", data_wait}},
               .identities = {}};
  if (data_wait > 0.01) out.text += fmt::format("  waited for data {:.0f} %", 100 * data_wait);
  if (run_.world > 1) {
    const auto busiest = std::ranges::max_element(busy_, {}, &Busy::share);
    double mean = 0;
    for (const Busy& rank : busy_) mean += rank.share() / run_.world;
    out.scalars.insert(out.scalars.end(), {{"busiest_rank_share", busiest->share()}, {"mean_rank_share", mean}});
    out.identities.emplace_back("busiest_rank", busiest - busy_.begin());
    out.text += fmt::format("  rank {} busy {:.0f} %, mean {:.0f} %", busiest - busy_.begin(), 100 * busiest->share(),
                            100 * mean);
  }
  begin_interval();
  return out;
}

}  // namespace spikesink
