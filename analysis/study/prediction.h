#pragma once
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

#include "analysis/study/eigen.h"
#include "analysis/study/passes.h"
#include "analysis/study/study.h"

namespace spikesink {

/// How well quadratic forms say what an FFN puts out in some channels, over tokens. p is the prediction, t the output:
/// correlation of p and t, and relative error sqrt(sum (p - t)^2 / sum t^2), of spike tokens, of the others and of all.
/// NaN where there are none, or where an output never changes.
class Predictor {
 public:
  enum Kind { kForm, kLeading };        ///< x^T S_k x; lambda* (s*.x)^2
  enum Class { kSpike, kOther, kAll };  ///< of tokens
  struct Fit {
    double correlation, error;
  };

  /// Of the FFN of `block` (0-based) in `channels`, with eigenpairs of each one's S_k.
  Predictor(const Study& study, std::size_t block, const std::vector<std::int64_t>& channels,
            const std::vector<Eigenpairs>& pairs);

  /// Takes in tokens: what the FFN read (N, C), after the norm; its gate and up (N, 2 F); what it put out (N, C).
  void add(const Tensor& input, const Tensor& gate_up, const Tensor& output, const char* is_spike);
  Fit fit(std::size_t channel, Kind kind, Class of) const;
  nlohmann::ordered_json summary(std::size_t channel, Kind kind) const;

  std::size_t block() const { return block_; }
  std::size_t num_channels() const { return channels_.size(); }

 private:
  struct Sums {
    double count = 0, p = 0, t = 0, pp = 0, tt = 0, pt = 0;
    void add(const Sums& other);
  };

  const Stream& stream_;
  std::size_t block_;
  std::vector<std::int64_t> channels_;
  Tensor down_;                                           // (n, F), rows of Wdown
  Tensor directions_;                                     // (n, C), s* over the norm's scale
  std::vector<double> eigenvalues_;                       // (n)
  std::vector<std::array<std::array<Sums, 2>, 2>> sums_;  // (n, kind, class)
};

/// Shows the study's tokens to the predictors. `is_spike` (S T).
void predict(const Study& study, const std::vector<char>& is_spike, std::vector<Predictor>& predictors, double from,
             double to);
void write_predictions(const std::vector<Predictor>& predictors, Results& results);

}  // namespace spikesink
