#include "kernels/elementwise/bias.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;

TEST_CASE("bias adds to every row, and its gradient is the sum of the rows", "[kernels][elementwise]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const auto [N, C] =
      GENERATE(std::pair<std::int64_t, std::int64_t>{1, 1}, std::pair<std::int64_t, std::int64_t>{3, 7},
               std::pair<std::int64_t, std::int64_t>{33, 1001}, std::pair<std::int64_t, std::int64_t>{1000, 96});
  const std::int64_t skipped = GENERATE(0, 1);  // 1: no access of 16 bytes is aligned
  CAPTURE(name_of(stream.device), name_of(dtype), N, C, skipped, stream.num_threads);
  const auto input = [&](std::uint64_t seed) {
    return on(stream, random({N * C + skipped}, dtype, seed)).slice(skipped, {N, C});
  };
  const Tensor x = input(1), dy = input(2), b = on(stream, random({C}, dtype, 3));
  const auto [y, db] = repeated(stream, [&] {
    const Tensor out = on(stream, poisoned({N, C}, dtype)), sums = on(stream, filled({C}, acc_dtype(dtype), 3));
    kernels::bias_forward(stream, {.y = out, .x = x, .b = b});
    kernels::bias_backward(stream, {.db = sums, .dy = dy});
    return std::array{out, sums};
  });
  const std::vector<double> xs = values(x), bs = values(b), ds = values(dy);
  std::vector<double> want_y(xs.size()), want_db(bs.size(), 3.0);
  for (std::size_t i = 0; i < xs.size(); ++i) {
    want_y[i] = xs[i] + bs[i % bs.size()];
    want_db[i % bs.size()] += ds[i];
  }
  check_close(y, want_y, stored(dtype, 1), 2);
  check_close(db, want_db, 16, 3 + std::sqrt(static_cast<double>(N)));

  const Tensor in_place = copy(x);
  kernels::bias_forward(stream, {.y = in_place, .x = in_place, .b = b});
  CHECK(same_bits(in_place, y));
}

TEST_CASE("bias_backward has the same bits on any number of threads", "[kernels][elementwise]") {
  const Tensor dy = random({1000, 33}, DType::kF32, 2);
  const auto sums = [&](int threads) {
    const Tensor db = filled({33}, DType::kF32, 0);
    kernels::bias_backward(Stream::cpu(threads), {.db = db, .dy = dy});
    return db;
  };
  CHECK(same_bits(sums(1), sums(4)));
}
