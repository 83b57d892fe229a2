#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <utility>

#include "data/store/token_source.h"
#include "io/failure.h"
#include "io/file_descriptor.h"

namespace spikesink {
namespace {
constexpr std::int64_t kStretch = 1 << 18;  // ids at a time

[[noreturn]] void damaged(const std::string& path, const std::string& reason) {
  throw DataError(fmt::format("{}: {}; fetch it again or leave it out", path, reason));
}

/// Reads little-endian values front to back.
class Values {
 public:
  explicit Values(const std::string& path) : file_(FileDescriptor::open(path, O_RDONLY)) {}

  std::uint64_t bytes() const { return bytes_; }
  std::uint64_t size() const { return static_cast<std::uint64_t>(file_.size()); }

  template <class T>
  std::vector<T> read(std::uint64_t count, const char* what) {
    if (count > (size() - std::min(bytes_, size())) / sizeof(T))
      damaged(file_.path(), fmt::format("ends before its {}", what));
    std::vector<T> values(count);
    if (file_.read(std::as_writable_bytes(std::span(values))) != count * sizeof(T))
      damaged(file_.path(), fmt::format("ends before its {}", what));
    bytes_ += count * sizeof(T);
    return values;
  }
  /// `count` ids of `width` bytes, those of 2 and 1 unsigned.
  void read_ids(std::uint64_t count, int width, std::vector<std::int64_t>& ids) {
    const auto append = [&](const auto& values) { ids.insert(ids.end(), values.begin(), values.end()); };
    if (width == 1) append(read<std::uint8_t>(count, "last token"));
    if (width == 2) append(read<std::uint16_t>(count, "last token"));
    if (width == 4) append(read<std::int32_t>(count, "last token"));
    if (width == 8) append(read<std::int64_t>(count, "last token"));
  }

 private:
  FileDescriptor file_;
  std::uint64_t bytes_ = 0;
};

class LlmcSource final : public TokenSource {
 public:
  explicit LlmcSource(const std::string& path) : values_(path) {
    constexpr std::int32_t kGpt2 = 20240520, kLlama3 = 20240801;
    if (values_.size() < kHeader * sizeof(std::int32_t)) damaged(path, "is too short for a header of llm.c");
    const auto header = values_.read<std::int32_t>(kHeader, "header");
    const std::pair magic{header[0], header[1]};
    if (magic != std::pair{kGpt2, 1} && magic != std::pair{kLlama3, 7})
      throw DataError(
          fmt::format("{}: begins with {} and {}, not with 20240520 and 1 or 20240801 and 7 as files of llm.c; "
                      "a file of Megatron-LM needs its .idx beside it",
                      path, header[0], header[1]));
    width_ = header[0] == kGpt2 ? 2 : 4;
    left_ = static_cast<std::uint32_t>(header[2]);
    const std::uint64_t expected = kHeader * sizeof(std::int32_t) + left_ * static_cast<std::uint64_t>(width_);
    if (values_.size() != expected)
      damaged(path, fmt::format("has {} bytes, but its header says {} tokens, which are {} bytes", values_.size(),
                                left_, expected));
  }

  bool next(TokenChunk& chunk) override {
    if (left_ == 0) return false;
    const std::uint64_t count = std::min<std::uint64_t>(left_, kStretch);
    values_.read_ids(count, width_, chunk.ids);
    left_ -= count;
    return true;
  }
  std::uint64_t file_bytes() const override { return values_.bytes(); }

 private:
  static constexpr std::uint64_t kHeader = 256;
  Values values_;
  int width_ = 2;
  std::uint64_t left_ = 0;
};

class MegatronSource final : public TokenSource {
 public:
  MegatronSource(const std::string& path, const std::string& index) : values_(path) {
    using namespace std::string_view_literals;
    Values head(index);
    const auto magic = head.read<char>(9, "header");
    if (std::string_view(magic.data(), magic.size()) != "MMIDIDX\0\0"sv)
      throw DataError(index +
                      ": is no index of Megatron-LM: it does not begin with MMIDIDX; fetch it again, or move it away "
                      "if the .bin is of another kind");
    const auto version = head.read<std::uint64_t>(1, "version")[0];
    if (version != 1) damaged(index, fmt::format("has version {}, expected 1", version));
    const auto code = head.read<std::uint8_t>(1, "kind of number")[0];
    constexpr std::array<int, 9> kWidths{0, 1, 0, 0, 4, 8, 0, 0, 2};  // by Megatron's DType: what ids can be kept in
    width_ = code < kWidths.size() ? kWidths[code] : 0;
    if (width_ == 0)
      damaged(index, fmt::format("has numbers of kind {}, expected 1 (u8), 4 (i32), 5 (i64) or 8 (u16)", code));
    const auto sequences = head.read<std::uint64_t>(1, "number of sequences")[0];
    const auto documents = head.read<std::uint64_t>(1, "number of documents")[0];
    lengths_ = head.read<std::int32_t>(sequences, "last length of a sequence");
    const auto pointers = head.read<std::int64_t>(sequences, "last place of a sequence");
    ends_ = head.read<std::int64_t>(documents, "last document");
    std::uint64_t at = 0;
    for (std::size_t s = 0; s < lengths_.size(); ++s) {
      if (lengths_[s] < 0 || pointers[s] < 0 || static_cast<std::uint64_t>(pointers[s]) != at)
        damaged(index, fmt::format("sequence {} has {} tokens at byte {}, expected at byte {}", s, lengths_[s],
                                   pointers[s], at));
      at += static_cast<std::uint64_t>(lengths_[s]) * static_cast<std::uint64_t>(width_);
    }
    if (values_.size() != at) damaged(path, fmt::format("has {} bytes, but its index says {}", values_.size(), at));
    if (ends_.empty() || ends_.front() != 0 || ends_.back() != static_cast<std::int64_t>(lengths_.size()) ||
        !std::ranges::is_sorted(ends_))
      damaged(index, fmt::format("its {} documents do not cover its {} sequences in order", ends_.size(), sequences));
  }

  bool next(TokenChunk& chunk) override {
    if (document_ + 1 >= ends_.size()) return false;
    for (std::int64_t s = ends_[document_]; s < ends_[document_ + 1]; ++s)
      values_.read_ids(static_cast<std::uint64_t>(lengths_[static_cast<std::size_t>(s)]), width_, chunk.ids);
    ++document_;
    chunk.ends = true;
    return true;
  }
  std::uint64_t file_bytes() const override { return values_.bytes(); }

 private:
  Values values_;
  int width_ = 2;
  std::vector<std::int32_t> lengths_;  // of sequences
  std::vector<std::int64_t> ends_;     // 0, and after each document the sequences so far
  std::size_t document_ = 0;
};

}  // namespace

std::unique_ptr<TokenSource> open_llmc(const std::string& path) { return std::make_unique<LlmcSource>(path); }
std::unique_ptr<TokenSource> open_megatron(const std::string& path, const std::string& index) {
  return std::make_unique<MegatronSource>(path, index);
}

}  // namespace spikesink
