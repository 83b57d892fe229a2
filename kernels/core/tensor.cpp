#include "kernels/core/tensor.h"

#include <algorithm>

namespace spikesink {

Shape::Shape(std::initializer_list<std::int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  require(dims.size() <= dims_.size(), "a shape has at most 4 dimensions, not ", dims.size());
  std::copy(dims.begin(), dims.end(), dims_.begin());
  for (const std::int64_t d : dims) require(d >= 0, "negative dimension ", d);
}

std::int64_t Shape::numel() const {
  std::int64_t n = 1;
  for (const std::int64_t d : *this) n *= d;
  return n;
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  out << '(';
  for (int i = 0; i < shape.rank(); ++i) out << (i ? ", " : "") << shape[i];
  return out << ')';
}

Tensor Tensor::view(Shape shape) const {
  require(shape.numel() == numel(), "view of ", shape_, " as ", shape);
  return {memory_, shape, dtype_, device_};
}

Tensor Tensor::slice(std::int64_t offset, Shape shape) const {
  require(offset >= 0 && offset + shape.numel() <= numel(), "slice of ", shape, " at ", offset, " from ", shape_);
  return {std::shared_ptr<std::byte>(memory_, memory_.get() + offset * size_of(dtype_)), shape, dtype_, device_};
}

MatrixDims matrix_dims(const Tensor& x) {
  require(x.shape().rank() >= 1, "a matrix needs at least one dimension");
  const std::int64_t cols = x.shape()[x.shape().rank() - 1];
  return {cols ? x.numel() / cols : 0, cols};
}

void require_tensor(const Tensor& t, std::string_view what, const Shape& shape, DType dtype, Device device) {
  require(static_cast<bool>(t), what, ": no tensor, expected ", shape, " ", name_of(dtype));
  require(t.shape() == shape && t.dtype() == dtype, what, ": ", t.shape(), " ", name_of(t.dtype()), ", expected ",
          shape, " ", name_of(dtype));
  require(t.device() == device, what, ": on ", name_of(t.device()), ", expected on ", name_of(device));
}

}  // namespace spikesink
