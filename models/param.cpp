#include "models/param.h"

#include <cmath>
#include <cstring>

#include "kernels/core/parallel.h"
#include "kernels/core/random.h"

namespace spikesink {
namespace {
constexpr std::int64_t kAlignment = 16;

/// The first of draws 4 i, 4 i + 1, ... within 3 sigma; four fail with a probability of 5e-11, and then the last is
/// clipped.
double truncated_normal(const Random& random, std::uint64_t element) {
  double z = 0;
  for (std::uint64_t attempt = 0; attempt < 4; ++attempt)
    if (z = random.normal(4 * element + attempt); std::abs(z) <= 3) return z;
  return std::copysign(3.0, z);
}

void init_part(const NamedTensor& named, std::uint64_t seed) {
  const Init init = named.part->init;
  const Random random{.seed = seed, .stream = name_hash(named.part->name)};
  with_dtype(named.tensor.dtype(), [&]<class T>() {
    T* const x = named.tensor.data<T>();
    const std::int64_t n = named.tensor.numel();
#pragma omp parallel for schedule(static)
    for (std::int64_t i = 0; i < n; ++i)
      x[i] = init.kind == Init::Kind::kConstant
                 ? static_cast<T>(init.value)
                 : static_cast<T>(init.value * truncated_normal(random, static_cast<std::uint64_t>(i)));
  });
}
}  // namespace

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
  Param& param = params_.emplace_back(Param{std::move(parts), shape, layer, {}, {}});
  LayerBuffer& buffer = layers_.back();
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
  for (LayerBuffer& layer : layers_) {
    layer.values = stream.zeros({layer.numel}, dtype);
    layer.grads = grads ? stream.zeros({layer.numel}, dtype) : Tensor{};
    std::int64_t offset = 0;
    for (Param* param : layer.params) {
      param->value = layer.values.slice(offset, param->shape);
      param->grad = grads ? layer.grads.slice(offset, param->shape) : Tensor{};
      offset += (param->shape.numel() + kAlignment - 1) / kAlignment * kAlignment;
    }
  }
}

void ParamSet::init(std::uint64_t seed) {
  for (const Param& param : params_)
    for (const NamedTensor& named : split_parts(param, param.value)) init_part(named, seed);
}

void ParamSet::zero_grads() {
  for (const LayerBuffer& layer : layers_)
    std::memset(layer.grads.raw(), 0, static_cast<std::size_t>(layer.grads.bytes()));
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
