#include "models/not_finite.h"

#include <cmath>
#include <limits>

#include "tests/models/support.h"

namespace spikesink {
namespace {

struct Model {
  Model(const Stream& on, DType dtype, Recompute recompute = Recompute::kNone)
      : stream(on), config(test::tiny_config()), decoder((config.n_layers = 3, config), recompute) {
    decoder.params().allocate(stream, dtype, true);
    decoder.params().init(1);
  }
  const Param& param(const std::string& name) const {
    for (const Param& p : decoder.params().all())
      if (p.name() == name) return p;
    throw std::runtime_error("no " + name);
  }
  /// Sets one element of `tensor`.
  void poison(const Tensor& tensor, double value) const {
    const Tensor one = tensor.slice(tensor.numel() / 2, {1});
    stream.copy(one, test::filled({1}, tensor.dtype(), value));
  }
  std::string first_activation() const {
    return first_not_finite_activation(stream, decoder, test::random_samples(config, 5, 1),
                                       {.context = config.context, .micro_batch = 2, .loss_from_position = 1});
  }

  Stream stream;
  ModelConfig config;
  Decoder decoder;
};

}  // namespace

TEST_CASE("the first module that puts out what is not finite is named", "[models][not_finite]") {
  const Stream stream = GENERATE(from_range(test::streams()));
  const DType dtype = GENERATE_COPY(from_range(test::dtypes(stream)));
  const double value = GENERATE(std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity());
  CAPTURE(name_of(stream.device), name_of(dtype), value);
  const Model model(stream, dtype);
  const auto [poisoned, named] = GENERATE(
      table<std::string, std::string>({{"model.layers.1.mlp.down_proj.weight", "model.layers.1.mlp"},
                                       {"model.layers.1.self_attn.q_proj.weight", "model.layers.1.self_attn"},
                                       {"model.layers.2.input_layernorm.weight", "model.layers.2.input_layernorm"},
                                       {"model.norm.weight", "model.norm"},
                                       {"lm_head.weight", "the LM head"}}));
  CAPTURE(poisoned);
  model.poison(model.param(poisoned).value, value);
  CHECK(model.first_activation() == named);
}

TEST_CASE("a finite model has no such module, and looking changes nothing", "[models][not_finite]") {
  const Stream stream = GENERATE(from_range(test::streams()));
  const DType dtype = GENERATE_COPY(from_range(test::dtypes(stream)));
  const Model model(stream, dtype);
  const auto before = test::values(model.param("model.layers.1.mlp.down_proj.weight").value);
  CHECK(model.first_activation().empty());
  CHECK(test::values(model.param("model.layers.1.mlp.down_proj.weight").value) == before);
}

TEST_CASE("a tensor with one element that is not finite is not", "[models][not_finite]") {
  const Stream stream = GENERATE(from_range(test::streams()));
  const DType dtype = GENERATE_COPY(from_range(test::dtypes(stream)));
  const double value = GENERATE(std::numeric_limits<double>::quiet_NaN(), -std::numeric_limits<double>::infinity());
  const Model model(stream, dtype);
  const Tensor& grad = model.param("model.layers.0.self_attn.o_proj.weight").grad;
  CHECK(all_finite(stream, grad));
  model.poison(grad, value);
  CHECK_FALSE(all_finite(stream, grad));
}

}  // namespace spikesink
