#include "io/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <random>

#include "io/file_descriptor.h"
#include "io/listing.h"

namespace spikesink {
namespace fs = std::filesystem;
namespace {

std::string folder_of(const std::string& path) {
  const fs::path parent = fs::path(path).parent_path();
  return parent.empty() ? "." : parent.string();
}

void sync_folder(const std::string& path) { FileDescriptor::open(path, O_RDONLY | O_DIRECTORY).sync(); }

}  // namespace

void rename_and_sync(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) throw file_error(to, "put in place", errno);
  sync_folder(folder_of(to));
}

std::string unfinished_beside(const std::string& path) {
  static std::atomic<unsigned> count = 0;
  static const unsigned process = std::random_device()();
  return fmt::format("{}/.unfinished.{}.{:08x}.{}", folder_of(path), getpid(), process, count++);
}

void write_atomically(const std::string& path, std::string_view text) {
  const std::string unfinished = unfinished_beside(path);
  try {
    FileDescriptor file = FileDescriptor::open(unfinished, O_WRONLY | O_CREAT | O_TRUNC);
    file.write(text);
    file.sync();
    file.close();
    rename_and_sync(unfinished, path);
  } catch (const DataError& error) {
    unlink(unfinished.c_str());
    // The user knows the file by its own name.
    std::string message = error.what();
    if (message.starts_with(unfinished)) message.replace(0, unfinished.size(), path);
    throw DataError(message);
  }
}

std::string read_file(const std::string& path) {
  if (type_of(path) == fs::file_type::fifo) throw DataError(path + ": is a pipe, where a file is to be");
  FileDescriptor file = FileDescriptor::open(path, O_RDONLY);
  std::string text(static_cast<std::size_t>(file.size()), '\0');
  std::size_t length = file.read(std::as_writable_bytes(std::span(text)));
  text.resize(length);
  // Files that tell no size (pipes, /proc), and what was appended meanwhile.
  constexpr std::size_t kMore = 1 << 16;
  do {
    text.resize(length + kMore);
    length += file.read(std::as_writable_bytes(std::span(text).subspan(length)));
  } while (length == text.size());
  text.resize(length);
  return text;
}

void commit_file(const std::string& from, const std::string& to) {
  FileDescriptor::open(from, O_RDONLY).sync();
  rename_and_sync(from, to);
}

void commit_folder(const std::string& from, const std::string& to) {
  std::error_code error;
  for (fs::recursive_directory_iterator entry(from, error), end; !error && entry != end; entry.increment(error))
    if (entry->is_directory() && !entry->is_symlink())
      sync_folder(entry->path().string());
    else if (entry->is_regular_file() && !entry->is_symlink())
      FileDescriptor::open(entry->path().string(), O_RDONLY).sync();
  if (error) throw file_error(from, "read", error.value());
  sync_folder(from);
  rename_and_sync(from, to);
}

void replace_link(const std::string& link, const std::string& target) {
  const std::string unfinished = unfinished_beside(link);
  if (symlink(target.c_str(), unfinished.c_str()) != 0) throw file_error(link, "linked", errno);
  try {
    rename_and_sync(unfinished, link);
  } catch (...) {
    unlink(unfinished.c_str());
    throw;
  }
}

}  // namespace spikesink
