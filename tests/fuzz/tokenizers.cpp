// Files of tokenizers: sentencepiece's models, tiktoken's ranks with what stands beside them, Hugging Face's JSON.
#include "tests/fuzz/tokenizers.h"

#include <array>
#include <filesystem>

#include "data/hf_tokenizer.h"
#include "data/tiktoken.h"
#include "kernels/core/check.h"
#include "tests/fuzz/target.h"

namespace spikesink::fuzz {

void check_encoding(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<std::int32_t> ids;
  tokenizer.encode(text, ids);
  for (const std::int32_t id : ids) require(id >= 0 && id < tokenizer.vocab_size(), "id ", id, " of a text");
  tokenizer.decode(ids);
}

void check_encodings(const Tokenizer& tokenizer) {
  require(tokenizer.end_of_text() >= 0 && tokenizer.end_of_text() < tokenizer.vocab_size(), "no end of text");
  static constexpr std::array<std::string_view, 4> kTexts{
      "", "The cat's 12345 hats  sat\n\n on   it. ", "caf\xC3\xA9 \xE4\xBD\xA0\xE5\xA5\xBD \xF0\x9F\x98\x80<s></s>",
      "abc\xFF\xE2\x82zab\xC3"};
  for (const std::string_view text : kTexts) check_encoding(tokenizer, text);
  const std::vector<std::int32_t> odd{tokenizer.end_of_text(), 0,
                                      static_cast<std::int32_t>(tokenizer.vocab_size() - 1)};
  tokenizer.decode(odd);
}

namespace {

void read_sentencepiece(std::string_view input) {
  if (looks_like_ranks(input)) return;  // the other target's
  check_encodings(*make_tokenizer(write_scratch("t.model", input)));
}

/// The JSON beside the ranks, a zero byte, the ranks.
void read_tiktoken(std::string_view input) {
  const std::string sidecar = scratch("t.tiktoken.json");
  if (input.starts_with('{'))
    write_scratch("t.tiktoken.json", take_until(input, '\0'));
  else
    std::filesystem::remove(sidecar);
  check_encodings(*make_tokenizer(write_scratch("t.tiktoken", input)));
}

/// What is converted must be read again.
void read_hugging_face(std::string_view input) {
  const HfRanks made = convert_tokenizer_json(input, "tokenizer.json", "<end>", "");
  write_scratch("hf.tiktoken.json", made.encoding);
  check_encodings(*make_tokenizer(write_scratch("hf.tiktoken", made.ranks)));
}

const Registration kSentencePiece{{"sentencepiece", read_sentencepiece}}, kTiktoken{{"tiktoken", read_tiktoken}},
    kHuggingFace{{"tokenizer_json", read_hugging_face}};

}  // namespace
}  // namespace spikesink::fuzz
