#include "analysis/practice/quantizer.h"

#include "analysis/practice/round_to_grid.h"
#include "tests/models/support.h"

namespace spikesink {
namespace {

/// The root of the mean square of a - b over rows [begin, end) of C columns.
double rms_apart(const std::vector<double>& a, const std::vector<double>& b, std::int64_t begin, std::int64_t end,
                 std::int64_t C) {
  double sum = 0;
  for (auto i = static_cast<std::size_t>(begin * C); i < static_cast<std::size_t>(end * C); ++i)
    sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum / static_cast<double>((end - begin) * C));
}

}  // namespace

TEST_CASE("a spike coarsens the other tokens' grid with one scale a tensor, and not with one a token",
          "[analysis][quantize]") {
  const Stream stream = Stream::cpu(2);
  constexpr std::int64_t T = 16, C = 512;
  const double spike = GENERATE(16.0, 32.0, 64.0, 128.0, 4000.0);
  CAPTURE(spike);
  const Tensor plain = test::random({2 * T, C}, DType::kF64, 1), x = test::copy(plain);
  x.data<double>()[0 * C + 7] = spike;  // in the first token of the first sequence
  const auto xs = test::values(x), by_tensor = test::values(on_grid(stream, x, Grid::kInt8Tensor, T)),
             by_token = test::values(on_grid(stream, x, Grid::kInt8Row, T)),
             without = test::values(on_grid(stream, plain, Grid::kInt8Row, T)),
             tensor_without = test::values(on_grid(stream, plain, Grid::kInt8Tensor, T));
  // Rounding errors spread evenly over a step of spike / 127 have the root mean square step / sqrt(12), as long as
  // values of deviation 1 fall on several points; with a step far above them all go to 0, and the error is 1.
  const double step = spike / 127, want = spike < 200 ? step / std::sqrt(12.0) : 1;
  CHECK(rms_apart(by_tensor, xs, 1, T, C) == Approx(want).epsilon(0.03));
  CHECK(std::equal(by_token.begin() + C, by_token.end(), without.begin() + C));
  CHECK(std::equal(by_tensor.begin() + T * C, by_tensor.end(), tensor_without.begin() + T * C));  // the other sequence
}

TEST_CASE("values that share a scale are those of the grid's group, on every device and dtype",
          "[analysis][quantize]") {
  const Stream stream = GENERATE(from_range(test::streams()));
  const DType dtype = GENERATE_COPY(from_range(test::dtypes(stream)));
  constexpr std::int64_t T = 3, N = 6, C = 200;  // groups of 128 and of 72
  const Tensor x = test::random({N, C}, dtype, 4);
  const auto xs = test::values(x);
  const auto want = [&](std::size_t group_width, std::size_t groups, auto round) {
    auto y = xs;  // `groups` groups of a width and the rest of the row, or whole rows
    for (std::size_t begin = 0; begin < y.size(); begin += groups * group_width)
      round(std::span(y).subspan(begin, groups * group_width));
    return y;
  };
  const auto check = [&](Grid grid, const std::vector<double>& y) {
    const auto got = test::values(on_grid(stream, test::on(stream, x), grid, T));
    const double tolerance = dtype == DType::kBF16 ? 1.0 / 256 : dtype == DType::kF32 ? 1e-6 : 1e-14;
    for (std::size_t i = 0; i < y.size(); ++i) CHECK(got[i] == Approx(y[i]).epsilon(tolerance).margin(1e-12));
  };
  check(Grid::kNone, xs);
  check(Grid::kInt8Tensor, want(C, T, [](auto group) { round_to_int8(group); }));
  check(Grid::kInt8Row, want(C, 1, [](auto group) { round_to_int8(group); }));
  check(Grid::kE4m3Tensor, want(C, T, [](auto group) { round_to_e4m3(group); }));
  check(Grid::kInt4Group, want(C, 1, [](auto row) {
          round_to_int4(row.first(128));
          round_to_int4(row.subspan(128));
        }));
}

TEST_CASE("stacked weights have a scale each, and a quantizer rounds both factors of its scheme",
          "[analysis][quantize]") {
  ModelConfig c = test::tiny_config();
  const Stream stream = Stream::cpu(2);
  Decoder model(c);
  model.params().allocate(stream, DType::kF64, false);
  model.params().init(1);
  const Param* qkv = nullptr;
  for (const Param& p : model.params().all())
    if (p.name() == "model.layers.0.self_attn.q_proj.weight") qkv = &p;
  REQUIRE(qkv != nullptr);
  for (double& k : split_parts(*qkv, qkv->value)[1].tensor.span<double>()) k *= 100;

  const Tensor input = test::random({2 * c.context, c.d_model}, DType::kF64, 2);
  for (const QuantizationScheme& scheme : kSchemes) {
    CAPTURE(scheme.name);
    Quantizer quantizer(stream, scheme, c.context);
    Tensor x = input, values = qkv->value;
    quantizer.product(*qkv, x, values);
    CHECK(test::values(x) == test::values(on_grid(stream, input, scheme.activations, c.context)));
    const auto parts = split_parts(*qkv, values), exact = split_parts(*qkv, qkv->value);
    for (std::size_t i = 0; i < parts.size(); ++i)
      CHECK(test::values(parts[i].tensor) ==
            test::values(on_grid(stream, exact[i].tensor, scheme.weights, exact[i].tensor.shape()[0])));
  }
  CHECK(test::values(input) == test::values(test::random({2 * c.context, c.d_model}, DType::kF64, 2)));
}

}  // namespace spikesink
