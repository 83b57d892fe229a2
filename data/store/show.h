#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/store/manifest.h"
#include "data/store/token_store.h"

namespace spikesink {

/// A stretch of tokens that lies in one document of a store.
struct DocumentPiece {
  std::size_t file = 0;       ///< in the manifest's list
  std::int64_t document = 0;  ///< of that file's, trained on or held out, from 0
  std::int64_t token = 0;     ///< of the document: the first of the piece, from 0
  std::vector<std::int32_t> tokens;
};

/// The tokens [first, first + count) of a store's part, cut where documents begin. As TokenStore::read(); DataError
/// also where the file's document starts are not those of its tokens.
std::vector<DocumentPiece> document_pieces(const TokenStore& store, StorePart part, std::int64_t first,
                                           std::int64_t count);

}  // namespace spikesink
