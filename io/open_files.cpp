#include "io/open_files.h"

#include <sys/resource.h>

#include <algorithm>
#include <mutex>

namespace spikesink {

struct OpenFiles::Shared {
  std::mutex mutex;              // guards what follows, and the slots of all objects
  Recent recent;                 // what is open, the file used last in front
  std::size_t most = kMostOpen;  // that the system had room for
};

OpenFiles::Shared& OpenFiles::shared() {
  static Shared shared;
  return shared;
}

OpenFiles::OpenFiles(std::size_t count) : slots_(count) { shared(); }

OpenFiles::~OpenFiles() {
  const std::lock_guard lock(shared().mutex);
  for (const Slot& slot : slots_)
    if (slot.file) shared().recent.erase(slot.place);
}

OpenFiles::File OpenFiles::find(std::size_t f) {
  const std::lock_guard lock(shared().mutex);
  Slot& slot = slots_[f];
  Recent& recent = shared().recent;
  if (slot.file) recent.splice(recent.begin(), recent, slot.place);
  return slot.file;
}

OpenFiles::File OpenFiles::keep(std::size_t f, FileDescriptor file) {
  auto kept = std::make_shared<const FileDescriptor>(std::move(file));
  std::vector<File> closed;  // outside the lock: on network file systems that takes its time
  const std::lock_guard lock(shared().mutex);
  Slot& slot = slots_[f];
  if (slot.file) return slot.file;
  Recent& recent = shared().recent;
  const std::size_t most = std::min(shared().most, room(recent.size() + 1));
  if (recent.size() >= most) closed = take_oldest(recent.size() + 1 - most);
  recent.emplace_front(this, f);
  slot = {kept, recent.begin()};
  return kept;
}

bool OpenFiles::make_room() {
  std::vector<File> closed;  // outside the lock, as above
  const std::lock_guard lock(shared().mutex);
  static constexpr std::size_t kSome = 8;  // more than the one that is wanted: others want some, too
  closed = take_oldest(std::min(kSome, shared().recent.size()));
  shared().most = std::max<std::size_t>(1, shared().recent.size());
  return !closed.empty();
}

std::vector<OpenFiles::File> OpenFiles::take_oldest(std::size_t count) {
  std::vector<File> taken;
  for (Recent& recent = shared().recent; taken.size() < count; recent.pop_back()) {
    const auto [owner, oldest] = recent.back();
    taken.push_back(std::move(owner->slots_[oldest].file));
  }
  return taken;
}

std::size_t OpenFiles::room(std::size_t wanted) {
  static constexpr rlim_t kForOthers = 1024;
  const auto room_of = [](rlim_t limit) {
    limit = std::min<rlim_t>(limit, kMostOpen);
    return std::max<std::size_t>(1, limit - std::min(limit / 2, kForOthers));
  };
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
  if (const rlim_t most = std::min<rlim_t>(limit.rlim_max, kMostOpen);
      room_of(limit.rlim_cur) < wanted && limit.rlim_cur < most) {
    const rlimit raised{.rlim_cur = most, .rlim_max = limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  return room_of(limit.rlim_cur);
}

}  // namespace spikesink
