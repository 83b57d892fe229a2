#include <catch2/catch.hpp>
#include <cstdio>
#include <string>

#include "io/failure.h"
#include "kernels/attention/attention.h"
#include "kernels/core/stream.h"
#include "kernels/linear/gemm_cuda.h"

using namespace spikesink;

// tests/end_to_end/cuda_libraries_test.py runs it again, with other files by the libraries' names, and reads its lines.
TEST_CASE("CUDA's libraries are opened without a GPU, with all the functions that are called", "[kernels][cuda]") {
  const kernels::AttentionDims dims{.n_heads = 8, .n_kv_heads = 8, .d_head = 64, .length = 1024, .scale = 0.125};
  const Stream stream = Stream::dry_run(Device::kCuda);
  std::puts(("attention: " + kernels::attention_plan(stream, dims, 1, DType::kBF16, false).text).c_str());
  std::string problem;
  try {
    kernels::cuda::require_gemm_library();
  } catch (const UsageError& error) {
    problem = error.what();
  }
  std::puts(problem.c_str());
  CHECK(problem == "");
}
