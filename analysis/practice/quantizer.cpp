#include "analysis/practice/quantizer.h"

#include "analysis/practice/host_edit.h"
#include "analysis/practice/round_to_grid.h"
#include "kernels/core/grain.h"
#include "kernels/core/parallel.h"
#include "models/param.h"

namespace spikesink {
namespace {

template <class T>
void round_group(std::span<T> group, Grid grid) {
  if (grid == Grid::kInt4Group) return round_to_int4(group);
  if (grid == Grid::kE4m3Tensor) return round_to_e4m3(group);
  round_to_int8(group);
}

}  // namespace

Tensor on_grid(const Stream& stream, const Tensor& x, Grid grid, std::int64_t rows_together) {
  if (grid == Grid::kNone) return x;
  const std::int64_t C = matrix_dims(x).cols;
  const std::int64_t together = grid == Grid::kInt8Row || grid == Grid::kInt4Group ? 1 : rows_together;
  const std::int64_t group = grid == Grid::kInt4Group ? kInt4GroupSize : C * together;
  require(matrix_dims(x).rows % together == 0, "on_grid: ", together, " rows together of ", matrix_dims(x).rows);
  return edited(stream, x, [&]<class T>(std::span<T> values) {
    const std::int64_t part = C * together;
    const Stream host = stream.device == Device::kCpu ? stream : Stream::cpu();
    kernels::cpu::parallel_ranges(host, x.numel() / part, kernels::cpu::row_grain(part),
                                  [&](std::int64_t begin, std::int64_t end) {
                                    for (std::int64_t p = begin; p < end; ++p)
                                      for (std::int64_t i = 0; i < part; i += group)
                                        round_group(values.subspan(static_cast<std::size_t>(p * part + i),
                                                                   static_cast<std::size_t>(std::min(group, part - i))),
                                                    grid);
                                  });
  });
}

void Quantizer::product(const Param& weight, Tensor& x, Tensor& values) {
  x = on_grid(stream_, x, scheme_.activations, length_);
  if (scheme_.weights == Grid::kNone) return;
  const Tensor rounded = stream_.empty(values.shape(), values.dtype());
  const auto from = split_parts(weight, values), to = split_parts(weight, rounded);
  for (std::size_t i = 0; i < from.size(); ++i)
    stream_.copy(to[i].tensor, on_grid(stream_, from[i].tensor, scheme_.weights, matrix_dims(from[i].tensor).rows));
  values = rounded;
}

}  // namespace spikesink
