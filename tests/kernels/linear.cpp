#include "kernels/linear/linear.h"

#include <omp.h>

#include "kernels/linear/gemm.h"
#include "kernels/linear/gemm_cuda.h"
#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;

namespace {
/// sum_k a(i, k) b(k, j) of row-major a (rows, inner) and b (inner, cols), either given transposed.
std::vector<double> product(const Tensor& a, bool at, const Tensor& b, bool bt, std::int64_t rows, std::int64_t cols,
                            std::int64_t inner) {
  const auto x = values(a), y = values(b);
  std::vector<double> c;
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < cols; ++j) {
      double sum = 0;
      for (std::int64_t k = 0; k < inner; ++k)
        sum += x[static_cast<std::size_t>(at ? k * rows + i : i * inner + k)] *
               y[static_cast<std::size_t>(bt ? j * inner + k : k * cols + j)];
      c.push_back(sum);
    }
  return c;
}
}  // namespace

TEST_CASE("linear is y = x w^T, dx = dy w, dweight += dy^T x", "[kernels][linear]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  const auto [N, C, O] = GENERATE(table<std::int64_t, std::int64_t, std::int64_t>(
      {{1, 1, 1}, {1, 5, 3}, {3, 7, 5}, {33, 64, 100}, {257, 96, 130}, {5, 1, 4}}));
  CAPTURE(name_of(stream.device), name_of(dtype), N, C, O, stream.num_threads);
  const DType sum_dtype = acc_dtype(dtype);
  const Tensor x = on(stream, random({N, C}, dtype, 1)), weight = on(stream, random({O, C}, dtype, 2)),
               dy = on(stream, random({N, O}, dtype, 3)), start = on(stream, random({O, C}, sum_dtype, 4));
  const auto [y, dx, dweight] = repeated(stream, [&, N = N, C = C, O = O] {
    const Tensor out = on(stream, poisoned({N, O}, dtype)), back = on(stream, poisoned({N, C}, dtype)),
                 sum = copy(start);
    kernels::linear_forward(stream, {.y = out, .x = x, .weight = weight});
    kernels::linear_backward(stream, {.dx = back, .dweight = sum, .dy = dy, .x = x, .weight = weight});
    return std::array{out, back, sum};
  });

  auto want_dweight = product(dy, true, x, false, O, C, N);
  const auto starts = values(start);
  for (std::size_t i = 0; i < want_dweight.size(); ++i) want_dweight[i] += starts[i];
  const auto root = [](std::int64_t n) { return std::sqrt(static_cast<double>(n)); };  // of a sum of n terms
  check_close(y, product(x, false, weight, true, N, O, C), stored(dtype, 4 + root(C)), root(C));
  check_close(dx, product(dy, false, weight, false, N, C, O), stored(dtype, 4 + root(O)), root(O));
  check_close(dweight, want_dweight, 4 + root(N), root(N));  // f32 also where what it sums is bf16

  const Tensor again = on(stream, poisoned({N, O}, dtype));
  kernels::linear_forward(stream, {.y = again, .x = x, .weight = weight});
  CHECK(same_bits(again, y));
}

TEST_CASE("linear by the algorithm that a measurement chose is the same product", "[kernels][linear]") {
  if (!has_gpu()) return skipped();
  Stream stream = cuda_stream();
  stream.deterministic = false;
  const DType dtype = GENERATE(DType::kBF16, DType::kF32);
  const std::int64_t N = 130, C = 72, O = 96;
  const Tensor x = on(stream, random({N, C}, dtype, 1)), weight = on(stream, random({O, C}, dtype, 2)),
               dy = on(stream, random({N, O}, dtype, 3));
  const Tensor y = on(stream, poisoned({N, O}, dtype)), dx = on(stream, poisoned({N, C}, dtype)),
               dweight = stream.zeros({O, C}, DType::kF32);
  kernels::linear_forward(stream, {.y = y, .x = x, .weight = weight});
  kernels::linear_backward(stream, {.dx = dx, .dweight = dweight, .dy = dy, .x = x, .weight = weight});
  check_close(y, product(x, false, weight, true, N, O, C), stored(dtype, 13), 9);
  check_close(dx, product(dy, false, weight, false, N, C, O), stored(dtype, 14), 10);
  check_close(dweight, product(dy, true, x, false, O, C, N), 16, 12);  // added to once, whatever was tried before
}

