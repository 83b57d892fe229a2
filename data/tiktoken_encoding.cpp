#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "data/splitter.h"
#include "data/tiktoken.h"
#include "io/atomic_file.h"
#include "io/failure.h"
#include "io/sha256.h"

namespace spikesink {
namespace {

std::vector<std::int32_t> ids_from(std::int32_t first, std::int32_t count) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
  for (std::int32_t i = 0; i < count; ++i) ids[static_cast<std::size_t>(i)] = first + i;
  return ids;
}

struct Known {
  std::string_view name;
  std::vector<std::string_view> sha256;
  TiktokenEncoding encoding;
};

/// Sources: openai/tiktoken, tiktoken_ext/openai_public.py; meta-llama/llama3, llama/tokenizer.py; mlfoundations/dclm,
/// rust_processing/tokshuf-rs, whose files these are of gpt_neox and the second of llama3.
const std::vector<Known>& known_encodings() {
  static const std::vector<Known> kKnown = {
      {.name = "gpt_neox",
       .sha256 = {"1952cfc998f55a89b4326494ab242902e589b39fc8c9cc90528fd0f1b9a19fd0"},
       .encoding = {.pattern = std::string(kGpt2Pattern), .special = {0, 1}, .end_of_text = 0, .begin_of_text = {}}},
      {.name = "r50k_base",
       .sha256 = {"306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"},
       .encoding = {.pattern = std::string(kGpt2PossessivePattern),
                    .special = {50256},
                    .end_of_text = 50256,
                    .begin_of_text = {}}},
      {.name = "p50k_base",
       .sha256 = {"94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069"},
       .encoding = {.pattern = std::string(kGpt2PossessivePattern),
                    .special = {50256},
                    .end_of_text = 50256,
                    .begin_of_text = {}}},
      {.name = "cl100k_base",
       .sha256 = {"223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"},
       .encoding = {.pattern = std::string(kCl100kPattern),
                    .special = {100257, 100258, 100259, 100260, 100276},
                    .end_of_text = 100257,
                    .begin_of_text = {}}},
      {.name = "llama3",
       .sha256 = {"82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55",
                  "24e574743fa051c20a9bdd2f93cc359a0e96afe2d5c137d4e6af344863af28f3"},
       .encoding = {.pattern = std::string(kLlama3Pattern),
                    .special = ids_from(128000, 256),
                    .end_of_text = 128001,
                    .begin_of_text = 128000}},
  };
  return kKnown;
}

std::string names_of_known() {
  std::string names;
  for (const Known& known : known_encodings()) names += fmt::format("{}{}", names.empty() ? "" : ", ", known.name);
  return names;
}

/// A JSON file that says how a ranks file is to be used, read strictly.
class Sidecar {
 public:
  explicit Sidecar(const std::string& path) : path_(path) {
    try {
      object_ = nlohmann::json::parse(read_file(path));
    } catch (const nlohmann::json::exception& error) {
      std::string why = error.what();
      std::ranges::replace(why, '\n', ' ');
      fail("is no JSON: " + why);
    }
    if (!object_.is_object()) fail("holds no JSON object");
  }

  TiktokenEncoding encoding() const {
    if (object_.contains("encoding")) {
      allow({"encoding"});
      const std::string name = text("encoding");
      for (const Known& known : known_encodings())
        if (known.name == name) return known.encoding;
      fail(fmt::format("encoding: '{}' is none of {}", name, names_of_known()));
    }
    allow({"pattern", "special_tokens", "end_of_text", "begin_of_text"});
    TiktokenEncoding encoding{.pattern = text("pattern"), .special = {}, .end_of_text = 0, .begin_of_text = {}};
    std::map<std::string, std::int32_t> special;
    if (!object_.contains("special_tokens") || !object_["special_tokens"].is_object())
      fail("special_tokens: missing, or no object of names and ids");
    for (const auto& [name, id] : object_["special_tokens"].items()) {
      if (!id.is_number_integer() || id < 0 || id >= RankTable::kMostTokens)
        fail(fmt::format("special_tokens: '{}' has no whole number from 0 to {}", name, RankTable::kMostTokens - 1));
      special[name] = id.get<std::int32_t>();
      if (std::ranges::count(encoding.special, special[name]) > 0)
        fail(fmt::format("special_tokens: two have the id {}", special[name]));
      encoding.special.push_back(special[name]);
    }
    const auto id_of = [&](const std::string& key) {
      const std::string name = text(key);
      if (!special.contains(name)) fail(fmt::format("{}: '{}' is none of special_tokens", key, name));
      return special.at(name);
    };
    encoding.end_of_text = id_of("end_of_text");
    if (object_.contains("begin_of_text")) encoding.begin_of_text = id_of("begin_of_text");
    return encoding;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw DataError(fmt::format("{}: {}", path_, what)); }
  void allow(const std::vector<std::string_view>& keys) const {
    for (const auto& [key, value] : object_.items())
      if (std::ranges::find(keys, key) == keys.end())
        fail(fmt::format("{}: unknown key; there are {}", key, fmt::join(keys, ", ")));
  }
  std::string text(const std::string& key) const {
    const auto found = object_.find(key);
    if (found == object_.end() || !found->is_string() || found->get<std::string>().empty())
      fail(fmt::format("{}: missing, or no text", key));
    return found->get<std::string>();
  }

  std::string path_;
  nlohmann::json object_;
};

}  // namespace

TiktokenEncoding find_encoding(const std::string& path, std::string_view content, const std::string& key) {
  const std::string beside = path + ".json";
  if (std::error_code error; std::filesystem::exists(beside, error)) return Sidecar(beside).encoding();
  const std::string sum = sha256_hex(content);
  for (const Known& known : known_encodings())
    if (std::ranges::find(known.sha256, sum) != known.sha256.end()) return known.encoding;
  throw DataError(fmt::format(
      "{}: {} is no ranks file that is known by its content; say what it is in {}: {{\"encoding\": "
      "NAME}} of {}, or {{\"pattern\": REGEX, \"special_tokens\": {{NAME: ID, ...}}, \"end_of_text\": NAME}}",
      key, path, beside, names_of_known()));
}

}  // namespace spikesink
