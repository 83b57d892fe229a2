#pragma once
#include <cstddef>
#include <list>
#include <memory>
#include <utility>
#include <vector>

#include "io/file_descriptor.h"

namespace spikesink {

/// Files that are read in places, by number, each open while it is among those that this process used last: all objects
/// together keep room() open at most, and one a thread that opens one. Any number of threads may call.
class OpenFiles {
 public:
  using File = std::shared_ptr<const FileDescriptor>;

  explicit OpenFiles(std::size_t count);
  ~OpenFiles();
  OpenFiles(const OpenFiles&) = delete;
  OpenFiles& operator=(const OpenFiles&) = delete;

  /// File `f` if it is open, else null: the caller then opens it, while others go on, and hands it to keep().
  File find(std::size_t f);
  /// Keeps `file` open as `f`, unless another thread was first, and returns what is kept. The file used longest ago, of
  /// whatever object, is closed to make room, once nobody reads it.
  File keep(std::size_t f, FileDescriptor file);
  /// Closes some of all that are open, those used longest ago, and keeps no more than the rest from then on; false when
  /// none is open. For FileDescriptor::open(), where others have more open than room() left them.
  static bool make_room();

  /// What the system lets this process have open (ulimit -n), less a part for all else. Where `wanted` is more, the
  /// limit is raised as far as the system allows without rights, to kMostOpen at most.
  static std::size_t room(std::size_t wanted);
  static constexpr std::size_t kMostOpen = 65536;

 private:
  struct Shared;
  static Shared& shared();

  using Recent = std::list<std::pair<OpenFiles*, std::size_t>>;
  /// The `count` used longest ago, no longer kept. The caller holds the lock.
  static std::vector<File> take_oldest(std::size_t count);
  struct Slot {
    File file;
    Recent::iterator place;  // of those open
  };
  std::vector<Slot> slots_;
};

}  // namespace spikesink
