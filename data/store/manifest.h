#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/document.h"

namespace spikesink {

/// One HDF5 file of a store, made of one source shard.
///
///     tokens     (tokens), u16 or i32     documents one after another, each with its end-of-text token; contiguous
///     documents  (documents + 1), i64     where each begins in `tokens`, and the end
struct StoreFile {
  std::string name;    ///< in the store's folder
  std::string source;  ///< the shard's file name
  std::uint64_t source_bytes = 0;
  std::int64_t tokens = 0;
  std::int64_t documents = 0;
  std::uint32_t tokens_crc = 0;  ///< CRC-32C of the dataset's bytes
  std::uint32_t documents_crc = 0;
};

/// What a store is: manifest.json, written last, so that a store that has one is whole. Without time stamps or paths:
/// equal input gives equal bytes, whatever made them.
struct Manifest {
  std::string tokenizer;  ///< Tokenizer::name()
  std::int64_t vocab_size = 0;
  std::int32_t end_of_text = 0;
  int token_bytes = 2;                               ///< 2: u16, 4: i32
  double holdout = 0;                                ///< share of documents, by holdout_draw(), that lie in `held_out`
  std::optional<std::int64_t> min_chars, max_chars;  ///< other documents are left out
  bool deduplicated = false;                         ///< of equal documents the first is kept
  std::vector<StoreFile> train, held_out;            ///< in the order of the sources
  std::int64_t text_bytes = 0;                       ///< UTF-8, of the documents that are in it
  DocumentCounts lines;                              ///< read; broken ones by reason
  std::int64_t too_short = 0, too_long = 0, duplicates = 0;

  std::string to_json() const;
  /// DataError naming the file, what is wrong with it, and the mend. `folder`: of the store.
  static Manifest read(const std::string& folder);
  /// Of all that decides what tokens a training sample has: tokenizer, and size and checksum of every training file.
  std::string fingerprint() const;
};

/// manifest.json of a store's folder.
std::string manifest_file(const std::string& folder);
/// Whether a path of `data.train` is a store rather than a shard: a folder with a manifest.
bool is_store(const std::string& path);

}  // namespace spikesink
