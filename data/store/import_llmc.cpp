#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "data/store/token_file_values.h"
#include "data/store/token_source.h"
#include "io/failure.h"

namespace spikesink {
namespace {
constexpr std::int64_t kIds = 1 << 18;  // ids at a time

class LlmcSource final : public TokenSource {
 public:
  explicit LlmcSource(const std::string& path) : values_(path) {
    constexpr std::int32_t kGpt2 = 20240520, kLlama3 = 20240801;
    if (values_.size() < kHeader * sizeof(std::int32_t)) damaged_token_file(path, "is too short for a header of llm.c");
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
      damaged_token_file(path, fmt::format("has {} bytes, but its header says {} tokens, which are {} bytes",
                                           values_.size(), left_, expected));
  }

  bool next(TokenChunk& chunk) override {
    if (left_ == 0) return false;
    const std::uint64_t count = std::min<std::uint64_t>(left_, kIds);
    values_.read_ids(count, width_, chunk.ids);
    left_ -= count;
    return true;
  }
  std::uint64_t file_bytes() const override { return values_.bytes(); }

 private:
  static constexpr std::uint64_t kHeader = 256;
  TokenFileValues values_;
  int width_ = 2;
  std::uint64_t left_ = 0;
};

}  // namespace

std::unique_ptr<TokenSource> open_llmc(const std::string& path) { return std::make_unique<LlmcSource>(path); }

}  // namespace spikesink
