#include "kernels/elementwise/add.h"

namespace spikesink::kernels {

void add(const Stream& stream, const Add& args) {
  require_tensor(args.y, "add y", args.a.shape(), args.a.dtype());
  require_tensor(args.b, "add b", args.a.shape(), args.a.dtype());
  cpu::add(stream, args);
}

}  // namespace spikesink::kernels
