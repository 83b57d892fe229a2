#include "data/hf_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>
#include <vector>

#include "data/splitter.h"
#include "io/failure.h"
#include "io/json_integer.h"

namespace spikesink {
namespace {

constexpr std::size_t kLongest = 1024;  // bytes of a token; published ones have at most 128 or so

/// The character that stands for each byte in a vocabulary: itself where it is printable Latin-1, else one from U+0100
/// on. Source: openai/gpt-2, src/encoder.py, bytes_to_unicode.
std::array<int, 324> byte_of_character() {
  std::array<int, 324> bytes;
  bytes.fill(-1);
  for (int byte = 0, next = 256; byte < 256; ++byte) {
    const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    bytes.at(static_cast<std::size_t>(printable ? byte : next++)) = byte;
  }
  return bytes;
}

/// The bytes that a vocabulary's word stands for; nothing if it has a character that stands for none.
std::optional<std::string> bytes_of_word(std::string_view word) {
  static const auto kByte = byte_of_character();
  std::string out;
  for (std::size_t i = 0; i < word.size(); ++i) {
    auto character = static_cast<unsigned>(static_cast<unsigned char>(word[i]));
    if (character >= 0x80) {  // of two bytes, or it stands for none
      if ((character & 0xE0) != 0xC0 || i + 1 == word.size()) return std::nullopt;
      character = (character & 0x1F) << 6 | (static_cast<unsigned char>(word[++i]) & 0x3F);
    }
    if (character >= kByte.size() || kByte[character] < 0) return std::nullopt;
    out += static_cast<char>(kByte[character]);
  }
  return out;
}

std::string base64_of(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t n = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t bits = 0;
    for (std::size_t j = 0; j < 3; ++j) bits = bits << 8 | (j < n ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j) out += j <= n ? kDigits[bits >> (18 - 6 * j) & 0x3F] : '=';
  }
  return out;
}

class Converter {
 public:
  Converter(std::string_view text, const std::string& path) : path_(path) {
    const nlohmann::json all = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!all.is_object()) fail("is no JSON object");
    try {
      read_pattern(all);
      read_added(all);
      read_model(all.at("model"));
    } catch (const nlohmann::json::exception&) {
      fail("has not the form of a byte-level BPE");
    }
  }

  HfRanks ranks(const std::string& end, const std::string& begin) const {
    check();
    std::map<std::int32_t, const std::string*> by_id;
    for (const auto& [bytes, id] : ids_)
      if (!by_id.emplace(id, &bytes).second) fail(fmt::format("two tokens have the id {}", id));
    HfRanks out{.ranks = "", .encoding = "", .normalises = normalises_};
    for (const auto& [id, bytes] : by_id) out.ranks += fmt::format("{} {}\n", base64_of(*bytes), id);
    nlohmann::ordered_json encoding{{"pattern", pattern_}, {"special_tokens", added_}};
    for (const auto& [key, name] : {std::pair("end_of_text", end), std::pair("begin_of_text", begin)}) {
      if (name.empty()) continue;
      if (!added_.contains(name)) fail("the special token of " + std::string(key) + " is none of added_tokens");
      encoding[key] = name;
    }
    out.encoding = encoding.dump(1) + "\n";
    return out;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(path_ + ": " + what + "; name another tokenizer with --tokenizer");
  }
  static bool is_set(const nlohmann::json& object, const char* key) {
    static const nlohmann::json kUnset[] = {nullptr, "", false};
    const auto found = object.find(key);
    return found != object.end() && std::ranges::find(kUnset, *found) == std::end(kUnset);
  }

  void read_pattern(const nlohmann::json& all) {
    const auto normalizer = all.find("normalizer");
    normalises_ = normalizer != all.end() && !normalizer->is_null();
    if (normalises_ && normalizer->at("type") != "NFC") fail("has a normaliser other than NFC");
    const nlohmann::json& cut = all.at("pre_tokenizer");
    const auto is_bytes = [](const nlohmann::json& step, bool by_regex) {
      return step.at("type") == "ByteLevel" && !is_set(step, "add_prefix_space") &&
             step.value("use_regex", true) == by_regex;
    };
    if (is_bytes(cut, true)) {
      pattern_ = kGpt2Pattern;
      return;
    }
    const bool two = cut.at("type") == "Sequence" && cut.at("pretokenizers").size() == 2;
    if (!two) fail("cuts text in another way than by one pattern");
    const nlohmann::json &split = cut.at("pretokenizers")[0], &bytes = cut.at("pretokenizers")[1];
    if (split.at("type") != "Split" || split.at("behavior") != "Isolated" || is_set(split, "invert") ||
        !split.at("pattern").contains("Regex") || !is_bytes(bytes, false))
      fail("cuts text in another way than by one pattern");
    pattern_ = split.at("pattern").at("Regex").get<std::string>();
  }

