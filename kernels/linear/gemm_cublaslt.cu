#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <memory>
#include <sstream>

#include "kernels/core/check.h"
#include "kernels/core/gpu.h"
#include "kernels/core/shared_library.h"
#include "kernels/linear/gemm_cuda.h"

namespace spikesink::kernels::cuda {
namespace {

/// What tells products apart for whoever chooses an algorithm.
struct Problem {
  std::int64_t rows, cols, inner, a_stride, b_stride, c_stride;
  DType dtype, c_dtype;
  bool a_transposed, b_transposed, adds, deterministic;
  std::array<std::uint32_t, 3> alignment;  // of a, b and c in bytes: a slice of a flat buffer may have little
  auto operator<=>(const Problem&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Problem& p) {
  out << "(" << p.rows << ", " << p.inner << ")" << (p.a_transposed ? "^T" : "") << " x (" << p.inner << ", " << p.cols
      << ")" << (p.b_transposed ? "^T" : "") << " in " << name_of(p.dtype) << " to " << name_of(p.c_dtype);
  return out << (p.adds ? ", added" : "");
}

SharedLibrary open_cublaslt() {
  const std::string major = std::to_string(CUBLAS_VER_MAJOR);
  const SharedLibrary library("cuBLASLt " + major, "libcublasLt.so." + major,
                              "install cuBLAS of CUDA " + major +
                                  " (of its toolkit, or pip install nvidia-cublas) and put its folder " +
                                  "first into LD_LIBRARY_PATH, or set system.device=cpu");
  // A newer library of the same major version serves what was compiled against an older one, not the other way round.
  const decltype(&cublasLtGetVersion) version = library["cublasLtGetVersion"];
  library.require_version(version(), CUBLAS_VER_MAJOR * 10000);
  return library;
}

/// What is called of cuBLASLt.
struct CublasLtFunctions {
  SharedLibrary library = open_cublaslt();
  SPIKESINK_FUNCTION(cublasLtCreate);
  SPIKESINK_FUNCTION(cublasLtDestroy);
  SPIKESINK_FUNCTION(cublasLtGetStatusString);
  SPIKESINK_FUNCTION(cublasLtMatmul);
  SPIKESINK_FUNCTION(cublasLtMatmulAlgoGetHeuristic);
  SPIKESINK_FUNCTION(cublasLtMatmulDescCreate);
  SPIKESINK_FUNCTION(cublasLtMatmulDescDestroy);
  SPIKESINK_FUNCTION(cublasLtMatmulDescSetAttribute);
  SPIKESINK_FUNCTION(cublasLtMatmulPreferenceCreate);
  SPIKESINK_FUNCTION(cublasLtMatmulPreferenceDestroy);
  SPIKESINK_FUNCTION(cublasLtMatmulPreferenceSetAttribute);
  SPIKESINK_FUNCTION(cublasLtMatrixLayoutCreate);
  SPIKESINK_FUNCTION(cublasLtMatrixLayoutDestroy);
};

/// Opens it when it is first needed.
const CublasLtFunctions& lt() {
  static const CublasLtFunctions functions;
  return functions;
}

void check(cublasStatus_t status, const char* call, const Problem* problem = nullptr) {
  if (status == CUBLAS_STATUS_SUCCESS) [[likely]]
    return;
  std::ostringstream message;
  message << "cuBLASLt: " << call << ": " << lt().cublasLtGetStatusString(status);
  if (problem) message << ", for " << *problem;
  throw CudaError(message.str());
}

template <class T>
using Handle = std::unique_ptr<std::remove_pointer_t<T>, cublasStatus_t (*)(T)>;

cudaDataType_t native(DType dtype) { return dtype == DType::kBF16 ? CUDA_R_16BF : CUDA_R_32F; }

/// cuBLASLt is column-major: a row-major matrix is to it the transposed one. So it is given c^T = b^T a^T, and all that
/// follows is in its terms: its first operand is our b, and its rows are our columns.
class Plan {
 public:
  Plan(cublasLtHandle_t library, const Problem& p)
      : product_(new_product(p)),
        first_(new_layout(p.dtype, p.b_transposed ? p.inner : p.cols, p.b_transposed ? p.cols : p.inner, p.b_stride)),
        second_(new_layout(p.dtype, p.a_transposed ? p.rows : p.inner, p.a_transposed ? p.inner : p.rows, p.a_stride)),
        out_(new_layout(p.c_dtype, p.cols, p.rows, p.c_stride)) {
    cublasLtMatmulPreference_t raw = nullptr;
    check(lt().cublasLtMatmulPreferenceCreate(&raw), "cublasLtMatmulPreferenceCreate");
    const Handle<cublasLtMatmulPreference_t> preference(raw, lt().cublasLtMatmulPreferenceDestroy);
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      check(lt().cublasLtMatmulPreferenceSetAttribute(raw, attribute, &value, sizeof(value)),
            "cublasLtMatmulPreferenceSetAttribute", &p);
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<std::uint64_t>(kGemmWorkspaceBytes));
    // Parts of a sum are added up in f32, after all of them are there: neither in bf16 nor in the order of arrival.
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
           static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, p.alignment[1]);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, p.alignment[0]);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, p.alignment[2]);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, p.alignment[2]);
    check(lt().cublasLtMatmulAlgoGetHeuristic(library, product_.get(), first_.get(), second_.get(), out_.get(),
                                              out_.get(), raw, kCandidates, candidates_, &num_candidates_),
          "cublasLtMatmulAlgoGetHeuristic", &p);
    check(num_candidates_ == 0 ? CUBLAS_STATUS_NOT_SUPPORTED : candidates_[0].state, "cublasLtMatmulAlgoGetHeuristic",
          &p);
  }

  /// Puts the fastest of the algorithms that cuBLASLt proposes first, by runs into memory of its own. If there is none
  /// left, its first proposal stays.
  void choose_by_time(cublasLtHandle_t library, const Stream& stream, const Problem& p, Gemm g, void* workspace) {
    stream.synchronize();  // nothing of another rank's is waited for by the events below
    const Tensor out = spare(stream, ((p.rows - 1) * p.c_stride + p.cols) * size_of(p.c_dtype));
    if (!out) return;
    g.c = out.raw();
    int fastest = 0;
    double least_of_all = std::numeric_limits<double>::infinity();
    for (int i = 0; i < num_candidates_; ++i) {
      if (candidates_[i].state != CUBLAS_STATUS_SUCCESS) continue;
      double least = std::numeric_limits<double>::infinity();
      for (int run_number = 0; run_number < 3; ++run_number) {  // the first loads its kernel
        const gpu::Event begin = gpu::record_event(stream.native.get());
        if (multiply(library, stream, g, workspace, i) != CUBLAS_STATUS_SUCCESS) break;  // refused after all
        const double took = gpu::seconds_between(begin, gpu::record_event(stream.native.get()));
        if (run_number > 0) least = std::min(least, took);
      }
      if (least >= least_of_all) continue;
      least_of_all = least;
      fastest = i;
    }
    std::swap(candidates_[0], candidates_[fastest]);
  }

  void run(cublasLtHandle_t library, const Stream& stream, const Problem& p, const Gemm& g, void* workspace) const {
    check(multiply(library, stream, g, workspace, 0), "cublasLtMatmul", &p);
  }

 private:
  static constexpr int kCandidates = 8;

  cublasStatus_t multiply(cublasLtHandle_t library, const Stream& stream, const Gemm& g, void* workspace,
                          int candidate) const {
    const float alpha = 1, beta = g.adds ? 1 : 0;
    return lt().cublasLtMatmul(library, product_.get(), &alpha, g.b.data, first_.get(), g.a.data, second_.get(), &beta,
                               g.c, out_.get(), g.c, out_.get(), &candidates_[candidate].algo, workspace,
                               static_cast<std::size_t>(kGemmWorkspaceBytes),
                               static_cast<cudaStream_t>(stream.native.get()));
  }

  static Tensor spare(const Stream& stream, std::int64_t bytes) {
    try {
      return stream.with_own_pool().empty({bytes}, DType::kU8);
    } catch (const CudaOutOfMemory&) {
      return {};
    }
  }

  using Layout = Handle<cublasLtMatrixLayout_t>;
  using Product = Handle<cublasLtMatmulDesc_t>;

  static Layout new_layout(DType dtype, std::int64_t rows, std::int64_t cols, std::int64_t stride) {
    cublasLtMatrixLayout_t layout = nullptr;
    check(lt().cublasLtMatrixLayoutCreate(&layout, native(dtype), static_cast<std::uint64_t>(rows),
                                          static_cast<std::uint64_t>(cols), stride),
          "cublasLtMatrixLayoutCreate");
    return {layout, lt().cublasLtMatrixLayoutDestroy};
  }

  static Product new_product(const Problem& p) {
    cublasLtMatmulDesc_t raw = nullptr;
    check(lt().cublasLtMatmulDescCreate(&raw, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
    Product product(raw, lt().cublasLtMatmulDescDestroy);
    const auto set = [&](cublasLtMatmulDescAttributes_t attribute, bool transposed) {
      const cublasOperation_t operation = transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
      check(lt().cublasLtMatmulDescSetAttribute(raw, attribute, &operation, sizeof(operation)),
            "cublasLtMatmulDescSetAttribute", &p);
    };
    set(CUBLASLT_MATMUL_DESC_TRANSA, p.b_transposed);
    set(CUBLASLT_MATMUL_DESC_TRANSB, p.a_transposed);
    return product;
  }

  Product product_;
  Layout first_, second_, out_;
  cublasLtMatmulHeuristicResult_t candidates_[kCandidates] = {};  // the first is taken
  int num_candidates_ = 0;
};

/// What cuBLASLt keeps for a stream.
class CublasLt {
 public:
  CublasLt() {
    cublasLtHandle_t handle = nullptr;
    check(lt().cublasLtCreate(&handle), "cublasLtCreate");
    handle_.reset(handle);
  }

  void run(const Stream& stream, const Problem& problem, const Gemm& args, void* workspace) {
    auto found = plans_.find(problem);
    if (found == plans_.end()) {
      found = plans_.try_emplace(problem, handle_.get(), problem).first;
      // Another run may choose differently.
      if (!problem.deterministic && !gpu::is_recording(stream.native.get()))
        found->second.choose_by_time(handle_.get(), stream, problem, args, workspace);
    }
    found->second.run(handle_.get(), stream, problem, args, workspace);
  }

 private:
  Handle<cublasLtHandle_t> handle_{nullptr, lt().cublasLtDestroy};
  std::map<Problem, Plan> plans_;
};

/// The largest power of two that divides the address, up to what cuBLASLt asks about.
std::uint32_t alignment_of(const void* address) {
  const auto bits = reinterpret_cast<std::uintptr_t>(address) | 256;
  return static_cast<std::uint32_t>(bits & (~bits + 1));
}
}  // namespace

