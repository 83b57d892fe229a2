#include "data/store/usable.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "data/document.h"
#include "data/store/token_source.h"
#include "io/failure.h"

namespace spikesink {
namespace {
constexpr std::int64_t kJudgedLines = 1000;  // of a shard, before it is refused as a whole
constexpr double kHopeless = 0.5;            // share of broken lines above which that is done

void require_hope(const Shard& shard, const DocumentCounts& lines, double max_bad_share) {
  const double share = static_cast<double>(lines.num_broken()) / static_cast<double>(lines.lines());
  if (lines.lines() >= kJudgedLines && share > std::max(kHopeless, max_bad_share))
    throw DataError(fmt::format("{}: {} of its first {} lines are broken: {}; mend it or leave it out", shard.path,
                                lines.num_broken(), lines.lines(), lines.broken_text()));
}

/// Adds up what a reader has read of its file.
class ReadBytes {
 public:
  explicit ReadBytes(std::atomic<std::uint64_t>& all) : all_(all) {}
  void operator()(std::uint64_t read) {
    if (read > counted_) all_ += read - std::exchange(counted_, read);
  }
  std::uint64_t counted() const { return counted_; }

 private:
  std::atomic<std::uint64_t>& all_;
  std::uint64_t counted_ = 0;
};
}  // namespace

void for_usable_documents(const Shard& shard, const std::string& name, const UsableRules& rules, ShardRecord& record,
                          std::atomic<std::uint64_t>& bytes_read,
                          const std::function<void(const UsableDocument&)>& visit) {
  ReadBytes read(bytes_read);
  std::uint32_t number = 0;
  if (is_token_file(shard.path)) {
    TokenDocuments reader(shard.path, rules.tokenizer, rules.pad);
    while (reader.next()) {
      read(reader.file_bytes());
      visit({.text = {}, .ids = reader.ids(), .number = number++});
    }
    read(reader.file_bytes());
    record.lines = reader.counts();
  } else {
    DocumentTally tally(1);  // all shards are judged together, at the end
    DocumentReader reader(shard.path, tally);
    while (reader.next()) {
      read(reader.file_bytes());
      const auto text = reader.text();
      if (!text) {
        require_hope(shard, tally.counts(), rules.max_bad_share);
        continue;
      }
      const auto bytes = static_cast<std::int64_t>(text->size());
      if (rules.min_bytes && bytes < *rules.min_bytes)
        ++record.too_short;
      else if (rules.max_bytes && bytes > *rules.max_bytes)
        ++record.too_long;
      else
        visit({.text = *text, .ids = {}, .number = number++, .line = reader.line()});
    }
    read(reader.file_bytes());
    record.lines = tally.counts();
  }
  if (read.counted() != shard.bytes)
    throw DataError(
        fmt::format("{}: had {} bytes at the start, {} were read; it was changed meanwhile: run again once "
                    "nobody writes it",
                    shard.path, shard.bytes, read.counted()));
  // Where the shards lie is no part of the store.
  for (std::string& first : record.lines.first_broken)
    if (first.starts_with(shard.path)) first.replace(0, shard.path.size(), name);
}

}  // namespace spikesink
