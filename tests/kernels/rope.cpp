#include "kernels/rope/rope.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;

namespace {
/// The rotation as complex numbers: x_i + j x_(i + D/2) times e^(j angle).
std::vector<double> reference(const Tensor& x, std::int64_t num_heads, std::int64_t D, std::int64_t length,
                              double theta) {
  const auto [N, W] = matrix_dims(x);
  auto y = values(x);
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t h = 0; h < num_heads; ++h)
      for (std::int64_t i = 0; i < D / 2; ++i) {
        const auto at = static_cast<std::size_t>(n * W + h * D + i), pair = at + static_cast<std::size_t>(D / 2);
        const double angle =
            static_cast<double>(n % length) * std::pow(theta, -2 * static_cast<double>(i) / static_cast<double>(D));
        const double a = y[at], b = y[pair];
        y[at] = a * std::cos(angle) - b * std::sin(angle);
        y[pair] = a * std::sin(angle) + b * std::cos(angle);
      }
  return y;
}
}  // namespace

TEST_CASE("rope turns pairs (i, i + D/2) by position and frequency and copies the columns behind", "[kernels][rope]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const auto [sequences, T, heads, D, extra] = GENERATE(table<int, int, int, int, int>({{1, 1, 1, 2, 0},
                                                                                        {2, 5, 3, 4, 7},
                                                                                        {1, 65, 2, 6, 1},
                                                                                        {2, 200, 5, 64, 64},
                                                                                        {1, 2049, 1, 128, 0},
                                                                                        {1, 5, 1, 512, 24},
                                                                                        {2, 9, 4, 32, 32},
                                                                                        {1, 66, 2, 256, 256},
                                                                                        {3, 4, 0, 8, 9}}));
  CAPTURE(name_of(stream.device), name_of(dtype), sequences, T, heads, D, extra, stream.num_threads);
  const std::int64_t N = sequences * T, W = heads * D + extra;
  const Tensor x = on(stream, random({N, W}, dtype, 1));
  const auto [y] = repeated(stream, [&, heads = heads, D = D, T = T] {
    const Tensor out = on(stream, poisoned({N, W}, dtype));
    kernels::rope_forward(stream, {.y = out, .x = x, .num_heads = heads, .d_head = D, .length = T, .theta = 10000});
    return std::array{out};
  });
  // The last bit of a frequency weighs as much as the position, in the reference too.
  check_close(y, reference(x, heads, D, T, 10000), stored(dtype, dtype == DType::kF64 ? 100 + 4 * T : 4));

  const Tensor in_place = copy(x);
  kernels::rope_forward(stream,
                        {.y = in_place, .x = in_place, .num_heads = heads, .d_head = D, .length = T, .theta = 10000});
  CHECK(same_bits(in_place, y));
}

TEST_CASE("rope turns by the exact angle at positions of 131072 and beyond, for any base", "[kernels][rope]") {
  const Stream stream = GENERATE(from_range(streams()));
  const double theta = GENERATE(10000.0, 5e5, 1e7);
  // Angles in f32 would be off by 0.004 at the fastest pair. One head: few columns make many positions cheap.
  const std::int64_t T = 131072 + 300, D = 4;
  const Tensor x = on(stream, filled({T, D}, DType::kF32, 1)), y = on(stream, poisoned({T, D}, DType::kF32));
  kernels::rope_forward(stream, {.y = y, .x = x, .num_heads = 1, .d_head = D, .length = T, .theta = theta});
  check_close(y, reference(x, 1, D, T, theta), 4);
}

TEST_CASE("rope scales its frequencies as Llama 3.1's code does, by wavelength, or all alike", "[kernels][rope]") {
  const Stream stream = GENERATE(from_range(streams()));
  const std::int64_t D = 128, T = 3000, old = 1024;
  const double theta = 5e5;
  const kernels::RopeScaling llama3{.kind = kernels::RopeScaling::Kind::kLlama3, .factor = 8, .original_context = old};
  const kernels::RopeScaling linear{.kind = kernels::RopeScaling::Kind::kLinear, .factor = 3};
  const Tensor x = on(stream, filled({T, D}, DType::kF32, 1));
  std::array<int, 3> seen{};
  for (const auto& scaling : {llama3, linear}) {
    const Tensor y = on(stream, poisoned({T, D}, DType::kF32)), back = on(stream, poisoned({T, D}, DType::kF32));
    kernels::rope_forward(
        stream, {.y = y, .x = x, .num_heads = 1, .d_head = D, .length = T, .theta = theta, .scaling = scaling});
    kernels::rope_backward(
        stream, {.dx = back, .dy = y, .num_heads = 1, .d_head = D, .length = T, .theta = theta, .scaling = scaling});
    std::vector<double> want(static_cast<std::size_t>(T * D));
    for (std::int64_t i = 0; i < D / 2; ++i) {
      const double plain = std::pow(theta, -2.0 * static_cast<double>(i) / D), wavelength = 2 * M_PI / plain;
      double frequency = plain / scaling.factor;
      if (&scaling != &linear && scaling.kind == llama3.kind) {
        const double smooth = (static_cast<double>(old) / wavelength - 1) / (4.0 - 1);
        const int band = wavelength > old ? 0 : wavelength < old / 4.0 ? 2 : 1;
        ++seen.at(static_cast<std::size_t>(band));
        if (band == 2) frequency = plain;
        if (band == 1) frequency = (1 - smooth) * plain / 8 + smooth * plain;
      }
      for (std::int64_t t = 0; t < T; ++t) {
        const double angle = static_cast<double>(t) * frequency;
        want[static_cast<std::size_t>(t * D + i)] = std::cos(angle) - std::sin(angle);
        want[static_cast<std::size_t>(t * D + i + D / 2)] = std::cos(angle) + std::sin(angle);
      }
    }
    check_close(y, want, 4);
    check_close(back, values(x), 8);
  }
  for (const int pairs : seen) CHECK(pairs > 2);  // of each band
}

