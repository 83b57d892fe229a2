#include "data/store/tar_reader.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <numeric>
#include <span>

#include "io/failure.h"

namespace spikesink {

TarReader::TarReader(const std::string& path) : file_(FileDescriptor::open(path, O_RDONLY)) {}

bool TarReader::next() {
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

void TarReader::damaged(const std::string& reason) const {
  throw DataError(
      fmt::format("{}: broken near byte {}: {}; fetch it again or leave it out", file_.path(), bytes_, reason));
}

/// False at the end, which is two blocks of zeros; what follows is passed over.
bool TarReader::read_header() {
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
void TarReader::read_pax_name() {
  constexpr std::string_view kKey = " path=";
  const std::size_t at = content_.find(kKey), end = content_.find('\n', std::min(at, content_.size()));
  if (end != content_.npos) name_ = content_.substr(at + kKey.size(), end - at - kKey.size());
}

void TarReader::read(char* to, std::size_t size) {
  const std::size_t got = file_.read(std::as_writable_bytes(std::span(to, size)));
  bytes_ += got;
  if (got < size) damaged("the file ends in the middle of a tar archive");
}

/// An octal number of the header, which may have blanks in front.
std::size_t TarReader::number(std::size_t at, std::size_t width) const {
  const char *begin = header_.data() + at, *end = begin + width;
  begin = std::find_if(begin, end, [](char c) { return c != ' '; });
  std::size_t value = 0;
  if (std::from_chars(begin, end, value, 8).ec != std::errc()) damaged("a number in a member's header is not octal");
  return value;
}

}  // namespace spikesink
