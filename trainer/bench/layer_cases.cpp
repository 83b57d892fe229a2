#include <utility>

#include "kernels/elementwise/add.h"
#include "kernels/elementwise/bias.h"
#include "kernels/elementwise/round.h"
#include "kernels/elementwise/scale.h"
#include "kernels/embed/embedding.h"
#include "kernels/ffn/gelu.h"
#include "kernels/ffn/silu_mul.h"
#include "kernels/gate/gate.h"
#include "kernels/init/initialise.h"
#include "kernels/norm/dynamic_tanh.h"
#include "kernels/norm/layer_norm.h"
#include "kernels/norm/rms_norm.h"
#include "kernels/rope/qk_norm_rope.h"
#include "kernels/rope/rope.h"
#include "trainer/bench/cases.h"

namespace spikesink::bench {
using namespace kernels;

void time_rms_norm(Bench& b) {
  const std::int64_t N = b.sizes.N, C = b.sizes.C;
  const Tensor y = b.zeros({N, C}), x = b.normal({N, C}), dy = b.normal({N, C}), rstd = b.zeros({N}, b.acc());
  const Tensor weight = b.normal({C}, 1, 0.1), dweight = b.zeros({C}, b.acc());
  b.time("forward", by({N, C}), moved({y, rstd, x}),
         [&] { rms_norm_forward(b.stream, {.y = y, .rstd = rstd, .x = x, .weight = weight, .eps = 1e-5}); });
  RmsNormBackward backward{.dx = y, .dweight = dweight, .dy = dy, .x = x, .weight = weight, .rstd = rstd};
  b.time("backward", by({N, C}), moved({y, dy, x, rstd}), [&] { rms_norm_backward(b.stream, backward); });
  backward.accumulate = true;  // as in a residual
  b.time("backward, adding", by({N, C}), moved({y, y, dy, x, rstd}), [&] { rms_norm_backward(b.stream, backward); });
}

void time_layer_norm(Bench& b) {
  const std::int64_t N = b.sizes.N, C = b.sizes.C;
  const Tensor y = b.zeros({N, C}), x = b.normal({N, C}), dy = b.normal({N, C});
  const Tensor mean = b.zeros({N}, b.acc()), rstd = b.zeros({N}, b.acc());
  const Tensor weight = b.normal({C}, 1, 0.1), dweight = b.zeros({C}, b.acc());
  const Tensor bias = b.normal({C}), dbias = b.zeros({C}, b.acc());
  b.time("forward", by({N, C}), moved({y, mean, rstd, x}), [&] {
    layer_norm_forward(b.stream,
                       {.y = y, .mean = mean, .rstd = rstd, .x = x, .weight = weight, .bias = bias, .eps = 1e-5});
  });
  LayerNormBackward backward{
      .dx = y, .dweight = dweight, .dbias = dbias, .dy = dy, .x = x, .weight = weight, .mean = mean, .rstd = rstd};
  b.time("backward", by({N, C}), moved({y, dy, x, mean, rstd}), [&] { layer_norm_backward(b.stream, backward); });
  backward.accumulate = true;
  b.time("backward, adding", by({N, C}), moved({y, y, dy, x, mean, rstd}),
         [&] { layer_norm_backward(b.stream, backward); });
}

void time_dynamic_tanh(Bench& b) {
  const std::int64_t N = b.sizes.N, C = b.sizes.C;
  const Tensor y = b.zeros({N, C}), x = b.normal({N, C}), dy = b.normal({N, C});
  const Tensor weight = b.normal({C}, 1, 0.1), dweight = b.zeros({C}, b.acc());
  const Tensor alpha = b.normal({1}, 0.8, 0), dalpha = b.zeros({1}, b.acc());
  b.time("forward", by({N, C}), moved({y, x}),
         [&] { dynamic_tanh_forward(b.stream, {.y = y, .x = x, .weight = weight, .bias = {}, .alpha = alpha}); });
  DynamicTanhBackward backward{
      .dx = y, .dweight = dweight, .dbias = {}, .dalpha = dalpha, .dy = dy, .x = x, .weight = weight, .alpha = alpha};
  b.time("backward", by({N, C}), moved({y, dy, x}), [&] { dynamic_tanh_backward(b.stream, backward); });
  backward.accumulate = true;
  b.time("backward, adding", by({N, C}), moved({y, y, dy, x}), [&] { dynamic_tanh_backward(b.stream, backward); });
}

void time_rope(Bench& b) {
  const std::int64_t N = b.sizes.qk_N, D = 128, H = b.sizes.C / D, W = 3 * H * D, T = std::min(N, b.sizes.T);
  const Tensor y = b.zeros({N, W}), x = b.normal({N, W});
  b.time("forward", by({N, W}), moved({y, x}), [&] {
    rope_forward(b.stream, {.y = y, .x = x, .num_heads = 2 * H, .d_head = D, .length = T, .theta = 10000});
  });
  b.time("backward", by({N, W}), moved({y, x}), [&] {
    rope_backward(b.stream, {.dx = y, .dy = x, .num_heads = 2 * H, .d_head = D, .length = T, .theta = 10000});
  });
}

void time_qk_norm_rope(Bench& b) {
  const std::int64_t N = b.sizes.qk_N, D = 128, H = b.sizes.C / D, W = 3 * H * D, T = std::min(N, b.sizes.T);
  const Tensor y = b.zeros({N, W}), x = b.normal({N, W}), dy = b.normal({N, W});
  for (const QkNormMode mode : {QkNormMode::kHead, QkNormMode::kFull}) {
    const bool head = mode == QkNormMode::kHead;
    const Tensor rstd = b.zeros({N, head ? 2 * H : 2}, b.acc());
    const Tensor weight = b.normal({head ? D : H * D}, 1, 0.1), dweight = b.zeros({head ? D : H * D}, b.acc());
    const Tensor dk_weight = b.zeros({head ? D : H * D}, b.acc());
    const std::string name = head ? ", head" : ", full";
    b.time("forward" + name, by({N, W}), moved({y, rstd, x}), [&] {
      qk_norm_rope_forward(b.stream, {.y = y,
                                      .rstd = rstd,
                                      .x = x,
                                      .q_weight = weight,
                                      .k_weight = weight,
                                      .n_heads = H,
                                      .n_kv_heads = H,
                                      .d_head = D,
                                      .length = T,
                                      .theta = 10000,
                                      .eps = 1e-5,
                                      .mode = mode});
    });
    b.time("backward" + name, by({N, W}), moved({y, dy, x, rstd}), [&] {
      qk_norm_rope_backward(b.stream, {.dx = y,
                                       .dq_weight = dweight,
                                       .dk_weight = dk_weight,
                                       .dy = dy,
                                       .x = x,
                                       .rstd = rstd,
                                       .q_weight = weight,
                                       .k_weight = weight,
                                       .n_heads = H,
                                       .n_kv_heads = H,
                                       .d_head = D,
                                       .length = T,
                                       .theta = 10000,
                                       .mode = mode});
    });
  }
}

void time_silu_mul(Bench& b) {
  const std::int64_t N = b.sizes.ffn_N, F = b.sizes.F;
  const Tensor y = b.zeros({N, F}), x = b.normal({N, 2 * F}), dx = b.zeros({N, 2 * F});
  b.time("forward", by({N, F}), moved({y, x}), [&] { silu_mul_forward(b.stream, {.y = y, .gate_up = x}); });
  b.time("backward", by({N, F}), moved({dx, y, x}),
         [&] { silu_mul_backward(b.stream, {.dgate_up = dx, .dy = y, .gate_up = x}); });
}

void time_gelu(Bench& b) {
  const std::int64_t N = b.sizes.ffn_N, F = b.sizes.F;
  const Tensor y = b.zeros({N, F}), x = b.normal({N, F}), dy = b.normal({N, F});
  for (const auto& [name, form] : {std::pair(", exact", GeluForm::kExact), std::pair(", tanh", GeluForm::kTanh)}) {
    b.time(std::string("forward") + name, by({N, F}), moved({y, x}),
           [&, form = form] { gelu_forward(b.stream, {.y = y, .x = x, .form = form}); });
    b.time(std::string("backward") + name, by({N, F}), moved({y, dy, x}),
           [&, form = form] { gelu_backward(b.stream, {.dx = y, .dy = dy, .x = x, .form = form}); });
  }
}

void time_gate(Bench& b) {
  const std::int64_t N = b.sizes.N, C = b.sizes.C, D = 128, H = C / D, T = std::min(N, b.sizes.T);
  const Tensor y = b.zeros({N, C}), x = b.normal({N, C}), dy = b.normal({N, C});
  struct Kind {
    const char* name;
    GateRows rows;
    std::int64_t R, G;
  };
  for (const auto& [name, rows, R, G] :
       {Kind{", channel", GateRows::kToken, N, C}, Kind{", head", GateRows::kToken, N, H},
        Kind{", single", GateRows::kToken, N, 1}, Kind{", constant channel", GateRows::kConstant, 1, C},
        Kind{", positional channel", GateRows::kPosition, T, C}}) {
    const Tensor logits = b.normal({R, G});
    const Tensor dlogits = b.zeros({R, G}, rows == GateRows::kToken ? b.dtype : b.acc());
    const GateForward forward{.y = y, .x = x, .logits = logits, .rows = rows, .n_heads = H, .d_head = D, .length = T};
    b.time(std::string("forward") + name, by({N, C}), moved({y, x, logits}), [&] { gate_forward(b.stream, forward); });
    const GateBackward backward{.dx = y,
                                .dlogits = dlogits,
                                .dy = dy,
                                .x = x,
                                .logits = logits,
                                .rows = rows,
                                .n_heads = H,
                                .d_head = D,
                                .length = T};
    b.time(std::string("backward") + name, by({N, C}), moved({y, dlogits, dy, x, logits}),
           [&] { gate_backward(b.stream, backward); });
  }
}

void time_add(Bench& b) {
  const std::int64_t N = b.sizes.N, C = b.sizes.C;
  const Tensor y = b.zeros({N, C}), x = b.normal({N, C}), z = b.normal({N, C});
  b.time("forward", by({N, C}), moved({y, x, z}), [&] { add(b.stream, {.y = y, .a = x, .b = z}); });
}

void time_round(Bench& b) {
  const std::int64_t N = b.sizes.N, C = b.sizes.C;
  const Tensor y = b.stream.empty({N, C}, DType::kBF16), x = b.stream.zeros({N, C}, DType::kF32);
  initialise(b.stream, {.out = x, .std = 1});
  b.time("f32 to bf16", by({N, C}), moved({y, x}), [&] { kernels::round(b.stream, {.y = y, .x = x}); });
}

void time_bias(Bench& b) {
  const std::int64_t N = b.sizes.N, C = b.sizes.C;
  const Tensor y = b.zeros({N, C}), x = b.normal({N, C}), bias = b.normal({C}), db = b.zeros({C}, b.acc());
  b.time("forward", by({N, C}), moved({y, x}), [&] { bias_forward(b.stream, {.y = y, .x = x, .b = bias}); });
  b.time("backward", by({N, C}), moved({x}), [&] { bias_backward(b.stream, {.db = db, .dy = x}); });
}

void time_scale(Bench& b) {
  const std::int64_t N = b.sizes.N, C = b.sizes.C;
  const Tensor y = b.zeros({N, C}), x = b.normal({N, C}), dy = b.normal({N, C});
  const Tensor s = b.normal({1}, 1, 0), ds = b.zeros({1}, b.acc());
  b.time("forward", by({N, C}), moved({y, x}), [&] { scale_forward(b.stream, {.y = y, .x = x, .s = s}); });
  b.time("backward", by({N, C}), moved({y, x, dy}),
         [&] { scale_backward(b.stream, {.dx = y, .ds = ds, .dy = dy, .x = x, .s = s}); });
}

void time_embedding(Bench& b) {
  const std::int64_t N = b.sizes.N, C = b.sizes.C, V = std::min<std::int64_t>(b.sizes.V, 32000);
  std::int64_t distinct = 0;
  const Tensor y = b.normal({N, C}), weight = b.normal({V, C}), dweight = b.zeros({V, C}, b.acc());
  const Tensor tokens = b.ids(N, V, &distinct);
  const double rows = product({distinct, C});
  const std::string shape = by({N, C}) + " of " + std::to_string(V);
  b.time("forward", shape, {.bytes = total_bytes({y, tokens}) + rows * static_cast<double>(size_of(b.dtype))},
         [&] { embedding_forward(b.stream, {.y = y, .tokens = tokens, .weight = weight}); });
  b.time("backward", shape, {.bytes = total_bytes({y, tokens}) + 2 * rows * static_cast<double>(size_of(b.acc()))},
         [&] { embedding_backward(b.stream, {.dweight = dweight, .dy = y, .tokens = tokens}); });
}

}  // namespace spikesink::bench
