#include "io/lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "io/atomic_file.h"
#include "io/host_name.h"

namespace spikesink {
namespace {

UsageError cannot_lock(const FileDescriptor& file, int code, const std::string& or_else) {
  const auto parent = std::filesystem::path(file.path()).parent_path();
  const std::string folder = parent.empty() ? "." : parent.string();
  if (code != EWOULDBLOCK)
    return UsageError(fmt::format("{}: cannot be locked: {}; choose a folder on a file system that has locks", folder,
                                  std::strerror(code)));
  std::istringstream text(read_file(file.path()));
  long owner = 0;
  std::string host;
  text >> owner >> host;
  // Between the owner's lock and its writing the file is empty.
  std::string who = owner > 0 ? fmt::format("process {}", owner) : "another process";
  if (!host.empty() && host != host_name()) who += " on " + host;
  return UsageError(fmt::format("{}: in use by {}; wait for it or {}", folder, who, or_else));
}

/// 0, or the errno of what keeps it from being locked.
int try_lock(const FileDescriptor& file) {
  int result;
  do result = flock(file.get(), LOCK_EX | LOCK_NB);
  while (result != 0 && errno == EINTR);
  return result == 0 ? 0 : errno;
}

}  // namespace

FileLock::FileLock(const std::string& path, const std::string& or_else)
    : file_(FileDescriptor::open(path, O_RDWR | O_CREAT)) {
  if (const int code = try_lock(file_); code != 0) throw cannot_lock(file_, code, or_else);
  note_owner();
}

FileLock::FileLock(Taken, FileDescriptor file) : file_(std::move(file)) { note_owner(); }

std::unique_ptr<FileLock> FileLock::unless_held(const std::string& path) {
  FileDescriptor file = FileDescriptor::open(path, O_RDWR | O_CREAT);
  const int code = try_lock(file);
  if (code == EWOULDBLOCK) return nullptr;
  if (code != 0) throw cannot_lock(file, code, "choose another place");
  return std::unique_ptr<FileLock>(new FileLock(Taken{}, std::move(file)));
}

void FileLock::note_owner() {
  if (ftruncate(file_.get(), 0) != 0) throw file_error(file_.path(), "written", errno);
  file_.write(fmt::format("{} {}\n", getpid(), host_name()));
}

FileLock::~FileLock() {
  // A name that is left behind is only out of date; the lock itself goes with the descriptor.
  [[maybe_unused]] const int emptied = ftruncate(file_.get(), 0);
}

}  // namespace spikesink
