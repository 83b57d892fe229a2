#pragma once
#include <cstdint>

namespace spikesink {

/// What the model knows of parameters that are not always there: when it uses which flat buffer (0 the embedding, 1..L
/// the layers, L + 1 the final norm and the head; see ParamSet). Whoever lends the buffers implements this and points
/// every Param of a buffer to its values and gradients. A buffer's values are read only between before_forward and
/// after_forward, and between before_backward and after_backward; its gradients are added to only between the first of
/// open_gradient and before_backward, and after_backward.
///
/// A training pass calls, with h = 0 where the head is tied to the embedding, else L + 1:
///   begin_pass, then before_forward(l), after_forward(l) for l = 0 .. L + 1,
///   before_forward(h), open_gradient(h), after_forward(h): the head, whose gradient comes with its forward,
///   before_backward(l), after_backward(l) for l = L + 1 .. 0.
/// A forward-only pass has the first line and, if it asks for a loss, the second without open_gradient. The order does
/// not depend on what is recomputed: a layer's second forward is a part of its backward.
class LayerHooks {
 public:
  virtual ~LayerHooks() = default;

  /// A training pass is about to begin, the last one of its step or not.
  virtual void expect_pass(bool last) = 0;
  /// All that is called in the pass that is expected does nothing, so that a recording of it may be replayed.
  virtual bool idle() const = 0;

  virtual void begin_pass(bool trains) = 0;
  virtual void before_forward(std::int64_t layer) = 0;
  virtual void after_forward(std::int64_t layer) = 0;
  virtual void open_gradient(std::int64_t layer) = 0;
  virtual void before_backward(std::int64_t layer) = 0;
  /// The layer's gradient of this pass is complete.
  virtual void after_backward(std::int64_t layer) = 0;
};

}  // namespace spikesink
