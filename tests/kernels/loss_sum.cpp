#include "kernels/loss/loss_sum.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;

TEST_CASE("loss_sum adds all losses to the total, in double", "[kernels][loss]") {
  const Stream stream = GENERATE(from_range(streams()));
  const std::int64_t N = GENERATE(0, 1, 33, 5001);
  CAPTURE(name_of(stream.device), N);
  const Tensor losses = on(stream, random({N}, DType::kF32, 1));
  double want = 1e9;  // beside which f32 would not see them
  for (const double x : values(losses)) want += x;
  const auto [total] = repeated(stream, [&] {
    const Tensor sum = on(stream, filled({1}, DType::kF64, 1e9));
    kernels::loss_sum(stream, {.total = sum, .losses = losses});
    return std::array{sum};
  });
  CHECK(values(total)[0] == Approx(want).epsilon(1e-15).margin(1e-6));
}

TEST_CASE("loss_sum takes f64 losses on the CPU and refuses a matrix", "[kernels][loss]") {
  const Tensor total = filled({1}, DType::kF64, 2);
  kernels::loss_sum(Stream::cpu(1), {.total = total, .losses = filled({3}, DType::kF64, 0.1)});
  check_close(total, {2.3}, 4);
  CHECK_THROWS_WITH(kernels::loss_sum(Stream::cpu(1), {.total = total, .losses = filled({3, 1}, DType::kF32, 1)}),
                    Catch::Contains("loss_sum losses"));
}
