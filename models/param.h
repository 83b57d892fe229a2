#pragma once
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "kernels/core/stream.h"

namespace spikesink {

/// How a parameter starts: normal with deviation `value`, truncated at 3 sigma, or `value` everywhere.
struct Init {
  enum class Kind { kNormal, kConstant };
  static Init normal(double std) { return {Kind::kNormal, std}; }
  static Init constant(double value) { return {Kind::kConstant, value}; }
  static Init ones() { return constant(1); }
  static Init zeros() { return constant(0); }
  Kind kind;
  double value;
};

/// A named parameter, as files and observers know it: Hugging Face's name and shape.
struct ParamPart {
  std::string name;
  Shape shape;  ///< (rows, C) or (C)
  Init init;
  bool looked_up = false;  ///< rows are taken by index: no product

  /// A matrix that tokens are multiplied by.
  bool multiplies() const { return shape.rank() > 1 && !looked_up; }
};

/// What a module holds: one part, or several stacked along rows so that one product serves them (q, k, v; gate, up).
/// `value` and `grad` are slices of the layer's flat buffers, and are pointed elsewhere by whoever owns those.
struct Param {
  std::vector<ParamPart> parts;
  Shape shape;          ///< (sum of rows, C) or (C)
  std::int64_t layer;   ///< which flat buffer: see ParamSet
  std::int64_t offset;  ///< of its first element in there
  Tensor value, grad;   ///< grad in acc_dtype of value

  /// Matrices decay, norm scales and other vectors do not.
  bool decays() const { return shape.rank() > 1; }
  const std::string& name() const { return parts.front().name; }
};

/// One layer's parameters in one flat buffer: the unit of the optimizer, of sharding and of communication. Each
/// parameter starts at a multiple of 16 elements; the gaps are zero and stay so.
struct LayerBuffer {
  std::vector<Param*> params;
  std::int64_t numel = 0;  ///< with gaps
  Tensor values, grads;    ///< (numel) or more; grads in acc_dtype of values

  /// Points the parameters' values into `flat`; no tensor: they have none from here on.
  void lend_values(const Tensor& flat);
  void lend_grads(const Tensor& flat);
};

/// All parameters of a model in their order. What is not add()ed does not exist.
class ParamSet {
 public:
  ParamSet() = default;
  ParamSet(const ParamSet&) = delete;
  ParamSet& operator=(const ParamSet&) = delete;

  /// Parameters added from here on share a flat buffer of their own. Layer 0 is the input embedding, 1..L the layers, L
  /// + 1 the final norm and the head.
  void begin_layer() { layers_.emplace_back(); }
  Param& add(ParamPart part) { return add_joined({std::move(part)}); }
  /// Parts of equal width, stacked along rows.
  Param& add_joined(std::vector<ParamPart> parts);

  std::deque<Param>& all() { return params_; }
  const std::deque<Param>& all() const { return params_; }
  std::deque<LayerBuffer>& layers() { return layers_; }
  const std::deque<LayerBuffer>& layers() const { return layers_; }
  std::int64_t num_elements() const;  ///< parameters, without gaps

  /// Makes the flat buffers on the stream, zeroed, and points every Param into them. Without `grads` there are no
  /// gradients.
  void allocate(const Stream& stream, DType dtype, bool grads);
  /// Draws all values by Philox from (seed, part's name, element), in double: the same for every device and world size.
  void init(std::uint64_t seed);
  void zero_grads();

 private:
  std::optional<Stream> stream_;  // that they were allocated on
  std::deque<Param> params_;      // a deque: modules hold references
  std::deque<LayerBuffer> layers_;
};

/// A named view of one part: for checkpoints and exports.
struct NamedTensor {
  const ParamPart* part;
  Tensor tensor;
};
/// Writes initial values of `part`, from its element `first` on, into `to`, of any shape and floating-point dtype.
void draw_initial_values(const Stream& stream, const ParamPart& part, std::int64_t first, const Tensor& to,
                         std::uint64_t seed);
/// The parts of `param` as slices of `whole`, which has the param's shape (its value, its gradient, a moment).
std::vector<NamedTensor> split_parts(const Param& param, const Tensor& whole);

}  // namespace spikesink
