#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace spikesink {

/// Bytes of a file in order, unpacked. Errors are DataErrors that name the file and the offset in it.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Writes up to `size` > 0 bytes; 0 at the end of the file.
  virtual std::size_t read(char* to, std::size_t size) = 0;
  /// Bytes of the file, as packed, that were read.
  virtual std::uint64_t file_bytes() const = 0;
};

/// A source for a plain, .zst or .gz file (by its name). Several frames or members in a row are read as one stream.
std::unique_ptr<ByteSource> open_bytes(const std::string& path);

/// Streams the lines of a plain, .zst or .gz file. Memory: up to twice the line at hand (twice the limit
/// at most), the unpacker's window, and at most 4 MB between lines.
///
/// Errors are DataErrors of one line that name the file, where in it, the reason and the mend: a file that cannot be
/// opened, a broken or truncated stream, no line at all.
class LineReader {
 public:
  /// The largest document: it is parsed and tokenised as a whole, 4 bytes a token, by each thread that meets one.
  static constexpr std::size_t kMaxLineBytes = std::size_t{64} << 20;
  explicit LineReader(std::string path, std::size_t max_line_bytes = kMaxLineBytes);

  /// The next line without its newline, or nothing at the end. Valid until the next call. A line longer than the limit
  /// is passed over and given as an empty one, with too_long() set.
  std::optional<std::string_view> next();
  /// Whether that holds for the line that next() gave.
  bool too_long() const { return too_long_; }
  std::size_t max_line_bytes() const { return max_line_bytes_; }
  /// Passes over up to n lines, of any length, without holding them; returns how many there were.
  std::int64_t skip_lines(std::int64_t n);

  /// Lines passed so far: the 1-based number of the last one.
  std::int64_t line() const { return line_; }
  /// Bytes of the file, as packed, that were read: some more than the lines passed took.
  std::uint64_t file_bytes() const { return source_->file_bytes(); }
  const std::string& path() const { return path_; }

 private:
  bool fill();
  void note_end() const;

  std::string path_;
  std::size_t max_line_bytes_;
  std::unique_ptr<ByteSource> source_;
  std::vector<char> buffer_;  // bytes [begin_, end_) are read but not handed out
  std::size_t begin_ = 0, end_ = 0;
  std::int64_t line_ = 0;
  bool too_long_ = false;
};

}  // namespace spikesink