  void read_added(const nlohmann::json& all) {
    if (const auto added = all.find("added_tokens"); added != all.end())
      for (const nlohmann::json& token : *added)
        added_[token.at("content").get<std::string>()] = integer_of<std::int32_t>(token.at("id"));
  }

  void read_model(const nlohmann::json& model) {
    if (model.value("type", "BPE") != "BPE") fail("is no BPE");
    for (const char* key : {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"})
      if (is_set(model, key)) fail(fmt::format("its BPE has {}", key));
    std::unordered_map<std::string, std::string> bytes_of;
    for (const auto& [word, id] : model.at("vocab").items()) {
      if (added_.contains(word)) continue;
      const auto bytes = bytes_of_word(word);
      if (!bytes || bytes->empty()) fail(fmt::format("token {} stands for no bytes", id.dump()));
      ids_[*bytes] = integer_of<std::int32_t>(id);
      bytes_of[word] = *bytes;
    }
    std::int32_t before = -1;
    for (const nlohmann::json& merge : model.at("merges")) {
      std::string left, right;
      if (merge.is_string()) {
        const std::string text = merge.get<std::string>();
        const std::size_t space = text.find(' ');
        left = text.substr(0, space);
        right = space == text.npos ? "" : text.substr(space + 1);
      } else {
        left = merge.at(0).get<std::string>();
        right = merge.at(1).get<std::string>();
      }
      const auto a = bytes_of.find(left), b = bytes_of.find(right);
      const auto made = a == bytes_of.end() || b == bytes_of.end() ? ids_.end() : ids_.find(a->second + b->second);
      if (made == ids_.end()) fail(fmt::format("merge {} is not of tokens", num_merges_));
      if (made->second < before) fail(fmt::format("merge {} comes after one of a higher id", num_merges_));
      before = made->second;
      cuts_[made->first].push_back(a->second.size());
      ++num_merges_;
    }
  }

  /// Each token of several bytes must come of a listed merge of what its bytes come to by the lower ranks.
  void check() const {
    for (const auto& [bytes, id] : ids_) {
      if (bytes.size() == 1) continue;
      if (bytes.size() > kLongest) fail(fmt::format("token {} has {} bytes", id, bytes.size()));
      std::vector<std::size_t> ends;  // of the parts
      for (std::size_t i = 1; i <= bytes.size(); ++i) ends.push_back(i);
      const auto part = [&, &all = bytes](std::size_t first, std::size_t count) {
        const std::size_t begin = first == 0 ? 0 : ends[first - 1];
        return all.substr(begin, ends[first + count - 1] - begin);
      };
      for (;;) {
        std::int32_t lowest = id;
        std::size_t at = 0;
        for (std::size_t i = 0; i + 1 < ends.size(); ++i)
          if (const auto found = ids_.find(part(i, 2)); found != ids_.end() && found->second < lowest) {
            lowest = found->second;
            at = i;
          }
        if (lowest == id) break;
        ends.erase(ends.begin() + static_cast<std::ptrdiff_t>(at));
      }
      const auto cuts = cuts_.find(bytes);
      if (ends.size() != 2 || cuts == cuts_.end() || std::ranges::count(cuts->second, ends[0]) == 0)
        fail(fmt::format("token {} is not what its bytes come to by ranks", id));
    }
  }

  std::string path_, pattern_;
  bool normalises_ = false;
  std::map<std::string, std::int32_t> added_;
  std::unordered_map<std::string, std::int32_t> ids_;               // of bytes
  std::unordered_map<std::string, std::vector<std::size_t>> cuts_;  // of a token's bytes: where its merges join
  std::int64_t num_merges_ = 0;
};

}  // namespace

HfRanks convert_tokenizer_json(std::string_view text, const std::string& path, const std::string& end,
                               const std::string& begin) {
  return Converter(text, path).ranks(end, begin);
}

}  // namespace spikesink
