#include "analysis/study/eigen.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/core/check.h"
#include "kernels/core/random.h"

namespace spikesink {
namespace {

constexpr int kSweeps = 60;           // of Jacobi; ten are enough for what converges
constexpr double kResidual = 1e-6;    // of Lanczos, relative
constexpr std::int64_t kLookAt = 10;  // products between looks at the residuals

double dot(const double* a, const double* b, std::int64_t n) { return std::inner_product(a, a + n, b, 0.0); }

void sign_and_sort(Eigenpairs& pairs) {
  std::vector<std::size_t> order(pairs.values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::greater{}, [&](std::size_t i) { return std::abs(pairs.values[i]); });
  Eigenpairs sorted;
  for (const std::size_t i : order) {
    auto& v = pairs.vectors[i];
    const auto largest = std::ranges::max_element(v, {}, [](double x) { return std::abs(x); });
    if (largest != v.end() && *largest < 0)
      for (double& x : v) x = -x;
    sorted.values.push_back(pairs.values[i]);
    sorted.vectors.push_back(std::move(v));
  }
  pairs = std::move(sorted);
}

/// The Krylov space of one matrix: an orthonormal basis, and the matrix in it, which is tridiagonal.
struct Krylov {
  std::vector<std::vector<double>> basis;
  std::vector<double> diagonal, beside;  // beside[j] joins j and j + 1
  bool whole = false;                    // the space holds all that the matrix makes of the first vector

  Eigenpairs tridiagonal() const {
    const auto m = std::ssize(diagonal);
    std::vector<double> t(static_cast<std::size_t>(m * m));
    for (std::int64_t j = 0; j < m; ++j) {
      t[static_cast<std::size_t>(j * m + j)] = diagonal[static_cast<std::size_t>(j)];
      if (j + 1 < m)
        t[static_cast<std::size_t>(j * m + j + 1)] = t[static_cast<std::size_t>((j + 1) * m + j)] =
            beside[static_cast<std::size_t>(j)];
    }
    return symmetric_eigenpairs(std::move(t), m);
  }
  /// A v - lambda v of a pair of the tridiagonal matrix has the length |beside.back() * last entry|.
  bool converged(std::int64_t wanted) const {
    if (whole) return true;
    const Eigenpairs small = tridiagonal();
    if (std::ssize(small.values) < wanted) return false;
    for (std::size_t i = 0; i < static_cast<std::size_t>(wanted); ++i)
      if (std::abs(beside.back() * small.vectors[i].back()) > kResidual * std::abs(small.values[0])) return false;
    return true;
  }
  Eigenpairs pairs(std::int64_t wanted) const {
    Eigenpairs out;
    const Eigenpairs small = tridiagonal();
    const auto n = basis.front().size();
    for (std::size_t i = 0; i < std::min(small.values.size(), static_cast<std::size_t>(wanted)); ++i) {
      std::vector<double> v(n);
      for (std::size_t j = 0; j < diagonal.size(); ++j)
        for (std::size_t c = 0; c < n; ++c) v[c] += small.vectors[i][j] * basis[j][c];
      out.values.push_back(small.values[i]);
      out.vectors.push_back(std::move(v));
    }
    sign_and_sort(out);
    return out;
  }
  /// Takes w = A basis.back() in: the next row of the tridiagonal matrix and the next vector of the basis.
  void extend(std::vector<double> w, double scale) {
    const auto n = std::ssize(w);
    const double alpha = dot(w.data(), basis.back().data(), n);
    diagonal.push_back(alpha);
    for (int again = 0; again < 2; ++again)  // twice is enough (Parlett)
      for (const auto& q : basis) {
        const double along = dot(w.data(), q.data(), n);
        for (std::size_t c = 0; c < w.size(); ++c) w[c] -= along * q[c];
      }
    const double length = std::sqrt(dot(w.data(), w.data(), n));
    beside.push_back(length);
    if (!(length > 1e-14 * scale) || std::ssize(basis) == n) {
      whole = true;
      return;
    }
    for (double& x : w) x /= length;
    basis.push_back(std::move(w));
  }
};

}  // namespace

Eigenpairs symmetric_eigenpairs(std::vector<double> a, std::int64_t n) {
  require(n * n == std::ssize(a), "symmetric_eigenpairs: ", a.size(), " values are not ", n, " x ", n);
  const auto N = static_cast<std::size_t>(n);
  std::vector<double> v(a.size());  // rows are eigenvectors in the end
  for (std::size_t i = 0; i < N; ++i) v[i * N + i] = 1;
  const double all = std::sqrt(dot(a.data(), a.data(), n * n));
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    double beside = 0;
    for (std::size_t p = 0; p < N; ++p)
      for (std::size_t q = p + 1; q < N; ++q) beside += a[p * N + q] * a[p * N + q];
    if (std::sqrt(beside) <= 1e-15 * all) break;
    for (std::size_t p = 0; p < N; ++p)
      for (std::size_t q = p + 1; q < N; ++q) {
        const double off = a[p * N + q];
        if (std::abs(off) <= 1e-18 * all) continue;
        const double tau = (a[q * N + q] - a[p * N + p]) / (2 * off);
        const double t = (tau >= 0 ? 1 : -1) / (std::abs(tau) + std::hypot(1, tau));
        const double c = 1 / std::hypot(1, t), s = t * c;
        const auto turn = [&](double& x, double& y) {
          const double old = x;
          x = c * old - s * y;
          y = s * old + c * y;
        };
        for (std::size_t i = 0; i < N; ++i) turn(a[p * N + i], a[q * N + i]);
        for (std::size_t i = 0; i < N; ++i) turn(a[i * N + p], a[i * N + q]);
        for (std::size_t i = 0; i < N; ++i) turn(v[p * N + i], v[q * N + i]);
      }
  }
  Eigenpairs out;
  for (std::size_t i = 0; i < N; ++i) {
    out.values.push_back(a[i * N + i]);
    out.vectors.emplace_back(v.begin() + static_cast<std::ptrdiff_t>(i * N),
                             v.begin() + static_cast<std::ptrdiff_t>((i + 1) * N));
  }
  sign_and_sort(out);
  return out;
}

