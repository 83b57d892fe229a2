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
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const auto [N, V, C] = GENERATE(table<int, int, int>({{1, 1, 1}, {5, 3, 7}, {700, 50, 65}, {9, 40, 2600}}));
  CAPTURE(name_of(stream.device), name_of(dtype), N, V, C, stream.num_threads);
  const Tensor weight = random({V, C}, dtype, 1), tokens = random_ids(N, V, 2);
  const auto [y] = repeated(stream, [&, N = N, C = C] {
    const Tensor out = on(stream, poisoned({N, C}, dtype));
    kernels::embedding_forward(stream, {.y = out, .tokens = on(stream, tokens), .weight = on(stream, weight)});
    return std::array{out};
  });
  const Tensor rows = on_host(y);
  for (std::int64_t n = 0; n < N; ++n)
    CHECK(same_bits(rows.slice(n * C, {C}), weight.slice(tokens.data<std::int32_t>()[n] * std::int64_t{C}, {C})));
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

TEST_CASE("embedding_backward adds the rows of every token, however often it occurs", "[kernels][embed]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  // One token only, over many slices; few, whose runs end anywhere; most once, in a vocabulary of two and of three
  // digits; more than one tile of the sort; columns that no wide access fits, and more than a block of them.
  const auto [N, V, C] = GENERATE(table<int, int, int>({{1, 1, 1},
                                                        {5, 3, 7},
                                                        {1000, 1, 8},
                                                        {700, 11, 65},
                                                        {64, 2, 16},
                                                        {65, 40, 2600},
                                                        {300, 5000, 8},
                                                        {300, 300000, 8},
                                                        {4500, 700, 8}}));
  const bool frequent = GENERATE(false, true);  // every other one is the same, whose run spans slices
  CAPTURE(name_of(stream.device), name_of(dtype), N, V, C, frequent, stream.num_threads);
  const Tensor tokens = random_ids(N, V, 2), dy = random({N, C}, dtype, 1);
  const Tensor start = filled({V, C}, acc_dtype(dtype), 0);
  if (frequent)
    for (std::int64_t n = 0; n < N; n += 2) tokens.data<std::int32_t>()[n] = V / 2;
  std::vector<double> want(static_cast<std::size_t>(V) * static_cast<std::size_t>(C));
  const auto rows = values(dy);
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t c = 0; c < C; ++c)
      want[static_cast<std::size_t>(tokens.data<std::int32_t>()[n] * std::int64_t{C} + c)] +=
          rows[static_cast<std::size_t>(n * C + c)];
  const auto [dweight] = repeated(stream, [&] {
    const Tensor sum = on(stream, start);
    const Tensor out = stream.device == Device::kCpu ? copy(sum) : sum;
    kernels::embedding_backward(stream, {.dweight = out, .dy = on(stream, dy), .tokens = on(stream, tokens)});
    return std::array{out};
  });
  check_close(dweight, want, 16, std::sqrt(1.0 * N));
}

TEST_CASE("embedding_backward adds to what is there, from rows that no wide access is aligned to", "[kernels][embed]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const std::int64_t N = 200, V = 3, C = 16;
  const Tensor tokens = random_ids(N, V, 2), dy = on(stream, random({N * C + 1}, dtype, 1)).slice(1, {N, C}),
               dweight = on(stream, random({V, C}, acc_dtype(dtype), 3));
  auto want = values(dweight);
  const auto rows = values(dy);
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t c = 0; c < C; ++c)
      want[static_cast<std::size_t>(tokens.data<std::int32_t>()[n] * C + c)] +=
          rows[static_cast<std::size_t>(n * C + c)];
  kernels::embedding_backward(stream, {.dweight = dweight, .dy = dy, .tokens = on(stream, tokens)});
  check_close(dweight, want, 16, std::sqrt(1.0 * N));
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
