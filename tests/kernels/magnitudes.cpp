#include "kernels/metrics/magnitudes.h"

#include <algorithm>

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;

namespace {
struct Result {
  Tensor channel_max, token_max, median;
};
Result run(const Stream& stream, const Tensor& x, std::int64_t length) {
  const auto [N, C] = matrix_dims(x);
  const std::int64_t B = N / length;
  const Tensor here = on(stream, x);
  const auto poison = [&](Shape shape) { return on(stream, poisoned(shape, acc_dtype(x.dtype()))); };
  const auto [channel_max, token_max, median] = repeated(stream, [&, C = C] {
    const Result r{poison({B, C}), poison({B, length}), poison({B})};
    kernels::magnitudes(
        stream,
        {.channel_max = r.channel_max, .token_max = r.token_max, .median = r.median, .x = here, .length = length});
    return std::array{r.channel_max, r.token_max, r.median};
  });
  return {channel_max, token_max, median};
}
}  // namespace

TEST_CASE("magnitudes are the exact maxima and the exact lower median of each sequence", "[kernels][metrics]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  // The last but one leave a block of rows, of columns and of counted elements.
  const auto [B, T, C] = GENERATE(
      table<int, int, int>({{1, 1, 1}, {1, 1, 2}, {3, 5, 7}, {2, 64, 33}, {2, 130, 300}, {2, 3, 2600}, {5, 40, 104}}));
  CAPTURE(name_of(stream.device), name_of(dtype), B, T, C, stream.num_threads);
  const Tensor x = random({B * T, C}, dtype, 1);
  with_stored_dtype(dtype, [&, c = C, b = B, t = T]<class Scalar>() {  // a spike, in the last sequence
    x.data<Scalar>()[(b * t - 1) * c] = Scalar(-3000.0f);
  });
  std::vector<double> channels, tokens, medians;
  auto h = values(x);
  for (double& v : h) v = std::abs(v);
  for (int b = 0; b < B; ++b) {
    const double* s = h.data() + b * T * C;
    for (int c = 0; c < C; ++c) {
      double top = 0;
      for (int t = 0; t < T; ++t) top = std::max(top, s[t * C + c]);
      channels.push_back(top);
    }
    for (int t = 0; t < T; ++t) tokens.push_back(*std::max_element(s + t * C, s + (t + 1) * C));
    std::vector<double> sorted(s, s + T * C);
    std::sort(sorted.begin(), sorted.end());
    medians.push_back(sorted[(sorted.size() - 1) / 2]);
  }
  const Result r = run(stream, x, T);
  check_close(r.channel_max, channels, 0);
  check_close(r.token_max, tokens, 0);
  check_close(r.median, medians, 0);
}

TEST_CASE("the median tells numbers apart that differ in their last bit, and ranks ties", "[kernels][metrics]") {
  const double next = std::nextafter(1.0, 2.0), second = std::nextafter(next, 2.0);
  CHECK(values(run(Stream::cpu(1), from_values({3, 1}, DType::kF64, {second, -1, next}), 3).median)[0] == next);
  CHECK(values(run(Stream::cpu(1), from_values({4, 1}, DType::kF64, {second, -1, next, 9}), 4).median)[0] == next);
  CHECK(values(run(Stream::cpu(1), from_values({5, 1}, DType::kF64, {2, 1, 2, -2, 3}), 5).median)[0] == 2);
  CHECK(values(run(Stream::cpu(1), from_values({4, 1}, DType::kF32, {-0.0, 0, 1e-42, INFINITY}), 4).median)[0] == 0);
}

TEST_CASE("the median in f32 tells numbers apart that differ in their last bit, on CUDA too", "[kernels][metrics]") {
  const Stream stream = GENERATE(from_range(streams()));
  const double next = 1 + 0x1p-23, second = 1 + 0x1p-22;
  CHECK(values(run(stream, from_values({3, 1}, DType::kF32, {second, -1, next}), 3).median)[0] == next);
  CHECK(values(run(stream, from_values({4, 1}, DType::kF32, {second, -1, next, 9}), 4).median)[0] == next);
  CHECK(values(run(stream, from_values({5, 1}, DType::kF32, {2, 1, 2, -2, 3}), 5).median)[0] == 2);
  CHECK(values(run(stream, from_values({4, 1}, DType::kF32, {-0.0, 0, 1e-42, INFINITY}), 4).median)[0] == 0);
  const double denormal = static_cast<double>(1e-42f);
  CHECK(values(run(stream, from_values({3, 1}, DType::kF32, {denormal, 0, INFINITY}), 3).median)[0] == denormal);
}

TEST_CASE("NaN counts as the largest magnitude", "[kernels][metrics]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const Result r = run(stream, from_values({2, 3}, dtype, {1, -NAN, -2, INFINITY, 3, 4}), 2);
  CHECK(values(r.channel_max)[0] == INFINITY);
  CHECK(std::isnan(values(r.channel_max)[1]));
  CHECK(values(r.channel_max)[2] == 4);
  CHECK(std::isnan(values(r.token_max)[0]));
  CHECK(values(r.token_max)[1] == INFINITY);
  CHECK(values(r.median)[0] == 3);  // 1 2 3 | 4 inf nan
  CHECK(std::isnan(values(run(stream, from_values({3, 1}, dtype, {NAN, 1, NAN}), 3).median)[0]));
}

TEST_CASE("magnitudes refuse broken sequences and outputs of another shape", "[kernels][metrics]") {
  const Tensor x = random({6, 2}, DType::kF32, 1), six = empty({1, 6}, DType::kF32), two = empty({1, 2}, DType::kF32),
               one = empty({1}, DType::kF32);
  const auto run_with = [&](const Tensor& channel_max, std::int64_t length) {
    kernels::magnitudes(Stream::cpu(1),
                        {.channel_max = channel_max, .token_max = six, .median = one, .x = x, .length = length});
  };
  CHECK_NOTHROW(run_with(two, 6));
  CHECK_THROWS_WITH(run_with(two, 4), Catch::Contains("whole sequences"));
  CHECK_THROWS_WITH(run_with(six, 6), Catch::Contains("channel_max"));
}
