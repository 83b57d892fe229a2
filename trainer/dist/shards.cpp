#include "trainer/dist/shards.h"

#include <algorithm>

#include "kernels/elementwise/add.h"
#include "kernels/elementwise/round.h"

namespace spikesink {
namespace {
constexpr std::int64_t kUnit = 16;  ///< a part's size is a multiple of it, as parameters' places are
}

Shards::Shards(const Stream& stream, Decoder& model, DType dtype, Communicator& communicator, const Options& options)
    : stream_(stream),
      model_(model),
      dtype_(dtype),
      communicator_(communicator),
      kind_(communicator.world() > 1 ? options.kind : ShardKind::kOptimizer),
      rounds_(options.reduce == ReducePrecision::kBF16) {
  require(!rounds_ || acc_dtype(dtype) == DType::kF32, "Shards: gradients in ", name_of(acc_dtype(dtype)),
          " are not sent in bf16");
  const std::int64_t world = communicator.world(), unit = kUnit * world;
  for (LayerBuffer& buffer : model.params().layers()) {
    const std::int64_t padded = (buffer.numel + unit - 1) / unit * unit;
    const Range own{communicator.rank() * (padded / world), padded / world};
    layers_.push_back({.buffer = &buffer,
                       .padded = padded,
                       .own = own,
                       .updated = kind_ == ShardKind::kNone ? Range{0, padded} : own});
  }
  for (Layer& layer : layers_) allocate(layer);
  if (world > 1) model.attach(this);
}

Shards::~Shards() {
  if (model_.hooks() == this) model_.attach(nullptr);
  for (const Layer& layer : layers_) {
    layer.buffer->lend_values({});
    layer.buffer->lend_grads({});
  }
}

void Shards::allocate(Layer& layer) {
  const std::int64_t before = stream_.pool->live_bytes();
  if (parts_of_values()) {
    layer.own_values = stream_.zeros({layer.own.count}, dtype_);
  } else {
    layer.values = stream_.zeros({layer.padded}, dtype_);
    layer.own_values = layer.values.slice(layer.own.first, {layer.own.count});
    layer.buffer->lend_values(layer.values);
  }
  const std::int64_t with_values = stream_.pool->live_bytes();
  value_bytes_ += with_values - before;
  if (parts_of_grads()) {
    layer.own_grads = stream_.zeros({layer.own.count}, acc_dtype(dtype_));
  } else {
    layer.grads = stream_.zeros({layer.padded}, acc_dtype(dtype_));
    layer.own_grads = layer.grads.slice(layer.own.first, {layer.own.count});
    layer.buffer->lend_grads(layer.grads);
  }
  grad_bytes_ += stream_.pool->live_bytes() - with_values;
}

std::vector<Shards::Piece> Shards::pieces(bool own) const {
  std::vector<Piece> all;
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const Layer& layer = layers_[l];
    const auto& [first, count] = own ? layer.own : layer.updated;
    const bool whole = kind_ == ShardKind::kNone;  // what `at` counts in
    const Tensor &values = whole ? layer.values : layer.own_values, &grads = whole ? layer.grads : layer.own_grads;
    for (const Param* param : layer.buffer->params) {
      const std::int64_t begin = std::max(first, param->offset);
      const std::int64_t end = std::min(first + count, param->offset + param->shape.numel());
      if (begin >= end) continue;
      const std::int64_t at = begin - layer.updated.first;
      all.push_back({.param = param,
                     .first = begin - param->offset,
                     .count = end - begin,
                     .layer = l,
                     .at = at,
                     .value = values.slice(at, {end - begin}),
                     .grad = grads.slice(at, {end - begin})});
    }
  }
  return all;
}

std::vector<Tensor> Shards::own_grads() const {
  std::vector<Tensor> all;
  for (const Layer& layer : layers_)
    if (layer.padded > 0) all.push_back(layer.own_grads);
  return all;
}

void Shards::begin_step() {
  for (const Layer& layer : layers_) stream_.clear(parts_of_grads() ? layer.own_grads : layer.grads);
}

void Shards::finish_gradients() {
  while (!reductions_.empty()) finish_reduction();
  for (const Transfer& transfer : whole_grads_) transfer.wait(stream_);
  whole_grads_.clear();
  require(!gathers_values(), "Shards: a step without a pass that asked for all values");
}

void Shards::values_changed() {
  if (communicator_.world() == 1 || kind_ == ShardKind::kNone) return;
  for (Layer& layer : layers_)
    if (parts_of_values())
      drop_values(layer);
    else if (layer.padded > 0)
      gather(layer);
}

