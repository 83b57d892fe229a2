#include "kernels/shards/sum_of_parts.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;

// Would catch another order, sums in bf16, and parts that are mixed up or left out where accesses are wide.
TEST_CASE("sum_of_parts adds one part after another, to the same bits on every device", "[kernels][shards]") {
  const Stream stream = GENERATE(from_range(streams()));
  const auto [dtype, given] = GENERATE(
      table<DType, DType>({{DType::kF32, DType::kF32}, {DType::kF32, DType::kBF16}, {DType::kF64, DType::kF64}}));
  const std::int64_t W = GENERATE(1, 2, 3, 9);
  const std::int64_t n = GENERATE(1, 17, 64, 40000, 40001);
  const std::int64_t skipped = GENERATE(0, 1);  // 1: no access of 16 bytes is aligned
  CAPTURE(name_of(stream.device), name_of(dtype), name_of(given), W, n, skipped);
  const Tensor parts = on(stream, random({W * n + skipped}, given, 1)).slice(skipped, {W, n});

  const auto xs = values(parts);
  std::vector<double> want;
  for (std::int64_t i = 0; i < n; ++i) {
    double sum = 0;
    for (std::int64_t r = 0; r < W; ++r) {
      sum += xs[static_cast<std::size_t>(r * n + i)];
      if (dtype == DType::kF32) sum = static_cast<float>(sum);
    }
    want.push_back(sum);
  }
  const auto [y] = repeated(stream, [&] {
    const Tensor out = on(stream, poisoned({n + skipped}, dtype)).slice(skipped, {n});
    kernels::sum_of_parts(stream, {.y = out, .parts = parts});
    return std::array{out};
  });
  CHECK(values(y) == want);
}

TEST_CASE("sum_of_parts of nothing is nothing, and what does not fit is refused", "[kernels][shards]") {
  const Stream stream = GENERATE(from_range(streams()));
  const auto of = [&](Shape shape, DType dtype) { return stream.empty(shape, dtype); };
  kernels::sum_of_parts(stream, {.y = of({0}, DType::kF32), .parts = of({2, 0}, DType::kF32)});
  stream.synchronize();
  const auto refuses = [&](const Tensor& y, const Tensor& parts, const char* why) {
    CHECK_THROWS_WITH(kernels::sum_of_parts(stream, {.y = y, .parts = parts}), Catch::Contains(why));
  };
  refuses(of({3}, DType::kF32), of({2, 2}, DType::kF32), "sum_of_parts parts");
  refuses(of({3}, DType::kF32), of({2, 3}, DType::kF64), "sum_of_parts parts");
  refuses(of({3}, DType::kF64), of({2, 3}, DType::kBF16), "sum_of_parts parts");
  refuses(of({3}, DType::kBF16), of({2, 3}, DType::kBF16), "expected f32 or f64");
}
