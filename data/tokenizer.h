#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace spikesink {

/// Text to token ids in [0, vocab_size) and back. All methods may be called from several threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// Appends the ids of the text (UTF-8); special tokens are never made from text.
  virtual void encode(std::string_view text, std::vector<std::int32_t>& ids) const = 0;
  /// Text of ids; special tokens give nothing, nor do ids of a padded vocabulary (>= vocab_size) or that
  /// no token has.
  virtual std::string decode(std::span<const std::int32_t> ids) const = 0;
  virtual std::int64_t vocab_size() const = 0;
  virtual std::int32_t end_of_text() const = 0;
  virtual std::optional<std::int32_t> begin_of_text() const = 0;
  /// "bytes", or the file's name and a hash of its content, and of the pattern and special tokens where they are not in
  /// it: see names_same_tokenizer().
  virtual std::string name() const = 0;
};

/// By the config's word: "bytes" (ids 0 to 255, 256 end and 257 begin of text); a sentencepiece FILE.model, whose eos
/// and bos are end and begin of text; or tiktoken's ranks in a FILE.tiktoken, or a FILE.model as Llama 3 has
/// (data/tiktoken.h). DataError if the file is missing, damaged or has no end of text; UsageError for another word;
/// they name `key`, where the word was given.
std::unique_ptr<Tokenizer> make_tokenizer(const std::string& spec, const std::string& key = "data.tokenizer");

/// Whether tokenizers of these names give the same ids: by the hash alone, so that a file may be renamed.
bool names_same_tokenizer(std::string_view a, std::string_view b);

/// Tokenizer::encode() of the document in a line of a shard, which what it throws begins with.
void encode_document(const Tokenizer& tokenizer, std::string_view text, const std::string& shard, std::int64_t line,
                     std::vector<std::int32_t>& ids);

/// UsageError unless every id is below `vocab_size` (model.vocab_size). A larger vocabulary is allowed: padding.
void require_fits(const Tokenizer& tokenizer, std::int64_t vocab_size);

/// The token before every sample: the begin of text if asked for (data.begin_of_text), else nothing. UsageError if the
/// tokenizer has none; it names `key`.
std::optional<std::int32_t> begin_token(bool asked, const Tokenizer& tokenizer,
                                        const std::string& key = "data.begin_of_text");

}  // namespace spikesink
