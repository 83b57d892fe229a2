// Any text through small tokenizers; the first byte chooses which.
#include <sentencepiece_processor.h>

#include <array>
#include <memory>

#include "data/splitter.h"
#include "data/tokenizer.h"
#include "data/utf8.h"
#include "io/atomic_file.h"
#include "kernels/core/check.h"
#include "tests/fuzz/target.h"
#include "tests/fuzz/tokenizers.h"

namespace spikesink::fuzz {
namespace {

constexpr std::array kPatterns{kGpt2Pattern, kGpt2PossessivePattern, kLlama3Pattern, kCl100kPattern};
const std::string kModel = "tests/fuzz/corpus/sentencepiece/small.model";
const std::string kRanks = "tests/fuzz/corpus/tiktoken/small.tiktoken";

/// The pieces that our scanner of a pattern cuts must be those of the pattern itself.
void check_pieces(std::size_t pattern, std::string_view text) {
  using Pair = std::pair<std::unique_ptr<Splitter>, std::unique_ptr<Splitter>>;
  static std::array<Pair, kPatterns.size()> splitters;
  auto& [scanner, regex] = splitters[pattern];
  if (!scanner) {
    scanner = detail::make_scanner(kPatterns[pattern]);
    regex = detail::make_regex(std::string(kPatterns[pattern]), "fuzz");
  }
  std::vector<std::uint32_t> scanned, matched;
  scanner->split(text, scanned);
  regex->split(text, matched);
  require(scanned == matched, "scanner and pattern cut otherwise");
}

/// Ids of our own words must be the library's, and give the text again.
void check_sentencepiece(std::string_view text) {
  static const auto tokenizer = make_tokenizer(kModel);
  static const auto library = [] {
    auto made = std::make_unique<sentencepiece::SentencePieceProcessor>();
    require(made->Load(kModel).ok(), "cannot read ", kModel);
    return made;
  }();
  check_encoding(*tokenizer, text);
  if (!is_utf8(text)) return;
  std::vector<std::int32_t> ids;
  std::vector<int> expected;
  tokenizer->encode(text, ids);
  require(library->Encode(text, &expected).ok() && std::ranges::equal(ids, expected), "ids are not sentencepiece's");
}

const Tokenizer& tiktoken() {
  static const auto made = [] {
    const std::string file = read_file(kRanks);
    std::string_view content = file;
    write_scratch("small.tiktoken.json", take_until(content, '\0'));
    return make_tokenizer(write_scratch("small.tiktoken", content));
  }();
  return *made;
}

void feed_encode(std::string_view input) {
  const std::size_t choice = Choices(input).below(kPatterns.size() + 3);
  const std::string_view text = input.substr(std::min<std::size_t>(1, input.size()));
  std::vector<std::int32_t> ids;
  if (choice < kPatterns.size()) {
    check_pieces(choice, repaired_utf8(text));
  } else if (choice == kPatterns.size()) {
    check_sentencepiece(text);
  } else if (choice == kPatterns.size() + 1) {
    tiktoken().encode(text, ids);
    require(tiktoken().decode(ids) == repaired_utf8(text), "the text of ids is another");
    check_encoding(tiktoken(), text);
  } else {
    static const auto bytes = make_tokenizer("bytes");
    bytes->encode(text, ids);
    require(bytes->decode(ids) == text, "the text of bytes is another");
  }
}

const Registration kEncode{{"encode", feed_encode}};

}  // namespace
}  // namespace spikesink::fuzz
