#pragma once
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/failure.h"
#include "io/file_descriptor.h"

namespace spikesink {

/// DataError of a token file that is not as its kind has it: "PATH: REASON; fetch it again or leave it out".
[[noreturn]] inline void damaged_token_file(const std::string& path, const std::string& reason) {
  throw DataError(fmt::format("{}: {}; fetch it again or leave it out", path, reason));
}

/// Reads little-endian values of a token file front to back. DataError where it ends before them.
class TokenFileValues {
 public:
  explicit TokenFileValues(const std::string& path) : file_(FileDescriptor::open(path, O_RDONLY)) {}

  std::uint64_t bytes() const { return bytes_; }
  std::uint64_t size() const { return static_cast<std::uint64_t>(file_.size()); }

  template <class T>
  std::vector<T> read(std::uint64_t count, const char* what) {
    if (count > (size() - std::min(bytes_, size())) / sizeof(T))
      damaged_token_file(file_.path(), fmt::format("ends before its {}", what));
    std::vector<T> values(count);
    if (file_.read(std::as_writable_bytes(std::span(values))) != count * sizeof(T))
      damaged_token_file(file_.path(), fmt::format("ends before its {}", what));
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

}  // namespace spikesink
