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
void reference_step(Reference& r, const std::vector<double>& grad, const kernels::AdamW& a, double decay) {
  for (std::size_t i = 0; i < grad.size(); ++i) {
    const double g = grad[i] * a.grad_scale;
    r.m[i] = a.beta1 * r.m[i] + (1 - a.beta1) * g;
    r.v[i] = a.beta2 * r.v[i] + (1 - a.beta2) * g * g;
    const double m_hat = r.m[i] / (1 - std::pow(a.beta1, a.step)), v_hat = r.v[i] / (1 - std::pow(a.beta2, a.step));
    r.weight[i] -= a.lr * decay * r.weight[i];
    r.weight[i] -= a.lr * m_hat / (std::sqrt(v_hat) + a.eps);
  }
}

AdamWSegment segment(std::int64_t n, DType dtype, std::uint64_t seed, double decay) {
  return {.weight = random({n}, dtype, seed),
          .grad = poisoned({n}, dtype),
          .m = filled({n}, dtype, 0),
          .v = filled({n}, dtype, 0),
          .weight_decay = decay};
}
}  // namespace

TEST_CASE("adamw follows the paper over several steps, segments of all sizes and any number of threads",
          "[kernels][optim]") {
  const DType dtype = GENERATE(DType::kF32, DType::kF64);
  const Stream stream = Stream::cpu(GENERATE(1, 2, 4));
  CAPTURE(name_of(dtype), stream.num_threads);
  std::vector<AdamWSegment> segments{segment(1, dtype, 1, 0.1), segment(100003, dtype, 2, 0.1), segment(7, dtype, 3, 0),
                                     segment(0, dtype, 4, 0), segment(300, dtype, 5, 0.3)};
  std::vector<Reference> want;
  for (const auto& s : segments) want.push_back({values(s.weight), values(s.m), values(s.v)});
  for (std::int64_t step = 1; step <= 4; ++step) {
    const kernels::AdamW args{
        .segments = segments, .lr = 0.01, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .step = step, .grad_scale = 0.5};
    for (std::size_t i = 0; i < segments.size(); ++i) {
      segments[i].grad = random(segments[i].weight.shape(), dtype, 10 * static_cast<std::uint64_t>(step) + i);
      reference_step(want[i], values(segments[i].grad), args, segments[i].weight_decay);
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

TEST_CASE("adamw refuses step 0, a beta of 1 and moments of another shape", "[kernels][optim]") {
  const Stream stream = Stream::cpu(1);
  AdamWSegment s = segment(3, DType::kF32, 1, 0);
  const auto run = [&](std::int64_t step, double beta2) {
    kernels::adamw(stream, {.segments = {&s, 1}, .lr = 0.1, .beta1 = 0.9, .beta2 = beta2, .eps = 1e-8, .step = step});
  };
  CHECK_THROWS_WITH(run(0, 0.95), Catch::Contains("adamw step"));
  CHECK_THROWS_WITH(run(1, 1), Catch::Contains("adamw betas"));
  s.v = empty({2}, DType::kF32);
  CHECK_THROWS_WITH(run(1, 0.95), Catch::Contains("adamw v"));
}
