// A library for LD_PRELOAD that makes a disk look full: of a program's questions for the free space of a file system, those from number
// SMALL_DISK_FROM on, SMALL_DISK_COUNT of them, are told that SMALL_DISK_FREE bytes are free.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static atomic_long asked = 0;

static int is_small(void) {
  const long number = atomic_fetch_add(&asked, 1) + 1, from = atol(getenv("SMALL_DISK_FROM"));
  return number >= from && number < from + atol(getenv("SMALL_DISK_COUNT"));
}

#define STATVFS(name)                                                                            \
  int name(const char* path, struct name* told) {                                                \
    const int result = REAL(name)(path, told);                                                   \
    if (result == 0 && is_small())                                                               \
      told->f_bavail = (fsblkcnt_t)atol(getenv("SMALL_DISK_FREE")) / (fsblkcnt_t)told->f_frsize; \
    return result;                                                                               \
  }
STATVFS(statvfs)
STATVFS(statvfs64)
