// A library for LD_PRELOAD that makes a program's calls fail which read a file or list a folder: of those named READS_CALL on paths that
// contain READS_PATH, number READS_FROM, from 1, and all after it, READS_COUNT of them, fail with the errno READS_ERRNO.
//
//   READS_CALL  open (to read a file), read (from one), or list (to open a folder)
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "interpose.h"

static int fails(const char* call, const char* path) {
  static atomic_long seen = 0;
  const char *want = getenv("READS_CALL"), *part = getenv("READS_PATH"), *from = getenv("READS_FROM"), *count = getenv("READS_COUNT"),
             *code = getenv("READS_ERRNO");
  if (!want || !part || !from || !count || !code || strcmp(call, want) != 0 || !strstr(path, part)) return 0;
  const long number = atomic_fetch_add(&seen, 1) + 1;
  if (number < atol(from) || number >= atol(from) + atol(count)) return 0;
  errno = atoi(code);
  return 1;
}

#define OPEN(name)                                                                                    \
  int name(const char* path, int flags, ...) {                                                        \
    MODE_BEHIND(flags, mode);                                                                         \
    if (!(flags & (O_WRONLY | O_RDWR | O_CREAT | O_DIRECTORY)) && fails("open", path)) return -1;     \
    return REAL(openat)(AT_FDCWD, path, flags, mode);                                                 \
  }
OPEN(open)
OPEN(open64)

int openat(int folder, const char* path, int flags, ...) {  // by which std::filesystem begins to list a folder
  MODE_BEHIND(flags, mode);
  return (flags & O_DIRECTORY) && fails("list", path) ? -1 : REAL(openat)(folder, path, flags, mode);
}
DIR* opendir(const char* path) { return fails("list", path) ? NULL : REAL(opendir)(path); }

ssize_t read(int fd, void* to, size_t size) {
  char path[PATH_MAX];
  path_of(fd, path);
  return fails("read", path) ? -1 : REAL(read)(fd, to, size);
}
