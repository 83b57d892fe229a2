#include <cstring>
#include <vector>

#include "kernels/core/dtype.cuh"
#include "kernels/linear/gemm.h"
#include "kernels/linear/gemm_cuda.h"
#include "tests/cuda_emulation/twins/library_call.h"

namespace spikesink::kernels::cuda {
namespace {

/// The operand's values as dense rows. Read here, where AddressSanitizer looks on, and not by a library.
std::vector<float> dense(const Operand& x, DType dtype, std::int64_t rows, std::int64_t cols) {
  std::vector<float> out;
  with_cuda_dtype(dtype, [&]<class T>() {
    const auto* const data = static_cast<const T*>(x.data);
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < cols; ++j)
        out.push_back(static_cast<float>(data[x.transposed ? j * x.stride + i : i * x.stride + j]));
  });
  return out;
}

void multiply(const Gemm& g) {
  const std::vector<float> a = dense(g.a, g.dtype, g.rows, g.inner), b = dense(g.b, g.dtype, g.inner, g.cols);
  std::vector<float> c(static_cast<std::size_t>(g.rows * g.cols), 0);
  if (g.inner > 0)
    cpu::gemm<float>(Stream::cpu(1), c.data(), g.cols, {a.data(), g.inner}, {b.data(), g.cols}, g.rows, g.cols,
                     g.inner);
  with_cuda_dtype(g.c_dtype, [&]<class T>() {
    for (std::int64_t i = 0; i < g.rows; ++i)
      for (std::int64_t j = 0; j < g.cols; ++j) {
        T& out = static_cast<T*>(g.c)[i * g.c_stride + j];
        const float sum = c[static_cast<std::size_t>(i * g.cols + j)];
        out = static_cast<T>(g.adds ? sum + static_cast<float>(out) : sum);
      }
  });
}
}  // namespace

void require_gemm_library() {}

void gemm(const Stream& stream, const Gemm& g, void* workspace) {
  require_gemm(g);
  library_call(stream, {g.c, g.a.data, g.b.data, workspace}, [g, workspace] {
    // Who else keeps something in the workspace finds NaN there.
    std::memset(workspace, 0xff, static_cast<std::size_t>(kGemmWorkspaceBytes));
    multiply(g);
  });
}

}  // namespace spikesink::kernels::cuda
