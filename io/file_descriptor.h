#pragma once
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "io/failure.h"

namespace spikesink {

/// "<path>: cannot be <done>: <the system's reason>; <how to mend it>". `code` is an errno.
DataError file_error(const std::string& path, const char* done, int code);
/// How a user mends what the errno `code` says.
const char* mend_of(int code);

/// An open POSIX file. Calls that fail throw file_error(); the destructor closes and is silent.
class FileDescriptor {
 public:
  /// open(2) with `flags` and O_CLOEXEC; new files get the mode that umask leaves of 0666. While the system has no room
  /// for another open file, `make_room` is asked to close some, and a true answer is followed by another try.
  static FileDescriptor open(const std::string& path, int flags, bool (*make_room)() = nullptr);

  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  ~FileDescriptor();

  int get() const { return fd_; }
  const std::string& path() const { return path_; }
  std::int64_t size() const;

  /// All of `bytes`, in one write(2) unless the system takes fewer at a time.
  void write(std::string_view bytes);
  /// As write(), at the end of a file that was opened with O_APPEND; a failure takes back the part that was written.
  void append(std::string_view bytes);
  /// Fills `to` from the current place; returns the bytes read, fewer only at the end of the file.
  std::size_t read(std::span<std::byte> to);
  /// The same from byte `offset` of the file on. Any number of threads may call.
  std::size_t read_at(std::int64_t offset, std::span<std::byte> to) const;
  /// Until the contents are on the disk. Folders on file systems that cannot sync one are let pass.
  void sync();
  /// Reports what the destructor would swallow: some file systems tell of a full disk only here.
  void close();

 private:
  FileDescriptor(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  int fd_ = -1;
  std::string path_;
};

}  // namespace spikesink
