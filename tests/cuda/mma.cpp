#include "tests/cuda/mma_kernels.h"
#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;

// What a wrong layout would show: every element of a matrix is another number, and all sums are exact.
namespace {
Tensor counting(Shape shape, int modulus) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < shape.numel(); ++i)
    values.push_back(static_cast<double>(i * 37 % modulus) - modulus / 2);
  return from_values(shape, DType::kBF16, values);
}
}  // namespace

TEST_CASE("mma adds the product of a 16 x 16 and a 16 x 8 matrix", "[kernels][cuda][mma]") {
  if (!has_gpu()) return skipped();
  const Stream& stream = cuda_stream();
  const Tensor a = counting({16, 16}, 251), b = counting({16, 8}, 127), c = filled({16, 8}, DType::kF32, 0.5);
  const auto as = values(a), bs = values(b);
  std::vector<double> want(16 * 8, 0.5);
  for (std::size_t i = 0; i < 16; ++i)
    for (std::size_t j = 0; j < 8; ++j)
      for (std::size_t k = 0; k < 16; ++k) want[i * 8 + j] += as[i * 16 + k] * bs[k * 8 + j];
  const Tensor sums = on(stream, c);
  multiply(stream, sums, on(stream, a), on(stream, b));
  CHECK(values(sums) == want);
}

TEST_CASE("load_matrices gives a lane the pairs of its row, or transposed of its column", "[kernels][cuda][mma]") {
  if (!has_gpu()) return skipped();
  const Stream& stream = cuda_stream();
  const bool transposed = GENERATE(false, true);
  const Tensor x = counting({32, 8}, 256), out = on(stream, poisoned({4, 32, 2}, DType::kBF16));
  load_matrices(stream, out, on(stream, x), transposed);
  const auto have = values(out), xs = values(x);
  for (std::size_t matrix = 0; matrix < 4; ++matrix)
    for (std::size_t lane = 0; lane < 32; ++lane)
      for (std::size_t i = 0; i < 2; ++i) {
        const std::size_t row = transposed ? lane % 4 * 2 + i : lane / 4,
                          col = transposed ? lane / 4 : lane % 4 * 2 + i;
        CHECK(have[(matrix * 32 + lane) * 2 + i] == xs[(matrix * 8 + row) * 8 + col]);
      }
}

TEST_CASE("copy_async copies what is valid and zeros after it, group by group", "[kernels][cuda][mma]") {
  if (!has_gpu()) return skipped();
  const Stream& stream = cuda_stream();
  const int rows = GENERATE(0, 1, 32, 45, 64);
  const Tensor x = counting({2, 32, 8}, 255).slice(0, {rows, 8}), out = on(stream, poisoned({2, 32, 8}, DType::kBF16));
  copy_in_groups(stream, out, rows ? on(stream, x) : on(stream, counting({8}, 5)), rows);
  auto want = values(x);
  want.resize(2 * 32 * 8, 0);
  CHECK(values(out) == want);

  std::vector<std::int32_t> words(64, 0);
  for (int i = 0; i < rows; ++i) words[static_cast<std::size_t>(i)] = 1000 - i;
  const Tensor to = on(stream, ids(std::vector<std::int32_t>(64, -1)));
  copy_words(stream, to, on(stream, ids(rows ? std::vector(words.begin(), words.begin() + rows) : words)), rows);
  const Tensor there = on_host(to);
  CHECK(std::equal(words.begin(), words.end(), there.data<std::int32_t>()));
}
