#pragma once
#include <catch2/catch.hpp>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/store/prepare.h"
#include "io/atomic_file.h"
#include "support.h"

namespace spikesink::test {

using Documents = std::vector<std::string>;

inline std::string line_with(const std::string& text) { return nlohmann::json{{"text", text}}.dump() + "\n"; }
inline std::string lines_with(const Documents& texts) {
  std::string lines;
  for (const std::string& text : texts) lines += line_with(text);
  return lines;
}

/// Contents by path, of folders "".
inline std::map<std::string, std::string> files_of(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    files[std::filesystem::relative(entry.path(), folder)] = entry.is_directory() ? "" : read_file(entry.path());
  return files;
}

/// Shards in a folder of their own, and a store to be made of them.
struct PrepareSetup {
  Scratch folder;
  std::unique_ptr<Tokenizer> bytes = make_tokenizer("bytes");

  std::string shard(const std::string& name, const std::string& text) const {
    write_packed(folder / name, text);
    return folder / name;
  }
  PrepareOptions options(const std::string& out, std::vector<std::string> inputs) const {
    return {.inputs = std::move(inputs), .tokenizer = *bytes, .out = folder / out, .threads = 2, .holdout = 0.2};
  }
  std::string refusal(const PrepareOptions& options) const {
    return failure_of([&] { prepare_store(options); });
  }
};

}  // namespace spikesink::test
