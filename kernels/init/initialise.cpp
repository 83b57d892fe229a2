#include "kernels/init/initialise.h"

#include "kernels/core/dispatch.h"

namespace spikesink::kernels {

void initialise(const Stream& stream, const Initialise& a) {
  require_tensor(a.out, "initialise out", a.out.shape(), a.out.dtype(), stream.device);
  require(a.std >= 0, "initialise std: ", a.std, ", expected >= 0");
  require(a.first >= 0, "initialise first: ", a.first);
  dispatch<cpu::initialise, cuda::initialise>(stream, a);
}

}  // namespace spikesink::kernels
