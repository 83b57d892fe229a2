#pragma once
#include "kernels/core/stream.h"

/// One warp and kernels/core/mma.cuh. Matrices are bf16, row by row; results f32 or, where bits are moved, bf16.
namespace spikesink::test {

/// c (16, 8) += a (16, 16) b (16, 8), each element put into its register by the table of the PTX ISA.
void multiply(const Stream& stream, const Tensor& c, const Tensor& a, const Tensor& b);
/// out (4, 32, 2): the pairs that each lane gets of each of the four 8 x 8 matrices that x (32, 8) is.
void load_matrices(const Stream& stream, const Tensor& out, const Tensor& x, bool transposed);
/// out (2, 32, 8) and zeros in the rows from `rows` on: x (2, 32, 8) through shared memory by copies of 16 bytes, in
/// two groups that are waited for one after the other.
void copy_in_groups(const Stream& stream, const Tensor& out, const Tensor& x, int rows);
/// The same of i32 (64) by copies of 4 bytes.
void copy_words(const Stream& stream, const Tensor& out, const Tensor& x, int rows);

}  // namespace spikesink::test
