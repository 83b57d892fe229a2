#pragma once
#include "tests/analysis/study/support.h"

namespace spikesink::test {

/// A model whose quadratic forms, sink head, keys and W_VO are put in by hand.
///
/// Tokens 4 to 7 become spike tokens: channel 0 of the stream is 1, and one of channels 2 and 3 is +-kVariation. In
/// block 4, x behind the norm and before its scale,
///   S_7 = kEigenvalue (s s^T + 0.15 r r^T + 0.1 (a b^T + b a^T)),  S_8 = -kEigenvalue / 2 s s^T,
/// s = 0.96 e_0 + 0.28 e_9, r = e_10, a = e_11, b = e_12: all but s are at right angles to every token. U_7 has 0.2 a
/// b^T. Block 6 takes 0.9 of the spike away.
///
/// In block 5 head 1 of 2 is a sink head: the logit of token 1 on a spike token is kLogit, that of tokens 2 and 3,
/// whose channel 1 is smaller behind the norm, kLogit / sqrt(1.25); all other logits are 0. Its sink keys vary along
/// two channels, with variances of 2 to 1. W_VO there is kSingular u e_1^T, u = 0.6 s + 0.8 e_15.
struct PlantedStructure {
  static constexpr double kRise = 500, kVariation = 0.5, kLogit = 8, kSingular = 2;
  static constexpr double kEigenvalue = kRise * (1 + kVariation * kVariation) / (3.84 * 3.84);

  PlantedStructure();
  PlantedStructure(const PlantedStructure&) = delete;

  static std::vector<double> leading_vector() {
    std::vector<double> s(16);
    s[0] = 0.96;
    s[9] = 0.28;
    return s;
  }

  Stream stream = Stream::cpu(2);
  Decoder model;
  /// A spike token in each, at one of the first four positions; each of the four in two.
  std::vector<std::int32_t> tokens{4, 1, 2, 3, 1, 1, 2, 3, 1, 5, 3, 2, 1, 2, 3, 1, 2, 1, 6, 3, 1, 1,
                                   2, 3, 3, 1, 2, 7, 1, 2, 2, 1, 2, 4, 2, 3, 3, 1, 2, 3, 1, 3, 5, 3,
                                   1, 2, 2, 2, 6, 1, 2, 3, 1, 3, 2, 1, 3, 7, 2, 2, 1, 1, 1, 3};
  Study study{.stream = stream, .model = model, .tokens = {}};
};

}  // namespace spikesink::test
