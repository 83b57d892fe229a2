#include "kernels/embed/embedding.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;

namespace {
Tensor random_ids(std::int64_t n, std::int64_t vocab, std::uint64_t seed) {
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < n; ++i)
    tokens.push_back(static_cast<std::int32_t>(
        Random{.seed = seed}.below(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(vocab))));
  return ids(tokens);
}
}  // namespace

TEST_CASE("embedding_forward copies the row of each token", "[kernels][embed]") {
  const DType dtype = GENERATE(DType::kF32, DType::kF64);
  const auto [N, V, C] = GENERATE(table<int, int, int>({{1, 1, 1}, {5, 3, 7}, {700, 50, 65}}));
  const Stream stream = Stream::cpu(GENERATE(1, 3));
  CAPTURE(name_of(dtype), N, V, C, stream.num_threads);
  const Tensor weight = random({V, C}, dtype, 1), tokens = random_ids(N, V, 2), y = poisoned({N, C}, dtype);
  kernels::embedding_forward(stream, {.y = y, .tokens = tokens, .weight = weight});
  for (std::int64_t n = 0; n < N; ++n)
    CHECK(same_bits(y.slice(n * C, {C}), weight.slice(tokens.data<std::int32_t>()[n] * std::int64_t{C}, {C})));
}

TEST_CASE("embedding_backward adds the rows of every token, with the same bits on any number of threads",
          "[kernels][embed]") {
  const DType dtype = GENERATE(DType::kF32, DType::kF64);
  const auto [N, V, C] = GENERATE(table<int, int, int>({{1, 1, 1}, {5, 3, 7}, {700, 11, 65}}));
  CAPTURE(name_of(dtype), N, V, C);
  const Tensor dy = random({N, C}, dtype, 1), tokens = random_ids(N, V, 2), start = random({V, C}, dtype, 3);
  auto want = values(start);
  const auto rows = values(dy);
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t c = 0; c < C; ++c)
      want[static_cast<std::size_t>(tokens.data<std::int32_t>()[n] * C + c)] +=
          rows[static_cast<std::size_t>(n * C + c)];
  Tensor first;
  for (const int threads : {1, 2, 3, 4}) {
    CAPTURE(threads);
    const Tensor dweight = copy(start);
    kernels::embedding_backward(Stream::cpu(threads), {.dweight = dweight, .dy = dy, .tokens = tokens});
    check_close(dweight, want, 4 * std::sqrt(1.0 * N / V), std::sqrt(1.0 * N / V));
    if (!first) first = dweight;
    CHECK(same_bits(dweight, first));
  }
}

TEST_CASE("embedding_backward is the gradient of its forward", "[kernels][embed][grad]") {
  const Stream stream = Stream::cpu(2);
  const Tensor weight = random({6, 5}, DType::kF64, 1), dy = random({9, 5}, DType::kF64, 2),
               tokens = random_ids(9, 6, 3), y = poisoned({9, 5}, DType::kF64),
               dweight = filled({6, 5}, DType::kF64, 0);
  kernels::embedding_backward(stream, {.dweight = dweight, .dy = dy, .tokens = tokens});
  const auto loss = [&] {
    kernels::embedding_forward(stream, {.y = y, .tokens = tokens, .weight = weight});
    return dot(y, dy);
  };
  CHECK(gradient_error(loss, weight, dweight, 4) < 1e-6);
}

TEST_CASE("embedding refuses tokens outside the vocabulary both ways", "[kernels][embed]") {
  const Stream stream = Stream::cpu(1);
  const Tensor weight = random({4, 3}, DType::kF32, 1), y = random({2, 3}, DType::kF32, 2);
  for (const std::int32_t bad : {-1, 4}) {
    const Tensor tokens = ids({0, bad});
    CHECK_THROWS_WITH(kernels::embedding_forward(stream, {.y = y, .tokens = tokens, .weight = weight}),
                      Catch::Contains("embedding token " + std::to_string(bad) + " of 4"));
    CHECK_THROWS_WITH(kernels::embedding_backward(stream, {.dweight = weight, .dy = y, .tokens = tokens}),
                      Catch::Contains("embedding token " + std::to_string(bad) + " of 4"));
  }
}
