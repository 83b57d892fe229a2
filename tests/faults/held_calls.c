// A library for LD_PRELOAD that holds a program in one of its calls, so that a test can send it a signal there: call number HELD_NUMBER, from 1,
// of those named HELD_CALL on paths that end with HELD_PATH makes the file HELD_FILE, and returns after that file is gone.
//
//   HELD_CALL  open (to read or to write), write, pwrite, fsync, rename (the new name counts), or exit, by which the program ends by itself
//              (on no path)
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "interpose.h"

static void hold(const char* call, const char* path) {
  static atomic_long seen = 0;
  const char *want = getenv("HELD_CALL"), *end = getenv("HELD_PATH"), *file = getenv("HELD_FILE"), *number = getenv("HELD_NUMBER");
  if (!want || !end || !file || !number || !path || strcmp(call, want) != 0) return;
  const size_t length = strlen(path), tail = strlen(end);
  if (length < tail || strcmp(path + length - tail, end) != 0 || atomic_fetch_add(&seen, 1) + 1 != atol(number)) return;
  const int fd = REAL(open)(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) abort();
  REAL(close)(fd);
  while (access(file, F_OK) == 0) usleep(1000);
}

static void hold_fd(const char* call, int fd) {
  char path[PATH_MAX];
  path_of(fd, path);
  hold(call, path);
}

#define OPEN(name)                                                              \
  int name(const char* path, int flags, ...) {                                  \
    MODE_BEHIND(flags, mode);                                                   \
    hold("open", path);                                                         \
    return REAL(openat)(AT_FDCWD, path, flags, mode);                           \
  }
OPEN(open)
OPEN(open64)

ssize_t write(int fd, const void* bytes, size_t size) {
  hold_fd("write", fd);
  return REAL(write)(fd, bytes, size);
}
ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  hold_fd("pwrite", fd);
  return REAL(pwrite)(fd, bytes, size, offset);
}
ssize_t pwrite64(int fd, const void* bytes, size_t size, off64_t offset) { return pwrite(fd, bytes, size, offset); }
int fsync(int fd) {
  hold_fd("fsync", fd);
  return REAL(fsync)(fd);
}
int rename(const char* from, const char* to) {
  hold("rename", to);
  return REAL(rename)(from, to);
}
__attribute__((destructor)) static void at_exit(void) { hold("exit", ""); }
