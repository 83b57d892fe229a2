#include <cmath>
#include <functional>

#include "kernels/attention/attention.h"
#include "kernels/attention/flash.h"
#include "kernels/linear/linear.h"
#include "kernels/loss/linear_cross_entropy.h"
#include "kernels/metrics/attention_mass.h"
#include "trainer/bench/cases.h"

namespace spikesink::bench {
using namespace kernels;

void time_linear(Bench& b) {
  const std::int64_t N = b.sizes.ffn_N, C = b.sizes.C;
  for (const std::int64_t O : {C, 3 * C, b.sizes.F}) {
    const Tensor y = b.normal({N, O}), x = b.normal({N, C}), dx = b.zeros({N, C});
    const Tensor weight = b.normal({O, C}, 0, 0.02), dweight = b.zeros({O, C}, b.acc());
    const std::string shape = by({N, C}) + " to " + std::to_string(O);
    b.time("forward", shape, {.flops = 2 * product({N, C, O})},
           [&] { linear_forward(b.stream, {.y = y, .x = x, .weight = weight}); });
    b.time("backward", shape, {.flops = 4 * product({N, C, O})},
           [&] { linear_backward(b.stream, {.dx = dx, .dweight = dweight, .dy = y, .x = x, .weight = weight}); });
  }
}

namespace {
struct AttentionTensors {
  AttentionDims dims;
  Tensor out, lse, qkv, dqkv, dout, starts;
  double forward_flops;
  std::string shape;

  AttentionTensors(Bench& b, std::int64_t D, bool mask)
      : dims{.n_heads = std::max<std::int64_t>(b.sizes.C / D, 1),
             .n_kv_heads = std::max<std::int64_t>(b.sizes.C / D, 1),
             .d_head = D,
             .length = b.sizes.T,
             .scale = 1 / std::sqrt(static_cast<double>(D))} {
    const std::int64_t B = b.sizes.B, T = b.sizes.T, N = B * T;
    out = b.zeros({N, dims.out_width()});
    lse = b.zeros({B, dims.n_heads, T}, b.acc());
    qkv = b.normal({N, dims.qkv_width()});
    dqkv = b.zeros({N, dims.qkv_width()});
    dout = b.normal({N, dims.out_width()});
    if (mask) {  // four documents a sequence
      std::vector<std::int32_t> first;
      for (std::int64_t n = 0; n < N; ++n) first.push_back(static_cast<std::int32_t>(n % T / (T / 4) * (T / 4)));
      starts = b.upload(first);
    }
    const std::int64_t seen = mask ? T / 4 : T;
    forward_flops = 2 * product({N, seen + 1, dims.out_width()});
    shape = by({B, T, dims.n_heads, D});
  }
};
}  // namespace

void time_attention(Bench& b) {
  struct Kind {
    std::int64_t D;
    bool mask;
  };
  for (const auto& [D, mask] : {Kind{8}, Kind{16}, Kind{32}, Kind{64}, Kind{128}, Kind{256}, Kind{128, true}}) {
    const AttentionTensors t(b, D, mask);
    const AttentionForward forward{.out = t.out, .lse = t.lse, .qkv = t.qkv, .starts = t.starts, .dims = t.dims};
    const AttentionBackward backward{
        .dqkv = t.dqkv, .dout = t.dout, .out = t.out, .lse = t.lse, .qkv = t.qkv, .starts = t.starts, .dims = t.dims};
    const auto plan = attention_plan(b.stream, t.dims, t.qkv, t.starts);
    const std::string note = mask ? ", document mask" : "";
    const auto time = [&](const std::string& name, bool back, const std::function<void()>& work) {
      b.time((back ? "backward" : "forward") + name, t.shape, {.flops = (back ? 2.5 : 1) * t.forward_flops}, work);
    };
    time((plan.cudnn_forward ? ", cuDNN" : note), false, [&] { attention_forward(b.stream, forward); });
    time((plan.cudnn_backward ? ", cuDNN" : note), true, [&] { attention_backward(b.stream, backward); });
    if constexpr (kHasCuda) {
      const std::int64_t bytes = cuda::flash_backward_bytes(t.dims, t.qkv.shape()[0], mask);
      const Tensor scratch = b.stream.empty({bytes}, DType::kU8);
      if (plan.cudnn_forward) time(", hand-written", false, [&] { cuda::flash_forward_bf16(b.stream, forward); });
      if (plan.cudnn_backward)
        time(", hand-written", true, [&] { cuda::flash_backward_bf16(b.stream, backward, Scratch(scratch.raw())); });
      Stream any_order = b.stream;
      any_order.deterministic = false;
      if (attention_plan(any_order, t.dims, t.qkv, t.starts).cudnn_backward)
        time(", cuDNN, in any order", true, [&] { attention_backward(any_order, backward); });
    }
  }
}

void time_linear_cross_entropy(Bench& b) {
  const std::int64_t N = b.sizes.head_N, C = b.sizes.C;
  for (const std::int64_t V : {std::min<std::int64_t>(b.sizes.V, 32000), b.sizes.V}) {
    const Tensor loss = b.zeros({N}, b.acc()), x = b.normal({N, C}), dx = b.zeros({N, C});
    const Tensor weight = b.normal({V, C}, 0, 0.02), dweight = b.zeros({V, C}, b.acc()), targets = b.ids(N, V);
    const std::string shape = by({N, C}) + " to " + std::to_string(V);
    b.time("loss only", shape, {.flops = 2 * product({N, V, C})}, [&] {
      linear_cross_entropy(b.stream,
                           {.loss = loss, .dx = {}, .dweight = {}, .x = x, .weight = weight, .targets = targets});
    });
    b.time("loss and gradients", shape, {.flops = 6 * product({N, V, C})}, [&] {
      linear_cross_entropy(b.stream, {.loss = loss,
                                      .dx = dx,
                                      .dweight = dweight,
                                      .x = x,
                                      .weight = weight,
                                      .targets = targets,
                                      .grad_scale = 1e-4});
    });
    if (V == b.sizes.V) break;
  }
}

void time_attention_mass(Bench& b) {
  const AttentionTensors t(b, 128, false);
  attention_forward(b.stream, {.out = t.out, .lse = t.lse, .qkv = t.qkv, .starts = {}, .dims = t.dims});
  const Tensor alpha = b.zeros(t.lse.shape(), b.acc());
  b.time("forward", t.shape, {.flops = t.forward_flops / 2},
         [&] { attention_mass(b.stream, {.alpha = alpha, .qkv = t.qkv, .lse = t.lse, .starts = {}, .dims = t.dims}); });
}

}  // namespace spikesink::bench
