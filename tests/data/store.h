#pragma once
#include <string>
#include <vector>

#include "data/store/file_writer.h"
#include "data/store/manifest.h"
#include "data/tokenizer.h"
#include "io/atomic_file.h"
#include "support.h"

namespace spikesink::test {

/// A store of made documents in `folder`: `tokens[f]` tokens in file f, whose ids count on through all files modulo
/// 256, so that every sample can be told; documents of 1 to 97 tokens. Every tenth document is held out instead.
inline Manifest write_store(const std::string& folder, const std::vector<std::int64_t>& tokens, int token_bytes = 2,
                            int first_id = 0) {
  fs::create_directories(folder);
  const auto bytes = make_tokenizer("bytes");
  Manifest manifest{.tokenizer = bytes->name(),
                    .vocab_size = bytes->vocab_size(),
                    .end_of_text = bytes->end_of_text(),
                    .token_bytes = token_bytes,
                    .holdout = 0.1};
  std::int64_t id = first_id, document = 0;
  for (std::size_t f = 0; f < tokens.size(); ++f) {
    const std::string name = fmt::format("shard_{:08d}.h5", f);
    StoreFileWriter writer(folder + "/" + name, token_bytes);
    for (std::int64_t left = tokens[f]; left > 0;) {
      const std::int64_t count = std::min<std::int64_t>(left, 1 + document * 31 % 97);
      const bool held_out = ++document % 10 == 0;
      std::vector<std::int32_t> ids;
      for (std::int64_t i = 0; i < count; ++i) ids.push_back(held_out ? 255 : static_cast<std::int32_t>(id++ % 256));
      if (!held_out) left -= count;
      writer.add(ids, held_out);
    }
    StoreFile file = writer.finish();
    file.name = name;
    file.source = fmt::format("{}.jsonl", f);
    manifest.files.push_back(file);
  }
  write_atomically(manifest_file(folder), manifest.to_json());
  return manifest;
}

}  // namespace spikesink::test
