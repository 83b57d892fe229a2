#include "io/file_descriptor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace spikesink {

const char* mend_of(int code) {
  switch (code) {
    case ENOSPC:
    case EDQUOT:
      return "free some space or choose another folder";
    case EFBIG:
      return "raise the limit of file sizes (ulimit -f) or choose another folder";
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case ELOOP:
      return "check the path";
    case EISDIR:
      return "name a file, not a folder";
    case EEXIST:
    case ENOTEMPTY:
      return "remove what is there or choose another name";
    case EACCES:
    case EPERM:
    case EROFS:
      return "check the permissions or choose another folder";
    case EMFILE:
    case ENFILE:
      return "raise the limit of open files (ulimit -n)";
    case ETXTBSY:
    case EBUSY:
      return "wait until nobody else uses it";
    default:
      return "check the disk";
  }
}

DataError file_error(const std::string& path, const char* done, int code) {
  return DataError(fmt::format("{}: cannot be {}: {}; {}", path, done, std::strerror(code), mend_of(code)));
}

FileDescriptor FileDescriptor::open(const std::string& path, int flags, bool (*make_room)()) {
  while (true) {
    const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0666), code = errno;
    if (fd >= 0) return {fd, path};
    const bool full = code == EMFILE || code == ENFILE;
    if (code == EINTR || (full && make_room && make_room())) continue;
    throw file_error(path, flags & O_CREAT ? "opened for writing" : "opened", code);
  }
}

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  return *this;
}

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

std::int64_t FileDescriptor::size() const {
  struct stat status {};
  if (fstat(fd_, &status) != 0) throw file_error(path_, "read", errno);
  return status.st_size;
}

void FileDescriptor::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw file_error(path_, "written", errno);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

void FileDescriptor::append(std::string_view bytes) {
  const std::int64_t before = size();
  try {
    write(bytes);
  } catch (...) {
    // If this fails too, readers cope with the torn part as after a power cut; the first failure is the one to tell.
    [[maybe_unused]] const int taken_back = ftruncate(fd_, before);
    throw;
  }
}

std::size_t FileDescriptor::read(std::span<std::byte> to) {
  std::size_t done = 0;
  while (done < to.size()) {
    const ssize_t n = ::read(fd_, to.data() + done, to.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw file_error(path_, "read", errno);
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

std::size_t FileDescriptor::read_at(std::int64_t offset, std::span<std::byte> to) const {
  std::size_t done = 0;
  while (done < to.size()) {
    const ssize_t n = ::pread(fd_, to.data() + done, to.size() - done, offset + static_cast<std::int64_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw file_error(path_, "read", errno);
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

void FileDescriptor::sync() {
  if (fsync(fd_) == 0) return;
  const int code = errno;
  struct stat status {};
  if (code == EINVAL && fstat(fd_, &status) == 0 && S_ISDIR(status.st_mode)) return;
  throw file_error(path_, "synced to the disk", code);
}

void FileDescriptor::close() {
  const int fd = std::exchange(fd_, -1);
  if (fd >= 0 && ::close(fd) != 0 && errno != EINTR) throw file_error(path_, "written", errno);
}

}  // namespace spikesink