TEST_CASE("linear takes slices that start anywhere, and no rows at all", "[kernels][linear]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype = GENERATE_COPY(from_range(dtypes(stream)));
  CAPTURE(name_of(stream.device), name_of(dtype), stream.num_threads);
  constexpr std::int64_t N = 3, C = 5, O = 4;
  const Tensor x = on(stream, random({N, C}, dtype, 1)), weight = on(stream, random({O, C}, dtype, 2));
  const Tensor flat = on(stream, filled({O * C + 1}, dtype, 0)), slice = flat.slice(1, {O, C});
  stream.copy(slice, weight);
  const Tensor y = on(stream, poisoned({N, O}, dtype)), want = on(stream, poisoned({N, O}, dtype));
  kernels::linear_forward(stream, {.y = y, .x = x, .weight = slice});
  kernels::linear_forward(stream, {.y = want, .x = x, .weight = weight});
  check_close(y, values(want), stored(dtype, 8));

  const Tensor none_x = stream.empty({0, C}, dtype), none_y = stream.empty({0, O}, dtype),
               dweight = on(stream, filled({O, C}, acc_dtype(dtype), 7));
  kernels::linear_forward(stream, {.y = none_y, .x = none_x, .weight = weight});
  kernels::linear_backward(stream, {.dx = none_x, .dweight = dweight, .dy = none_y, .x = none_x, .weight = weight});
  CHECK(values(dweight) == std::vector<double>(O * C, 7.0));
}

TEST_CASE("linear counts its work on a dry stream, and holds cuBLASLt's workspace while it runs on CUDA",
          "[kernels][linear]") {
  const Device device = GENERATE(Device::kCpu, Device::kCuda);
  const DType dtype = device == Device::kCpu ? DType::kF64 : DType::kBF16;
  const Stream stream = Stream::dry_run(device);
  const Tensor x = stream.empty({8, 6}, dtype), weight = stream.empty({4, 6}, dtype), y = stream.empty({8, 4}, dtype),
               dweight = stream.empty({4, 6}, acc_dtype(dtype));
  const std::int64_t before = stream.pool->live_bytes();
  kernels::linear_forward(stream, {.y = y, .x = x, .weight = weight});
  CHECK(stream.dry->flops == 2 * 8 * 6 * 4);
  kernels::linear_backward(stream, {.dx = x, .dweight = dweight, .dy = y, .x = x, .weight = weight});
  CHECK(stream.dry->flops == 3 * 2 * 8 * 6 * 4);
  CHECK(stream.pool->live_bytes() == before);
  CHECK(stream.pool->peak_bytes() - before == (device == Device::kCpu ? 0 : kernels::cuda::kGemmWorkspaceBytes));
}

TEST_CASE("linear_backward is the gradient of its forward", "[kernels][linear][grad]") {
  const Stream stream = Stream::cpu();
  const Tensor x = random({9, 6}, DType::kF64, 1), weight = random({4, 6}, DType::kF64, 2),
               dy = random({9, 4}, DType::kF64, 3), y = poisoned({9, 4}, DType::kF64),
               dx = poisoned({9, 6}, DType::kF64), dweight = filled({4, 6}, DType::kF64, 0);
  kernels::linear_backward(stream, {.dx = dx, .dweight = dweight, .dy = dy, .x = x, .weight = weight});
  const auto loss = [&] {
    kernels::linear_forward(stream, {.y = y, .x = x, .weight = weight});
    return dot(y, dy);
  };
  CHECK(gradient_error(loss, x, dx, 4) < 1e-6);
  CHECK(gradient_error(loss, weight, dweight, 5) < 1e-6);
}

