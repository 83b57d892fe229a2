#include "kernels/init/initialise.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;

TEST_CASE("initialise draws truncated normal numbers by element, in whatever parts", "[kernels][init]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const std::int64_t n = 5000;  // more than a block
  CAPTURE(name_of(stream.device), name_of(dtype), stream.num_threads);
  const auto draw = [&](std::int64_t first, std::int64_t size, double std, std::uint64_t seed, std::uint64_t of) {
    const Tensor out = on(stream, poisoned({size}, dtype));
    kernels::initialise(stream, {.out = out, .std = std, .seed = seed, .stream = of, .first = first});
    return out;
  };
  const auto [all] = repeated(stream, [&] { return std::array{draw(0, n, 0.02, 5, 9)}; });
  std::vector<double> want;
  const Random random{.seed = 5, .stream = 9};
  for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(n); ++i) {
    double z = random.normal(4 * i);
    for (std::uint64_t next = 1; std::abs(z) > 3; ++next) z = random.normal(4 * i + next);
    want.push_back(0.02 * z);
  }
  check_close(all, want, dtype == DType::kF64 ? 0 : 0.51, 0);
  CHECK(same_bits(draw(n - 77, 77, 0.02, 5, 9), all.slice(n - 77, {77})));
  CHECK_FALSE(same_bits(draw(0, n, 0.02, 6, 9), all));
  CHECK_FALSE(same_bits(draw(0, n, 0.02, 5, 8), all));
}

TEST_CASE("initialise with no deviation fills, and the mean shifts what is drawn", "[kernels][init]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const Tensor out = on(stream, poisoned({2100}, dtype)), shifted = on(stream, poisoned({7}, dtype));
  kernels::initialise(stream, {.out = out, .mean = 0.5});
  check_close(out, std::vector<double>(2100, 0.5), 0);
  kernels::initialise(stream, {.out = shifted, .mean = 100, .std = 1});
  for (const double x : values(shifted)) CHECK((x >= 97 && x <= 103 && x != 100));
}

TEST_CASE("initialise refuses a negative deviation", "[kernels][init]") {
  CHECK_THROWS_WITH(kernels::initialise(Stream::cpu(1), {.out = empty({3}, DType::kF32), .std = -1}),
                    Catch::Contains("initialise std"));
}
