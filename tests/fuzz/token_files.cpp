// Token ids that others prepared: Megatron-LM's index and, behind "|BIN|", its ids; a tar of tokshuf; else llm.c's
// .bin.
#include <fmt/format.h>
#include <charconv>
#include <numeric>

#include "data/store/token_source.h"
#include "kernels/core/check.h"
#include "tests/fuzz/target.h"

namespace spikesink::fuzz {
namespace {

/// The checksum of each member's header made right: a change elsewhere in a header would always end there.
std::string with_checksums(std::string_view input) {
  constexpr std::size_t kBlock = 512, kSize = 124, kSum = 148;
  std::string tar(input);
  for (std::size_t at = 0; at + kBlock <= tar.size();) {
    std::fill_n(tar.begin() + static_cast<std::ptrdiff_t>(at + kSum), 8, ' ');
    const auto sum = std::accumulate(tar.data() + at, tar.data() + at + kBlock, std::size_t{0},
                                     [](std::size_t all, char c) { return all + static_cast<unsigned char>(c); });
    if (sum == 8 * ' ') {
      std::fill_n(tar.begin() + static_cast<std::ptrdiff_t>(at + kSum), 8, '\0');
    } else {
      tar.replace(at + kSum, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
    }
    std::size_t size = 0;
    std::from_chars(tar.data() + at + kSize, tar.data() + at + kSize + 11, size, 8);
    at += kBlock + std::min(size, tar.size()) / kBlock * kBlock + (size % kBlock == 0 ? 0 : kBlock);
  }
  return tar;
}

void use(const std::string& path, std::optional<std::int64_t> pad) {
  static const auto tokenizer = make_tokenizer("bytes");
  TokenDocuments documents(path, *tokenizer, pad);
  std::int64_t count = 0;
  while (documents.next()) {
    ++count;
    require(!documents.ids().empty(), "an empty document");
    for (const std::int32_t id : documents.ids()) require(id >= 0 && id < 258 && id != 256, "id ", id);
  }
  require(documents.counts().documents == count, "documents miscounted");
}

void feed_token_files(std::string_view input) {
  constexpr std::string_view kIndex = "MMIDIDX", kTar = "ustar", kMark = "|BIN|";
  if (input.starts_with(kIndex)) {
    const std::size_t mark = input.find(kMark);
    write_scratch("m.idx", input.substr(0, mark));
    use(write_scratch("m.bin", mark == input.npos ? "" : input.substr(mark + kMark.size())), {});
  } else if (input.size() > 262 && input.substr(257).starts_with(kTar)) {
    const std::string path = write_scratch("t.tar", with_checksums(input));
    use(path, {});
    use(path, 0);
  } else {
    use(write_scratch("llmc.bin", input), {});
  }
}

const Registration kTokenFiles{{"token_files", feed_token_files}};

}  // namespace
}  // namespace spikesink::fuzz
