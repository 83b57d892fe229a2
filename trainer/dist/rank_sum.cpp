#include "trainer/dist/rank_sum.h"

namespace spikesink {
namespace {

/// f(element of `to`, element of `part` in the dtype of `to`) for each pair.
template <class F>
void for_each_pair(const Tensor& to, std::int64_t first, std::int64_t count, const std::byte* part, DType dtype, F f) {
  with_dtype(to.dtype(), [&]<class T>() {
    with_stored_dtype(dtype, [&]<class From>() {
      T* const y = to.data<T>() + first;
      const From* const x = reinterpret_cast<const From*>(part);
      for (std::int64_t i = 0; i < count; ++i) f(y[i], static_cast<T>(x[i]));
    });
  });
}

}  // namespace

void take_part(const Tensor& to, std::int64_t first, std::int64_t count, const std::byte* part, DType dtype) {
  for_each_pair(to, first, count, part, dtype, [](auto& y, auto x) { y = x; });
}

void add_part(const Tensor& to, std::int64_t first, std::int64_t count, const std::byte* part, DType dtype) {
  for_each_pair(to, first, count, part, dtype, [](auto& y, auto x) { y += x; });
}

}  // namespace spikesink
