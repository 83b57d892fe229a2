#pragma once
#include <array>
#include <cstdint>
#include <string_view>

#include "kernels/core/stream.h"
#include "models/interventions.h"

namespace spikesink {

/// What is rounded, and which values share a scale. Activations are the inputs of a block's matrix products; their
/// scales are taken from what is at hand ("dynamic"): of a sequence where a tensor has one, as if it were a batch by
/// itself, so that no figure depends on how many sequences are in a pass.
enum class Grid : std::uint8_t {
  kNone,
  kInt8Tensor,  ///< symmetric, a scale a tensor (activations: a sequence)
  kInt8Row,     ///< symmetric, a scale a row (activations: a token; weights: an output channel)
  kInt4Group,   ///< asymmetric, a scale for each kInt4GroupSize inputs of a row
  kE4m3Tensor,  ///< a scale a tensor
};

inline constexpr std::int64_t kInt4GroupSize = 128;

struct QuantizationScheme {
  std::string_view name;
  Grid activations, weights;
};

/// The schemes of the analysis, after the model as it is.
inline constexpr std::array<QuantizationScheme, 5> kSchemes = {{
    {"int8_per_tensor", Grid::kInt8Tensor, Grid::kNone},
    {"int8_per_token", Grid::kInt8Row, Grid::kNone},
    {"w8a8", Grid::kInt8Row, Grid::kInt8Row},
    {"w4", Grid::kNone, Grid::kInt4Group},
    {"fp8_e4m3", Grid::kE4m3Tensor, Grid::kE4m3Tensor},
}};

/// `x` (N, C) on the points of `grid`; a tensor's scale is shared by `rows_together` rows, which divides N. On a GPU
/// the values go through the host.
Tensor on_grid(const Stream& stream, const Tensor& x, Grid grid, std::int64_t rows_together);

/// Rounds the factors of every matrix product of a model's blocks: projections of attention, FFN and gates. Embedding,
/// LM head, norms, attention's own products and the residual stream stay as they are. Weights
/// are rounded again in every pass, so that a model needs no second place.
class Quantizer final : public Intervention {
 public:
  /// `length`: tokens of a sequence.
  Quantizer(const Stream& stream, const QuantizationScheme& scheme, std::int64_t length)
      : stream_(stream), scheme_(scheme), length_(length) {}

  void product(const Param& weight, Tensor& x, Tensor& values) override;

 private:
  const Stream& stream_;
  QuantizationScheme scheme_;
  std::int64_t length_;
};

}  // namespace spikesink