void Shards::settle() {
  for (Layer& layer : layers_) wait_for_values(layer);
}

// Values.

bool Shards::gathers_values() const {
  return std::ranges::any_of(layers_, [](const Layer& layer) { return layer.is_gathering; });
}

bool Shards::idle() const { return !parts_of_grads() && !last_ && !gathers_values(); }

void Shards::begin_pass(bool trains) {
  if (!parts_of_values()) return;
  const std::int64_t last = std::ssize(layers_) - 1, head = model_.config().tie_embeddings ? 0 : last;
  order_.clear();
  position_ = 0;
  for (std::int64_t l = 0; l <= last; ++l) order_.push_back(l);
  order_.push_back(head);
  for (std::int64_t l = last; trains && l >= 0; --l) order_.push_back(l);
  std::erase_if(order_, [&](std::int64_t l) { return at(l).padded == 0; });
}

void Shards::before_forward(std::int64_t layer) { need_values(layer); }
void Shards::before_backward(std::int64_t layer) {
  need_values(layer);
  open_gradient(layer);
}

void Shards::after_forward(std::int64_t layer) {
  if (parts_of_values()) at(layer).buffer->lend_values({});
}

void Shards::need_values(std::int64_t l) {
  Layer& layer = at(l);
  if (layer.padded == 0) return;
  if (!parts_of_values()) return wait_for_values(layer);
  while (position_ < order_.size() && order_[position_] != l) ++position_;
  const auto other = std::find_if(order_.begin() + static_cast<std::ptrdiff_t>(std::min(position_, order_.size())),
                                  order_.end(), [&](std::int64_t o) { return o != l; });
  Layer* const next = other == order_.end() ? nullptr : &at(*other);
  for (Layer* const wanted : {&layer, next}) {
    if (!wanted || wanted->values) continue;
    for (Layer& held : layers_)
      if (&held != &layer && &held != next) drop_values(held);
    gather(*wanted);
  }
  wait_for_values(layer);
  layer.buffer->lend_values(layer.values);
}

void Shards::gather(Layer& layer) {
  if (parts_of_values()) layer.values = stream_.empty({layer.padded}, dtype_);
  layer.gathering = communicator_.all_gather(stream_, layer.values, layer.own_values);
  layer.is_gathering = true;
}

void Shards::wait_for_values(Layer& layer) {
  if (!layer.is_gathering) return;
  layer.gathering.wait(stream_);
  layer.gathering = {};
  layer.is_gathering = false;
}

void Shards::drop_values(Layer& layer) {
  wait_for_values(layer);
  layer.buffer->lend_values({});
  layer.values = {};
}

// Gradients.

void Shards::open_gradient(std::int64_t l) {
  Layer& layer = at(l);
  if (!parts_of_grads() || layer.grads || layer.padded == 0) return;
  layer.grads = stream_.zeros({layer.padded}, acc_dtype(dtype_));
  layer.buffer->lend_grads(layer.grads);
}

void Shards::after_backward(std::int64_t l) {
  Layer& layer = at(l);
  if (parts_of_values()) layer.buffer->lend_values({});
  if (layer.padded == 0 || (!parts_of_grads() && !last_)) return;
  reduce(layer);
  while (reductions_.size() > 1) finish_reduction();
}

void Shards::reduce(Layer& layer) {
  Tensor given = layer.grads;
  if (rounds_) {
    given = stream_.empty({layer.padded}, DType::kBF16);
    kernels::round(stream_, {.y = given, .x = layer.grads});
  }
  if (parts_of_grads()) {
    layer.buffer->lend_grads({});
    layer.grads = {};
  }
  const Tensor sum = stream_.empty({layer.own.count}, acc_dtype(dtype_));
  reductions_.push_back({&layer, sum, given, communicator_.reduce_scatter(stream_, sum, given)});
}

void Shards::finish_reduction() {
  const auto [layer, sum, given, transfer] = reductions_.front();
  transfer.wait(stream_);
  if (parts_of_grads())
    kernels::add(stream_, {.y = layer->own_grads, .a = layer->own_grads, .b = sum});
  else
    stream_.copy(layer->own_grads, sum);
  if (kind_ == ShardKind::kNone)
    whole_grads_.push_back(communicator_.all_gather(stream_, layer->grads, layer->own_grads));
  reductions_.pop_front();
}

}  // namespace spikesink
