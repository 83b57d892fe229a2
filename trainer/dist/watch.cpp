#include "trainer/dist/watch.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <thread>

namespace spikesink {
namespace {

/// Of the timeout. Who waits says so this often; who has not been heard for kQuiet of it is silent.
constexpr double kTellEvery = 0.25, kQuiet = 0.75;

/// As much of a message as goes into one of MPI's small packets.
constexpr std::size_t kMaxText = 2000;

std::string silence_text(const std::vector<int>& missing, double seconds, std::string_view where) {
  if (missing.empty())
    return fmt::format("nothing moves {} for {:g} s, where all ranks are; is the network between them down?", where,
                       seconds);
  constexpr std::size_t kShown = 8;
  const auto shown =
      std::vector<int>(missing.begin(), missing.begin() + std::min<std::ptrdiff_t>(std::ssize(missing), kShown));
  return fmt::format("no news of rank{} {}{} for {:g} s {}; {} hanging; raise system.rank_timeout if only slow",
                     missing.size() == 1 ? "" : "s", fmt::join(shown, ", "),
                     missing.size() > kShown ? fmt::format(" and {} more", missing.size() - kShown) : "", seconds,
                     where, missing.size() == 1 ? "it is" : "they are");
}

}  // namespace

void Watch::await(Messages& messages, std::string_view where) {
  Waiting waiting;
  std::size_t left = messages.advance();
  while (left > 0) {
    if (stopped_) throw Failure(ExitCode::kInternal, "stopped " + std::string(where));
    poll(
        waiting, [&] { return messages.missing(); }, where);
    const std::size_t now = messages.advance();
    if (now == 0) return;  // whatever has failed since
    if (const auto failed = failure()) throw *failed;
    if (now < left) waiting = {};
    left = now;
  }
}

void Watch::await_device(const std::function<bool()>& done, const std::function<OnDevice()>& look) {
  using std::chrono::milliseconds;
  const double patient_s = std::min(1.0, timeout_ / 8);
  Waiting waiting;
  bool told = false;
  std::optional<std::int64_t> before;
  while (!done()) {
    std::this_thread::yield();  // no sleep: what waits is the next step
    if (Clock::now() - waiting.last < milliseconds(1)) continue;
    if (stopped_) throw Failure(ExitCode::kInternal, "stopped on the device");
    hear();
    if (const auto failed = failure()) throw *failed;
    const OnDevice now = look();
    if (!now.under_way || now.under_way != before) waiting = {};
    before = now.under_way;
    count_silence(
        waiting, [&] { return not_asked_for(*now.under_way); }, now.where);
    if (told || waiting.silent_s < patient_s) continue;
    told = true;
    for (int other = 0; other < transport_.world(); ++other)
      if (other != transport_.rank())
        tell(other, {.kind = Kind::kAsked, .code = ExitCode::kOk, .own = 0, .asked = now.asked}, "");
  }
}

std::vector<int> Watch::not_asked_for(std::int64_t operation) {
  const std::lock_guard lock(mutex_);
  std::vector<int> ranks;
  for (int other = 0; other < transport_.world(); ++other)
    if (other != transport_.rank() && (!asked_.contains(other) || asked_[other] <= operation)) ranks.push_back(other);
  return ranks;
}

void Watch::listen(double seconds) {
  const auto until = Clock::now() + std::chrono::duration<double>(seconds);
  while (Clock::now() < until) {
    hear();
    if (const auto failed = failure()) throw *failed;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

std::optional<RankFailure> Watch::failure() {
  const std::lock_guard lock(mutex_);
  return failure_;
}

ExitCode Watch::end(ExitCode code, bool own, const std::string& message,
                    const std::function<void(int, const std::string&)>& print) {
  const int rank = transport_.rank(), world = transport_.world();
  if (own)
    for (int other = 0; other < world; ++other)
      if (other != rank) tell(other, {.kind = Kind::kFailure, .code = code, .own = 1}, message);
  if (rank != 0) {
    tell(0, {.kind = Kind::kEnd, .code = code, .own = own}, message);
    for (Waiting waiting;;) {
      const auto before = heard_from(0);
      poll(
          waiting, [] { return std::vector{0}; }, "at the end");
      if (heard_from(0) != before) waiting = {};  // it waits itself
      const std::lock_guard lock(mutex_);
      if (verdict_) return *verdict_;
    }
  }

  const auto missing = [&] {
    const std::lock_guard lock(mutex_);
    std::vector<int> ranks;
    for (int other = 0; other < world; ++other)
      if (!ends_.contains(other)) ranks.push_back(other);
    return ranks;
  };
  std::set<std::string> printed;
  const auto print_new = [&] {
    const std::lock_guard lock(mutex_);
    for (const auto& [ended, end] : ends_)
      if (end.own && printed.insert(end.message).second) print(ended, end.message);
  };
  {
    const std::lock_guard lock(mutex_);
    ends_[0] = {.code = code, .own = own, .message = message};
  }
  print_new();
  for (Waiting waiting; !missing().empty();) {
    const std::size_t before = missing().size();
    poll(waiting, missing, "at the end");
    if (missing().size() < before) waiting = {};
    print_new();
  }
  ExitCode all = ExitCode::kOk;
  for (const bool first_hand : {true, false})
    for (const auto& [ended, end] : ends_)
      if (all == ExitCode::kOk && end.own == first_hand) all = end.code;
  for (int other = 1; other < world; ++other) tell(other, {.kind = Kind::kVerdict, .code = all, .own = 0}, "");
  return all;
}

void Watch::tell(int rank, const Header& header, const std::string& text) {
  std::vector<std::byte> bytes(sizeof header + std::min(text.size(), kMaxText));
  std::memcpy(bytes.data(), &header, sizeof header);
  std::memcpy(bytes.data() + sizeof header, text.data(), bytes.size() - sizeof header);
  transport_.send_news(rank, bytes);
}

/// Takes in all news that are here.
void Watch::hear() {
  while (const auto news = transport_.next_news()) {
    Header header;
    std::memcpy(&header, news->bytes.data(), sizeof header);
    const std::string text(reinterpret_cast<const char*>(news->bytes.data()) + sizeof header,
                           news->bytes.size() - sizeof header);
    const std::lock_guard lock(mutex_);
    heard_[news->from] = Clock::now();
    switch (header.kind) {
      case Kind::kFailure:
        if (!failure_) failure_.emplace(header.code, news->from, transport_.world(), text);
        break;
      case Kind::kEnd:
        ends_[news->from] = {.code = header.code, .own = header.own != 0, .message = text};
        break;
      case Kind::kVerdict:
        verdict_ = header.code;
        break;
      case Kind::kAsked:
        asked_[news->from] = header.asked;
        break;
      case Kind::kWaiting:
        break;
    }
  }
}

/// A moment of waiting: short at first, so that what is under way goes on at once, then longer, so that those who
/// compute have the core.
void Watch::poll(Waiting& waiting, const std::function<std::vector<int>()>& missing, std::string_view where) {
  constexpr int kEager = 200;
  if (++waiting.polls < kEager)
    std::this_thread::yield();
  else
    std::this_thread::sleep_for(std::chrono::microseconds(std::min(waiting.polls - kEager, 200)));
  hear();
  count_silence(waiting, missing, where);
}

void Watch::count_silence(Waiting& waiting, const std::function<std::vector<int>()>& missing, std::string_view where) {
  const auto now = Clock::now();
  waiting.silent_s += std::min(1.0, std::chrono::duration<double>(now - waiting.last).count());
  waiting.last = now;
  if (waiting.silent_s >= (waiting.times_told + 1) * kTellEvery * timeout_) {
    ++waiting.times_told;
    for (int other = 0; other < transport_.world(); ++other)
      if (other != transport_.rank()) tell(other, {.kind = Kind::kWaiting, .code = ExitCode::kOk, .own = 0}, "");
  }
  if (waiting.silent_s < timeout_) return;
  silence_ = true;
  throw Failure(ExitCode::kInternal, silence_text(silent(missing()), timeout_, where));
}

/// Those of `missing` that do not wait for others in their turn; all, where all of them do.
std::vector<int> Watch::silent(const std::vector<int>& missing) {
  const auto since = Clock::now() - std::chrono::duration<double>(kQuiet * timeout_);
  std::vector<int> ranks;
  for (const int rank : missing)
    if (heard_from(rank) < since) ranks.push_back(rank);
  return ranks.empty() ? missing : ranks;
}

/// The moment of the last news; long ago if there were none.
Watch::Clock::time_point Watch::heard_from(int rank) {
  const std::lock_guard lock(mutex_);
  const auto at = heard_.find(rank);
  return at == heard_.end() ? Clock::time_point::min() : at->second;
}

}  // namespace spikesink
