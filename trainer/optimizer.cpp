#include "trainer/optimizer.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "kernels/elementwise/round.h"
#include "kernels/optim/sum_of_squares.h"

namespace spikesink {

Optimizer::Optimizer(Shards& shards, const OptimizerConfig& config, StatePrecision state, std::uint64_t seed)
    : shards_(shards),
      config_(config),
      seed_(seed),
      pieces_(shards.updated()),
      grads_(shards.own_grads()),
      grad_squares_(shards.stream().zeros({1}, DType::kF64)) {
  const Stream& stream = shards.stream();
  const bool has_masters = shards.dtype() == DType::kBF16 && state == StatePrecision::kF32;
  const DType dtype = has_masters ? DType::kF32 : shards.dtype();
  const std::int64_t before = stream.pool->live_bytes();
  for (std::size_t l = 0; l < shards.num_layers(); ++l) {
    const Shape shape{shards.num_updated(l)};
    states_.push_back({.m = stream.zeros(shape, dtype),
                       .v = stream.zeros(shape, dtype),
                       .master = has_masters ? stream.zeros(shape, dtype) : Tensor{}});
  }
  bytes_ = stream.pool->live_bytes() - before;
  std::map<const Param*, std::int64_t> places;  // in the order of all elements that are rounded at random
  std::int64_t place = 0;
  for (const Param& param : shards.params().all()) {
    places[&param] = place;
    place += (param.shape.numel() + 1) / 2 * 2;
  }
  for (const Shards::Piece& piece : pieces_) {
    const auto part = [&](const Tensor& whole) { return whole ? whole.slice(piece.at, {piece.count}) : Tensor{}; };
    const LayerState& s = states_[piece.layer];
    segments_.push_back({.weight = piece.value,
                         .grad = piece.grad,
                         .m = part(s.m),
                         .v = part(s.v),
                         .master = part(s.master),
                         .weight_decay = piece.param->decays() ? config.weight_decay : 0.0,
                         .first = places[piece.param] + piece.first});
  }
}

void Optimizer::init() {
  shards_.settle();
  for (const LayerState& state : states_)
    for (const Tensor& moment : {state.m, state.v}) shards_.stream().clear(moment);
  for (std::size_t i = 0; i < pieces_.size(); ++i)
    for_parts(pieces_[i], [&](const ParamPart& part, std::int64_t first, std::int64_t count, std::int64_t at) {
      for (const Tensor& whole : {segments_[i].weight, segments_[i].master})
        if (whole) draw_initial_values(shards_.stream(), part, first, whole.slice(at, {count}), seed_);
    });
  shards_.values_changed();
}

void Optimizer::step(double lr, std::int64_t step, const Tensor& loss) {
  const Stream& stream = shards_.stream();
  kernels::sum_of_squares(stream, {.total = grad_squares_, .tensors = grads_});
  shards_.communicator().all_reduce(stream, grad_squares_).wait(stream);
  kernels::adamw(stream, {.segments = segments_,
                          .lr = lr,
                          .beta1 = config_.betas[0],
                          .beta2 = config_.betas[1],
                          .eps = config_.eps,
                          .step = step,
                          .grad_squares = grad_squares_,
                          .loss = loss,
                          .clip = config_.clip,
                          .seed = seed_});
  shards_.values_changed();
}

double Optimizer::grad_norm() const { return std::sqrt(shards_.stream().on_host(grad_squares_).data<double>()[0]); }

std::vector<StateSlice> Optimizer::slices() const { return slices_of(shards_.own()); }
std::vector<StateSlice> Optimizer::updated_slices() const { return slices_of(pieces_); }

std::vector<StateSlice> Optimizer::slices_of(const std::vector<Shards::Piece>& pieces) const {
  shards_.settle();
  std::vector<StateSlice> all;
  for (const Shards::Piece& piece : pieces) {
    const auto& [m, v, master] = states_[piece.layer];
    const auto of_piece = [&](const Tensor& state) { return state.slice(piece.at, {piece.count}); };
    const std::pair<const char*, Tensor> groups[] = {
        {"weights/", master ? of_piece(master) : piece.value}, {"m/", of_piece(m)}, {"v/", of_piece(v)}};
    for (const auto& [group, whole] : groups)
      for_parts(piece, [&, &group = group, &whole = whole](const ParamPart& part, std::int64_t first,
                                                           std::int64_t count, std::int64_t at) {
        all.push_back({.group = group,
                       .name = part.name,
                       .whole = part.shape,
                       .first = first,
                       .values = whole.slice(at, {count})});
      });
  }
  return all;
}

void Optimizer::slices_written() {
  for (const kernels::AdamWSegment& s : segments_)
    if (s.master) kernels::round(shards_.stream(), {.y = s.weight, .x = s.master});
  shards_.values_changed();
}

Optimizer::State Optimizer::state(std::size_t param) const {
  const Param& of = shards_.params().all()[param];
  const auto piece = std::ranges::find(pieces_, &of, &Shards::Piece::param);
  require(piece != pieces_.end() && piece->count == of.shape.numel(), of.name(), ": not whole on this rank");
  const auto whole = [&](const Tensor& state) { return state ? state.slice(piece->at, of.shape) : Tensor{}; };
  const auto& [m, v, master] = states_[piece->layer];
  return {whole(m), whole(v), whole(master)};
}

}  // namespace spikesink
