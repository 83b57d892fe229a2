#pragma once
#include <algorithm>
#include <deque>
#include <vector>

#include "models/decoder.h"
#include "trainer/config.h"
#include "trainer/dist/communicator.h"

namespace spikesink {

/// A model's values and gradients on one of W ranks. Each flat buffer (models/param.h), padded to a multiple of 16 W
/// elements, is cut into W equal parts, of which rank r has the r-th; what each rank holds is the kind's choice:
///
///              | values                     | gradients                   | optimizer works on
///   none       | whole                      | whole, summed once a step   | the whole
///   optimizer  | whole, gathered after it   | whole, summed once a step   | the part (ZeRO 1)
///   gradients  | whole, gathered after it   | part; a layer's, every pass | the part (ZeRO 2)
///   parameters | part; gathered for each    | part; a layer's, every pass | the part (ZeRO 3)
///              | layer that runs, one ahead |                             |
///
/// A layer's gradient is on its way while the layer before it runs backward, and updated values while those before
/// theirs run forward. Gathered layers, two at most, stay until others need their place, so the last ones of a forward
/// serve its backward, and the first ones the next pass. A world of 1 has no parts: nothing is attached or sent.
/// Source: Rajbhandari et al. 2019, arXiv:1910.02054.
class Shards final : public LayerHooks {
 public:
  struct Options {
    ShardKind kind = ShardKind::kOptimizer;
    ReducePrecision reduce = ReducePrecision::kF32;
  };
  /// Allocates the model's values, of `dtype`, and their gradients, zeroed. All referred to outlive this; the model has
  /// no values afterwards.
  Shards(const Stream& stream, Decoder& model, DType dtype, Communicator& communicator, const Options& options);
  ~Shards() override;
  Shards(const Shards&) = delete;
  Shards& operator=(const Shards&) = delete;

  /// A stretch of a parameter, in its row-major order.
  struct Piece {
    const Param* param;
    std::int64_t first, count;  ///< elements of the param
    std::size_t layer;
    std::int64_t at;     ///< of its first element, in what the optimizer works on of the layer
    Tensor value, grad;  ///< (count)
  };
  /// What this rank's optimizer works on.
  std::vector<Piece> updated() const { return pieces(/*own=*/false); }
  /// This rank's part: the pieces of all ranks make up the model. `at` counts as in updated().
  std::vector<Piece> own() const { return pieces(/*own=*/true); }
  std::size_t num_layers() const { return layers_.size(); }
  /// Elements of a layer that the optimizer works on, with gaps.
  std::int64_t num_updated(std::size_t layer) const { return layers_[layer].updated.count; }
  /// This rank's part of the gradients, gaps being zero, by layer.
  std::vector<Tensor> own_grads() const;

  /// Gradients are zero.
  void begin_step();
  /// The step's passes are behind it: gradients are those of all ranks from here on, and values may be written.
  void finish_gradients();
  /// Values were written: passes see them from here on, and those of other ranks.
  void values_changed();
  /// Waits for what values_changed() began: values may be read.
  void settle();

  DType dtype() const { return dtype_; }
  const ParamSet& params() const { return model_.params(); }
  const Stream& stream() const { return stream_; }
  Communicator& communicator() const { return communicator_; }
  // Bytes of the pool that are held all the time.
  std::int64_t value_bytes() const { return value_bytes_; }
  std::int64_t grad_bytes() const { return grad_bytes_; }

  void expect_pass(bool last) override { last_ = last; }
  bool idle() const override;
  void begin_pass(bool trains) override;
  void before_forward(std::int64_t layer) override;
  void after_forward(std::int64_t layer) override;
  void open_gradient(std::int64_t layer) override;
  void before_backward(std::int64_t layer) override;
  void after_backward(std::int64_t layer) override;

 private:
  struct Range {
    std::int64_t first, count;
  };
  struct Layer {
    LayerBuffer* buffer;
    std::int64_t padded;  ///< elements; 0: nothing is there
    Range own, updated;
    Tensor values, own_values;  ///< whole, and this rank's part of it; without the whole where that is not gathered
    Tensor grads, own_grads;    ///< of gradients by part: whole while a pass needs them
    Transfer gathering = {};    ///< of values
    bool is_gathering = false;
  };
  /// A layer's gradient on its way.
  struct Reduction {
    Layer* layer;
    Tensor sum, given;
    Transfer transfer;
  };

  bool parts_of_grads() const { return kind_ == ShardKind::kGradients || kind_ == ShardKind::kParameters; }
  bool parts_of_values() const { return kind_ == ShardKind::kParameters; }
  Layer& at(std::int64_t layer) { return layers_[static_cast<std::size_t>(layer)]; }
  std::vector<Piece> pieces(bool own) const;
  void allocate(Layer& layer);
  void need_values(std::int64_t layer);
  bool gathers_values() const;
  void gather(Layer& layer);
  void wait_for_values(Layer& layer);
  void drop_values(Layer& layer);
  void reduce(Layer& layer);
  void finish_reduction();

  const Stream& stream_;
  Decoder& model_;
  const DType dtype_;
  Communicator& communicator_;
  const ShardKind kind_;
  const bool rounds_;  ///< gradients to bf16, before they are sent
  std::vector<Layer> layers_;
  std::int64_t value_bytes_ = 0, grad_bytes_ = 0;
  bool last_ = false;                ///< the pass that is expected or under way is the step's last one
  std::vector<std::int64_t> order_;  ///< layers whose values a pass asks for
  std::size_t position_ = 0;         ///< in order_: of the last one that it has asked for
  std::deque<Reduction> reductions_;
  std::vector<Transfer> whole_grads_;  ///< of kind none
};

/// Calls f(part, first element of the part, count, where that begins in the piece) for the named parameters that a
/// piece reaches into.
template <class F>
void for_parts(const Shards::Piece& piece, F&& f) {
  std::int64_t start = 0;
  for (const ParamPart& part : piece.param->parts) {
    const std::int64_t begin = std::max(piece.first, start);
    const std::int64_t end = std::min(piece.first + piece.count, start + part.shape.numel());
    if (begin < end) f(part, begin - start, end - begin, begin - piece.first);
    start += part.shape.numel();
  }
}

}  // namespace spikesink
