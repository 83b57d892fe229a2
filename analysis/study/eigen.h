#pragma once
#include <cstdint>
#include <functional>
#include <vector>

// Eigenpairs of symmetric matrices, in double on the host.
namespace spikesink {

struct Eigenpairs {
  std::vector<double> values;                ///< falling by magnitude
  std::vector<std::vector<double>> vectors;  ///< of length 1; the sign is that which makes the largest entry positive
};

/// All of a symmetric (n, n) matrix, by Jacobi rotations in cyclic order. Source: Golub and Van Loan 2013, Matrix
/// Computations, section 8.5.
Eigenpairs symmetric_eigenpairs(std::vector<double> matrix, std::int64_t n);

/// Products of `count` symmetric (n, n) matrices with a vector each: y[i] = A_i x[i], x and y (count, n).
using SymmetricProducts = std::function<void(const std::vector<double>& x, std::vector<double>& y)>;

/// The `wanted` eigenpairs of largest magnitude of each of `count` matrices that are known by their products, by
/// Lanczos with full reorthogonalisation; all matrices take their steps together, so that a product of matrices serves
/// them. Ends when every wanted pair has a residual |A v - lambda v| of at most 1e-6 times its matrix's largest
/// |lambda|, or after `steps` (at most n) products. From one vector Lanczos finds one direction of an eigenvalue that
/// is there more than once. The first vectors are the same in every run. Source: Golub and Van Loan 2013, section 10.1.
std::vector<Eigenpairs> leading_eigenpairs(const SymmetricProducts& products, std::int64_t count, std::int64_t n,
                                           std::int64_t wanted, std::int64_t steps);

}  // namespace spikesink
