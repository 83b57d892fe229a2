#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <set>

#include "models/cost.h"
#include "tests/models/support.h"

namespace spikesink {

TEST_CASE("parameters have the names and shapes of Hugging Face's LlamaForCausalLM", "[models]") {
  const ModelConfig c = test::tiny_config();
  const Decoder model(c);
  std::map<std::string, Shape> seen;
  for (const Param& param : model.params().all())
    for (const ParamPart& part : param.parts) seen[part.name] = part.shape;
  std::map<std::string, Shape> want{
      {"model.embed_tokens.weight", {17, 12}}, {"model.norm.weight", {12}}, {"lm_head.weight", {17, 12}}};
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    want[layer + "input_layernorm.weight"] = want[layer + "post_attention_layernorm.weight"] = {12};
    want[layer + "self_attn.q_proj.weight"] = {24, 12};
    want[layer + "self_attn.k_proj.weight"] = want[layer + "self_attn.v_proj.weight"] = {12, 12};
    want[layer + "self_attn.o_proj.weight"] = {12, 24};
    want[layer + "mlp.gate_proj.weight"] = want[layer + "mlp.up_proj.weight"] = {20, 12};
    want[layer + "mlp.down_proj.weight"] = {12, 20};
  }
  CHECK(seen.size() == want.size());
  for (const auto& [name, shape] : want) {
    CAPTURE(name);
    REQUIRE(seen.count(name) == 1);
    CHECK(seen[name] == shape);
  }
}

TEST_CASE("parameters are counted as they are made", "[models]") {
  ModelConfig c = test::tiny_config();
  c.tie_embeddings = GENERATE(false, true);
  CHECK(cost_of(c).parameters() == Decoder(c).params().num_elements());
  ModelConfig seven_b;  // the defaults are the paper's baseline
  seven_b.ffn.d_hidden = 11008;
  CHECK(cost_of(seven_b).parameters() == 6738415616);
  CHECK(Decoder(seven_b).params().num_elements() == 6738415616);
}

TEST_CASE("initial weights are truncated normals with the stated deviations, the same wherever they lie", "[models]") {
  ModelConfig c = test::tiny_config();
  c.d_model = 64;
  c.init_std = 0.02;
  const Stream stream = Stream::cpu(2);
  Decoder model(c);
  model.params().allocate(stream, DType::kF64, false);
  model.params().init(3);
  for (const Param& param : model.params().all())
    for (const auto& [part, tensor] : split_parts(param, param.value)) {
      CAPTURE(part->name);
      double sum = 0, squares = 0, top = 0;
      for (const double w : tensor.span<double>()) {
        sum += w;
        squares += w * w;
        top = std::max(top, std::abs(w));
      }
      const auto n = static_cast<double>(tensor.numel());
      if (part->shape.rank() == 1) {
        CHECK(sum == n);
        CHECK(squares == n);
        continue;
      }
      const bool residual = part->name.ends_with("o_proj.weight") || part->name.ends_with("down_proj.weight");
      const double std = residual ? 0.02 / std::sqrt(4.0) : 0.02;
      CHECK(top <= 3 * std);
      CHECK(std::abs(sum / n) < 5 * std / std::sqrt(n));
      CHECK(std::sqrt(squares / n) == Approx(0.9866 * std).epsilon(4 / std::sqrt(2 * n)));  // 3-sigma truncation
    }

  c.n_layers = 1;  // another layout: what both have is equal, but for the residual outputs' deviation
  Decoder smaller(c);
  smaller.params().allocate(stream, DType::kF64, false);
  smaller.params().init(3);
  for (const std::size_t i : {0u, 1u, 2u}) {
    const auto a = model.params().all()[i].value.span<double>(), b = smaller.params().all()[i].value.span<double>();
    CHECK(std::equal(a.begin(), a.end(), b.begin(), b.end()));
  }
  smaller.params().init(4);
  CHECK(smaller.params().all()[0].value.data<double>()[0] != model.params().all()[0].value.data<double>()[0]);
}

TEST_CASE("an observer sees every module once, with its gradient, and changes no number", "[models]") {
  struct Recorder final : Observer {
    void activation(std::string_view path, const Tensor&) override { CHECK(activations.emplace(path).second); }
    void gradient(std::string_view path, const Tensor&) override { CHECK(gradients.emplace(path).second); }
    void attention(std::string_view path, const AttentionTap& tap) override {
      CHECK(taps.emplace(path).second);
      // The probabilities of the last query, from q, k and the log-sum-exp, sum to one.
      const auto& d = tap.dims;
      const std::int64_t t = d.length - 1, W = d.qkv_width();
      double sum = 0;
      for (std::int64_t k = 0; k < d.length; ++k) {
        double score = 0;
        for (std::int64_t i = 0; i < d.d_head; ++i)
          score += tap.qkv.data<double>()[t * W + i] * tap.qkv.data<double>()[k * W + d.n_heads * d.d_head + i];
        sum += std::exp(score * d.scale - tap.lse.data<double>()[t]);
      }
      CHECK(sum == Approx(1.0).epsilon(1e-12));
    }
    std::set<std::string, std::less<>> activations, gradients, taps;
  } recorder;
  const ModelConfig c = test::tiny_config();
  const Stream stream = Stream::cpu(1);
  Decoder model(c);
  model.params().allocate(stream, DType::kF64, true);
  model.params().init(1);
  const Tensor tokens = stream.zeros({c.context}, DType::kI32), targets = stream.zeros({c.context}, DType::kI32);
  std::vector<double> losses[2];
  for (Observer* const observer : {static_cast<Observer*>(nullptr), static_cast<Observer*>(&recorder)}) {
    Pass pass(stream, {1, c.context}, Pass::Mode::kTrain, observer);
    const Tensor loss = model.loss(pass, model.hidden(pass, tokens), targets, 1.0);
    losses[observer != nullptr].assign(loss.span<double>().begin(), loss.span<double>().end());
    pass.backward();
  }
  CHECK(losses[0] == losses[1]);
  for (const BlockPaths& block : model.blocks()) {
    CHECK(recorder.activations.count(block.branch) == 1);
    CHECK(recorder.activations.count(block.added) == 1);
    CHECK(block.residual == block.branch + ".residual");
    CHECK(recorder.activations.count(block.residual) == 1);
  }
  CHECK(recorder.gradients == recorder.activations);
  CHECK(recorder.taps == std::set<std::string, std::less<>>{"model.layers.0.self_attn", "model.layers.1.self_attn"});
}

}  // namespace spikesink
