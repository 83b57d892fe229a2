#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "analysis/study/eigen.h"
#include "analysis/study/study.h"

namespace spikesink {

/// The quadratic forms of a SwiGLU FFN where its SiLU is near the identity. With x what the block's input norm puts out
/// before its scale w, output channel k is about x^T U_k x = x^T S_k x,
///   U_k = sum_i Wdown[k,i] g_i u_i^T,  S_k = (U_k + U_k^T) / 2,
/// g_i and u_i rows i of Wgate and Wup with their columns times w. No (d, d) matrix is formed. Source: Sun, Canziani,
/// LeCun, Zhu 2026, arXiv:2603.05498, section 3.
class Amplifier {
 public:
  /// Of the FFN of `block`, 0-based and odd.
  Amplifier(const Study& study, std::size_t block);

  /// Frobenius norms of all U_k and S_k, (C) each, by products of F x F matrices in blocks of rows:
  ///   |U_k|^2 = c^T [(Wg Wg^T) o (Wu Wu^T)] c,  |S_k|^2 = (|U_k|^2 + c^T [(Wu Wg^T) o (Wg Wu^T)] c) / 2,
  /// c = Wdown[k,:].
  struct Norms {
    std::vector<double> u, s;
  };
  Norms norms() const;

  /// The `wanted` eigenpairs of S_k of largest magnitude, for each channel k.
  std::vector<Eigenpairs> eigenpairs(const std::vector<std::int64_t>& channels, std::int64_t wanted) const;

  /// The input norm's scale w; all 1 without input norm.
  const std::vector<double>& scale() const { return scale_; }
  /// Row k of Wdown, (F).
  std::vector<double> down(std::int64_t channel) const;

 private:
  const Stream& stream_;
  std::int64_t C_, F_;
  std::vector<double> scale_;
  Tensor gate_up_;    // (2 F, C), columns times w
  Tensor gate_up_t_;  // (C, 2 F)
  Tensor down_;       // (C, F)
};

/// Empty where S_k is all that there is to an FFN's quadratic part: SwiGLU behind a norm without bias, or none.
std::string amplifier_not_for(const ModelConfig& config);

}  // namespace spikesink
