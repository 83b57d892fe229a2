// A library for LD_PRELOAD in which flock succeeds always, as on a network file system that does not carry locks from one
// machine to another.
#include <sys/file.h>

int flock(int fd, int operation) {
  (void)fd;
  (void)operation;
  return 0;
}
