#include "data/store/show.h"

#include <algorithm>

#include "io/failure.h"
#include "io/h5.h"
#include "kernels/core/check.h"

namespace spikesink {

std::vector<DocumentPiece> document_pieces(const TokenStore& store, StorePart part, std::int64_t first,
                                           std::int64_t count) {
  require(first >= 0 && count >= 0 && first + count <= store.tokens(), "document pieces: tokens ", first, " and ",
          count, " from there, of ", store.tokens());
  std::vector<DocumentPiece> pieces;
  std::int64_t begin = 0;  // of the file
  for (std::size_t f = 0; f < store.manifest().files.size() && count > 0; ++f) {
    const StoreFile& file = store.manifest().files[f];
    const TokenRow& row = part == StorePart::kTrain ? file.train : file.held_out;
    const std::int64_t end = begin + row.tokens;
    if (first >= end) {
      begin = end;
      continue;
    }
    const std::string path = store.folder() + "/" + file.name;
    const auto starts =
        H5File::open(path).read<std::int64_t>(part == StorePart::kTrain ? "documents" : "held_out/documents");
    if (starts.empty() || starts.front() != 0 || starts.back() != row.tokens || !std::ranges::is_sorted(starts))
      throw DataError(path + ": its document starts are damaged: `spikesink data verify " + store.folder() +
                      "` names what else is");
    while (count > 0 && first < end) {
      const auto next = std::ranges::upper_bound(starts, first - begin);
      const std::int64_t here = std::min(count, *next - (first - begin));
      DocumentPiece piece{.file = f,
                          .document = next - starts.begin() - 1,
                          .token = first - begin - *(next - 1),
                          .tokens = std::vector<std::int32_t>(static_cast<std::size_t>(here))};
      store.read(first, piece.tokens);
      pieces.push_back(std::move(piece));
      first += here;
      count -= here;
    }
    begin = end;
  }
  return pieces;
}

}  // namespace spikesink
