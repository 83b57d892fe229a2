#pragma once
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "kernels/core/check.h"

namespace spikesink {

/// Element types of tensors. f64 exists so that gradients can be checked to 1e-6; i32 holds token ids.
enum class DType : std::uint8_t { kF32, kF64, kI32 };

constexpr std::int64_t size_of(DType dtype) { return dtype == DType::kF64 ? 8 : 4; }

constexpr std::string_view name_of(DType dtype) {
  return dtype == DType::kF32 ? "f32" : dtype == DType::kF64 ? "f64" : "i32";
}

template <class T>
constexpr DType dtype_of() {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, std::int32_t>);
  return std::is_same_v<T, float> ? DType::kF32 : std::is_same_v<T, double> ? DType::kF64 : DType::kI32;
}

/// The one dtype switch: calls f.operator()<float>() or <double>(). Integer tensors are not computed with.
template <class F>
decltype(auto) with_dtype(DType dtype, F&& f) {
  require(dtype != DType::kI32, "with_dtype: i32, expected a floating-point dtype");
  if (dtype == DType::kF64) return f.template operator()<double>();
  return f.template operator()<float>();
}

}  // namespace spikesink