void require_gemm_library() { lt(); }

void gemm(const Stream& stream, const Gemm& g, void* workspace) {
  require_gemm(g);
  if (g.rows == 0 || g.cols == 0 || (g.inner == 0 && g.adds)) return;
  if (g.inner == 0) {
    require(g.c_stride == g.cols, "gemm: an empty sum into rows that are apart");
    return gpu::clear(stream.native.get(), static_cast<std::byte*>(g.c), g.rows * g.cols * size_of(g.c_dtype));
  }
  // Leading dimensions must cover a row even where there is only one.
  const auto stride = [](const Operand& x, std::int64_t rows, std::int64_t cols) {
    return std::max(x.stride, x.transposed ? rows : cols);
  };
  const Problem problem{.rows = g.rows,
                        .cols = g.cols,
                        .inner = g.inner,
                        .a_stride = stride(g.a, g.rows, g.inner),
                        .b_stride = stride(g.b, g.inner, g.cols),
                        .c_stride = g.c_stride,
                        .dtype = g.dtype,
                        .c_dtype = g.c_dtype,
                        .a_transposed = g.a.transposed,
                        .b_transposed = g.b.transposed,
                        .adds = g.adds,
                        .deterministic = stream.deterministic,
                        .alignment = {alignment_of(g.a.data), alignment_of(g.b.data), alignment_of(g.c)}};
  stream.libraries->get<CublasLt>().run(stream, problem, g, workspace);
}

}  // namespace spikesink::kernels::cuda
