#include "data/line_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "io/failure.h"

namespace spikesink {
namespace {
constexpr std::size_t kChunk = std::size_t{64} << 10;
constexpr std::size_t kKeptBytes = std::size_t{4} << 20;  // a larger buffer is given back after what needed it
}  // namespace

LineReader::LineReader(std::string path, std::size_t max_line_bytes)
    : path_(std::move(path)), max_line_bytes_(max_line_bytes), source_(open_bytes(path_)), buffer_(kChunk) {}

std::optional<std::string_view> LineReader::next() {
  std::size_t scanned = 0;
  too_long_ = false;
  while (true) {
    const char* begin = buffer_.data() + begin_;
    const std::size_t size = end_ - begin_;
    const void* newline = size > scanned ? std::memchr(begin + scanned, '\n', size - scanned) : nullptr;
    const std::size_t length = newline ? static_cast<std::size_t>(static_cast<const char*>(newline) - begin) : size;
    if (length > max_line_bytes_) {
      skip_lines(1);  // what is left of it is not held
      too_long_ = true;
      return std::string_view();
    }
    if (newline) {
      begin_ += length + 1;
      ++line_;
      return std::string_view(begin, length);
    }
    scanned = size;
    if (fill()) continue;
    if (size == 0) {
      note_end();
      return std::nullopt;
    }
    begin_ = end_;
    ++line_;
    return std::string_view(buffer_.data() + end_ - size, size);  // the last line, without a newline
  }
}

std::int64_t LineReader::skip_lines(std::int64_t n) {
  std::int64_t skipped = 0;
  bool partial = false;  // bytes of a line were dropped whose newline is still to come
  while (skipped < n) {
    const char* begin = buffer_.data() + begin_;
    const void* newline = end_ > begin_ ? std::memchr(begin, '\n', end_ - begin_) : nullptr;
    if (newline) {
      begin_ += static_cast<std::size_t>(static_cast<const char*>(newline) - begin) + 1;
      partial = false;
      ++skipped;
      continue;
    }
    partial = partial || end_ > begin_;
    begin_ = end_ = 0;
    if (fill()) continue;
    if (partial) ++skipped;
    break;
  }
  line_ += skipped;
  if (skipped < n) note_end();
  return skipped;
}

/// Reads on behind end_, after moving what is left to the front; false at the end of the file.
bool LineReader::fill() {
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (buffer_.size() > kKeptBytes && end_ < kKeptBytes / 2) {
    std::vector<char> smaller(std::max(kChunk, 2 * end_));
    std::copy_n(buffer_.begin(), end_, smaller.begin());
    buffer_.swap(smaller);
  }
  if (buffer_.size() - end_ < kChunk / 2) buffer_.resize(2 * buffer_.size());
  const std::size_t got = source_->read(buffer_.data() + end_, buffer_.size() - end_);
  end_ += got;
  return got > 0;
}

void LineReader::note_end() const {
  if (line_ == 0) throw DataError(path_ + ": holds no line; fetch it again or leave it out");
}

}  // namespace spikesink
