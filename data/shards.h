#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace spikesink {

/// A file of documents: .jsonl, alone or packed as .zst or .gz (.json is taken as the same).
struct Shard {
  std::string path;
  std::uint64_t bytes = 0;  ///< on disk

  bool operator==(const Shard&) const = default;
};

/// The shards that the patterns (files or globs; ~ and {a,b} are understood) name: sorted by path, each file once.
/// DataError naming `key` for a pattern that matches nothing, a folder, an empty file, or another kind of file.
/// `more_endings`: names that are taken as well, for readers of other kinds.
std::vector<Shard> find_shards(const std::vector<std::string>& patterns, const std::string& key,
                               const std::vector<std::string>& more_endings = {});

/// Each shard's path below the deepest folder that has them all: alike where they are moved together, and apart where
/// shards of several folders have one name.
std::vector<std::string> names_of(const std::vector<Shard>& shards);

/// Count, size and a hash of names and sizes, in order: tells other data apart, wherever the same folder lies.
std::string shards_fingerprint(const std::vector<Shard>& shards);

}  // namespace spikesink
