#include <fmt/format.h>
#include <simdjson.h>
#include <zlib.h>

#include <algorithm>
#include <new>
#include <string_view>

#include "data/store/tar_reader.h"
#include "data/store/token_source.h"
#include "io/safetensors_header.h"

namespace spikesink {
namespace {
constexpr std::size_t kMaxMember = TarReader::kMaxMember;
constexpr std::int64_t kTokshufEnd = 0;

/// Unpacks the members of a gzip stream; false if it is broken, or larger than kMaxMember.
bool unpack(std::string_view packed, std::string& to) {
  z_stream stream{};
  constexpr int kGzipOnly = 16;
  if (inflateInit2(&stream, MAX_WBITS + kGzipOnly) != Z_OK) throw std::bad_alloc();
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  to.clear();
  int status = Z_OK;
  while (status == Z_OK && to.size() <= kMaxMember) {
    const std::size_t before = to.size(), room = std::max<std::size_t>(4 * packed.size(), 1024);
    to.resize(before + room);
    stream.next_out = reinterpret_cast<Bytef*>(to.data() + before);
    stream.avail_out = static_cast<uInt>(room);
    status = inflate(&stream, Z_NO_FLUSH);
    to.resize(before + room - stream.avail_out);
    if (status == Z_STREAM_END && stream.avail_in > 0) status = inflateReset(&stream);
  }
  inflateEnd(&stream);
  return status == Z_STREAM_END && to.size() <= kMaxMember;
}

class TokshufSource final : public TokenSource {
 public:
  TokshufSource(const std::string& path, const Tokenizer& tokenizer, std::optional<std::int64_t> pad)
      : tar_(path), end_of_text_(tokenizer.end_of_text()), begin_of_text_(tokenizer.begin_of_text()), pad_(pad) {}

  bool next(TokenChunk& chunk) override {
    if (!tar_.next()) return false;
    const std::string name = tar_.name(), shown = shown_name(name);
    std::string_view json = tar_.content();
    if (name.ends_with(".json.gz")) {
      if (!unpack(json, text_)) tar_.damaged(shown + " is no sound gzip file");
      json = text_;
    } else if (!name.ends_with(".json")) {
      tar_.damaged(shown + " is no .json or .json.gz file, as contexts of tokens are");
    }
    parse(shown, json, chunk.ids);
    chunk.ends = true;
    drop_begins(chunk.ids);
    if (pad_) drop_padding(chunk);
    return true;
  }
  std::uint64_t file_bytes() const override { return tar_.bytes(); }

 private:
  void parse(const std::string& shown, std::string_view json, std::vector<std::int64_t>& ids) {
    simdjson::dom::array array;
    if (parser_.parse(simdjson::padded_string(json)).get(array)) tar_.damaged(shown + " is no JSON array of token ids");
    for (const auto element : array) {
      std::int64_t id = 0;
      if (element.get(id)) tar_.damaged(shown + " is no JSON array of token ids");
      ids.push_back(id);
    }
  }
  /// With a tokenizer that has a begin of text tokshuf writes that before each document, and 0 behind it whatever the
  /// end of text: a 0 before a begin of text, the padding or the context's end is one. Elsewhere 0 is a token like
  /// others.
  void drop_begins(std::vector<std::int64_t>& ids) const {
    if (!begin_of_text_ || std::ranges::count(ids, *begin_of_text_) == 0) return;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const bool last = i + 1 == ids.size() || ids[i + 1] == *begin_of_text_ || ids[i + 1] == pad_;
      if (ids[i] == kTokshufEnd && last) ids[i] = end_of_text_;
    }
    std::erase(ids, *begin_of_text_);
  }
  void drop_padding(TokenChunk& chunk) const {
    auto& ids = chunk.ids;
    const auto last = std::find_if(ids.rbegin(), ids.rend(), [&](std::int64_t id) { return id != *pad_; });
    if (last != ids.rend() && *last != end_of_text_) return;  // it is text that ends in this id
    chunk.pad = last - ids.rbegin();
    ids.erase(last.base(), ids.end());
  }

  TarReader tar_;
  std::int32_t end_of_text_;
  std::optional<std::int32_t> begin_of_text_;
  std::optional<std::int64_t> pad_;
  simdjson::dom::parser parser_;
  std::string text_;
};

}  // namespace

std::unique_ptr<TokenSource> open_tokshuf(const std::string& path, const Tokenizer& tokenizer,
                                          std::optional<std::int64_t> pad) {
  return std::make_unique<TokshufSource>(path, tokenizer, pad);
}

}  // namespace spikesink
