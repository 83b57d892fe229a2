#include "data/tiktoken.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <unordered_set>

#include "data/byte_pairs.h"
#include "data/splitter.h"
#include "data/utf8.h"
#include "io/failure.h"
#include "kernels/core/check.h"
#include "kernels/core/random.h"

namespace spikesink {
namespace {

class TiktokenTokenizer final : public Tokenizer {
 public:
  TiktokenTokenizer(std::string name, const std::vector<RankTable::Token>& tokens, TiktokenEncoding encoding,
                    const std::string& place)
      : name_(std::move(name)),
        ranks_(tokens),
        splitter_(make_splitter(encoding.pattern, place)),
        end_of_text_(encoding.end_of_text),
        begin_of_text_(encoding.begin_of_text),
        vocab_size_(std::max<std::int64_t>(ranks_.num_ranks(), 1 + std::ranges::max(encoding.special))) {}

  void encode(std::string_view text, std::vector<std::int32_t>& ids) const override {
    if (!is_utf8(text)) return encode_utf8(repaired_utf8(text), ids);
    encode_utf8(text, ids);
  }
  std::string decode(std::span<const std::int32_t> ids) const override {
    std::string text;
    for (const std::int32_t id : ids) {
      require(id >= 0, "token id: ", id, ", expected >= 0");
      text += ranks_.bytes_of(id);
    }
    return text;
  }
  std::int64_t vocab_size() const override { return vocab_size_; }
  std::int32_t end_of_text() const override { return end_of_text_; }
  std::optional<std::int32_t> begin_of_text() const override { return begin_of_text_; }
  std::string name() const override { return name_; }

 private:
  void encode_utf8(std::string_view text, std::vector<std::int32_t>& ids) const {
    std::vector<std::uint32_t> lengths;
    splitter_->split(text, lengths);
    ids.reserve(ids.size() + lengths.size());
    for (const std::uint32_t length : lengths) {
      encode_piece(ranks_, text.substr(0, length), ids);
      text.remove_prefix(length);
    }
  }

  std::string name_;
  RankTable ranks_;
  std::unique_ptr<Splitter> splitter_;
  std::int32_t end_of_text_;
  std::optional<std::int32_t> begin_of_text_;
  std::int64_t vocab_size_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_tiktoken(const std::string& path, std::string_view content, const std::string& key) {
  const TiktokenEncoding encoding = find_encoding(path, content, key);
  std::vector<RankTable::Token> tokens = parse_ranks(content, path);
  // Ranks that are special tokens are not to come from text, so they leave the table; without a byte, not all text has
  // ids.
  const std::unordered_set<std::int32_t> special(encoding.special.begin(), encoding.special.end());
  std::erase_if(tokens, [&](const RankTable::Token& token) {
    if (!special.contains(token.rank)) return false;
    if (token.bytes.size() == 1)
      throw DataError(
          fmt::format("{}.json: special_tokens: id {} is the token of a single byte; give another", path, token.rank));
    return true;
  });
  std::string all = fmt::format("{}\n{}\n{}\n{}\n", encoding.pattern, fmt::join(encoding.special, " "),
                                encoding.end_of_text, encoding.begin_of_text.value_or(-1));
  all += content;
  std::string name = fmt::format("{} {:016x}", std::filesystem::path(path).filename().string(), name_hash(all));
  return std::make_unique<TiktokenTokenizer>(std::move(name), tokens, encoding, path);
}

}  // namespace spikesink
