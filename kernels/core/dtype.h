#pragma once
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "io/bf16.h"
#include "kernels/core/check.h"

namespace spikesink {

/// Element types of tensors. f64 exists so that gradients can be checked to 1e-6, on the CPU only; bf16 is storage on
/// CUDA only; i32 holds token ids, u8 raw bytes.
enum class DType : std::uint8_t { kF32, kF64, kI32, kBF16, kU8 };

constexpr std::int64_t size_of(DType dtype) {
  constexpr std::int64_t kSizes[] = {4, 8, 4, 2, 1};
  return kSizes[static_cast<int>(dtype)];
}

constexpr std::string_view name_of(DType dtype) {
  constexpr std::string_view kNames[] = {"f32", "f64", "i32", "bf16", "u8"};
  return kNames[static_cast<int>(dtype)];
}

/// The dtype of a C++ type; dtype.cuh adds CUDA's own bfloat16.
template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::kF32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::kF64;
};
template <>
struct DTypeOf<std::int32_t> {
  static constexpr DType value = DType::kI32;
};
template <>
struct DTypeOf<bf16> {
  static constexpr DType value = DType::kBF16;
};

template <class T>
constexpr DType dtype_of() {
  return DTypeOf<T>::value;
}

/// What sums over elements of type T run in, and with them gradients of parameters and what norms keep: f32, for f64
/// f64.
template <class T>
using acc_t = std::conditional_t<std::is_same_v<T, double>, double, float>;

constexpr DType acc_dtype(DType dtype) { return dtype == DType::kF64 ? DType::kF64 : DType::kF32; }

/// The CPU's dtype switch: calls f.operator()<float>() or <double>(). Integer tensors are not computed with.
template <class F>
decltype(auto) with_dtype(DType dtype, F&& f) {
  require(dtype == DType::kF32 || dtype == DType::kF64, "with_dtype: ", name_of(dtype), ", expected f32 or f64");
  if (dtype == DType::kF64) return f.template operator()<double>();
  return f.template operator()<float>();
}

/// The switch of what only moves values between host, device and files: bf16 too.
template <class F>
decltype(auto) with_stored_dtype(DType dtype, F&& f) {
  if (dtype == DType::kBF16) return f.template operator()<bf16>();
  return with_dtype(dtype, f);
}

}  // namespace spikesink
