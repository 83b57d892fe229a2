#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "io/file_descriptor.h"

namespace spikesink {

/// The members of a tar file (POSIX ustar and GNU) in order, each read as a whole. Only plain files are given.
/// DataErrors name the file and about where it is broken.
class TarReader {
 public:
  static constexpr std::size_t kMaxMember = std::size_t{64} << 20;  ///< bytes

  explicit TarReader(const std::string& path);

  /// Reads one more member; false at the end of the file.
  bool next();
  const std::string& name() const { return name_; }
  std::string_view content() const { return content_; }
  std::uint64_t bytes() const { return bytes_; }  ///< of the file, read so far
  [[noreturn]] void damaged(const std::string& reason) const;

 private:
  static constexpr std::size_t kBlock = 512;

  bool read_header();
  void read_pax_name();
  void read(char* to, std::size_t size);
  std::size_t number(std::size_t at, std::size_t width) const;

  FileDescriptor file_;
  std::uint64_t bytes_ = 0;
  std::array<char, kBlock> header_{};
  std::string content_, name_;
};

}  // namespace spikesink
