#include "sweeps/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

namespace spikesink {

std::size_t columns_of_output() {
  constexpr std::size_t kUsual = 120;
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kUsual;
}

}  // namespace spikesink
