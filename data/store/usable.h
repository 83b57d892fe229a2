#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>

#include "data/shards.h"
#include "data/store/parts.h"
#include "data/tokenizer.h"

namespace spikesink {

/// A document for a store: a text, or the ids of one that others tokenised, without an end of text.
struct UsableDocument {
  std::string_view text;
  std::span<const std::int32_t> ids;
  std::uint32_t number = 0;  ///< among those of its shard
  std::int64_t line = 0;     ///< of a text, 1-based

  /// What two equal documents have in common: the text, or the bytes of the ids.
  std::string_view content() const {
    if (ids.empty()) return text;
    return {reinterpret_cast<const char*>(ids.data()), ids.size_bytes()};
  }
};

struct UsableRules {
  const Tokenizer& tokenizer;
  std::optional<std::int64_t> min_bytes, max_bytes;  ///< of texts
  double max_bad_share = 0;
  std::optional<std::int64_t> pad;  ///< see open_tokens()
};

/// Calls `visit` with the documents of a shard, known as `name` in a store, that are neither broken nor too short or
/// long, in order; counts the others in `record`, and in `bytes_read` what is read of the file. DataError where it
/// cannot be read, has changed its size, or where over half of its first 1000 lines or more are broken, and more than
/// max_bad_share.
void for_usable_documents(const Shard& shard, const std::string& name, const UsableRules& rules, ShardRecord& record,
                          std::atomic<std::uint64_t>& bytes_read,
                          const std::function<void(const UsableDocument&)>& visit);

}  // namespace spikesink