TEST_CASE("rope takes rows that no wide access is aligned to", "[kernels][rope]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const std::int64_t T = 10, W = 64;
  const Tensor x = on(stream, random({T * W + 1}, dtype, 1)).slice(1, {T, W}),
               y = on(stream, poisoned({T * W + 1}, dtype)).slice(1, {T, W}), aligned = copy(x);
  kernels::rope_forward(stream, {.y = y, .x = x, .num_heads = 1, .d_head = 32, .length = T, .theta = 100});
  kernels::rope_forward(stream, {.y = aligned, .x = aligned, .num_heads = 1, .d_head = 32, .length = T, .theta = 100});
  CHECK(same_bits(y, aligned));
}

TEST_CASE("rope_backward turns back, in place too", "[kernels][rope]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const std::int64_t T = 17, W = 3 * 32 + 16;
  const Tensor x = on(stream, random({2 * T, W}, dtype, 1)), y = on(stream, poisoned({2 * T, W}, dtype)),
               dx = on(stream, poisoned({2 * T, W}, dtype));
  kernels::rope_forward(stream, {.y = y, .x = x, .num_heads = 3, .d_head = 32, .length = T, .theta = 500});
  kernels::rope_backward(stream, {.dx = dx, .dy = y, .num_heads = 3, .d_head = 32, .length = T, .theta = 500});
  check_close(dx, values(x), dtype == DType::kBF16 ? 1.5 : 64);  // bf16: y and dx are rounded
  kernels::rope_backward(stream, {.dx = y, .dy = y, .num_heads = 3, .d_head = 32, .length = T, .theta = 500});
  CHECK(same_bits(y, dx));
}

TEST_CASE("rope_backward is the transpose of the forward, in place too", "[kernels][rope][grad]") {
  const std::int64_t N = 14, W = 21;
  const Stream stream = Stream::cpu(2);
  const Tensor x = random({N, W}, DType::kF64, 1), dy = random({N, W}, DType::kF64, 2),
               y = poisoned({N, W}, DType::kF64), dx = poisoned({N, W}, DType::kF64), in_place = copy(dy);
  kernels::rope_forward(stream, {.y = y, .x = x, .num_heads = 2, .d_head = 8, .length = 7, .theta = 500});
  kernels::rope_backward(stream, {.dx = dx, .dy = dy, .num_heads = 2, .d_head = 8, .length = 7, .theta = 500});
  CHECK(dot(y, dy) == Approx(dot(x, dx)).epsilon(1e-13));
  const auto loss = [&] {
    kernels::rope_forward(stream, {.y = y, .x = x, .num_heads = 2, .d_head = 8, .length = 7, .theta = 500});
    return dot(y, dy);
  };
  CHECK(gradient_error(loss, x, dx, 3) < 1e-6);
  kernels::rope_backward(stream,
                         {.dx = in_place, .dy = in_place, .num_heads = 2, .d_head = 8, .length = 7, .theta = 500});
  CHECK(same_bits(in_place, dx));
}

TEST_CASE("rope of equal q and k depends on the distance of their positions only", "[kernels][rope]") {
  const std::int64_t T = 300, D = 16;
  const Tensor one = random({1, D}, DType::kF64, 1), x = empty({T, D}, DType::kF64);
  for (std::int64_t t = 0; t < T; ++t) std::copy_n(one.data<double>(), D, x.data<double>() + t * D);
  kernels::rope_forward(Stream::cpu(1), {.y = x, .x = x, .num_heads = 1, .d_head = D, .length = T, .theta = 10000});
  const auto product = [&](std::int64_t s, std::int64_t t) { return dot(x.slice(s * D, {D}), x.slice(t * D, {D})); };
  CHECK(product(0, 37) == Approx(product(63, 100)).epsilon(1e-10));
  CHECK(product(0, 37) == Approx(product(262, 299)).epsilon(1e-10));
  CHECK(product(0, 0) == Approx(product(299, 299)).epsilon(1e-10));
}

TEST_CASE("rope refuses odd heads, heads wider than a row and broken sequences", "[kernels][rope]") {
  const Stream stream = Stream::cpu(1);
  const Tensor x = random({6, 8}, DType::kF32, 1);
  const auto run = [&](std::int64_t heads, std::int64_t D, std::int64_t T) {
    kernels::rope_forward(stream, {.y = x, .x = x, .num_heads = heads, .d_head = D, .length = T, .theta = 100});
  };
  CHECK_NOTHROW(run(2, 4, 3));
  CHECK_THROWS_WITH(run(1, 3, 3), Catch::Contains("d_head"));
  CHECK_THROWS_WITH(run(3, 4, 3), Catch::Contains("3 heads of 4"));
  CHECK_THROWS_WITH(run(2, 4, 4), Catch::Contains("whole sequences"));
}
