#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/store/manifest.h"
#include "data/tokenizer.h"

namespace spikesink {

/// How far the preparation of a store is. What other processes have finished counts; what they have in hand does not.
struct PrepareProgress {
  std::string phase;  ///< "hashing", "comparing" (these two only to deduplicate) or "tokenising"
  std::int64_t shards = 0, shards_done = 0;
  std::uint64_t source_bytes = 0, source_bytes_done = 0;   ///< as on disk
  std::int64_t text_bytes = 0, documents = 0, tokens = 0;  ///< by this process, in this phase
  bool waits = false;                                      ///< all that is left is in others' hands
};

struct PrepareOptions {
  std::vector<std::string> inputs;  ///< shards or files of tokens (see open_tokens()) or globs; @FILE: one a line of it
  const Tokenizer& tokenizer;
  std::string out;  ///< folder, made if it is not there
  int threads = 1;
  double holdout = 0.005;
  std::optional<std::int64_t> min_bytes, max_bytes;  ///< of a document's text
  bool deduplicate = false;
  double max_bad_share = 0.001;
  std::optional<std::int64_t> pad = {};                ///< of .tar files of tokens: the id that fills up contexts
  std::function<void(const PrepareProgress&)> report;  ///< called about twice a second, if given
};

/// Makes a token store of shards, a file a shard, and returns its manifest when the store is whole.
///
/// Several processes, on several machines with a file system in common, may prepare the same store at once: each takes
/// shards that nobody has in hand (a lock that goes with its process), and what a process that died had in hand another
/// takes up. They meet in `out`/parts only, which goes away when the store is whole. A shard's file is written whole or
/// not at all, and depends on nothing but the input: whoever makes it, after however many interruptions, the store has
/// the same bytes.
///
/// Deduplication is exact up to collisions of a 128-bit hash (XXH3) of the text: of equal documents the first stays, in
/// the order of the shards (by path) and of the lines. It reads the shards twice.
///
/// DataError where a shard cannot be read or changes meanwhile, where more than max_bad_share of all lines are broken,
/// judged at the end, or where over half of a shard's first 1000 lines or more are: it is no text, and need not be read
/// on. UsageError where `out` has a store, or the beginnings of one, of other input or options, or is a folder of
/// something else.
Manifest prepare_store(const PrepareOptions& options);

}  // namespace spikesink
