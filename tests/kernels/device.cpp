#include "kernels/core/device.h"

#include <bit>

#include "io/failure.h"
#include "kernels/elementwise/add.h"
#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;
using Catch::Contains;

TEST_CASE("bf16 rounds to the nearest, ties to even, and keeps infinity and NaN", "[kernels][dtype]") {
  const auto rounded = [](float x) { return static_cast<float>(bf16(x)); };
  CHECK(rounded(1) == 1);
  CHECK(rounded(0x1.01p0f) == 0x1.00p0f);      // a tie: down to the even one
  CHECK(rounded(0x1.03p0f) == 0x1.04p0f);      // a tie: up
  CHECK(rounded(0x1.010002p0f) == 0x1.02p0f);  // just above the tie
  CHECK(rounded(-0x1.03p0f) == -0x1.04p0f);
  CHECK(rounded(0x1.fffffep127f) == std::numeric_limits<float>::infinity());
  CHECK(rounded(0x1.fep127f) == 0x1.fep127f);
  CHECK(rounded(0x1p-133f) == 0x1p-133f);  // denormal numbers too
  CHECK(std::isnan(rounded(NAN)));
  CHECK(std::isnan(rounded(std::bit_cast<float>(0x7f800001u))));  // whose upper half alone is infinity
  CHECK(std::signbit(rounded(-0.0f)));
}

TEST_CASE("dtypes have their size, their name and the dtype of their sums", "[kernels][dtype]") {
  CHECK(size_of(DType::kBF16) == 2);
  CHECK(name_of(DType::kBF16) == "bf16");
  CHECK(acc_dtype(DType::kBF16) == DType::kF32);
  CHECK(acc_dtype(DType::kF32) == DType::kF32);
  CHECK(acc_dtype(DType::kF64) == DType::kF64);
  CHECK_THROWS_WITH(with_dtype(DType::kBF16, []<class T>() {}), Contains("bf16"));
}

TEST_CASE("a CUDA stream without CUDA or a GPU is refused in one line", "[kernels][cuda]") {
  if (has_gpu()) return skipped("there is a GPU");
  CHECK_THROWS_AS(Stream::cuda(), UsageError);
  CHECK_THROWS_WITH(Stream::cuda(), Contains("system.device=cpu") && !Contains("\n"));
}
