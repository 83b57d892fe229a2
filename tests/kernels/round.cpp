#include "kernels/elementwise/round.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;

TEST_CASE("round gives the nearest bf16, also of infinity and beside what is aligned", "[kernels][round]") {
  const Stream stream = GENERATE(from_range(streams()));
  const std::int64_t n = GENERATE(1, 17, 50003);
  const std::int64_t skipped = GENERATE(0, 1);  // 1: no access of 16 bytes is aligned
  CAPTURE(name_of(stream.device), n, skipped, stream.num_threads);
  const Tensor source = random({n + skipped}, DType::kF32, 1);
  source.span<float>().back() = -std::numeric_limits<float>::infinity();
  source.span<float>().front() = 0x1.01p0f;  // a tie, to even
  const Tensor x = on(stream, source).slice(skipped, {n});
  std::vector<double> want;
  for (const double value : values(x)) want.push_back(bf16(static_cast<float>(value)));
  const auto [y] = repeated(stream, [&] {
    const Tensor out = on(stream, poisoned({n + skipped}, DType::kBF16)).slice(skipped, {n});
    kernels::round(stream, {.y = out, .x = x});
    return std::array{out};
  });
  CHECK(values(y) == want);
}

TEST_CASE("round keeps NaN and refuses other dtypes and unlike shapes", "[kernels][round]") {
  const Stream stream = Stream::cpu(1);
  const Tensor y = empty({2}, DType::kBF16), x = from_values({2}, DType::kF32, {NAN, 1});
  kernels::round(stream, {.y = y, .x = x});
  CHECK(std::isnan(values(y)[0]));
  CHECK_THROWS_WITH(kernels::round(stream, {.y = empty({2}, DType::kF32), .x = x}), Catch::Contains("round y"));
  CHECK_THROWS_WITH(kernels::round(stream, {.y = empty({3}, DType::kBF16), .x = x}), Catch::Contains("round y"));
  CHECK_THROWS_WITH(kernels::round(stream, {.y = y, .x = empty({2}, DType::kF64)}), Catch::Contains("round x"));
}
