#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/document.h"

namespace spikesink {

/// The tokens of a file's documents, one after another, each with its end-of-text token.
struct TokenRow {
  std::int64_t tokens = 0, documents = 0;
  std::uint32_t tokens_crc = 0, documents_crc = 0;  ///< CRC-32C of the datasets' bytes
  std::int64_t tokens_at = -1;  ///< bytes of the file before its tokens; -1: not said, as HDF5 knows

  bool operator==(const TokenRow&) const = default;
};

/// One HDF5 file of a store, made of one source shard:
///
///     tokens              (train.tokens), u16 or i32       contiguous
///     documents           (train.documents + 1), i64       where each begins in `tokens`, and the end
///     held_out/tokens, held_out/documents                  the same of the documents that are held out
struct StoreFile {
  std::string name;    ///< in the store's folder
  std::string source;  ///< the shard's path below the folder that all are in
  std::uint64_t source_bytes = 0;
  std::int64_t bytes = -1;  ///< of the file; -1: not said
  TokenRow train, held_out;

  bool operator==(const StoreFile&) const = default;
};

/// What a store is: manifest.json, written last, so that a store which has one is whole. It has no time stamps and no
/// paths: equal input gives equal bytes, whatever made them.
struct Manifest {
  std::string tokenizer;  ///< Tokenizer::name()
  std::int64_t vocab_size = 0;
  std::int32_t end_of_text = 0;
  int token_bytes = 2;                               ///< 2: u16, 4: i32
  double holdout = 0;                                ///< share of documents, by holdout_draw(), that are held out
  std::optional<std::int64_t> min_bytes, max_bytes;  ///< of a document's text; others are left out
  bool deduplicated = false;                         ///< of equal texts only the first is there
  std::optional<std::int64_t> pad = {};              ///< id that filled up contexts of tokens, and was left out
  std::vector<StoreFile> files;                      ///< in the order of the sources
  std::int64_t text_bytes = 0;                       ///< of the documents that are in it, UTF-8
  DocumentCounts lines;                              ///< of the sources; broken ones by reason
  std::int64_t too_short = 0, too_long = 0, duplicates = 0;

  std::string to_json() const;
  /// DataError if the folder has no manifest, or one that is damaged or of a later format.
  static Manifest read(const std::string& folder);
  /// All that decides which tokens a training sample has: tokenizer, and size and checksum of every file's row.
  std::string fingerprint() const;
};

/// manifest.json of a store's folder.
std::string manifest_file(const std::string& folder);
/// Whether a path that data.train names is a store: a folder that has a manifest.
bool is_store(const std::string& path);

}  // namespace spikesink
