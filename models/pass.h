#pragma once
#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/core/stream.h"
#include "models/interventions.h"
#include "models/observer.h"

// Backward without an autograd engine. A Pass is a stack of steps, run in reverse: no graph, no sort, no views. Three
// levels hang on it: a kernel computes; an op (models/ops) joins a kernel pair by one record(), and is the only place
// where backward stands; a module (models/layers) has parameters and a forward in terms of ops, and no backward code at
// all.
//
// Rules that keep it small:
//  1. Only ops, Checkpoint, the report to the observer and the decoder's calls of its hooks record steps.
//  2. A step captures by a written-out list: activations that it needs (x = x.value), places to send gradients
//     (to_x = x.grad), Param by reference. Never a whole Var, never a parameter's tensor. The list is what is kept.
//  3. A gradient given to Grad::add is frozen: nobody writes into it, except who is its sole owner.
//  4. Parameter gradients are added to; the trainer clears them. A pass runs back once.
namespace spikesink {

class Pass;

/// Where the gradient of one value gathers on the way back; empty: none has come yet. Copies share the place.
class Grad {
 public:
  void add(const Pass& pass, Tensor g) const;  ///< takes g over
  /// The sum so far, for an op that can add to it in place: if there is one and nobody else holds it. Else no tensor.
  Tensor addend() const { return *slot_ && slot_->sole_owner() ? *slot_ : Tensor{}; }
  Tensor take() const { return std::exchange(*slot_, Tensor{}); }
  const Tensor& peek() const { return *slot_; }

 private:
  std::shared_ptr<Tensor> slot_ = std::make_shared<Tensor>();
};

/// A tensor that a step needs on the way back: held, or made again from what is held anyway.
class Kept {
 public:
  explicit Kept(Tensor value) : value_(std::move(value)) {}
  explicit Kept(std::function<Tensor()> again) : again_(std::move(again)) {}
  Tensor get() const { return again_ ? again_() : value_; }

 private:
  Tensor value_;
  std::function<Tensor()> again_;
};

/// A value in a forward pass and the place for its gradient. Steps capture the two apart, so that sending a gradient to
/// x does not keep x alive.
struct Var {
  explicit Var(Tensor v) : value(std::move(v)) {}
  Tensor value;
  Grad grad;
  /// Computes the value once more, with the same bits, from what its op keeps: set by ops that cost little.
  std::function<Tensor()> again = {};
};

/// The sequences that a pass runs on: rows are sequences * length, a sequence after the other.
struct Batch {
  std::int64_t sequences, length;
  /// i32 (N): where the document that a row lies in starts, as a position of its sequence; attention stays inside. No
  /// tensor: a sequence is one document.
  Tensor document_starts = {};
};

/// One forward pass and the steps that lead back. Steps run in reverse order of recording and are freed one by one,
/// with the activations that they captured.
class Pass {
 public:
  /// kRecompute: a training pass over what a forward-only one has shown to the observer before.
  enum class Mode { kTrain, kForwardOnly, kRecompute };

  /// `changed_by` only with kForwardOnly: what an intervention does has no way back.
  Pass(const Stream& on, Batch of, Mode in = Mode::kTrain, Observer* seen_by = nullptr,
       Intervention* changed_by = nullptr)
      : stream(on), batch(std::move(of)), observer(seen_by), intervention(changed_by), mode(in) {
    require(!intervention || mode == Mode::kForwardOnly, "Pass: an intervention in a pass that trains");
  }
  Pass(const Pass&) = delete;
  Pass& operator=(const Pass&) = delete;

  Tensor empty(Shape shape, DType dtype) const { return stream.empty(shape, dtype); }
  /// What a step that needs x on the way back captures.
  Kept keep(const Var& x) const { return recompute_cheap && x.again ? Kept(x.again) : Kept(x.value); }
  Tensor like(const Tensor& t) const { return stream.empty(t.shape(), t.dtype()); }

  /// Makes y a Var whose gradient `step(dy)` sends on. Skipped on the way back if no gradient reached y. `again`
  /// computes y once more, see Var.
  template <std::invocable<Tensor> F>
  Var record(Tensor y, F step, std::function<Tensor()> again = {}) {
    Var out(std::move(y));
    if (recompute_cheap) out.again = std::move(again);
    on_the_way_back([grad = out.grad, step = std::move(step)] {
      if (Tensor dy = grad.take()) step(std::move(dy));
    });
    return out;
  }
  template <std::invocable F>
  void on_the_way_back(F step) {
    if (mode != Mode::kForwardOnly) steps_.emplace_back(std::move(step));
  }
  /// Sends dy into y's gradient and runs all steps.
  void backward(const Var& y, Tensor dy) {
    y.grad.add(*this, std::move(dy));
    backward();
  }
  /// Runs all steps; for a pass that ends in a loss op, which has its gradient already.
  void backward() {
    while (!steps_.empty()) {
      const auto step = std::move(steps_.back());
      steps_.pop_back();
      step();
    }
  }

  const Stream& stream;
  const Batch batch;
  Observer* const observer;
  Intervention* const intervention;
  const Mode mode;
  /// The token embedding before its scale, (N, C), for modules that read it; there while a decoder that has such runs.
  std::optional<Var> token_embedding;
  /// Norms and activations are computed again on the way back instead of kept.
  bool recompute_cheap = false;

 private:
  std::vector<std::function<void()>> steps_;
};

}  // namespace spikesink
