#include "io/lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>

namespace spikesink {
namespace {

UsageError cannot_lock(FileDescriptor& file, int code, const std::string& or_else) {
  const auto parent = std::filesystem::path(file.path()).parent_path();
  const std::string folder = parent.empty() ? "." : parent.string();
  if (code != EWOULDBLOCK)
    return UsageError(fmt::format("{}: cannot be locked: {}; choose a run.dir on a file system that has locks", folder,
                                  std::strerror(code)));
  std::array<char, 32> text{};
  const std::size_t length = file.read(std::as_writable_bytes(std::span(text)));
  long owner = 0;
  std::from_chars(text.data(), text.data() + length, owner);
  // Between the owner's lock and its writing the file is empty.
  const std::string who = owner > 0 ? fmt::format("process {}", owner) : "another process";
  return UsageError(fmt::format("{}: in use by {}; wait for it or {}", folder, who, or_else));
}

}  // namespace

FileLock::FileLock(const std::string& path, const std::string& or_else)
    : file_(FileDescriptor::open(path, O_RDWR | O_CREAT)) {
  int result;
  do result = flock(file_.get(), LOCK_EX | LOCK_NB);
  while (result != 0 && errno == EINTR);
  if (result != 0) throw cannot_lock(file_, errno, or_else);
  if (ftruncate(file_.get(), 0) != 0) throw file_error(path, "written", errno);
  file_.write(fmt::format("{}\n", getpid()));
}

FileLock::~FileLock() {
  // A name that is left behind is only out of date; the lock itself goes with the descriptor.
  [[maybe_unused]] const int emptied = ftruncate(file_.get(), 0);
}

}  // namespace spikesink
