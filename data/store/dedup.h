#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/store/parts.h"

namespace spikesink {

// Which documents of many shards have a text that came before, in three kinds of work that share nothing but files: the
// hashes of a shard, sorted into kBuckets by their first bits; the repeats within some buckets of all shards, a
// comparison; those of a shard. Memory: a shard's or a comparison's hashes, 24 bytes each.

inline constexpr int kBuckets = 256;

/// XXH3, 128 bits.
struct TextHash {
  std::uint64_t high = 0, low = 0;
  auto operator<=>(const TextHash&) const = default;
  int bucket() const { return static_cast<int>(high >> 56); }
};
TextHash hash_of(std::string_view text);

/// The stamp that a file of hashes or of duplicates begins with; empty if there is no such file.
std::string stamp_of_hashes(const std::string& path);
/// Writes the hashes of a shard's documents, in their order, to `path`, with the stamp of the shard. DataError for 2^32
/// documents or more.
void write_hashes(const std::string& path, const std::string& stamp, const std::vector<TextHash>& documents);
/// How many comparisons there are, by the bytes of all shards as packed: of little data few, as each is a file.
int num_comparisons(std::uint64_t source_bytes);
/// Finds the repeats of comparison `number` in the hashes of shards 0 .. shards-1, and writes them to
/// parts.duplicates(number), with the stamp of them all. DataError if hashes are not of a shard with the stamp given.
void write_duplicates(const Parts& parts, const std::vector<std::string>& stamps, int number, int comparisons);
/// The documents of a shard, by their number in it, that repeat an earlier one: ascending.
std::vector<std::uint32_t> read_duplicates(const Parts& parts, std::int64_t shard, int comparisons);

}  // namespace spikesink
