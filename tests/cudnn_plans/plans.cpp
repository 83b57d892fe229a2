#include <cuda_runtime.h>

#include <catch2/catch.hpp>

#include "kernels/attention/attention_cudnn.h"

using namespace spikesink;
using kernels::AttentionDims;

// cudnn-frontend asks the runtime which GPU it is on; --wrap brings it here.
extern "C" {
cudaError_t __wrap_cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t __wrap_cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  properties->major = 9;
  return cudaSuccess;
}
cudaError_t __wrap_cudaGetDeviceProperties_v2(cudaDeviceProp* properties, int device) {
  return __wrap_cudaGetDeviceProperties(properties, device);
}
}

namespace {
// An H100 SXM in cuDNN's form, as `bench kernels` prints it.
constexpr const char* kH100 =
    R"({"maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],"regsPerBlock":65536)"
    R"(,"multiProcessorCount":132,"warpSize":32,"maxSharedMemoryPerBlock":49152)"
    R"(,"maxSharedMemoryPerBlockOptin":232448,"reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536)"
    R"(,"maxCtasPerSM":32,"maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"pciDeviceId":6,"isTccDriver":0)"
    R"(,"supportCoopLaunch":1,"totalGlobalMem":85017493504,"smClockRateKHz":1980000)"
    R"(,"memClockRateKHz":2619000,"l2CacheSize":52428800,"cudaDeviceId":0,"deviceVer":900,"driverVer":13000)"
    R"(,"deviceName":"NVIDIA H100 80GB HBM3"})";
}  // namespace

TEST_CASE("cuDNN has Hopper plans for the attention that it is asked for, within the workspace that is counted",
          "[kernels][attention][cuda]") {
  const auto [H, K, D, T, B] = GENERATE(table<std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t>({
      {8, 8, 64, 1024, 4},
      {32, 32, 128, 2048, 4},  // a slice is two sequences
      {32, 8, 128, 4096, 2},   // half of the heads of one
      {32, 8, 128, 16384, 1},  // one group of heads
      {16, 4, 96, 4096, 2},
      {12, 1, 80, 1000, 3},
      {8, 2, 32, 200, 3},
      {2, 1, 120, 64, 1},  // the least of each kind
      {512, 512, 8, 4096, 2},
      {256, 256, 16, 1024, 4},
      {8, 2, 24, 2048, 2},
      {16, 8, 160, 2048, 2},
      {16, 16, 256, 4096, 2},
  }));
  const bool backward = GENERATE(false, true), deterministic = GENERATE(true, false);
  const AttentionDims d{.n_heads = H, .n_kv_heads = K, .d_head = D, .length = T, .scale = 0.125};
  CAPTURE(H, K, D, T, B, backward, deterministic);
  REQUIRE(kernels::cuda::cudnn_refusal(d, DType::kBF16, false, deterministic).empty());
  const std::int64_t counted = kernels::cuda::cudnn_attention_bytes(d, B * T, backward, deterministic);
  const std::int64_t asked = kernels::cuda::cudnn_plan_bytes(kH100, d, B, backward, deterministic);
  CHECK(asked <= counted);
  CHECK(counted - asked <= 1 << 20);
}

// Each layer of each step asks again; to build a plan takes a second.
TEST_CASE("what cuDNN has no plan for it is asked once, with the same answer after", "[kernels][attention][cuda]") {
  const Stream stream{
      .pool = Pool::dry(Device::kCuda), .device = Device::kCuda, .libraries = std::make_shared<Libraries>()};
  const AttentionDims d{.n_heads = 8, .n_kv_heads = 8, .d_head = 64, .length = 1024, .scale = 0.125};
  const auto refusal = [&](std::int64_t B) { return kernels::cuda::cudnn_refusal(stream, d, B, DType::kBF16, false); };
  const std::string why = refusal(4);  // there is no GPU
  CHECK(why != "");
  CHECK(kernels::cuda::cudnn_builds(stream).count == 1);
  CHECK(refusal(4) == why);
  CHECK(kernels::cuda::cudnn_builds(stream).count == 1);
  CHECK(refusal(2) == why);
  CHECK(kernels::cuda::cudnn_builds(stream).count == 2);
}
