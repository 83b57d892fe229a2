#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "data/store/token_file_values.h"
#include "data/store/token_source.h"
#include "io/failure.h"

namespace spikesink {
namespace {
constexpr std::int64_t kRoom = 1 << 18;  // ids at a time

class MegatronSource final : public TokenSource {
 public:
  MegatronSource(const std::string& path, const std::string& index) : values_(path) {
    using namespace std::string_view_literals;
    TokenFileValues head(index);
    const auto magic = head.read<char>(9, "header");
    if (std::string_view(magic.data(), magic.size()) != "MMIDIDX\0\0"sv)
      throw DataError(index +
                      ": is no index of Megatron-LM: it does not begin with MMIDIDX; fetch it again, or move it away "
                      "if the .bin is of another kind");
    const auto version = head.read<std::uint64_t>(1, "version")[0];
    if (version != 1) damaged_token_file(index, fmt::format("has version {}, expected 1", version));
    const auto code = head.read<std::uint8_t>(1, "kind of number")[0];
    constexpr std::array<int, 9> kWidths{0, 1, 0, 0, 4, 8, 0, 0, 2};  // by Megatron's DType: what ids can be kept in
    width_ = code < kWidths.size() ? kWidths[code] : 0;
    if (width_ == 0)
      damaged_token_file(index,
                         fmt::format("has numbers of kind {}, expected 1 (u8), 4 (i32), 5 (i64) or 8 (u16)", code));
    const auto sequences = head.read<std::uint64_t>(1, "number of sequences")[0];
    const auto documents = head.read<std::uint64_t>(1, "number of documents")[0];
    lengths_ = head.read<std::int32_t>(sequences, "last length of a sequence");
    const auto pointers = head.read<std::int64_t>(sequences, "last place of a sequence");
    ends_ = head.read<std::int64_t>(documents, "last document");
    std::uint64_t at = 0;
    for (std::size_t s = 0; s < lengths_.size(); ++s) {
      if (lengths_[s] < 0 || pointers[s] < 0 || static_cast<std::uint64_t>(pointers[s]) != at)
        damaged_token_file(index, fmt::format("sequence {} has {} tokens at byte {}, expected at byte {}", s,
                                              lengths_[s], pointers[s], at));
      at += static_cast<std::uint64_t>(lengths_[s]) * static_cast<std::uint64_t>(width_);
    }
    if (values_.size() != at)
      damaged_token_file(path, fmt::format("has {} bytes, but its index says {}", values_.size(), at));
    if (ends_.empty() || ends_.front() != 0 || ends_.back() != static_cast<std::int64_t>(lengths_.size()) ||
        !std::ranges::is_sorted(ends_))
      damaged_token_file(
          index, fmt::format("its {} documents do not cover its {} sequences in order", ends_.size(), sequences));
  }

  bool next(TokenChunk& chunk) override {
    if (document_ + 1 >= ends_.size()) return false;
    const auto end = static_cast<std::size_t>(ends_[document_ + 1]);
    for (std::int64_t room = kRoom; sequence_ < end && room > 0;) {
      const std::int64_t count = std::min(room, lengths_[sequence_] - read_);
      values_.read_ids(static_cast<std::uint64_t>(count), width_, chunk.ids);
      room -= count;
      read_ += count;
      if (read_ == lengths_[sequence_]) {
        ++sequence_;
        read_ = 0;
      }
    }
    if (sequence_ == end) {
      ++document_;
      chunk.ends = true;
    }
    return true;
  }
  std::uint64_t file_bytes() const override { return values_.bytes(); }

 private:
  TokenFileValues values_;
  int width_ = 2;
  std::vector<std::int32_t> lengths_;  // of sequences
  std::vector<std::int64_t> ends_;     // 0, and after each document the sequences so far
  std::size_t document_ = 0, sequence_ = 0;
  std::int64_t read_ = 0;  // of the sequence
};

}  // namespace

std::unique_ptr<TokenSource> open_megatron(const std::string& path, const std::string& index) {
  return std::make_unique<MegatronSource>(path, index);
}

}  // namespace spikesink
