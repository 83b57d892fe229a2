#include "data/stream_loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "data/lane.h"
#include "data/wait_clock.h"
#include "kernels/core/check.h"

namespace spikesink {
namespace {

/// A lane, and its windows that are read. One thread at a time reads the lane: `busy` hands it over.
struct Channel {
  LaneState begin;             // of `current`, or where the lane starts
  std::unique_ptr<Lane> lane;  // made when it is first asked for
  std::optional<Window> current;
  std::vector<Window> ahead;  // in order
  std::exception_ptr error;   // met in place of what would follow `ahead`
  bool asked = false, queued = false, busy = false;
};

struct Place {
  std::int64_t lane, sample;
};

Fingerprint fingerprint_of(const LoaderOptions& o, const LaneSource& source) {
  Fingerprint fingerprint = fingerprint_of_settings(o);
  fingerprint["data.train"] = shards_fingerprint(source.shards);
  fingerprint["data.tokenizer"] = o.tokenizer.name();
  fingerprint["data.holdout"] = fmt::format("{}", source.holdout);
  fingerprint["data.lanes"] = fmt::format("{}", source.lanes);
  return fingerprint;
}

}  // namespace

class StreamLoader::Reader {
 public:
  explicit Reader(const LoaderOptions& o)
      : tally_(o.data.max_bad_share),
        source_{.shards = find_shards(o.data.train, "data.train"),
                .tokenizer = o.tokenizer,
                .tally = tally_,
                .begin = begin_token(o.data.begin_of_text, o.tokenizer),
                .context = o.context,
                .lanes = o.data.lanes,
                .holdout = o.data.validation.empty() ? o.data.holdout : 0,
                .seed = o.seed},
        sequences_(o.sequences),
        fingerprint_(fingerprint_of(o, source_)) {
    require(o.context > 0 && o.sequences > 0 && o.data.lanes > 0 && o.threads > 0, "loader: context ", o.context,
            ", sequences ", o.sequences, ", lanes ", o.data.lanes, ", threads ", o.threads, ", expected > 0");
    channels_ = std::vector<Channel>(static_cast<std::size_t>(o.data.lanes));
    for (int i = 0; i < o.threads; ++i) threads_.emplace_back([this](const std::stop_token& stop) { work(stop); });
  }

  ~Reader() {
    for (std::jthread& thread : threads_) thread.request_stop();
    wake_.notify_all();
  }

  std::vector<std::int32_t> next(std::int64_t step, std::int64_t first, std::int64_t count) {
    require(first >= 0 && count >= 0 && first + count <= sequences_, "loader slots: ", first, " and ", count,
            " from there, of ", sequences_);
    require(step >= step_, "loader step: ", step, ", but ", step_, " was asked for");
    std::vector<std::int32_t> samples;
    samples.reserve(static_cast<std::size_t>(count * row()));
    std::unique_lock lock(mutex_);
    step_ = step;
    taken_ = true;
    for (std::int64_t slot = first; slot < first + count; ++slot)
      lanes_asked_ += !std::exchange(channel(place_of(step, slot).lane).asked, true);
    depth_ = depth(count);
    for (std::int64_t slot = first; slot < first + count; ++slot) queue(place_of(step, slot).lane);
    for (std::int64_t slot = first; slot < first + count; ++slot) append_sample(lock, place_of(step, slot), samples);
    for (std::int64_t slot = first; slot < first + count; ++slot) queue(place_of(step + 1, slot).lane);
    return samples;
  }

  Position position() const {
    const std::lock_guard lock(mutex_);
    Position position{.step = step_ + (taken_ ? 1 : 0), .fingerprint = fingerprint_, .lanes = {}};
    for (const Channel& channel : channels_) position.lanes.push_back(channel.begin);
    return position;
  }

  void seek(const Position& position) {
    require_same_data(position.fingerprint, fingerprint_);
    require_sound(position);
    std::unique_lock lock(mutex_);
    depth_ = 0;  // so that lanes that are busy are not queued anew
    queue_.clear();
    filled_.wait(lock, [this] { return std::ranges::none_of(channels_, &Channel::busy); });
    lanes_asked_ = 0;
    for (std::size_t i = 0; i < channels_.size(); ++i) {
      channels_[i] = {};
      channels_[i].begin = position.lanes[i];
    }
    step_ = position.step;
    taken_ = false;
  }

  DocumentCounts counts() const { return tally_.counts(); }

  double waited_seconds() const {
    const std::lock_guard lock(mutex_);
    return waited_.seconds;
  }

 private:
  std::int64_t row() const { return source_.context + 1; }

  Place place_of(std::int64_t step, std::int64_t slot) const {
    const std::int64_t lanes = source_.lanes;
    if (sequences_ % lanes == 0) {
      const std::int64_t share = sequences_ / lanes;
      return {slot / share, step * share + slot % share};
    }
    const std::int64_t all = step * sequences_ + slot;
    return {all % lanes, all / lanes};
  }

  /// The first sample of the lane in a step or after it.
  std::int64_t first_sample(std::int64_t step, std::int64_t lane) const {
    const std::int64_t lanes = source_.lanes;
    if (sequences_ % lanes == 0) return step * (sequences_ / lanes);
    return (step * sequences_ - lane + lanes - 1) / lanes;  // the least i with i * lanes + lane >= step * sequences_
  }

