#include "kernels/elementwise/add.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;

TEST_CASE("add is the rounded sum, into a place of its own or either input's", "[kernels][add]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const std::int64_t n = GENERATE(1, 17, 50003);
  const std::int64_t skipped = GENERATE(0, 1);  // 1: no access of 16 bytes is aligned
  CAPTURE(name_of(stream.device), name_of(dtype), n, skipped, stream.num_threads);
  const auto tail = [&](const Tensor& t) { return t.slice(skipped, {n}); };
  const Tensor a = tail(on(stream, random({n + skipped}, dtype, 1))),
               b = tail(on(stream, random({n + skipped}, dtype, 2)));
  auto want = values(a);
  const auto other = values(b);
  for (std::size_t i = 0; i < want.size(); ++i) want[i] += other[i];

  const auto [y] = repeated(stream, [&] {
    const Tensor out = tail(on(stream, poisoned({n + skipped}, dtype)));
    kernels::add(stream, {.y = out, .a = a, .b = b});
    return std::array{out};
  });
  check_close(y, want, stored(dtype, 0.5), 0);
  const Tensor into_a = copy(a), into_b = copy(b);
  kernels::add(stream, {.y = into_a, .a = into_a, .b = b});
  kernels::add(stream, {.y = into_b, .a = a, .b = into_b});
  CHECK(same_bits(into_a, y));
  CHECK(same_bits(into_b, y));
}

TEST_CASE("add keeps NaN and infinity and refuses unlike shapes", "[kernels][add]") {
  const Stream stream = Stream::cpu(1);
  const double inf = std::numeric_limits<double>::infinity();
  const Tensor y = empty({3}, DType::kF64), a = from_values({3}, DType::kF64, {NAN, inf, inf}),
               b = from_values({3}, DType::kF64, {1, 1, -inf});
  kernels::add(stream, {.y = y, .a = a, .b = b});
  CHECK(std::isnan(values(y)[0]));
  CHECK(values(y)[1] == inf);
  CHECK(std::isnan(values(y)[2]));
  CHECK_THROWS_WITH(kernels::add(stream, {.y = y, .a = a, .b = empty({2}, DType::kF64)}), Catch::Contains("add b"));
  CHECK_THROWS_WITH(kernels::add(stream, {.y = empty({3}, DType::kF32), .a = a, .b = b}), Catch::Contains("add y"));
}