std::vector<Eigenpairs> leading_eigenpairs(const SymmetricProducts& products, std::int64_t count, std::int64_t n,
                                           std::int64_t wanted, std::int64_t steps) {
  std::vector<Krylov> spaces(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < spaces.size(); ++i) {
    std::vector<double> first(static_cast<std::size_t>(n));
    for (std::size_t c = 0; c < first.size(); ++c) first[c] = Random{.seed = i + 1}.normal(c);
    const double length = std::sqrt(dot(first.data(), first.data(), n));
    for (double& x : first) x /= length;
    spaces[i].basis.push_back(std::move(first));
  }
  std::vector<double> x(static_cast<std::size_t>(count * n)), y(x.size()), scale(spaces.size());
  for (std::int64_t step = 1; step <= std::min(steps, n); ++step) {
    for (std::size_t i = 0; i < spaces.size(); ++i)
      std::ranges::copy(spaces[i].basis.back(), x.begin() + static_cast<std::int64_t>(i) * n);
    products(x, y);
    bool done = true;
    for (std::size_t i = 0; i < spaces.size(); ++i) {
      if (spaces[i].whole) continue;
      const double* w = y.data() + static_cast<std::int64_t>(i) * n;
      scale[i] = std::max(scale[i], std::sqrt(dot(w, w, n)));
      spaces[i].extend({w, w + n}, scale[i]);
      done = done && spaces[i].whole;
    }
    if (done) break;
    if (step % kLookAt == 0 && std::ranges::all_of(spaces, [&](const Krylov& s) { return s.converged(wanted); })) break;
  }
  std::vector<Eigenpairs> out;
  for (const Krylov& space : spaces) out.push_back(space.pairs(wanted));
  return out;
}

}  // namespace spikesink
