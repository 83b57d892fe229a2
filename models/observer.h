#pragma once
#include <string_view>

#include "kernels/attention/attention.h"
#include "kernels/gate/gate.h"

namespace spikesink {

/// What attention shows of itself: enough to compute any attention weight, A[t,k] = exp(scale q_t.k_k - lse_t), without
/// the T x T matrix.
struct AttentionTap {
  const Tensor& qkv;     ///< (N, (H + 2 K) D), after the rotary embedding
  const Tensor& lse;     ///< (N / T, H, T)
  const Tensor& starts;  ///< i32 (N): first position of each row's document, or no tensor
  const kernels::AttentionDims& dims;
};

/// What a gate shows of itself: its values are sigmoid(logits).
struct GateTap {
  const Tensor& logits;    ///< (R, G), G one of H D, H, 1; R by `rows`, as kernels::GateForward has it
  kernels::GateRows rows;  ///< what a row of the logits gates
  std::int64_t n_heads;    ///< H
  std::int64_t length;     ///< T, of the pass's sequences
};

/// What a SwiGLU FFN shows of itself: its hidden values are silu(gate) * up.
struct SwiGluTap {
  const Tensor& gate_up;  ///< (N, 2 F): gate, up
};

/// Sees a pass from outside. Modules report by path; they know nothing of what is measured. Tensors are read only, and
/// kept only by copying the handle, which keeps their memory. Without an observer nothing is reported and nothing is
/// paid.
class Observer {
 public:
  virtual ~Observer() = default;
  /// The output of the module at `path`. A residual join reports its sum at the path of its branch + ".residual".
  virtual void activation(std::string_view path, const Tensor& value) { (void)path, (void)value; }
  /// The gradient of that output, once it is complete.
  virtual void gradient(std::string_view path, const Tensor& value) { (void)path, (void)value; }
  virtual void attention(std::string_view path, const AttentionTap& tap) { (void)path, (void)tap; }
  virtual void gate(std::string_view path, const GateTap& tap) { (void)path, (void)tap; }
  virtual void swiglu(std::string_view path, const SwiGluTap& tap) { (void)path, (void)tap; }
};

}  // namespace spikesink
