#pragma once
#include <math.h>

#include <cstring>
#include <source_location>

#include "tests/cuda_emulation/block.h"

/// The words and functions of device code. Kernels use these and no others.
#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
/// One block runs at a time, so that one copy is enough; in a section of its own, which is filled with NaN before each
/// block.
#define __shared__ static __attribute__((section("cuda_shared")))

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

inline void __syncthreads(cuda_emulation::Place at = cuda_emulation::Place::current()) { cuda_emulation::barrier(at); }
inline void __syncwarp(unsigned mask = 0xffffffffu, cuda_emulation::Place at = cuda_emulation::Place::current()) {
  cuda_emulation::ballot(mask, true, at);
}
inline void __threadfence() {}
[[noreturn]] inline void __trap(cuda_emulation::Place at = cuda_emulation::Place::current()) {
  cuda_emulation::trap("__trap()", at);
}

namespace cuda_emulation {

template <class T>
T shuffled(unsigned mask, T value, unsigned source, Place at) {
  static_assert(sizeof(T) <= 8);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = shuffle(mask, bits, source, at);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

/// Lane `to` if it lies in the same part of the warp, of `width` lanes, else the calling lane.
inline unsigned within(int to, int width) {
  const int own = static_cast<int>(lane()), begin = own / width * width;
  return static_cast<unsigned>(to < begin || to >= begin + width ? own : to);
}

}  // namespace cuda_emulation

template <class T>
T __shfl_sync(unsigned mask, T x, int source, int width = 32,
              cuda_emulation::Place at = cuda_emulation::Place::current()) {
  const int begin = static_cast<int>(cuda_emulation::lane()) / width * width;
  return cuda_emulation::shuffled(mask, x, static_cast<unsigned>(begin + (source % width + width) % width), at);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T x, int lanes, int width = 32,
                  cuda_emulation::Place at = cuda_emulation::Place::current()) {
  const int to = static_cast<int>(cuda_emulation::lane()) ^ lanes;
  return cuda_emulation::shuffled(mask, x, cuda_emulation::within(to, width), at);
}
template <class T>
T __shfl_down_sync(unsigned mask, T x, unsigned delta, int width = 32,
                   cuda_emulation::Place at = cuda_emulation::Place::current()) {
  const int to = static_cast<int>(cuda_emulation::lane() + delta);
  return cuda_emulation::shuffled(mask, x, cuda_emulation::within(to, width), at);
}
template <class T>
T __shfl_up_sync(unsigned mask, T x, unsigned delta, int width = 32,
                 cuda_emulation::Place at = cuda_emulation::Place::current()) {
  const int to = static_cast<int>(cuda_emulation::lane()) - static_cast<int>(delta);
  return cuda_emulation::shuffled(mask, x, cuda_emulation::within(to, width), at);
}

inline unsigned __ballot_sync(unsigned mask, int holds, cuda_emulation::Place at = cuda_emulation::Place::current()) {
  return cuda_emulation::ballot(mask, holds != 0, at);
}
inline int __any_sync(unsigned mask, int holds, cuda_emulation::Place at = cuda_emulation::Place::current()) {
  return cuda_emulation::ballot(mask, holds != 0, at) != 0;
}
inline int __all_sync(unsigned mask, int holds, cuda_emulation::Place at = cuda_emulation::Place::current()) {
  return cuda_emulation::ballot(mask, holds != 0, at) == mask;
}

/// Atomic because only one fiber runs. Sums of floats in different orders differ, as they do on a GPU.
template <class T>
T atomicAdd(T* at, std::type_identity_t<T> x) {
  const T old = *at;
  *at = old + x;
  return old;
}
template <class T>
T atomicMax(T* at, std::type_identity_t<T> x) {
  const T old = *at;
  *at = old < x ? x : old;
  return old;
}
template <class T>
T atomicMin(T* at, std::type_identity_t<T> x) {
  const T old = *at;
  *at = x < old ? x : old;
  return old;
}
template <class T>
T atomicExch(T* at, std::type_identity_t<T> x) {
  const T old = *at;
  *at = x;
  return old;
}
template <class T>
T atomicCAS(T* at, std::type_identity_t<T> expected, std::type_identity_t<T> x) {
  const T old = *at;
  if (old == expected) *at = x;
  return old;
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
/// The sine and cosine of pi x, of the exact product.
inline void sincospif(float x, float* sine, float* cosine) {
  const double angle = 3.14159265358979323846 * fmod(static_cast<double>(x), 2);
  *sine = static_cast<float>(sin(angle));
  *cosine = static_cast<float>(cos(angle));
}
inline int min(int a, int b) { return b < a ? b : a; }
inline int max(int a, int b) { return a < b ? b : a; }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
template <class T>
T __ldg(const T* p) {
  return *p;
}
