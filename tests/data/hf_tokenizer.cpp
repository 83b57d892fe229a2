#include "data/hf_tokenizer.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "data/tiktoken.h"
#include "io/failure.h"

namespace spikesink {
namespace {
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;
using nlohmann::json;

/// A byte-level tokenizer of all bytes (ids 0 to 255 in the order of their characters), "ab" 256, "abc" 257, "bc" 258
/// and an end of text 259.
json sample() {
  json vocab, merges = json::array({"a b", "ab c", "b c"});
  int id = 0;
  for (const auto& [first, last] :
       {std::pair(0x21, 0x7e), std::pair(0xa1, 0xac), std::pair(0xae, 0xff), std::pair(0x100, 0x143)})
    for (int c = first; c <= last; ++c) {
      std::string word;
      if (c < 0x80)
        word = static_cast<char>(c);
      else
        word = {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
      vocab[word] = id++;
    }
  for (const char* word : {"ab", "abc", "bc"}) vocab[word] = id++;
  return {{"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
          {"added_tokens", json::array({{{"id", 259}, {"content", "<end>"}, {"special", true}}})}};
}

std::string refusal(const json& tokenizer, const std::string& end = "<end>") {
  try {
    convert_tokenizer_json(tokenizer.dump(), "t.json", end, "");
  } catch (const DataError& error) {
    CHECK_THAT(error.what(), StartsWith("t.json: "));
    return error.what();
  }
  return "converted";
}

}  // namespace

TEST_CASE("a byte-level tokenizer.json becomes ranks of the same ids", "[data]") {
  const json tokenizer = sample();
  const HfRanks converted = convert_tokenizer_json(tokenizer.dump(), "t.json", "<end>", "");
  const auto tokens = parse_ranks(converted.ranks, "ranks");
  REQUIRE(tokens.size() == 259);
  for (const auto& [bytes, rank] : tokens) {
    if (rank == 256) CHECK(bytes == "ab");
    if (rank == 257) CHECK(bytes == "abc");
    if (rank == 0) CHECK(bytes == "!");
    if (rank == 188) CHECK(bytes == std::string(1, '\0'));  // the first that is not printable
    if (rank == 220) CHECK(bytes == " ");
  }
  CHECK(json::parse(converted.encoding)["end_of_text"] == "<end>");
  CHECK(json::parse(converted.encoding)["special_tokens"]["<end>"] == 259);
  CHECK_FALSE(converted.normalises);
  json nfc = sample();
  nfc["normalizer"] = {{"type", "NFC"}};
  CHECK(convert_tokenizer_json(nfc.dump(), "t.json", "<end>", "").normalises);
}

TEST_CASE("a tokenizer.json whose merges are not those of ranks is refused", "[data]") {
  CHECK(refusal(sample()) == "converted");
  const auto with = [](const std::string& pointer, const json& value) {
    json tokenizer = sample();
    tokenizer[json::json_pointer(pointer)] = value;
    return refusal(tokenizer);
  };
  // "abc" of "a" and "bc", though "ab" has the lower rank: ranks give abc, the list gives ab c.
  CHECK_THAT(with("/model/merges", {"a b", "a bc", "b c"}),
             Contains("token 257 is not what its bytes come to by ranks"));
  CHECK_THAT(with("/model/merges", {"a b", "b c"}), Contains("token 257 is not what"));
  CHECK_THAT(with("/model/merges", {"a b", "b c", "ab c"}), Contains("merge 2 comes after one of a higher id"));
  CHECK_THAT(with("/model/merges", {"a b", "ab x", "b c"}), Contains("merge 1 is not of tokens"));
  CHECK(with("/model/merges", {"a b", "ab c", "a bc", "b c"}) == "converted");  // a listed merge that never comes first
  CHECK_THAT(with("/model/merges", 3), Contains("has not the form of"));
  CHECK_THAT(with("/model/type", "Unigram"), Contains("is no BPE"));
  CHECK_THAT(with("/model/unk_token", "<unk>"), Contains("its BPE has unk_token"));
  CHECK_THAT(with("/model/byte_fallback", true), Contains("its BPE has byte_fallback"));
  CHECK_THAT(with("/normalizer", {{"type", "NFKC"}}), Contains("has a normaliser"));
  CHECK_THAT(with("/pre_tokenizer/add_prefix_space", true), Contains("cuts text in another way"));
  CHECK_THAT(with("/pre_tokenizer", {{"type", "Whitespace"}}), Contains("cuts text in another way"));
  json tokenizer = sample();
  tokenizer["model"]["vocab"]["\xe2\x96\x81"] = 300;
  CHECK_THAT(refusal(tokenizer), Contains("token 300 stands for no bytes"));
  CHECK_THAT(refusal(sample(), "</s>"), Contains("end_of_text is none of added_tokens"));
  CHECK_THAT(refusal("text"), Contains("is no JSON object"));
}

}  // namespace spikesink
