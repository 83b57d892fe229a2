#include <fcntl.h>
#include <fmt/format.h>
#include <simdjson.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <new>
#include <numeric>
#include <string_view>

#include "data/store/token_source.h"
#include "io/failure.h"
#include "io/file_descriptor.h"
#include "io/safetensors_header.h"

namespace spikesink {
namespace {
constexpr std::size_t kBlock = 512, kMaxMember = std::size_t{64} << 20;
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

/// The members of a tar file (POSIX ustar and GNU) in order. Only plain files are given.
class Tar {
 public:
  explicit Tar(const std::string& path) : file_(FileDescriptor::open(path, O_RDONLY)) {}

  bool next() {
    name_.clear();
    while (read_header()) {
      const std::size_t size = number(124, 12);
      if (size > kMaxMember || size > static_cast<std::uint64_t>(file_.size()) - bytes_)
        damaged(fmt::format("a member of {} bytes", size));
      content_.resize((size + kBlock - 1) / kBlock * kBlock);
      read(content_.data(), content_.size());
      content_.resize(size);
      const char kind = header_[156];
      if (kind == 'L') name_ = content_.substr(0, content_.find('\0'));  // GNU: the next member's name, a long one
      if (kind == 'x') read_pax_name();
      if (kind != '0' && kind != '\0') continue;
      const std::string_view all(header_.data(), 100);
      if (name_.empty()) name_ = all.substr(0, all.find('\0'));
      return true;
    }
    return false;
  }
  const std::string& name() const { return name_; }
  std::string_view content() const { return content_; }
  std::uint64_t bytes() const { return bytes_; }
  [[noreturn]] void damaged(const std::string& reason) const {
    throw DataError(
        fmt::format("{}: broken near byte {}: {}; fetch it again or leave it out", file_.path(), bytes_, reason));
  }

 private:
  /// False at the end, which is two blocks of zeros; what follows is passed over.
  bool read_header() {
    read(header_.data(), kBlock);
    if (std::ranges::all_of(header_, [](char c) { return c == '\0'; })) {
      std::array<std::byte, 1 << 14> rest{};
      while (const std::size_t got = file_.read(rest)) bytes_ += got;
      return false;
    }
    const std::size_t sum = number(148, 8);
    std::ranges::fill_n(header_.begin() + 148, 8, ' ');  // so it is summed up
    const std::size_t found =
        std::accumulate(header_.begin(), header_.end(), std::size_t{0},
                        [](std::size_t all, char c) { return all + static_cast<unsigned char>(c); });
    if (sum != found) damaged("the checksum of a member's header differs: no tar file, or a damaged one");
    return true;
  }
  /// POSIX: lines "LENGTH KEY=VALUE" about the next member.
  void read_pax_name() {
    constexpr std::string_view kKey = " path=";
    const std::size_t at = content_.find(kKey), end = content_.find('\n', std::min(at, content_.size()));
    if (end != content_.npos) name_ = content_.substr(at + kKey.size(), end - at - kKey.size());
  }
  void read(char* to, std::size_t size) {
    const std::size_t got = file_.read(std::as_writable_bytes(std::span(to, size)));
    bytes_ += got;
    if (got < size) damaged("the file ends in the middle of a tar archive");
  }
  /// An octal number of the header, which may have blanks in front.
  std::size_t number(std::size_t at, std::size_t width) const {
    const char *begin = header_.data() + at, *end = begin + width;
    begin = std::find_if(begin, end, [](char c) { return c != ' '; });
    std::size_t value = 0;
    if (std::from_chars(begin, end, value, 8).ec != std::errc()) damaged("a number in a member's header is not octal");
    return value;
  }

  FileDescriptor file_;
  std::uint64_t bytes_ = 0;
  std::array<char, kBlock> header_{};
  std::string content_, name_;
};

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

  Tar tar_;
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
