#include "kernels/optim/adamw.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;
using kernels::AdamWSegment;

namespace {
struct Reference {
  std::vector<double> weight, m, v;
};

/// One element after another, with the moments' bias taken out as the paper writes it.
void reference_step(Reference& r, const std::vector<double>& grad, const kernels::AdamW& a, double decay,
                    double factor) {
  for (std::size_t i = 0; i < grad.size(); ++i) {
    const double g = grad[i] * factor;
    r.m[i] = a.beta1 * r.m[i] + (1 - a.beta1) * g;
    r.v[i] = a.beta2 * r.v[i] + (1 - a.beta2) * g * g;
    const double m_hat = r.m[i] / (1 - std::pow(a.beta1, a.step)), v_hat = r.v[i] / (1 - std::pow(a.beta2, a.step));
    r.weight[i] -= a.lr * decay * r.weight[i];
    r.weight[i] -= a.lr * m_hat / (std::sqrt(v_hat) + a.eps);
  }
}

/// How a segment is stored.
enum class Storage { kPlain, kMaster, kBF16 };

AdamWSegment segment(const Stream& stream, std::int64_t n, DType dtype, std::uint64_t seed, double decay,
                     Storage storage = Storage::kPlain) {
  const DType weight = storage == Storage::kPlain ? dtype : DType::kBF16,
              state = storage == Storage::kBF16 ? DType::kBF16 : dtype;
  AdamWSegment s{.weight = on(stream, random({n}, weight, seed)),
                 .grad = on(stream, poisoned({n}, acc_dtype(weight))),
                 .m = on(stream, filled({n}, state, 0)),
                 .v = on(stream, filled({n}, state, 0)),
                 .weight_decay = decay};
  if (storage == Storage::kMaster) s.master = on(stream, random({n}, DType::kF32, seed));
  return s;
}

AdamWSegment segment(std::int64_t n, DType dtype, std::uint64_t seed, double decay) {
  return segment(Stream::cpu(1), n, dtype, seed, decay);
}

Tensor squares(const Stream& stream, double value) { return on(stream, filled({1}, DType::kF64, value)); }

/// A part of the segment from element `offset` on, as a shard or a badly aligned parameter is.
AdamWSegment part(const AdamWSegment& s, std::int64_t offset) {
  const auto of = [&](const Tensor& t) { return t ? t.slice(offset, {t.numel() - offset}) : t; };
  AdamWSegment p = s;
  p.weight = of(s.weight), p.grad = of(s.grad), p.m = of(s.m), p.v = of(s.v), p.master = of(s.master);
  p.first = s.first + offset;
  return p;
}

AdamWSegment copy_of(const AdamWSegment& s) {
  AdamWSegment c = s;
  c.weight = copy(s.weight), c.grad = copy(s.grad), c.m = copy(s.m), c.v = copy(s.v);
  if (s.master) c.master = copy(s.master);
  return c;
}
bool same_state(const AdamWSegment& a, const AdamWSegment& b) {
  return same_bits(a.weight, b.weight) && same_bits(a.m, b.m) && same_bits(a.v, b.v) &&
         (!a.master || same_bits(a.master, b.master));
}
}  // namespace

