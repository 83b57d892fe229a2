// Token stores: a manifest beside sound files where the input begins as JSON does, else files of hostile values beside
// a manifest that fits them or not.
#include <algorithm>
#include <filesystem>

#include "data/store/file_writer.h"
#include "data/store/show.h"
#include "data/store/token_store.h"
#include "data/store/verify.h"
#include "io/atomic_file.h"
#include "io/h5.h"
#include "kernels/core/check.h"
#include "tests/fuzz/target.h"

namespace spikesink::fuzz {
namespace {
constexpr const char* kFile = "shard_00000000.h5";

Manifest sound_store(const std::string& folder) {
  std::filesystem::create_directories(folder);
  StoreFileWriter writer(folder + "/" + kFile, 2);
  for (const bool held_out : {false, true})
    for (std::int32_t d = 1; d < 6; ++d) {
      std::vector<std::int32_t> ids(static_cast<std::size_t>(d * 3), d);
      ids.push_back(256);
      writer.add(ids, held_out);
    }
  Manifest manifest{.tokenizer = "bytes", .vocab_size = 258, .end_of_text = 256, .token_bytes = 2, .holdout = 0.5};
  manifest.files.push_back(writer.finish());
  manifest.files[0].name = kFile;
  manifest.files[0].source = "a.jsonl";
  return manifest;
}

/// Reads all that a store has, where that is little.
void use(const std::string& folder) {
  constexpr std::int64_t kMost = 64;
  for (const StorePart part : {StorePart::kTrain, StorePart::kHeldOut})
    attempt([&] {
      const TokenStore store(folder, part);
      for (const std::int64_t first : {std::int64_t{0}, store.tokens() / 2, store.tokens() - kMost}) {
        const std::int64_t from = std::max<std::int64_t>(first, 0), count = std::min(kMost, store.tokens() - from);
        std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
        store.read(from, ids);
        for (const std::int32_t id : ids) require(id >= 0 && id < store.manifest().vocab_size, "id ", id);
        for (const std::int64_t start : store.document_starts(from, count))
          require(start >= from && start < from + count, "a document starts at ", start);
        std::int64_t shown = 0;
        for (const DocumentPiece& piece : document_pieces(store, part, from, count))
          shown += static_cast<std::int64_t>(piece.tokens.size());
        require(shown == count, "pieces of ", shown, " tokens of ", count);
      }
    });
  verify_store({.store = folder, .report = {}});
}

template <class T>
void write_row(H5File& file, Choices& choices, const std::string& group, TokenRow& row) {
  std::vector<T> tokens(choices.below(24));
  for (T& id : tokens) id = static_cast<T>(choices.below(8) == 0 ? choices.count() : 256);
  std::vector<std::int64_t> starts(choices.below(6));
  for (std::size_t d = 0; d < starts.size(); ++d)
    starts[d] = choices.below(8) == 0 ? choices.count() : static_cast<std::int64_t>(d * 4);
  const auto dims = [&](std::size_t size) -> std::vector<std::int64_t> {
    const auto n = static_cast<std::int64_t>(size);
    if (choices.below(8) > 0) return {n};
    return n % 2 == 0 ? std::vector<std::int64_t>{2, n / 2} : std::vector<std::int64_t>{1, 1, n};
  };
  const bool is_vast = choices.below(16) == 0;  // and has no values
  if (choices.below(16) > 0) file.write<T>(group + "tokens", tokens, dims(tokens.size()));
  if (is_vast)
    file.make<std::int64_t>(group + "documents", {std::int64_t{1} << choices.below(62)});
  else if (choices.below(16) > 0)
    file.write<std::int64_t>(group + "documents", starts, dims(starts.size()));
  row.tokens = choices.below(8) == 0 ? choices.count() : static_cast<std::int64_t>(tokens.size());
  row.documents = choices.below(8) == 0 ? choices.count() : static_cast<std::int64_t>(starts.size()) - 1;
}

void read_hostile(std::string_view input) {
  const std::string folder = scratch("hostile");
  std::filesystem::create_directories(folder);
  Choices choices(input);
  Manifest manifest{.tokenizer = "bytes", .vocab_size = 258, .end_of_text = 256, .token_bytes = 2};
  if (choices.below(2)) manifest.token_bytes = 4;
  StoreFile& entry = manifest.files.emplace_back();
  entry.name = kFile;
  H5File file = H5File::create(folder + "/" + kFile);
  for (TokenRow* row : {&entry.train, &entry.held_out}) {
    const std::string group = row == &entry.train ? "" : "held_out/";
    switch (choices.below(8)) {
      case 0:
        write_row<std::int64_t>(file, choices, group, *row);
        break;
      case 1:
        write_row<std::uint16_t>(file, choices, group, *row);
        break;
      default:
        manifest.token_bytes == 2 ? write_row<std::uint16_t>(file, choices, group, *row)
                                  : write_row<std::int32_t>(file, choices, group, *row);
    }
  }
  file.close();
  write_scratch("hostile/manifest.json", manifest.to_json());
  use(folder);
}

void feed_store(std::string_view input) {
  if (!input.starts_with('{')) return read_hostile(input);
  static const Manifest sound = sound_store(scratch("sound"));
  write_scratch("sound/manifest.json", input);
  use(scratch("sound"));
}

const Registration kStore{{"store", feed_store}};

}  // namespace
}  // namespace spikesink::fuzz
