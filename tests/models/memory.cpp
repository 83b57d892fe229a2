#include <catch2/catch.hpp>

#include "tests/models/support.h"

namespace spikesink {

// What a training pass keeps for the way back is the sum of its ops' capture lists. A step that captured a whole Var,
// or an activation too many, gives right gradients and fails here. Sizes are such that the pool rounds nothing up.
TEST_CASE("a pass keeps exactly the activations that its backward needs", "[models][memory]") {
  const ModelConfig c = test::countable_config(16, 128);
  const Stream stream = Stream::cpu(2);
  Decoder model(c);
  model.params().allocate(stream, DType::kF32, true);
  model.params().init(1);
  const std::int64_t B = 2, T = c.context, N = B * T, C = c.d_model, H = 4, W = (4 + 2 * 2) * 16, F = 128;
  const Tensor tokens = stream.zeros({N}, DType::kI32), targets = stream.zeros({N}, DType::kI32);

  const std::int64_t before = stream.pool->live_bytes();
  Pass pass(stream, {B, T});
  const Tensor loss = [&] {
    const Var hidden = model.hidden(pass, tokens);
    return model.loss(pass, hidden, targets, 1.0);
  }();
  const std::int64_t attention = N * C + N         // its norm: input and 1/rms
                                 + N * C           // normed, for q, k, v
                                 + N * W           // q, k, v
                                 + N * C + N * H,  // heads' output, for itself and o_proj; log-sum-exp
      ffn = N * C + N + N * C                      // as above
            + N * 2 * F + N * F,                   // gate and up; their product, for down
      end = N * C + N                              // final norm
            + N * C                                // dx of the loss
            + N;                                   // the losses, held here
  CHECK(stream.pool->live_bytes() - before == 4 * (c.n_layers * (attention + ffn) + end));

  pass.backward();
  CHECK(stream.pool->live_bytes() - before == 4 * N);  // the losses
}

TEST_CASE("cheap recomputation keeps no output of a norm, an activation function or a gate", "[models][memory]") {
  ModelConfig c = test::countable_config(32, 256);
  const std::int64_t B = 2, N = B * c.context, C = c.d_model, W = (4 + 2 * 2) * 32, HD = 4 * 32, F = 256;
  std::int64_t saved = 2 * N * C + N * F;  // what q, k, v and the FFN's first product read; what its second one does
  SECTION("Llama") {}
  SECTION("normed outputs are read by a sum, which keeps nothing anyway") { c.norm.output = true; }
  SECTION("LayerNorm and GeLU") {
    c.norm.kind = NormKind::kLayerNorm;
    c.ffn.kind = FfnKind::kGelu;
  }
  SECTION("DynamicTanh") { c.norm.kind = NormKind::kDynamicTanh; }
  SECTION("a gate, which reads the normed input too, and QK-norm") {
    c.norm.qk = QkNorm::kHead;
    c.attention.gate = {.source = GateSource::kConditional, .granularity = GateGranularity::kChannel};
    saved += N * W + N * HD;  // normed q, k, v; gated heads
  }
  const Stream stream = Stream::cpu(2);
  const auto kept = [&](Recompute recompute) {
    Decoder model(c, recompute);
    model.params().allocate(stream, DType::kF32, true);
    model.params().init(1);
    const Tensor tokens = stream.zeros({N}, DType::kI32), targets = stream.zeros({N}, DType::kI32);
    const std::int64_t before = stream.pool->live_bytes();
    Pass pass(stream, {B, c.context});
    const Tensor loss = model.loss(pass, model.hidden(pass, tokens), targets, 1.0);
    const std::int64_t after = stream.pool->live_bytes();
    pass.backward();
    CHECK(stream.pool->live_bytes() - before == 4 * N);  // the losses
    return after - before;
  };
  CHECK(kept(Recompute::kNone) - kept(Recompute::kCheap) == 4 * c.n_layers * saved);
}

TEST_CASE("a forward-only pass keeps nothing but what it gives", "[models][memory]") {
  const ModelConfig c = test::tiny_config();
  const Stream stream = Stream::cpu(1);
  Decoder model(c, GENERATE(Recompute::kNone, Recompute::kCheap));
  model.params().allocate(stream, DType::kF32, false);
  model.params().init(1);
  const Tensor tokens = stream.zeros({c.context}, DType::kI32);
  const std::int64_t before = stream.pool->live_bytes();
  Pass pass(stream, {1, c.context}, Pass::Mode::kForwardOnly);
  const Var hidden = model.hidden(pass, tokens);
  CHECK(stream.pool->live_bytes() - before == (hidden.value.bytes() + 63) / 64 * 64);
}

}  // namespace spikesink
