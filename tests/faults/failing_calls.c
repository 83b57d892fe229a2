// A library for LD_PRELOAD that makes one of a program's calls fail which change files under FAULTS_UNDER. It counts those calls,
// all kinds together, in the order in which they come; threads make no difference to how many there are, only to which is which.
//
//   FAULTS_UNDER  folder: calls on other files are left alone, and not counted
//   FAULTS_LOG    file: a line "NUMBER CALL PATH" for each call that is counted
//   FAULTS_AT     number of the call that fails, from 1; none: nothing fails
//   FAULTS_KIND   error: it fails with EIO. full: it and all calls after it that need room fail with ENOSPC. short: it
//                 writes half of its bytes and says so. kill: the process is killed before it; torn: after half of it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

enum Fault { kNone, kError, kFull, kShort, kKill, kTorn };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long counted = 0;
static int is_full = 0;

static int is_under(const char* path) {
  const char* folder = getenv("FAULTS_UNDER");
  return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int fd_is_under(int fd, char* path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, path, PATH_MAX - 1);
  if (size < 0) return 0;
  path[size] = '\0';
  return is_under(path);
}

/// Counts a call, and says what is to become of it. `needs_room`: a full disk refuses it.
static enum Fault fault_of(const char* call, const char* path, int needs_room) {
  pthread_mutex_lock(&lock);
  const long number = ++counted;
  const char *log = getenv("FAULTS_LOG"), *at = getenv("FAULTS_AT"), *kind = getenv("FAULTS_KIND");
  if (log) {
    char line[PATH_MAX + 64];
    const int size = snprintf(line, sizeof line, "%ld %s %s\n", number, call, path);
    const int fd = REAL(open)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd >= 0) {
      if (REAL(write)(fd, line, (size_t)size) < 0) abort();
      REAL(close)(fd);
    }
  }
  enum Fault fault = is_full && needs_room ? kFull : kNone;
  if (at && kind && number == atol(at)) {
    fault = strcmp(kind, "error") == 0 ? kError
            : strcmp(kind, "full") == 0 ? kFull
            : strcmp(kind, "short") == 0 ? kShort
            : strcmp(kind, "kill") == 0 ? kKill
                                        : kTorn;
    is_full = is_full || fault == kFull;
    if (fault == kFull && !needs_room) fault = kNone;
  }
  pthread_mutex_unlock(&lock);
  if (fault == kKill) kill(getpid(), SIGKILL);
  return fault;
}

/// Of a call that does nothing by halves.
static int fails(enum Fault fault) {
  if (fault == kTorn) kill(getpid(), SIGKILL);
  if (fault == kError) errno = EIO;
  if (fault == kFull) errno = ENOSPC;
  return fault == kError || fault == kFull;
}

ssize_t write(int fd, const void* bytes, size_t size) {
  char path[PATH_MAX];
  if (!fd_is_under(fd, path)) return REAL(write)(fd, bytes, size);
  const enum Fault fault = fault_of("write", path, 1);
  if ((fault == kShort || fault == kTorn) && size > 1) size /= 2;
  if (fault == kTorn) {
    if (REAL(write)(fd, bytes, size) < 0) abort();
  }
  return fails(fault) ? -1 : REAL(write)(fd, bytes, size);
}

ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  char path[PATH_MAX];
  if (!fd_is_under(fd, path)) return REAL(pwrite)(fd, bytes, size, offset);
  const enum Fault fault = fault_of("pwrite", path, 1);
  if ((fault == kShort || fault == kTorn) && size > 1) size /= 2;
  if (fault == kTorn) {
    if (REAL(pwrite)(fd, bytes, size, offset) < 0) abort();
  }
  return fails(fault) ? -1 : REAL(pwrite)(fd, bytes, size, offset);
}
ssize_t pwrite64(int fd, const void* bytes, size_t size, off64_t offset) { return pwrite(fd, bytes, size, offset); }

static int open_as(int folder, const char* path, int flags, mode_t mode) {
  if ((flags & (O_CREAT | O_TRUNC)) && is_under(path) && fails(fault_of("open", path, 1))) return -1;
  return REAL(openat)(folder, path, flags, mode);
}
static mode_t mode_of(int flags, va_list more) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; }
#define OPEN(name)                                      \
  int name(const char* path, int flags, ...) {          \
    va_list more;                                       \
    va_start(more, flags);                              \
    const mode_t mode = mode_of(flags, more);           \
    va_end(more);                                       \
    return open_as(AT_FDCWD, path, flags, mode);        \
  }
OPEN(open)
OPEN(open64)

/// Of a file that was written to: network file systems tell there what they could not write.
int close(int fd) {
  char path[PATH_MAX];
  const int flags = fcntl(fd, F_GETFL);
  const int counts = flags >= 0 && (flags & O_ACCMODE) != O_RDONLY && fd_is_under(fd, path);
  const enum Fault fault = counts ? fault_of("close", path, 1) : kNone;
  const int result = REAL(close)(fd);
  return fails(fault) ? -1 : result;
}

#define ON_FD(name, needs_room)                                                       \
  int name(int fd) {                                                                  \
    char path[PATH_MAX];                                                              \
    if (fd_is_under(fd, path) && fails(fault_of(#name, path, needs_room))) return -1; \
    return REAL(name)(fd);                                                            \
  }
ON_FD(fsync, 1)
ON_FD(fdatasync, 1)

int ftruncate(int fd, off_t size) {
  char path[PATH_MAX];
  if (fd_is_under(fd, path) && fails(fault_of("ftruncate", path, 0))) return -1;
  return REAL(ftruncate)(fd, size);
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

int rename(const char* from, const char* to) {
  return is_under(to) && fails(fault_of("rename", to, 1)) ? -1 : REAL(rename)(from, to);
}
int symlink(const char* target, const char* link) {
  return is_under(link) && fails(fault_of("symlink", link, 1)) ? -1 : REAL(symlink)(target, link);
}
int mkdir(const char* path, mode_t mode) {
  return is_under(path) && fails(fault_of("mkdir", path, 1)) ? -1 : REAL(mkdir)(path, mode);
}
int unlink(const char* path) { return is_under(path) && fails(fault_of("unlink", path, 0)) ? -1 : REAL(unlink)(path); }
int remove(const char* path) { return is_under(path) && fails(fault_of("remove", path, 0)) ? -1 : REAL(remove)(path); }
int rmdir(const char* path) { return is_under(path) && fails(fault_of("rmdir", path, 0)) ? -1 : REAL(rmdir)(path); }
int unlinkat(int folder, const char* name, int flags) {
  char path[PATH_MAX];
  const int known = folder == AT_FDCWD ? is_under(strncpy(path, name, PATH_MAX - 1)) : fd_is_under(folder, path);
  return known && fails(fault_of("unlinkat", path, 0)) ? -1 : REAL(unlinkat)(folder, name, flags);
}
