#pragma once
#include "tests/cuda_emulation/include/cuda_bf16.h"
#include "tests/cuda_emulation/include/device_functions.h"

/// What kernels/core/mma.cuh has in PTX, with the register layouts of the PTX ISA: lane l holds row l / 4 and the
/// columns 2 (l % 4) and 2 (l % 4) + 1 of an 8 x 8 part.
namespace cuda_emulation {

inline float half_of(std::uint32_t pair, int upper) {
  const std::uint32_t bits = upper ? pair & 0xffff0000u : pair << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

/// c (16 x 8) += a (16 x 16) b (16 x 8), a register being two bf16 of a row of a or of a column of b.
struct MmaOperands {
  float* c;                    // (4): parts with rows 0-7, then 8-15
  const std::uint32_t *a, *b;  // (4): rows 0-7, 8-15 of columns 0-7, then of 8-15; (2): rows 0-7, 8-15
};
inline void mma_of_warp(void* const (&given)[32]) {
  const auto of = [&](int lane) { return *static_cast<const MmaOperands*>(given[lane]); };
  float a[16][16], b[8][16];  // b by columns
  for (int lane = 0; lane < 32; ++lane)
    for (int upper = 0; upper < 2; ++upper) {
      const int g = lane / 4, k = lane % 4 * 2 + upper;
      for (int part = 0; part < 4; ++part) a[g + part % 2 * 8][k + part / 2 * 8] = half_of(of(lane).a[part], upper);
      for (int part = 0; part < 2; ++part) b[g][k + part * 8] = half_of(of(lane).b[part], upper);
    }
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {
      const float *row = a[lane / 4 + i / 2 * 8], *column = b[lane % 4 * 2 + i % 2];
      float sum = 0;
      for (int k = 0; k < 16; ++k) sum += row[k] * column[k];
      of(lane).c[i] += sum;
    }
}
inline void mma(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Place at = Place::current()) {
  MmaOperands operands{c, a, b};
  together(mma_of_warp, &operands, at);
}

/// Four 8 x 8 matrices; lane l gives the address of row l % 8 of matrix l / 8.
struct LdmatrixOperands {
  std::uint32_t* out;  // (4)
  const char* row;
};
template <bool kTransposed>
void ldmatrix_of_warp(void* const (&given)[32]) {
  const auto of = [&](int lane) { return *static_cast<const LdmatrixOperands*>(given[lane]); };
  for (int matrix = 0; matrix < 4; ++matrix)
    for (int lane = 0; lane < 32; ++lane) {
      std::uint16_t pair[2];
      for (int i = 0; i < 2; ++i) {
        const int row = kTransposed ? lane % 4 * 2 + i : lane / 4, column = kTransposed ? lane / 4 : lane % 4 * 2 + i;
        std::memcpy(&pair[i], of(matrix * 8 + row).row + column * 2, 2);
      }
      std::memcpy(of(lane).out + matrix, pair, 4);
    }
}
inline void require_aligned(const void* p, std::size_t bytes, Place at) {
  if (reinterpret_cast<std::uintptr_t>(p) % bytes != 0) trap("an address that is not a multiple of its size", at);
}
template <bool kTransposed>
void ldmatrix(std::uint32_t (&out)[4], const void* row, Place at = Place::current()) {
  require_aligned(row, 16, at);
  LdmatrixOperands operands{out, static_cast<const char*>(row)};
  together(ldmatrix_of_warp<kTransposed>, &operands, at);
}

template <int kBytes>
void cp_async(void* to, const void* from, bool valid, Place at = Place::current()) {
  require_aligned(to, kBytes, at);
  require_aligned(from, kBytes, at);
  copy_later(to, from, kBytes, valid ? kBytes : 0);
}

}  // namespace cuda_emulation
