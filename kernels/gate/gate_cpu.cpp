#include "kernels/core/math.h"
#include "kernels/core/row_sums.h"
#include "kernels/gate/gate.h"
#include "kernels/gate/gate_math.h"

namespace spikesink::kernels::cpu {
namespace {

/// The logits' row of row n of x.
std::int64_t logits_row(const auto& a, std::int64_t n) {
  return a.rows == GateRows::kToken ? n : a.rows == GateRows::kConstant ? 0 : n % a.length;
}

/// The sigmoids of the logits' rows: each thread has a place, `memory` + G times its number, for those of the row that
/// it asked for last.
template <class T>
class Sigmoids {
 public:
  Sigmoids(T* memory, const T* logits, std::int64_t G)
      : logits_(logits), s_(memory + omp_get_thread_num() * G), G_(G) {}

  const T* of_row(std::int64_t row) {
    if (row == row_) return s_;
    row_ = row;
    const std::int64_t G = G_;
    const T* logits = logits_ + row * G;
    T* s = s_;
#pragma omp simd
    for (std::int64_t g = 0; g < G; ++g) s[g] = math::sigmoid(logits[g]);
    return s;
  }

 private:
  const T* logits_;
  T* s_;
  std::int64_t G_, row_ = -1;
};

template <class T>
void forward_row(T* y, const T* x, const T* s, std::int64_t W, std::int64_t G) {
  if (G == W) {
#pragma omp simd
    for (std::int64_t c = 0; c < W; ++c) y[c] = x[c] * s[c];
    return;
  }
  const std::int64_t width = W / G;
  for (std::int64_t g = 0; g < G; ++g) {
    const T gate = s[g];
#pragma omp simd
    for (std::int64_t c = g * width; c < (g + 1) * width; ++c) y[c] = x[c] * gate;
  }
}

/// A row of dx; what it gives to each logit goes to `dlogits`, added to or written.
template <bool kAdd, class T>
void backward_row(T* dx, T* dlogits, const T* dy, const T* x, const T* s, std::int64_t W, std::int64_t G) {
  const auto put = [](T& out, T value) { kAdd ? out += value : out = value; };
  if (G == W) {
#pragma omp simd
    for (std::int64_t c = 0; c < W; ++c) {
      const T d = dy[c];
      put(dlogits[c], math::gate_dlogit(s[c], d, x[c]));
      dx[c] = d * s[c];
    }
    return;
  }
  const std::int64_t width = W / G;
  for (std::int64_t g = 0; g < G; ++g) {
    const T gate = s[g];
    T dot = 0;
#pragma omp simd reduction(+ : dot)
    for (std::int64_t c = g * width; c < (g + 1) * width; ++c) {
      const T d = dy[c];
      dot += math::gate_dlogit(gate, d, x[c]);
      dx[c] = d * gate;
    }
    put(dlogits[g], dot);
  }
}
}  // namespace

void gate_forward(const Stream& stream, const GateForward& a, Scratch scratch) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, W] = matrix_dims(a.x);
    const std::int64_t G = a.logits.shape()[1];
    T* const memory = scratch.take<T>(stream.num_threads * G);
    parallel_ranges(stream, N, row_grain(W), [&, W = W](std::int64_t begin, std::int64_t end) {
      Sigmoids<T> sigmoids(memory, a.logits.data<T>(), G);
      for (std::int64_t n = begin; n < end; ++n) {
        const T* s = sigmoids.of_row(logits_row(a, n));
        forward_row(a.y.data<T>() + n * W, a.x.data<T>() + n * W, s, W, G);
      }
    });
  });
}

void gate_backward(const Stream& stream, const GateBackward& a, Scratch scratch) {
  with_dtype(a.x.dtype(), [&]<class T>() {
    const auto [N, W] = matrix_dims(a.x);
    const std::int64_t G = a.logits.shape()[1];
    T* const memory = scratch.take<T>(stream.num_threads * G);
    const auto row = [&, W = W]<bool kAdd>(std::int64_t n, T* dlogits, const T* s) {
      backward_row<kAdd>(a.dx.data<T>() + n * W, dlogits, a.dy.data<T>() + n * W, a.x.data<T>() + n * W, s, W, G);
    };
    if (a.rows == GateRows::kConstant) {
      Sigmoids<T> sigmoids(memory, a.logits.data<T>(), G);
      const T* s = sigmoids.of_row(0);
      add_row_sums<T>(stream, N, W, {a.dlogits}, scratch,
                      [&](std::int64_t n, T* partial) { row.template operator()<true>(n, partial, s); });
      return;
    }
    // A position belongs to one thread, with its rows in all sequences.
    const bool shared = a.rows == GateRows::kPosition;
    const std::int64_t rows = shared ? a.length : N;
    parallel_ranges(stream, rows, row_grain(N / rows * W), [&, N = N](std::int64_t begin, std::int64_t end) {
      Sigmoids<T> sigmoids(memory, a.logits.data<T>(), G);
      for (std::int64_t r = begin; r < end; ++r) {
        const T* s = sigmoids.of_row(r);
        T* dlogits = a.dlogits.data<T>() + r * G;
        if (shared) {
          for (std::int64_t n = r; n < N; n += rows) row.template operator()<true>(n, dlogits, s);
        } else {
          row.template operator()<false>(r, dlogits, s);
        }
      }
    });
  });
}

}  // namespace spikesink::kernels::cpu
