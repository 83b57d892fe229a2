#pragma once
#include <memory>
#include <string>

#include "io/file_descriptor.h"

namespace spikesink {

/// Holds the exclusive right to the folder that the file `path` is in, for as long as the object lives; the system
/// takes it back from a process that dies. Advisory (flock): it binds those who ask. The file holds the owner's process
/// id and host and stays, empty, afterwards. UsageError naming folder and owner, and its host if that is another, if
/// another holds it, or where locks do not work. `or_else`: what a user can do but wait.
class FileLock {
 public:
  explicit FileLock(const std::string& path, const std::string& or_else = "choose another run.name");
  /// The lock, or null where another holds it: for one of many pieces of work, each taken by whoever comes first.
  static std::unique_ptr<FileLock> unless_held(const std::string& path);
  ~FileLock();
  FileLock(FileLock&&) = delete;

 private:
  struct Taken {};
  FileLock(Taken, FileDescriptor file);
  void note_owner();

  FileDescriptor file_;
};

}  // namespace spikesink