  void require_sound(const Position& position) const {
    require_step(position.step, sequences_);
    if (position.lanes.size() != channels_.size())
      damaged_position(fmt::format("{} lanes of {}", position.lanes.size(), channels_.size()));
    for (std::size_t i = 0; i < position.lanes.size(); ++i) {
      const auto lane = static_cast<std::int64_t>(i);
      const LaneState& state = position.lanes[i];
      Lane::require_sound(source_, lane, state);
      if (const std::int64_t last = first_sample(position.step, lane) / Lane::kWindow; state.window > last)
        damaged_position(fmt::format("lane {}: window {}, but step {} needs {}", i, state.window, position.step, last));
    }
  }

  Channel& channel(std::int64_t lane) { return channels_[static_cast<std::size_t>(lane)]; }

  /// Windows to be ahead in every lane, where a step takes `count` slots.
  std::size_t depth(std::int64_t count) const {
    const std::int64_t lanes = source_.lanes;
    const std::int64_t of_step =
        sequences_ % lanes == 0 ? std::min(sequences_ / lanes, count) : (count + lanes - 1) / lanes;  // samples a lane
    const auto windows = [](std::int64_t samples) { return (samples + Lane::kWindow - 1) / Lane::kWindow; };
    const auto bytes = static_cast<std::int64_t>(sizeof(std::int32_t)) * Lane::kWindow * row();
    return static_cast<std::size_t>(std::clamp(kAheadBytes / (bytes * std::max<std::int64_t>(lanes_asked_, 1)),
                                               windows(of_step), windows(kAheadSteps * of_step)));
  }

  /// Has the lane's next window read, unless enough are there or one is on its way.
  void queue(std::int64_t lane) {
    Channel& c = channel(lane);
    if (c.ahead.size() >= depth_ || c.error || c.queued || c.busy) return;
    c.queued = true;
    queue_.push_back(lane);
    wake_.notify_one();
  }

  /// Moves the lane on to the window of the sample, and copies it out.
  void append_sample(std::unique_lock<std::mutex>& lock, const Place& place, std::vector<std::int32_t>& samples) {
    Channel& c = channel(place.lane);
    const std::int64_t window = place.sample / Lane::kWindow;
    while (!c.current || c.current->begin.window < window) {
      queue(place.lane);
      waited_.until([&c] { return !c.ahead.empty() || c.error; }, filled_, lock);
      if (c.ahead.empty()) std::rethrow_exception(c.error);
      c.current = std::move(c.ahead.front());
      c.ahead.erase(c.ahead.begin());
      c.begin = c.current->begin;
      queue(place.lane);
    }
    require(c.current->begin.window == window, "loader: sample ", place.sample, " of lane ", place.lane,
            " asked for after window ", c.current->begin.window);
    const auto from = c.current->tokens.begin() + place.sample % Lane::kWindow * row();
    samples.insert(samples.end(), from, from + row());
  }

  /// The lane that has the fewest windows; of several the one that has waited longest.
  std::int64_t take_most_urgent() {
    const auto it = std::ranges::min_element(queue_, {}, [this](std::int64_t lane) {
      const Channel& c = channel(lane);
      return c.ahead.size() + (c.current ? 1 : 0);
    });
    const std::int64_t lane = *it;
    queue_.erase(it);
    return lane;
  }

  void work(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (wake_.wait(lock, stop, [this] { return !queue_.empty(); })) {
      if (stop.stop_requested()) return;
      const std::int64_t number = take_most_urgent();
      Channel& c = channel(number);
      c.queued = false;
      c.busy = true;
      const LaneState begin = c.begin;
      lock.unlock();
      std::optional<Window> window;
      std::exception_ptr error;
      try {
        if (!c.lane) c.lane = std::make_unique<Lane>(source_, number, begin);
        window = c.lane->next_window();
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      c.busy = false;
      if (window) c.ahead.push_back(std::move(*window));
      c.error = error;
      queue(number);
      filled_.notify_all();
    }
  }

  DocumentTally tally_;
  const LaneSource source_;
  const std::int64_t sequences_;
  const Fingerprint fingerprint_;

  mutable std::mutex mutex_;  // guards all below, but a lane that is busy
  std::condition_variable_any wake_, filled_;
  std::vector<Channel> channels_;
  std::deque<std::int64_t> queue_;  // lanes whose next window is to be read
  std::int64_t lanes_asked_ = 0;    // whose slots were asked for
  std::size_t depth_ = 0;           // windows to be ahead in each
  std::int64_t step_ = 0;           // the last that next() was asked for, if taken_; else the one to come
  bool taken_ = false;
  WaitClock waited_;
  std::vector<std::jthread> threads_;  // last: joined first
};

StreamLoader::StreamLoader(const LoaderOptions& options) : reader_(std::make_unique<Reader>(options)) {}
StreamLoader::~StreamLoader() = default;
std::vector<std::int32_t> StreamLoader::next(std::int64_t step, std::int64_t first, std::int64_t count) {
  return reader_->next(step, first, count);
}
Position StreamLoader::position() const { return reader_->position(); }
void StreamLoader::seek(const Position& position) { reader_->seek(position); }
DocumentCounts StreamLoader::counts() const { return reader_->counts(); }
double StreamLoader::waited_seconds() const { return reader_->waited_seconds(); }

}  // namespace spikesink