TEST_CASE("adamw follows the paper over several steps, segments of all sizes and any number of threads",
          "[kernels][optim]") {
  const Stream stream = GENERATE(from_range(streams()));
  const DType dtype =
      GENERATE_COPY(from_range(stream.device == Device::kCpu ? dtypes(stream) : std::vector{DType::kF32}));
  CAPTURE(name_of(stream.device), name_of(dtype), stream.num_threads);
  // Several blocks, a tail behind the last wide access, and an odd offset that no wide access is aligned to.
  std::vector<AdamWSegment> segments{segment(stream, 1, dtype, 1, 0.1),   segment(stream, 20003, dtype, 2, 0.1),
                                     segment(stream, 7, dtype, 3, 0),     segment(stream, 0, dtype, 4, 0),
                                     segment(stream, 300, dtype, 5, 0.3), segment(stream, 8195, dtype, 6, 0.1),
                                     segment(stream, 8192, dtype, 7, 0.1)};
  segments.push_back(part(segment(stream, 8200, dtype, 8, 0.2), 1));
  for (std::uint64_t i = 0; i < 50; ++i) segments.push_back(segment(stream, 5, dtype, 20 + i, 0.1));  // two tables
  std::vector<Reference> want;
  for (const auto& s : segments) want.push_back({values(s.weight), values(s.m), values(s.v)});
  for (std::int64_t step = 1; step <= 3; ++step) {
    // The norm 4 is clipped to 2 in the second step, 1 is left in the others.
    const kernels::AdamW args{.segments = segments,
                              .lr = 0.01,
                              .beta1 = 0.9,
                              .beta2 = 0.95,
                              .eps = 1e-8,
                              .step = step,
                              .grad_squares = squares(stream, step == 2 ? 16 : 1),
                              .clip = 2};
    for (std::size_t i = 0; i < segments.size(); ++i) {
      const Tensor grad = random(segments[i].weight.shape(), dtype, 100 * static_cast<std::uint64_t>(step) + i);
      stream.copy(segments[i].grad, grad);
      reference_step(want[i], values(grad), args, segments[i].weight_decay, step == 2 ? 0.5 : 1);
    }
    kernels::adamw(stream, args);
  }
  for (std::size_t i = 0; i < segments.size(); ++i) {
    CAPTURE(i);
    check_close(segments[i].m, want[i].m, 8, 0.1);
    check_close(segments[i].v, want[i].v, 16, 0);
    check_close(segments[i].weight, want[i].weight, 8);
  }
}

TEST_CASE("adamw with a master updates it as it does an f32 weight, and the weight is the master rounded",
          "[kernels][optim][cuda]") {
  if (!has_gpu()) return skipped();
  const Stream stream = cuda_stream();
  const std::int64_t n = 9001;
  const AdamWSegment start = segment(stream, n, DType::kF32, 1, 0.1, Storage::kMaster);
  stream.copy(start.grad, random({n}, DType::kF32, 2));
  const std::int64_t offset = GENERATE(0, 1);
  const auto [weight, master, m, v] = repeated(stream, [&] {
    const AdamWSegment s = part(copy_of(start), offset);
    kernels::adamw(stream, {.segments = {&s, 1}, .lr = 0.1, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .step = 3});
    return std::array{copy(s.weight), copy(s.master), copy(s.m), copy(s.v)};
  });
  AdamWSegment plain = part(copy_of(start), offset);
  plain.weight = plain.master, plain.master = {};
  kernels::adamw(stream, {.segments = {&plain, 1}, .lr = 0.1, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .step = 3});
  CHECK(same_bits(master, plain.weight));
  CHECK(same_bits(m, plain.m));
  CHECK(same_bits(v, plain.v));
  CHECK(same_bits(weight, from_values(weight.shape(), DType::kBF16, values(master))));
}

