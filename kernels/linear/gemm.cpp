#include "kernels/linear/gemm.h"

#include <cblas.h>
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

#include <algorithm>

namespace spikesink::kernels::cpu {
namespace {
/// Leading dimensions must cover a row even where there is only one.
template <class T>
std::int64_t leading(const Operand<T>& x, std::int64_t rows, std::int64_t cols) {
  return std::max(x.stride, x.transposed ? rows : cols);
}

/// Both libraries take as many threads as OpenMP would, and one where they are called inside a parallel region.
class OpenMpThreads {
 public:
  explicit OpenMpThreads(const Stream& stream) : before_(omp_get_max_threads()) { set(stream.num_threads); }
  ~OpenMpThreads() { set(before_); }
  OpenMpThreads(const OpenMpThreads&) = delete;
  OpenMpThreads& operator=(const OpenMpThreads&) = delete;

 private:
  static void set(int threads) {
    if (!omp_in_parallel() && threads != omp_get_max_threads()) omp_set_num_threads(threads);
  }
  int before_;
};
}  // namespace

template <>
void gemm(const Stream& stream, float* c, std::int64_t c_stride, Operand<float> a, Operand<float> b, std::int64_t rows,
          std::int64_t cols, std::int64_t inner, float alpha, float beta) {
  if (rows == 0 || cols == 0) return;
  const OpenMpThreads threads(stream);
  const auto status = dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', rows, cols, inner, alpha, a.data,
                                 leading(a, rows, inner), b.data, leading(b, inner, cols), beta, c, c_stride);
  require(status == dnnl_success, "dnnl_sgemm returned ", static_cast<int>(status), " for ", rows, " x ", cols, " x ",
          inner);
}

template <>
void gemm(const Stream& stream, double* c, std::int64_t c_stride, Operand<double> a, Operand<double> b,
          std::int64_t rows, std::int64_t cols, std::int64_t inner, double alpha, double beta) {
  if (rows == 0 || cols == 0) return;
  const OpenMpThreads threads(stream);
  const auto n = [](std::int64_t i) { return static_cast<blasint>(i); };
  cblas_dgemm(CblasRowMajor, a.transposed ? CblasTrans : CblasNoTrans, b.transposed ? CblasTrans : CblasNoTrans,
              n(rows), n(cols), n(inner), alpha, a.data, n(leading(a, rows, inner)), b.data, n(leading(b, inner, cols)),
              beta, c, n(c_stride));
}

}  // namespace spikesink::kernels::cpu
