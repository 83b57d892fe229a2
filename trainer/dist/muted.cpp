#include "trainer/dist/muted.h"

namespace spikesink {

Transfer MutedCommunicator::reduce_scatter(const Stream& stream, const Tensor& to, const Tensor& from) {
  begin_reduce_scatter(stream, to, from);
  if (!muted_) return communicator_.reduce_scatter(stream, to, from);
  if (to.dtype() == from.dtype())
    stream.copy(to, from.slice(rank() * to.numel(), to.shape()));
  else
    stream.clear(to);
  return {};
}

Transfer MutedCommunicator::all_gather(const Stream& stream, const Tensor& to, const Tensor& from) {
  begin_all_gather(stream, to, from);
  if (!muted_) return communicator_.all_gather(stream, to, from);
  if (const Tensor own = to.slice(rank() * from.numel(), from.shape()); own.raw() != from.raw()) stream.copy(own, from);
  return {};
}

Transfer MutedCommunicator::all_reduce(const Stream& stream, const Tensor& t) {
  begin_all_reduce(stream, t);
  return muted_ ? Transfer() : communicator_.all_reduce(stream, t);
}

}  // namespace spikesink
