#pragma once
#include <algorithm>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/stream.h"
#include "trainer/bench/clock.h"
#include "trainer/kernel_bench.h"

/// What kernel_bench.cpp times: a function a kernel, which makes its tensors and has its directions timed.
namespace spikesink::bench {

/// Sizes of all cases. Dimensions as in kernels/core/tensor.h.
struct Sizes {
  std::int64_t N, C;        // norms, sums, gates
  std::int64_t ffn_N, F;    // SwiGLU, GELU
  std::int64_t qk_N;        // rotary embedding of C / 128 heads of each of q, k and v
  std::int64_t head_N, V;   // head and loss, embedding
  std::int64_t B, T;        // attention, over C channels
  std::int64_t parameters;  // optimizer; at most what fits
  std::int64_t copy_bytes;
};
Sizes sizes_for(const Stream& stream, BenchSizes choice);

inline double product(std::initializer_list<std::int64_t> factors) {
  double all = 1;
  for (const std::int64_t factor : factors) all *= static_cast<double>(factor);
  return all;
}

inline std::string by(std::initializer_list<std::int64_t> dims) {
  std::string text;
  for (const std::int64_t dim : dims) text += (text.empty() ? "" : " x ") + std::to_string(dim);
  return text;
}

inline double total_bytes(std::initializer_list<Tensor> tensors) {
  double bytes = 0;
  for (const Tensor& t : tensors) bytes += static_cast<double>(t.bytes());
  return bytes;
}

/// What bounds a case.
struct Bound {
  double bytes = 0, flops = 0;
};
/// Each of the tensors read or written once; one that is both is named twice.
inline Bound moved(std::initializer_list<Tensor> tensors) { return {.bytes = total_bytes(tensors)}; }

/// Makes tensors and times cases.
class Bench {
 public:
  Bench(const Stream& on_stream, const KernelBenchOptions& options,
        const std::function<void(const KernelFigure&)>& on_figure)
      : stream(on_stream),
        sizes(sizes_for(on_stream, options.sizes)),
        dtype(options.dtype),
        options_(options),
        on_figure_(on_figure) {}

  const Stream& stream;
  const Sizes sizes;
  const DType dtype;

  DType acc() const { return acc_dtype(dtype); }
  Tensor normal(Shape shape, double mean = 0, double std = 1);
  Tensor zeros(Shape shape, DType of) const { return stream.zeros(shape, of); }
  Tensor zeros(Shape shape) const { return stream.zeros(shape, dtype); }
  /// In [0, below); `distinct` how many there are.
  Tensor ids(std::int64_t n, std::int64_t below, std::int64_t* distinct = nullptr) const;
  Tensor upload(const std::vector<std::int32_t>& values) const;
  /// As many parameters as are asked for, or fit with `bytes` each into four fifths of a GPU's free memory.
  std::int64_t num_parameters(std::int64_t bytes) const;

  void begin(std::string_view kernel) { kernel_ = kernel; }
  template <class F>
  void time(const std::string& what, const std::string& shape, Bound bound, F&& work) {
    const auto calls = [&](std::int64_t n) {
      return device_seconds(stream,
                            [&] {
                              for (std::int64_t i = 0; i < n; ++i) work();
                            }) /
             static_cast<double>(n);
    };
    calls(1);  // plans, pool, pages
    const double once = calls(1);
    const auto in_a_row = static_cast<std::int64_t>(std::clamp(2e-3 / std::max(once, 1e-9), 1.0, 100.0));
    std::vector<double> seconds;
    for (std::int64_t run = 0; run < options_.runs; ++run) seconds.push_back(calls(kCudaEmulated ? 1 : in_a_row));
    on_figure_({.kernel = kernel_,
                .what = what,
                .shape = shape,
                .seconds = median(seconds),
                .seconds_min = std::ranges::min(seconds),
                .seconds_max = std::ranges::max(seconds),
                .bytes = bound.bytes,
                .flops = bound.flops});
  }

 private:
  const KernelBenchOptions& options_;
  const std::function<void(const KernelFigure&)>& on_figure_;
  std::string kernel_;
  std::uint64_t tensors_ = 0;
};

void time_rms_norm(Bench& b);
void time_layer_norm(Bench& b);
void time_dynamic_tanh(Bench& b);
void time_rope(Bench& b);
void time_qk_norm_rope(Bench& b);
void time_silu_mul(Bench& b);
void time_gelu(Bench& b);
void time_gate(Bench& b);
void time_add(Bench& b);
void time_round(Bench& b);
void time_bias(Bench& b);
void time_scale(Bench& b);
void time_embedding(Bench& b);
void time_linear(Bench& b);
void time_attention(Bench& b);
void time_linear_cross_entropy(Bench& b);
void time_attention_mass(Bench& b);
void time_adamw(Bench& b);
void time_sum_of_squares(Bench& b);
void time_sum_of_parts(Bench& b);
void time_magnitudes(Bench& b);
void time_gate_statistics(Bench& b);
void time_loss_sum(Bench& b);
void time_initialise(Bench& b);

}  // namespace spikesink::bench
