#include "kernels/elementwise/add.h"

#include "kernels/core/dispatch.h"

namespace spikesink::kernels {

void add(const Stream& stream, const Add& args) {
  require_tensor(args.a, "add a", args.a.shape(), args.a.dtype(), stream.device);
  require_tensor(args.y, "add y", args.a.shape(), args.a.dtype(), stream.device);
  require_tensor(args.b, "add b", args.a.shape(), args.a.dtype(), stream.device);
  dispatch<cpu::add, cuda::add>(stream, args);
}

}  // namespace spikesink::kernels
