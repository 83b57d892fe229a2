#include "cli/import_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "cli/new_folder.h"
#include "data/hf_tokenizer.h"
#include "data/tokenizer.h"
#include "io/atomic_file.h"
#include "io/failure.h"

namespace spikesink::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::uintmax_t kMostFileBytes = 256'000'000;
const std::string kConverted = "tokenizer.tiktoken";

bool travels_along(const std::string& name) {
  constexpr std::array<std::string_view, 10> kNames{"config.json",
                                                    "generation_config.json",
                                                    "tokenizer.json",
                                                    "tokenizer.model",
                                                    "tokenizer_config.json",
                                                    "special_tokens_map.json",
                                                    "added_tokens.json",
                                                    "vocab.json",
                                                    "merges.txt",
                                                    "chat_template.jinja"};
  return std::ranges::find(kNames, name) != kNames.end() || name.ends_with(".tiktoken") ||
         name.ends_with(".tiktoken.json");
}

/// Whether `path` lies below `folder`; both without links in them.
bool is_below(const fs::path& path, const fs::path& folder) {
  return std::ranges::mismatch(folder, path).in1 == folder.end();
}

/// A link among what a model brings would take any file along that its reader can read. Those of Hugging Face's cache,
/// snapshots/REVISION/NAME -> ../../blobs/HASH, stay in the model's part of it.
void require_of_model(const fs::directory_entry& entry, const fs::path& folder) {
  if (!entry.is_symlink()) return;
  const fs::path model = fs::canonical(folder), target = fs::canonical(entry.path()), revisions = model.parent_path();
  if (is_below(target, model)) return;
  if (revisions.filename() == "snapshots" && is_below(target, revisions.parent_path() / "blobs")) return;
  throw DataError(fmt::format("{}: is a link to {}, which is no file of the model; put the file itself there",
                              entry.path().string(), target.string()));
}

nlohmann::json parsed(const std::string& path) {
  return fs::exists(path) ? nlohmann::json::parse(read_file(path), nullptr, /*allow_exceptions=*/false)
                          : nlohmann::json();
}

/// The name of a special token: what tokenizer_config.json calls `key`, else the added token of this id.
std::string special_name(const nlohmann::json& config, const nlohmann::json& tokenizer, const char* key,
                         std::optional<std::int64_t> id) {
  if (config.is_object() && config.contains(key)) {
    const nlohmann::json& token = config[key];
    if (token.is_string()) return token.get<std::string>();
    if (token.is_object() && token.contains("content") && token["content"].is_string())
      return token["content"].get<std::string>();
    return {};  // null: there is none
  }
  if (id && tokenizer.is_object() && tokenizer.contains("added_tokens") && tokenizer["added_tokens"].is_array())
    for (const nlohmann::json& token : tokenizer["added_tokens"])
      if (token.is_object() && token.value("id", std::int64_t{-1}) == *id) return token.value("content", "");
  return {};
}

/// Converts the tokenizer.json in `files` into ranks in `checkpoint`.
void convert(const std::string& files, const std::string& checkpoint, const HfModel& hf) {
  const std::string path = files + "/tokenizer.json", to = checkpoint + "/" + kConverted;
  if (fs::file_size(path) > kMostFileBytes) throw DataError(path + ": is too large for a tokenizer");
  const std::string text = read_file(path);
  const nlohmann::json config = parsed(files + "/tokenizer_config.json"),
                       tokenizer = nlohmann::json::parse(text, nullptr, false);
  const std::string end = special_name(config, tokenizer, "eos_token", hf.end_of_text),
                    begin = special_name(config, tokenizer, "bos_token", hf.begin_of_text);
  if (end.empty())
    throw DataError(path + ": nothing says which token ends a text; name another tokenizer with --tokenizer");
  const HfRanks converted = convert_tokenizer_json(text, path, end, begin);
  write_atomically(to, converted.ranks);
  write_atomically(to + ".json", converted.encoding);
  if (converted.normalises)
    fmt::print(
        "tokenizer.json puts text into Unicode's form NFC first, which is not done here: other text gets other ids\n");
}

/// Whether samples begin with the tokenizer's begin-of-text token: as spikesink or tokenizer_config.json says, else if
/// it has one of its own.
bool begins(const Tokenizer& tokenizer, const std::string& files, const HfModel& hf) {
  if (!tokenizer.begin_of_text()) return false;
  if (hf.begins) return *hf.begins;
  const nlohmann::json config = parsed(files + "/tokenizer_config.json");
  if (config.is_object() && config.contains("add_bos_token") && config["add_bos_token"].is_boolean())
    return config["add_bos_token"].get<bool>();
  return tokenizer.begin_of_text() != tokenizer.end_of_text();
}

}  // namespace

ImportedTokenizer import_tokenizer(const std::string& folder, const std::string& checkpoint, const HfModel& hf) {
  const std::string files = checkpoint + "/" + kHfFolder;
  fs::create_directories(files);
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file() || !travels_along(name)) continue;
    require_of_model(entry, folder);
    copy_file(entry.path().string(), files + "/" + name);
    if (name == "tokenizer.model" || name == "tokenizer.json" || name.ends_with(".tiktoken")) names.push_back(name);
  }
  if (hf.bytes) return {"bytes", begins(*make_tokenizer("bytes"), files, hf)};
  std::ranges::sort(names, {}, [](const std::string& name) { return std::pair(name.ends_with(".json"), name); });
  for (const std::string& name : names) {
    const bool is_converted = name == "tokenizer.json";
    const std::string place = is_converted ? kConverted : fmt::format("{}/{}", kHfFolder, name);
    try {
      if (is_converted) convert(files, checkpoint, hf);
      const auto tokenizer = make_tokenizer(checkpoint + "/" + place);
      require_fits(*tokenizer, hf.model.vocab_size);
      return {place, begins(*tokenizer, files, hf)};
    } catch (const nlohmann::json::exception&) {
      fmt::print("{} is not used: it, or tokenizer_config.json, is damaged\n", name);
    } catch (const Failure& failure) {
      std::string what = failure.what();  // of the folder that the user knows
      if (const auto at = what.find(files); at != what.npos) what.replace(at, files.size(), folder);
      fmt::print("{} is not used: {}\n", name, what);
    }
  }
  return {};
}

}  // namespace spikesink::cli