TEST_CASE("adamw in bf16 without a master rounds to a neighbour, right in the mean", "[kernels][optim][cuda]") {
  if (!has_gpu()) return skipped();
  const Stream stream = cuda_stream();
  const std::int64_t n = 20000;
  // All elements alike: the weight 1 becomes 1 - 0.001, whose neighbours are 1 - 2^-8 and 1; m = 0.1 * 0.3, v = 0.1 *
  // 0.09, none of which bf16 has. The nearest weight would be 1 again, for ever.
  AdamWSegment start = segment(stream, n, DType::kF32, 1, 0, Storage::kBF16);
  stream.copy(start.weight, filled({n}, DType::kBF16, 1));
  stream.copy(start.grad, filled({n}, DType::kF32, 0.3));
  start.first = 2 * (std::int64_t{1} << 33);
  const auto run = [&](std::uint64_t seed, std::int64_t step, std::int64_t offset = 0, bool realigned = false) {
    AdamWSegment s = part(copy_of(start), offset);
    if (realigned) s = copy_of(s);
    const double bias = 1 - std::pow(0.9, step);  // m and v from 0: |update| = lr whatever the step
    kernels::adamw(stream, {.segments = {&s, 1},
                            .lr = 0.001 * std::sqrt(bias / 0.1),
                            .beta1 = 0.9,
                            .beta2 = 0.9,
                            .eps = 0,
                            .step = step,
                            .seed = seed});
    return s;
  };
  const auto [weight, m, v] = repeated(stream, [&] {
    const AdamWSegment s = run(7, 1);
    return std::array{s.weight, s.m, s.v};
  });
  const auto check_mean = [&](const Tensor& t, double want) {
    double mean = 0, low = INFINITY, high = -INFINITY;
    for (const double x : values(t)) {
      mean += x / static_cast<double>(n);
      low = std::min(low, x);
      high = std::max(high, x);
    }
    CAPTURE(want, low, high, mean);
    CHECK((low < want && want < high));
    CHECK(high - low <= 0x1p-7 * want);  // neighbours
    CHECK(mean == Approx(want).margin(5 * (high - low) / 2 / std::sqrt(n)));
  };
  check_mean(weight, 0.999);
  check_mean(m, 0.03);
  check_mean(v, 0.009);

  // Each of the three has draws of its own, and so has each of two neighbours, which share one of Philox.
  const auto ws = values(weight), ms = values(m), vs = values(v);
  const auto agreement = [&](auto up_a, auto up_b) {
    double same = 0;
    for (std::size_t i = 0; i + 1 < static_cast<std::size_t>(n); i += 2) same += up_a(i) == up_b(i);
    return same / (static_cast<double>(n) / 2);
  };
  const auto share = [&](auto up) {
    double sum = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) sum += up(i);
    return sum / static_cast<double>(n);
  };
  const auto w_up = [&](std::size_t i) { return ws[i] > 0.999; };
  const auto w_next_up = [&](std::size_t i) { return ws[i + 1] > 0.999; };
  const auto m_up = [&](std::size_t i) { return ms[i] > 0.03; };
  const auto v_up = [&](std::size_t i) { return vs[i] > 0.009; };
  const auto independent = [&](auto a, auto b, double p, double q) {
    CHECK(agreement(a, b) == Approx(p * q + (1 - p) * (1 - q)).margin(0.035));  // five standard deviations and more
  };
  independent(w_up, m_up, share(w_up), share(m_up));
  independent(w_up, v_up, share(w_up), share(v_up));
  independent(m_up, v_up, share(m_up), share(v_up));
  independent(w_up, w_next_up, share(w_up), share(w_up));

  // Numbers belong to the element, not to the way that segments are cut, and other steps and seeds have others.
  CHECK(same_bits(run(7, 1, 1).weight, weight.slice(1, {n - 1})));
  CHECK(same_bits(run(7, 1, 1, true).weight, weight.slice(1, {n - 1})));
  CHECK(same_bits(run(7, 1, 4098).m, m.slice(4098, {n - 4098})));
  CHECK_FALSE(same_bits(run(8, 1).weight, weight));
  CHECK_FALSE(same_bits(run(7, 2).weight, weight));
  CHECK_FALSE(same_bits(run(std::uint64_t{1} << 32 | 7, 1).weight, weight));
}

