#include "data/tokenizer.h"

#include <fmt/format.h>
#include <sentencepiece_processor.h>

#include <filesystem>

#include "data/sentencepiece_words.h"
#include "data/tiktoken.h"
#include "data/utf8.h"
#include "io/atomic_file.h"
#include "io/failure.h"
#include "kernels/core/check.h"
#include "kernels/core/random.h"

namespace spikesink {
namespace {
namespace fs = std::filesystem;

constexpr std::uintmax_t kMostFileBytes = 256'000'000;  // some forty times the largest there are

class ByteTokenizer final : public Tokenizer {
 public:
  void encode(std::string_view text, std::vector<std::int32_t>& ids) const override {
    const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
    ids.insert(ids.end(), bytes, bytes + text.size());
  }
  std::string decode(std::span<const std::int32_t> ids) const override {
    std::string text;
    for (const std::int32_t id : ids) {
      require(id >= 0, "token id: ", id, ", expected >= 0");
      if (id < kEnd) text += static_cast<char>(static_cast<unsigned char>(id));
    }
    return text;
  }
  std::int64_t vocab_size() const override { return kBegin + 1; }
  std::int32_t end_of_text() const override { return kEnd; }
  std::optional<std::int32_t> begin_of_text() const override { return kBegin; }
  std::string name() const override { return "bytes"; }

 private:
  static constexpr std::int32_t kEnd = 256, kBegin = 257;
};

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(const std::string& path, const std::string& model, const std::string& key) {
    if (const auto status = processor_.LoadFromSerializedProto(model); !status.ok())
      throw DataError(
          fmt::format("{}: {} is no sound sentencepiece model; make one with spikesink tokenizer train", key, path));
    if (processor_.eos_id() < 0)
      throw DataError(fmt::format(
          "{}: {} has no end-of-text (eos) token, which ends every document; train one that has it", key, path));
    if (const auto parsed = parse_sentencepiece_model(model)) words_ = SentencePieceWords::make(*parsed);
    name_ = fmt::format("{} {:016x}", fs::path(path).filename().string(), name_hash(model));
  }
  void encode(std::string_view text, std::vector<std::int32_t>& ids) const override {
    if (words_ && is_utf8(text)) return words_->encode(text, ids);
    std::vector<int> pieces;
    const auto status = processor_.Encode(text, &pieces);
    require(status.ok(), "sentencepiece: ", status.ToString());
    ids.insert(ids.end(), pieces.begin(), pieces.end());
  }
  std::string decode(std::span<const std::int32_t> ids) const override {
    std::vector<int> pieces;
    for (const std::int32_t id : ids) {
      require(id >= 0, "token id: ", id, ", expected >= 0");
      if (id < vocab_size()) pieces.push_back(id);
    }
    std::string text;
    const auto status = processor_.Decode(pieces, &text);
    require(status.ok(), "sentencepiece: ", status.ToString());
    return text;
  }
  std::int64_t vocab_size() const override { return processor_.GetPieceSize(); }
  std::int32_t end_of_text() const override { return processor_.eos_id(); }
  std::optional<std::int32_t> begin_of_text() const override {
    return processor_.bos_id() < 0 ? std::nullopt : std::optional<std::int32_t>(processor_.bos_id());
  }
  std::string name() const override { return name_; }

 private:
  sentencepiece::SentencePieceProcessor processor_;
  std::unique_ptr<SentencePieceWords> words_;  ///< null for models that only the library can encode by
  std::string name_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& spec, const std::string& key) {
  if (spec == "bytes") return std::make_unique<ByteTokenizer>();
  const bool ranks = spec.ends_with(".tiktoken");
  if (!ranks && !spec.ends_with(".model"))
    throw UsageError(fmt::format(
        "{}: {} is neither bytes nor sentencepiece's FILE.model nor tiktoken's FILE.tiktoken; give one of these", key,
        spec));
  std::error_code error;
  if (!fs::is_regular_file(spec, error))
    throw DataError(ranks ? fmt::format("{}: no file {}; bring the encoding's ranks file", key, spec)
                          : fmt::format("{}: no file {}; make it with: spikesink tokenizer train SHARDS "
                                        "--vocab N --out {}",
                                        key, spec, spec));
  if (const auto bytes = fs::file_size(spec); bytes > kMostFileBytes)
    throw DataError(fmt::format("{}: {} has {} MB, more than any tokenizer's {}; name the right file", key, spec,
                                bytes / 1'000'000, kMostFileBytes / 1'000'000));
  const std::string content = read_file(spec);
  if (ranks || looks_like_ranks(content)) return make_tiktoken(spec, content, key);
  return std::make_unique<SentencePieceTokenizer>(spec, content, key);
}

bool names_same_tokenizer(std::string_view a, std::string_view b) {
  const auto hash = [](std::string_view name) { return name.substr(name.rfind(' ') + 1); };  // all, where it is a word
  return hash(a) == hash(b);
}

void encode_document(const Tokenizer& tokenizer, std::string_view text, const std::string& shard, std::int64_t line,
                     std::vector<std::int32_t>& ids) {
  const auto at_document = [&](const std::exception& error) {
    return fmt::format("{}:{}: {}", shard, line, error.what());
  };
  try {
    tokenizer.encode(text, ids);
  } catch (const DataError& error) {
    throw DataError(at_document(error));
  } catch (const ContractError& error) {
    throw ContractError(at_document(error));
  }
}

void require_fits(const Tokenizer& tokenizer, std::int64_t vocab_size) {
  if (tokenizer.vocab_size() <= vocab_size) return;
  throw UsageError(
      fmt::format("model.vocab_size: {}, but the tokenizer {} has {} tokens; set model.vocab_size: {}, or "
                  "name another data.tokenizer",
                  vocab_size, tokenizer.name(), tokenizer.vocab_size(), tokenizer.vocab_size()));
}

std::optional<std::int32_t> begin_token(bool asked, const Tokenizer& tokenizer, const std::string& key) {
  if (!asked) return std::nullopt;
  if (!tokenizer.begin_of_text())
    throw UsageError(
        fmt::format("{}: the tokenizer {} has no begin-of-text (bos) token; take this back, or name another tokenizer",
                    key, tokenizer.name()));
  return tokenizer.begin_of_text();
}

}  // namespace spikesink
