#include "data/train_tokenizer.h"

#include <fmt/format.h>
#include <sentencepiece_trainer.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "data/document_stream.h"
#include "io/atomic_file.h"
#include "io/failure.h"

namespace spikesink {
namespace {

constexpr std::size_t kSentenceBytes = 4096;  // sentencepiece leaves out what is longer than it is told to expect
constexpr std::int64_t kFewestTokens = 300;

/// Appends the text in pieces of at most kSentenceBytes, cut at spaces where there are some, else between characters.
void cut(std::string_view text, std::vector<std::string>& sentences) {
  while (!text.empty()) {
    std::size_t size = text.size(), gap = 0;
    if (size > kSentenceBytes) {
      size = text.rfind(' ', kSentenceBytes);
      gap = 1;  // the space comes back as the one that is put before every sentence
      if (size == text.npos || size == 0) {
        size = kSentenceBytes;
        gap = 0;
        while ((static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;
      }
    }
    sentences.emplace_back(text.substr(0, size));
    text.remove_prefix(std::min(text.size(), size + gap));
  }
}

std::vector<std::string> sample_text(const TokenizerTraining& training) {
  const auto shards = find_shards(training.inputs, "INPUT");
  std::vector<std::string> sentences;
  DocumentTally tally(training.max_bad_share, "--max-bad-share");
  EvenShares shares(training.text_bytes, shards.size());
  for_each_document(shards, tally, [&](const ShardDocument& document) {
    cut(document.text, sentences);
    shares.take(document.shard, static_cast<std::int64_t>(document.text.size()));
    return shares.onward();
  });
  if (sentences.empty()) throw DataError("INPUT: no document in the shards; name shards that have some");
  return sentences;
}

/// The number that follows `words` in sentencepiece's message, or nothing.
std::optional<std::int64_t> number_after(const std::string& message, std::string_view words) {
  const std::size_t at = message.find(words);
  if (at == message.npos) return std::nullopt;
  std::int64_t number = 0;
  const char* begin = message.data() + at + words.size();
  const auto [end, error] = std::from_chars(begin, message.data() + message.size(), number);
  return error == std::errc{} ? std::optional(number) : std::nullopt;
}

[[noreturn]] void fail(const TokenizerTraining& training, std::string message) {
  if (const auto most = number_after(message, "Please set it to a value <= "))
    throw DataError(fmt::format("--vocab: {} is more than this text has pieces for; give at most {}, or more text",
                                training.vocab, *most));
  if (const auto least = number_after(message, fmt::format("required_chars. {} vs ", training.vocab)))
    throw DataError(
        fmt::format("--vocab: {} does not hold the characters of this text; give at least {}", training.vocab, *least));
  std::ranges::replace(message, '\n', ' ');
  throw DataError(fmt::format("{}: sentencepiece could not train it: {}", training.out, message));
}

class Sentences final : public sentencepiece::SentenceIterator {
 public:
  explicit Sentences(const std::vector<std::string>& sentences) : sentences_(sentences) {}
  bool done() const override { return next_ == sentences_.size(); }
  void Next() override { ++next_; }
  const std::string& value() const override { return sentences_[next_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const std::vector<std::string>& sentences_;
  std::size_t next_ = 0;
};

}  // namespace

std::string problem_of_vocab(std::int64_t vocab) {
  return vocab >= kFewestTokens
             ? ""
             : fmt::format(
                   "{} is too small: 3 special tokens and 256 bytes come before the first piece of text; give "
                   "at least {}, and some thousands for real use",
                   vocab, kFewestTokens);
}

void train_tokenizer(const TokenizerTraining& training) {
  if (const std::string problem = problem_of_vocab(training.vocab); !problem.empty())
    throw UsageError("--vocab: " + problem);
  if (!training.out.ends_with(".model"))
    throw UsageError(fmt::format("--out: {} must end in .model, by which data.tokenizer knows it", training.out));
  const std::vector<std::string> text = sample_text(training);
  const std::unordered_map<std::string, std::string> settings = {
      {"model_type", "bpe"},
      {"vocab_size", std::to_string(training.vocab)},
      {"byte_fallback", "true"},
      {"split_digits", "true"},
      {"allow_whitespace_only_pieces", "true"},
      {"normalization_rule_name", "identity"},
      {"remove_extra_whitespaces", "false"},
      {"add_dummy_prefix", "true"},
      {"character_coverage", "0.9995"},
      {"unk_id", "0"},
      {"bos_id", "1"},
      {"eos_id", "2"},
      {"pad_id", "-1"},
      {"max_sentence_length", std::to_string(4 * kSentenceBytes)},
      {"num_threads", std::to_string(training.threads)},
      {"minloglevel", training.verbose ? "0" : "3"},
  };
  std::string model;
  Sentences sentences(text);
  const auto status = sentencepiece::SentencePieceTrainer::Train(settings, &sentences, &model);
  if (!status.ok()) fail(training, status.ToString());
  write_atomically(training.out, model);
}

}  // namespace spikesink
