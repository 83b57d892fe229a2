#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <ostream>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/core/device.h"
#include "kernels/core/dtype.h"
#include "kernels/core/pool.h"

namespace spikesink {

// Dimensions are single letters everywhere: B batch, T time, N = B*T rows, C channels of the residual stream, H query
// heads, K key-value heads, D head dim, F FFN hidden, V vocabulary, L layers.

/// Up to four extents.
class Shape {
 public:
  constexpr Shape() = default;
  Shape(std::initializer_list<std::int64_t> dims);

  int rank() const { return rank_; }
  std::int64_t operator[](int i) const { return dims_[static_cast<std::size_t>(i)]; }
  std::int64_t numel() const;
  const std::int64_t* begin() const { return dims_.data(); }
  const std::int64_t* end() const { return dims_.data() + rank_; }
  std::vector<std::int64_t> dims() const { return {begin(), end()}; }
  bool operator==(const Shape&) const = default;

 private:
  std::array<std::int64_t, 4> dims_{};
  int rank_ = 0;
};
std::ostream& operator<<(std::ostream& out, const Shape& shape);  ///< (3, 7)

/// A dense row-major array: dtype, shape, device and a counted handle to its memory. Copies share the memory; so do
/// views. Constness is that of the handle: data() of a const Tensor may be written through, as with std::span.
class Tensor {
 public:
  Tensor() = default;
  /// `memory` must hold shape.numel() elements; an aliasing pointer makes a slice of a bigger buffer.
  Tensor(std::shared_ptr<std::byte> memory, Shape shape, DType dtype, Device device = Device::kCpu)
      : memory_(std::move(memory)), shape_(shape), dtype_(dtype), device_(device) {}
  static Tensor empty(Pool& pool, Shape shape, DType dtype) {
    return {pool.allocate(shape.numel() * size_of(dtype)), shape, dtype, pool.device()};
  }

  explicit operator bool() const { return memory_ != nullptr; }  ///< false: no tensor
  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  std::int64_t numel() const { return shape_.numel(); }
  std::int64_t bytes() const { return numel() * size_of(dtype_); }
  std::byte* raw() const { return memory_.get(); }

  /// Of a tensor on CUDA an address for its kernels, not for the host.
  template <class T>
  T* data() const {
    require(dtype_ == dtype_of<T>(), "tensor is ", name_of(dtype_), ", read as ", name_of(dtype_of<T>()));
    return reinterpret_cast<T*>(memory_.get());
  }
  template <class T>
  std::span<T> span() const {
    require(device_ == Device::kCpu, "span: a tensor on ", name_of(device_), ", which the host cannot read");
    return {data<T>(), static_cast<std::size_t>(numel())};
  }

  /// The same memory with another shape of as many elements.
  Tensor view(Shape shape) const;
  /// `shape` elements from element `offset` of this tensor, sharing its memory.
  Tensor slice(std::int64_t offset, Shape shape) const;
  /// No other tensor shares the memory: it may be written over.
  bool sole_owner() const { return memory_.use_count() == 1; }

 private:
  std::shared_ptr<std::byte> memory_;
  Shape shape_;
  DType dtype_ = DType::kF32;
  Device device_ = Device::kCpu;
};

/// All leading dimensions as rows, the last as columns.
struct MatrixDims {
  std::int64_t rows, cols;
};
MatrixDims matrix_dims(const Tensor& x);

/// Throws ContractError with `what`, the tensor's shape, dtype and device and the expected ones unless they agree.
void require_tensor(const Tensor& t, std::string_view what, const Shape& shape, DType dtype, Device device);

}  // namespace spikesink
