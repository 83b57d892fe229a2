#include "models/param.h"

#include "kernels/core/random.h"
#include "kernels/init/initialise.h"

namespace spikesink {
namespace {
constexpr std::int64_t kAlignment = 16;

void point(const std::vector<Param*>& params, Tensor Param::*to, const Tensor& flat) {
  for (Param* param : params) param->*to = flat ? flat.slice(param->offset, param->shape) : Tensor{};
}
}  // namespace

void LayerBuffer::lend_values(const Tensor& flat) {
  values = flat;
  point(params, &Param::value, flat);
}
void LayerBuffer::lend_grads(const Tensor& flat) {
  grads = flat;
  point(params, &Param::grad, flat);
}

Param& ParamSet::add_joined(std::vector<ParamPart> parts) {
  require(!layers_.empty() && !parts.empty(), "ParamSet: begin_layer() comes first, and a parameter has a part");
  Shape shape = parts.front().shape;
  std::int64_t rows = 0;
  for (const ParamPart& part : parts) {
    require(part.shape.rank() == shape.rank() && (shape.rank() == 1 || part.shape[1] == shape[1]), part.name, ": ",
            part.shape, " does not stack on ", shape);
    rows += part.shape[0];
  }
  shape = shape.rank() == 1 ? Shape{rows} : Shape{rows, shape[1]};
  const auto layer = static_cast<std::int64_t>(layers_.size()) - 1;
  LayerBuffer& buffer = layers_.back();
  Param& param = params_.emplace_back(Param{std::move(parts), shape, layer, buffer.numel, {}, {}});
  buffer.params.push_back(&param);
  buffer.numel += (shape.numel() + kAlignment - 1) / kAlignment * kAlignment;
  return param;
}

std::int64_t ParamSet::num_elements() const {
  std::int64_t n = 0;
  for (const Param& param : params_) n += param.shape.numel();
  return n;
}

void ParamSet::allocate(const Stream& stream, DType dtype, bool grads) {
  stream_ = stream;
  for (LayerBuffer& layer : layers_) {
    layer.lend_values(stream.zeros({layer.numel}, dtype));
    layer.lend_grads(grads ? stream.zeros({layer.numel}, acc_dtype(dtype)) : Tensor{});
  }
}

void ParamSet::init(std::uint64_t seed) {
  for (const Param& param : params_)
    for (const auto& [part, tensor] : split_parts(param, param.value))
      draw_initial_values(*stream_, *part, 0, tensor, seed);
}

void ParamSet::zero_grads() {
  for (const LayerBuffer& layer : layers_) stream_->clear(layer.grads);
}

void draw_initial_values(const Stream& stream, const ParamPart& part, std::int64_t first, const Tensor& to,
                         std::uint64_t seed) {
  const auto [kind, value] = part.init;
  const bool constant = kind == Init::Kind::kConstant;
  kernels::initialise(stream, {.out = to,
                               .mean = constant ? value : 0,
                               .std = constant ? 0 : value,
                               .seed = seed,
                               .stream = name_hash(part.name),
                               .first = first});
}

std::vector<NamedTensor> split_parts(const Param& param, const Tensor& whole) {
  std::vector<NamedTensor> parts;
  std::int64_t offset = 0;
  for (const ParamPart& part : param.parts) {
    parts.push_back({&part, whole.slice(offset, part.shape)});
    offset += part.shape.numel();
  }
  return parts;
}

}  // namespace spikesink
