#include "kernels/core/device.h"

#include "kernels/elementwise/add.h"
#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;
using Catch::Contains;

TEST_CASE("values come back from the device as they went, with every dtype", "[kernels][cuda]") {
  if (!has_gpu()) return skipped();
  const Stream& stream = cuda_stream();
  const DType dtype = GENERATE(DType::kF32, DType::kF64, DType::kBF16);
  const Tensor x = random({3, 37}, dtype, 1), there = on(stream, x);
  CHECK(there.device() == Device::kCuda);
  CHECK(there.slice(3, {2}).device() == Device::kCuda);
  CHECK(there.view({111}).device() == Device::kCuda);
  CHECK(same_bits(there, x));
  CHECK(same_bits(copy(there), x));
  CHECK(values(stream.zeros({5}, dtype)) == std::vector<double>(5, 0.0));
  CHECK_THROWS_WITH(there.span<float>(), Contains("cuda"));
}

TEST_CASE("a kernel refuses tensors of another device, and dtypes that its device does not have", "[kernels][cuda]") {
  if (!has_gpu()) return skipped();
  const Stream& stream = cuda_stream();
  const Tensor host = filled({4}, DType::kF32, 1), there = on(stream, host);
  CHECK_THROWS_WITH(kernels::add(stream, {.y = there, .a = there, .b = host}), "add b: on cpu, expected on cuda");
  CHECK_THROWS_WITH(kernels::add(Stream::cpu(1), {.y = host, .a = host, .b = there}),
                    "add b: on cuda, expected on cpu");
  const Tensor f64 = on(stream, filled({4}, DType::kF64, 1)), host_bf16 = filled({4}, DType::kBF16, 1);
  CHECK_THROWS_WITH(kernels::add(stream, {.y = f64, .a = f64, .b = f64}), Contains("f64, expected f32 or bf16"));
  CHECK_THROWS_WITH(kernels::add(Stream::cpu(1), {.y = host_bf16, .a = host_bf16, .b = host_bf16}), Contains("bf16"));
}

TEST_CASE("a pool of device memory counts like one of host memory and says when there is too little",
          "[kernels][cuda]") {
  if (!has_gpu()) return skipped();
  const Stream stream = Stream::cuda();
  {
    const Tensor t = stream.empty({1000}, DType::kBF16);
    Pool host;
    const auto block = host.allocate(2000);
    CHECK(stream.pool->live_bytes() == host.live_bytes());
  }
  CHECK(stream.pool->live_bytes() == 0);
  CHECK(stream.pool->peak_bytes() >= 2000);
  CHECK_THROWS_WITH(stream.empty({std::int64_t{1} << 45}, DType::kF32), Contains("out of memory"));
  CHECK_THROWS_AS(stream.empty({std::int64_t{1} << 45}, DType::kF32), CudaOutOfMemory);
  CHECK(values(on(cuda_stream(), filled({1}, DType::kF32, 3))) == std::vector<double>{3});  // goes on after the error
}