TEST_CASE("gemm keeps to its strides: what lies between rows is neither read nor written", "[kernels][linear]") {
  const DType dtype = GENERATE(DType::kF32, DType::kF64);
  const bool at = GENERATE(false, true), bt = GENERATE(false, true);
  CAPTURE(name_of(dtype), at, bt);
  constexpr std::int64_t kRows = 5, kCols = 4, kInner = 3, kStride = 9;
  // Dense operands, and the same in rows of 9 with NaN behind.
  const auto spread = [&](const Tensor& t) {
    const auto [rows, cols] = matrix_dims(t);
    const Tensor wide = poisoned({rows, kStride}, dtype);
    for (std::int64_t r = 0; r < rows; ++r)
      std::memcpy(wide.slice(r * kStride, {cols}).raw(), t.slice(r * cols, {cols}).raw(),
                  static_cast<std::size_t>(cols * size_of(dtype)));
    return wide;
  };
  const Tensor a = random(at ? matrix(kInner, kRows) : matrix(kRows, kInner), dtype, 1),
               b = random(bt ? matrix(kCols, kInner) : matrix(kInner, kCols), dtype, 2),
               c0 = random({kRows, kCols}, dtype, 3);
  const Tensor wide_a = spread(a), wide_b = spread(b), c = spread(c0);
  with_dtype(dtype, [&]<class T>() {
    kernels::cpu::gemm<T>(Stream::cpu(2), c.data<T>(), kStride, {wide_a.data<T>(), kStride, at},
                          {wide_b.data<T>(), kStride, bt}, kRows, kCols, kInner, T(2), T(3));
  });
  const auto want = product(a, at, b, bt, kRows, kCols, kInner), start = values(c0);
  for (std::int64_t i = 0; i < kRows; ++i)
    for (std::int64_t j = 0; j < kStride; ++j) {
      CAPTURE(i, j);
      const double got = values(c)[static_cast<std::size_t>(i * kStride + j)];
      const auto at_c = static_cast<std::size_t>(i * kCols + j);
      if (j >= kCols)
        CHECK(std::isnan(got));
      else
        CHECK(got == Approx(2 * want[at_c] + 3 * start[at_c]).epsilon(1e-5).margin(1e-5));
    }
}

TEST_CASE("linear takes the stream's number of threads, whatever OpenMP's is, and leaves OpenMP's alone",
          "[kernels][linear]") {
  // Products that the libraries cut by threads in such a way that it shows in the last bits.
  const DType dtype = GENERATE(DType::kF32, DType::kF64);
  CAPTURE(name_of(dtype));
  const bool f32 = dtype == DType::kF32;
  const std::int64_t N = f32 ? 20000 : 300, C = f32 ? 64 : 300, O = f32 ? 1 : 300;
  const Tensor x = random({N, C}, dtype, 1), weight = random({O, C}, dtype, 2), dy = random({N, O}, dtype, 3);
  const auto dweight = [&](int stream_threads, int openmp_threads) {
    const int before = omp_get_max_threads();
    omp_set_num_threads(openmp_threads);
    const Tensor dx = poisoned({N, C}, dtype), sum = filled({O, C}, dtype, 0);
    kernels::linear_backward(Stream::cpu(stream_threads),
                             {.dx = dx, .dweight = sum, .dy = dy, .x = x, .weight = weight});
    CHECK(omp_get_max_threads() == openmp_threads);
    omp_set_num_threads(before);
    return sum;
  };
  const Tensor one = dweight(1, 1), four = dweight(4, 4);
  if (same_bits(one, four)) WARN("threads do not change bits on this processor: what follows sees nothing");
  CHECK(same_bits(dweight(1, 4), one));
  CHECK(same_bits(dweight(4, 1), four));
}

TEST_CASE("linear names the argument that does not fit", "[kernels][linear]") {
  const Stream stream = Stream::cpu();
  const Tensor x = random({3, 4}, DType::kF32, 1), weight = random({2, 4}, DType::kF32, 2),
               y = random({3, 2}, DType::kF32, 3);
  CHECK_THROWS_WITH(kernels::linear_forward(stream, {.y = x, .x = x, .weight = weight}), Catch::Contains("linear y"));
  CHECK_THROWS_WITH(kernels::linear_forward(stream, {.y = y, .x = x, .weight = y}), Catch::Contains("linear weight"));
}
