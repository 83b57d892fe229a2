#include "data/tokenizer.h"

#include <catch2/catch.hpp>
#include <numeric>

#include "data/train_tokenizer.h"
#include "io/atomic_file.h"
#include "tests/data/support.h"

namespace spikesink {
namespace {
using Catch::Contains;

/// Sentences of words that are drawn from a made-up vocabulary, the first ones more often.
std::string babble(std::uint64_t seed, int words) {
  const Random random{.seed = seed};
  std::string text;
  for (int i = 0; i < words; ++i) {
    const double u = random.uniform(static_cast<std::uint64_t>(i));
    const auto word = static_cast<std::uint64_t>(300 * u * u);
    for (std::uint64_t s = 0; s < 2 + word % 3; ++s) {
      const auto part = Random{.seed = word}.below(s, 60);
      text += "bdfgklmnprst"[part % 12];
      text += "aeiou"[part / 12];
    }
    text += i % 11 == 10 ? "." : i % 7 == 6 ? "," : "";
    text += i % 50 == 49 ? "\\n\\n" : " ";
  }
  return text;
}

TokenizerTraining babble_training(const test::Scratch& folder, const std::string& out) {
  for (int s = 0; s < 3; ++s) {
    std::string lines;
    for (int d = 0; d < 20; ++d) lines += test::line_of(babble(static_cast<std::uint64_t>(100 * s + d), 300));
    test::write_packed(folder / fmt::format("s{}.jsonl.zst", s), lines);
  }
  TokenizerTraining training;
  training.inputs = {folder / "*.zst"};
  training.vocab = 600;
  training.out = folder / out;
  return training;
}

std::vector<std::int32_t> encoded(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<std::int32_t> ids;
  tokenizer.encode(text, ids);
  return ids;
}

const std::vector<std::string> kHostileTexts = {"a",
                                                " leading and trailing ",
                                                "two  spaces,   three\n\n\tand a tab",
                                                "digits 1234567",
                                                "h\xC3\xA4ngt \xE4\xBD\xA0\xE5\xA5\xBD \xF0\x9F\x98\x80",
                                                "<s> </s> <unk> <0x41>",
                                                "\n",
                                                "e\xCC\x81 against \xC3\xA9, \xEF\xAC\x81"};

}  // namespace

TEST_CASE("bytes go to ids and back, and special tokens come from no text", "[data][tokenizer]") {
  const auto tokenizer = make_tokenizer("bytes");
  std::string all(256, '\0');
  std::iota(all.begin(), all.end(), '\0');
  std::vector<std::int32_t> ids{7};
  tokenizer->encode(all, ids);
  REQUIRE(ids.size() == 257);  // appended
  for (std::int32_t i = 0; i < 256; ++i) CHECK(ids[static_cast<std::size_t>(i) + 1] == i);
  CHECK(tokenizer->decode(std::span(ids).subspan(1)) == all);
  CHECK(tokenizer->vocab_size() == 258);
  CHECK(tokenizer->end_of_text() == 256);
  CHECK(tokenizer->begin_of_text() == 257);
  CHECK(tokenizer->decode(std::vector<std::int32_t>{257, 'h', 'i', 256, 300}) == "hi");
}

TEST_CASE("a trained model has Llama's settings: nothing is lost, digits stand apart", "[data][tokenizer]") {
  const test::Scratch folder;
  const TokenizerTraining training = babble_training(folder, "t.model");
  train_tokenizer(training);
  const auto tokenizer = make_tokenizer(training.out);
  CHECK(tokenizer->vocab_size() == 600);
  CHECK(tokenizer->begin_of_text() == 1);
  CHECK(tokenizer->end_of_text() == 2);
  CHECK_THAT(tokenizer->name(), Catch::StartsWith("t.model "));

  std::vector<std::string> texts = kHostileTexts;
  texts.push_back(babble(9999, 500));
  for (const std::string& text : texts) {
    CAPTURE(text);
    const auto ids = encoded(*tokenizer, text);
    CHECK(tokenizer->decode(ids) == text);
    for (const std::int32_t id : ids) CHECK((id > 2 && id < 600));
  }
  CHECK(encoded(*tokenizer, babble(9999, 500)).size() * 2 < babble(9999, 500).size());  // it did learn
  const auto digits = encoded(*tokenizer, "11111111");
  CHECK(digits.size() >= 8);
  CHECK(tokenizer->decode(std::vector<std::int32_t>{1, digits[0], digits[1], 2, 9999}) ==
        tokenizer->decode(std::vector<std::int32_t>{digits[0], digits[1]}));
}

TEST_CASE("the same text gives the same model, whatever the number of threads", "[data][tokenizer]") {
  const test::Scratch folder;
  TokenizerTraining training = babble_training(folder, "a.model");
  train_tokenizer(training);
  training.out = folder / "b.model";
  training.threads = 1;
  train_tokenizer(training);
  // The model holds its settings, the number of threads too; so the pieces are compared by what they do.
  const auto a = make_tokenizer(folder / "a.model"), b = make_tokenizer(training.out);
  CHECK(encoded(*a, babble(1, 2000)) == encoded(*b, babble(1, 2000)));
}

TEST_CASE("every shard has its part in the tokenizer", "[data][tokenizer]") {
  const test::Scratch folder;
  for (const auto& [name, word] : {std::pair{"a.jsonl", "zebra"}, {"b.jsonl", "quokka"}, {"c.jsonl", "xylem"}}) {
    std::string lines;
    for (int d = 0; d < 400; ++d) lines += test::line_of(fmt::format("{0} and {0} or {0}", word));
    test::write(folder / name, lines);
  }
  TokenizerTraining training;
  training.inputs = {folder / "*.jsonl"};
  training.vocab = 310;
  training.out = folder / "t.model";
  training.text_bytes = 3000;
  train_tokenizer(training);
  const auto tokenizer = make_tokenizer(training.out);
  for (const char* word : {"zebra", "quokka", "xylem"}) CHECK(encoded(*tokenizer, word).size() == 1);
}

TEST_CASE("a tokenizer that cannot be trained says what to give instead, and leaves no file", "[data][tokenizer]") {
  const test::Scratch folder;
  TokenizerTraining training = babble_training(folder, "t.model");
  const auto message = [&] { return test::failure_of([&] { train_tokenizer(training); }); };
  training.vocab = 100'000;
  CHECK_THAT(message(), Contains("--vocab: 100000 is more than this text has pieces for; give at most "));
  training.vocab = 299;
  CHECK_THAT(message(), Contains("--vocab: 299 is too small") && Contains("give at least 300"));
  std::string many;
  for (char c = '#'; c <= '~'; ++c)
    if (c != '\\') many += c;
  test::write(folder / "many.jsonl", test::line_of(many));
  training.inputs = {folder / "many.jsonl"};
  training.vocab = 300;
  CHECK_THAT(message(), Contains("--vocab: 300 does not hold the characters") && Contains("give at least 3"));
  training.vocab = 600;
  test::write(folder / "broken.jsonl", "no JSON\n" + test::line_of("a"));
  training.inputs = {folder / "broken.jsonl"};
  CHECK_THAT(message(), Contains("above --max-bad-share 0.001") && Contains("raise --max-bad-share"));
  training.inputs = {folder / "none*.jsonl"};
  CHECK_THAT(message(), Contains("none*.jsonl matches no file"));
  CHECK_FALSE(std::filesystem::exists(training.out));
  training.out = folder / "t.bin";
  CHECK_THAT(message(), Contains("must end in .model"));
}

TEST_CASE("a tokenizer that is missing, damaged, too large or without a begin says so", "[data][tokenizer]") {
  const test::Scratch folder;
  CHECK_THAT(test::failure_of([&] { make_tokenizer(folder / "none.model"); }),
             Contains("none.model") && Contains("spikesink tokenizer train"));
  CHECK_THAT(test::failure_of([] { make_tokenizer("byte"); }), Contains("neither bytes nor"));
  test::write(folder / "garbage.model", "no model at all");
  CHECK_THAT(test::failure_of([&] { make_tokenizer(folder / "garbage.model"); }),
             Contains("no sound sentencepiece model"));
  test::write(folder / "empty.model", "");
  CHECK_THAT(test::failure_of([&] { make_tokenizer(folder / "empty.model"); }),
             Contains("no sound sentencepiece model"));
  const TokenizerTraining training = babble_training(folder, "t.model");
  train_tokenizer(training);
  const std::string model = read_file(training.out);
  for (const std::size_t share : {3, 10, 50, 90}) {
    test::write(folder / "cut.model", model.substr(0, model.size() * share / 100));
    CAPTURE(share);
    CHECK_FALSE(test::failure_of([&] { make_tokenizer(folder / "cut.model"); }).empty());
  }

  const auto bytes = make_tokenizer("bytes");
  require_fits(*bytes, 258);
  require_fits(*bytes, 300);
  CHECK_THAT(test::failure_of([&] { require_fits(*bytes, 257); }),
             Contains("model.vocab_size: 257") && Contains("bytes has 258") && Contains("set model.vocab_size: 258"));
  CHECK_THAT(test::failure_of([&] { make_tokenizer(folder / "garbage.model", "--tokenizer"); }),
             Catch::StartsWith("--tokenizer: "));
  CHECK(begin_token(true, *bytes) == 257);
  CHECK_FALSE(begin_token(false, *bytes));
}

TEST_CASE("a tokenizer is the same under another file's name, and another under the same name", "[data][tokenizer]") {
  const test::Scratch folder;
  const TokenizerTraining training = babble_training(folder, "t.model");
  train_tokenizer(training);
  std::filesystem::copy_file(training.out, folder / "renamed to this.model");
  const std::string name = make_tokenizer(training.out)->name(),
                    renamed = make_tokenizer(folder / "renamed to this.model")->name();
  CHECK(name != renamed);
  CHECK(names_same_tokenizer(name, renamed));
  CHECK(names_same_tokenizer("bytes", "bytes"));
  CHECK_FALSE(names_same_tokenizer("t.model 0123456789abcdef", "t.model 0123456789abcde0"));
  CHECK_FALSE(names_same_tokenizer("bytes", name));
}

TEST_CASE("what a tokenizer cannot encode is named by shard and line", "[data][tokenizer]") {
  const test::RefusingTokens tokenizer;
  std::vector<std::int32_t> ids;
  encode_document(tokenizer, "7:2", "a.jsonl", 3, ids);
  CHECK(ids == std::vector<std::int32_t>{7000, 7001});
  CHECK(test::failure_of([&] { encode_document(tokenizer, "!", "a.jsonl", 3, ids); }) == "a.jsonl:3: no ids for this");
}

}  // namespace spikesink
