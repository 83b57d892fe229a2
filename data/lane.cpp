#include "data/lane.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "data/document_stream.h"
#include "data/draws.h"
#include "io/failure.h"
#include "kernels/core/check.h"

namespace spikesink {
namespace {
constexpr std::size_t kKeptTokens = std::size_t{1} << 20;  // of a lane, after a document that needed more

std::vector<ShardPart> share_of(const LaneSource& source, std::int64_t lane, std::int64_t epoch) {
  return share_of_lane(source.shards, source.lanes, source.seed, epoch, lane);
}
}  // namespace

Lane::Lane(const LaneSource& source, std::int64_t lane, const LaneState& state)
    : source_(source), lane_(lane), next_(state) {
  require(lane >= 0 && lane < source.lanes, "lane: ", lane, " of ", source.lanes);
  require_sound(source, lane, state);
  share_ = share_of(source, lane, state.epoch);
}

/// Of epochs, lines, tokens and windows: by this none of their sums is too large.
constexpr std::int64_t kMostInLane = std::int64_t{1} << 56;

void Lane::require_sound(const LaneSource& source, std::int64_t lane, const LaneState& state) {
  for (const auto& [name, value] : {std::pair{"epoch", state.epoch},
                                    {"shard", state.shard},
                                    {"line", state.line},
                                    {"token", state.token},
                                    {"window", state.window}})
    if (value < 0 || value > kMostInLane) damaged_position(fmt::format("lane {}: {} {}", lane, name, value));
  const std::int64_t shards = std::ssize(share_of(source, lane, state.epoch));
  if (state.shard >= shards) damaged_position(fmt::format("lane {}: shard {} of {}", lane, state.shard, shards));
}

Window Lane::next_window() {
  const std::int64_t T = source_.context, step = kWindow * T;
  // One token more than is handed on: so the next window's first token, and with it the next state, is known.
  while (static_cast<std::int64_t>(tokens_.size() - head_) < step + 1) append_document();

  const auto first = starts_.front();
  Window window{.begin = first.place, .tokens = {}};
  window.begin.token = -first.offset;
  window.begin.window = next_.window;
  window.tokens.reserve(static_cast<std::size_t>(kWindow * (T + 1)));
  for (const std::int64_t i :
       permutation(draws(source_.seed, "data.window", number(lane_), number(next_.window)), kWindow)) {
    const auto from = tokens_.begin() + static_cast<std::int64_t>(head_) + i * T;
    if (source_.begin) window.tokens.push_back(*source_.begin);
    window.tokens.insert(window.tokens.end(), from, from + T + (source_.begin ? 0 : 1));
  }

  head_ += number(step);
  if (head_ >= tokens_.size() / 2) drop_tokens_handed_on();
  for (Start& start : starts_) start.offset -= step;
  const auto later = std::find_if(starts_.begin(), starts_.end(), [](const Start& s) { return s.offset > 0; });
  starts_.erase(starts_.begin(), later - 1);  // all but the one that token 0 belongs to
  ++next_.window;
  return window;
}

/// Called where this moves no more tokens than were handed on since: a document of many windows costs no more a token.
void Lane::drop_tokens_handed_on() {
  tokens_.erase(tokens_.begin(), tokens_.begin() + static_cast<std::int64_t>(head_));
  head_ = 0;
  if (tokens_.capacity() > kKeptTokens) tokens_.shrink_to_fit();
}

/// Reads up to the lane's next usable document and appends its tokens.
void Lane::append_document() {
  while (true) {
    if (!reader_) open_shard();
    pass_foreign_lines();
    if (!reader_->next()) {
      end_shard();
      continue;
    }
    const auto text = reader_->text();
    if (text && holdout_draw(*text) >= source_.holdout) return append(*text);
    if (next_.token > 0) changed("holds no document");
  }
}

void Lane::append(std::string_view text) {
  const std::int64_t before = std::exchange(next_.token, 0);  // handed on before the state that the lane began with
  const auto at = static_cast<std::int64_t>(tokens_.size());
  encode_document(source_.tokenizer, text, shard().path, reader_->line(), tokens_);
  tokens_.push_back(source_.tokenizer.end_of_text());
  if (before >= static_cast<std::int64_t>(tokens_.size()) - at) changed("holds a shorter document");
  tokens_.erase(tokens_.begin() + at, tokens_.begin() + at + before);
  LaneState place = next_;
  place.line = reader_->line() - 1;
  starts_.push_back({place, at - static_cast<std::int64_t>(head_) - before});
  any_document_ = true;
}

void Lane::open_shard() {
  const Shard& shard = this->shard();
  reader_ = std::make_unique<DocumentReader>(shard.path, source_.tally);
  std::error_code error;
  if (const auto bytes = std::filesystem::file_size(shard.path, error); !error) require_same_size(bytes);
  const std::int64_t line = std::exchange(next_.line, 0);
  if (reader_->skip_lines(line) < line) changed("has fewer lines");
}

void Lane::pass_foreign_lines() {
  constexpr std::int64_t kAtOnce = 1024;  // then looks whether the shard has ended
  std::int64_t foreign = 0;
  while (!part().holds(reader_->line() + foreign)) {  // line() is the 0-based number of the next
    if (++foreign < kAtOnce) continue;
    if (reader_->skip_lines(foreign) < foreign) return;
    foreign = 0;
  }
  reader_->skip_lines(foreign);
}

const ShardPart& Lane::part() const { return share_[number(next_.shard)]; }
const Shard& Lane::shard() const { return source_.shards[number(part().shard)]; }

/// A shard that was found with another size has been replaced, cut or is still being written.
void Lane::require_same_size(std::uint64_t bytes) const {
  if (bytes == shard().bytes) return;
  throw DataError(
      fmt::format("{}: has {} bytes, but had {} when this run began: the shard has changed since; put it back "
                  "and --resume, or start a new run",
                  shard().path, bytes, shard().bytes));
}

void Lane::end_shard() {
  require_same_size(reader_->file_bytes());
  reader_.reset();
  if (++next_.shard == std::ssize(share_)) end_epoch();
}

void Lane::end_epoch() {
  if (!any_document_) require_any_document();
  next_.shard = 0;
  share_ = share_of(source_, lane_, ++next_.epoch);
}

/// A lane without a document in an epoch cannot tell by itself whether others have some.
void Lane::require_any_document() {
  DocumentTally tally(1);
  for_each_document(source_.shards, tally, [&](const ShardDocument& document) {
    any_document_ = holdout_draw(document.text) >= source_.holdout;
    return any_document_ ? Onward::kStop : Onward::kNextDocument;
  });
  if (any_document_) return;
  const DocumentCounts counts = tally.counts();
  throw DataError(
      fmt::format("data.train: no document to train on in {} shards ({} lines read, {} broken); name shards that have "
                  "some, or lower data.holdout",
                  source_.shards.size(), counts.lines(), counts.num_broken()));
}

void Lane::changed(const std::string& what) const {
  throw DataError(
      fmt::format("{}:{}: {}, but a checkpoint stands there: the shard has changed since; put it back, or "
                  "start a new run",
                  shard().path, reader_->line(), what));
}

}  // namespace spikesink
