#include "kernels/init/initialise.h"
#include "kernels/loss/loss_sum.h"
#include "kernels/metrics/gate_statistics.h"
#include "kernels/metrics/magnitudes.h"
#include "kernels/optim/adamw.h"
#include "kernels/optim/sum_of_squares.h"
#include "kernels/shards/sum_of_parts.h"
#include "trainer/bench/cases.h"

namespace spikesink::bench {
using namespace kernels;

void time_adamw(Bench& b) {
  struct Form {
    const char* name;
    DType weight, moments;
    bool master;
  };
  std::vector<Form> forms{{"step", b.dtype, b.dtype, false}};
  if (b.dtype == DType::kBF16)
    forms = {{"step, f32 state", DType::kBF16, DType::kF32, true},
             {"step, bf16 state", DType::kBF16, DType::kBF16, false},
             {"step, f32 weights", DType::kF32, DType::kF32, false}};
  for (const Form& form : forms) {
    const std::int64_t n = b.num_parameters(20);
    const Tensor weight = b.zeros({n}, form.weight), m = b.zeros({n}, form.moments), v = b.zeros({n}, form.moments);
    const Tensor grad = b.zeros({n}, acc_dtype(form.weight));
    initialise(b.stream, {.out = grad, .std = 1e-3});
    const Tensor master = form.master ? b.zeros({n}, DType::kF32) : Tensor{};
    const std::vector<AdamWSegment> segments{
        {.weight = weight, .grad = grad, .m = m, .v = v, .master = master, .weight_decay = 0.1}};
    const Bound bound =
        form.master ? moved({weight, grad, m, m, v, v, master, master}) : moved({weight, weight, grad, m, m, v, v});
    std::int64_t step = 0;
    b.time(form.name, by({n}), bound, [&] {
      adamw(b.stream, {.segments = segments, .lr = 1e-4, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .step = ++step});
    });
  }
}

void time_sum_of_squares(Bench& b) {
  const std::int64_t n = b.num_parameters(8);
  const std::vector<Tensor> grads{b.zeros({n}, b.acc())};
  const Tensor total = b.zeros({1}, DType::kF64);
  b.time("forward", by({n}), moved({grads[0]}), [&] { sum_of_squares(b.stream, {.total = total, .tensors = grads}); });
}

void time_sum_of_parts(Bench& b) {
  constexpr std::int64_t kRanks = 8;
  const std::int64_t n = b.sizes.ffn_N * b.sizes.C / kRanks;
  const Tensor y = b.zeros({n}, b.acc()), parts = b.normal({kRanks, n});
  b.time("forward", by({kRanks, n}), moved({y, parts}), [&] { sum_of_parts(b.stream, {.y = y, .parts = parts}); });
}

void time_magnitudes(Bench& b) {
  const std::int64_t T = std::min(b.sizes.N, b.sizes.T), B = b.sizes.N / T, C = b.sizes.C;
  const Tensor x = b.normal({B * T, C}), channels = b.zeros({B, C}, b.acc()), tokens = b.zeros({B, T}, b.acc());
  const Tensor medians = b.zeros({B}, b.acc());
  b.time("forward", by({B, T, C}), moved({channels, tokens, medians, x}), [&] {
    magnitudes(b.stream, {.channel_max = channels, .token_max = tokens, .median = medians, .x = x, .length = T});
  });
}

void time_gate_statistics(Bench& b) {
  const std::int64_t T = std::min(b.sizes.N, b.sizes.T), B = b.sizes.N / T, C = b.sizes.C, H = 8;
  const Tensor logits = b.normal({B * T, C});  // of a gate a channel
  const Tensor mean = b.zeros({B, H}, b.acc()), variance = b.zeros({B, H}, b.acc()), first = b.zeros({B, H}, b.acc());
  const Tensor counts = b.zeros({B, H, kGateBins}, DType::kI32);
  b.time("forward", by({B, T, C}), moved({logits, mean, variance, first, counts}), [&] {
    gate_statistics(
        b.stream,
        {.mean = mean, .variance = variance, .first = first, .counts = counts, .logits = logits, .length = T});
  });
}

void time_loss_sum(Bench& b) {
  const std::int64_t N = b.sizes.N;
  const Tensor total = b.zeros({1}, DType::kF64), losses = b.zeros({N}, b.acc());
  b.time("forward", by({N}), moved({losses}), [&] { loss_sum(b.stream, {.total = total, .losses = losses}); });
}

void time_initialise(Bench& b) {
  const Tensor t = b.zeros({b.sizes.ffn_N, b.sizes.C});
  b.time("forward", by({t.shape()[0], t.shape()[1]}), moved({t}), [&] { initialise(b.stream, {.out = t, .std = 1}); });
}

}  // namespace spikesink::bench