TEST_CASE("adamw changes nothing if the norm of the gradients or the loss is not finite", "[kernels][optim]") {
  const Stream stream = GENERATE(from_range(streams()));
  const auto [norm, loss] = GENERATE(table<double, double>(
      {{INFINITY, 1}, {NAN, 1}, {1, INFINITY}, {1, -INFINITY}, {1, NAN}, {NAN, INFINITY}, {1, 1}}));
  const double clip = GENERATE(0.0, 1.0);
  std::vector<AdamWSegment> segments{segment(stream, 100, DType::kF32, 1, 0.1)};
  if (stream.device == Device::kCuda) {
    segments.push_back(segment(stream, 100, DType::kF32, 2, 0.1, Storage::kMaster));
    segments.push_back(segment(stream, 100, DType::kF32, 3, 0.1, Storage::kBF16));
  }
  std::vector<AdamWSegment> before;
  for (const auto& s : segments) before.push_back(copy_of(s));
  kernels::adamw(stream, {.segments = segments,
                          .lr = 0.1,
                          .beta1 = 0.9,
                          .beta2 = 0.95,
                          .eps = 1e-8,
                          .step = 1,
                          .grad_squares = squares(stream, norm),
                          .loss = squares(stream, loss),
                          .clip = clip});
  const bool changes = norm == 1 && loss == 1;
  for (std::size_t i = 0; i < segments.size(); ++i) CHECK(same_state(segments[i], before[i]) != changes);
}

TEST_CASE("adamw keeps infinity and NaN in bf16 states", "[kernels][optim][cuda]") {
  if (!has_gpu()) return skipped();
  const Stream stream = cuda_stream();
  const AdamWSegment s = segment(stream, 4, DType::kF32, 1, 0, Storage::kBF16);
  stream.copy(s.grad, from_values({4}, DType::kF32, {NAN, -NAN, INFINITY, 1}));
  kernels::adamw(stream, {.segments = {&s, 1}, .lr = 0.1, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .step = 1});
  const auto m = values(s.m);
  CHECK((std::isnan(m[0]) && std::isnan(m[1])));
  CHECK(m[2] == INFINITY);
  CHECK(std::isfinite(m[3]));
}

TEST_CASE("the first step of adamw moves every weight by lr against its gradient, whatever its size",
          "[kernels][optim]") {
  AdamWSegment s = segment(3, DType::kF64, 1, 0);
  s.weight = filled({3}, DType::kF64, 1);
  s.grad = from_values({3}, DType::kF64, {1e-6, -3, 1e6});
  kernels::adamw(Stream::cpu(1), {.segments = {&s, 1}, .lr = 0.1, .beta1 = 0.9, .beta2 = 0.999, .eps = 0, .step = 1});
  check_close(s.weight, {0.9, 1.1, 0.9}, 8);
}

TEST_CASE("the decay of adamw is apart from the gradient", "[kernels][optim]") {
  AdamWSegment s = segment(1, DType::kF64, 1, 0.5);
  s.weight = filled({1}, DType::kF64, 2);
  s.grad = filled({1}, DType::kF64, 0);
  kernels::adamw(Stream::cpu(1),
                 {.segments = {&s, 1}, .lr = 0.1, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .step = 9});
  check_close(s.weight, {2 * (1 - 0.1 * 0.5)}, 2);
  CHECK(values(s.m)[0] == 0);
}

TEST_CASE("adamw refuses step 0, a beta of 1, clipping without a norm and states of another shape or kind",
          "[kernels][optim]") {
  const Stream stream = Stream::cpu(1);
  AdamWSegment s = segment(3, DType::kF32, 1, 0);
  const auto run = [&](std::int64_t step, double beta2) {
    kernels::adamw(stream, {.segments = {&s, 1}, .lr = 0.1, .beta1 = 0.9, .beta2 = beta2, .eps = 1e-8, .step = step});
  };
  CHECK_THROWS_WITH(run(0, 0.95), Catch::Contains("adamw step"));
  CHECK_THROWS_WITH(run(1, 1), Catch::Contains("adamw betas"));
  CHECK_THROWS_WITH(
      kernels::adamw(stream,
                     {.segments = {&s, 1}, .lr = 0.1, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .step = 1, .clip = 1}),
      Catch::Contains("adamw grad_squares"));
  s.v = empty({2}, DType::kF32);
  CHECK_THROWS_WITH(run(1, 0.95), Catch::Contains("adamw v"));
  s = segment(3, DType::kF32, 1, 0);
  s.master = s.weight;
  CHECK_THROWS_WITH(run(1, 0.95), Catch::Contains("adamw master"));
}
