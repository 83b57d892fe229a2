#include "models/cost.h"

#include <catch2/catch.hpp>
#include <cstdint>

namespace spikesink {
namespace {

/// Sizes that are all different primes or products of their own, so that no two terms can be taken for each other.
ModelConfig odd_sizes() {
  ModelConfig c{.d_model = 11, .n_layers = 3, .context = 40, .vocab_size = 97};
  c.attention = {.n_heads = 6, .n_kv_heads = 2, .d_head = 10};
  c.ffn.d_hidden = 23;
  return c;
}

TEST_CASE("a Llama's cost by part, counted by hand", "[models]") {
  const ModelCost cost = cost_of(odd_sizes());
  CHECK(cost.embedding.parameters == 97 * 11);
  CHECK(cost.embedding.flops == 0);
  CHECK(cost.attention.parameters == 3 * 11 * (60 + 20 + 20 + 60));
  CHECK(cost.attention.flops == 6.0 * 3 * (11 * 160 + 60 * 40));
  CHECK(cost.gates.parameters == 0);
  CHECK(cost.gates.flops == 0);
  CHECK(cost.ffn.parameters == 3 * 3 * 11 * 23);
  CHECK(cost.ffn.flops == 6.0 * 3 * 3 * 11 * 23);
  CHECK(cost.norms.parameters == (2 * 3 + 1) * 11);
  CHECK(cost.norms.flops == 0);
  CHECK(cost.head.parameters == 97 * 11);
  CHECK(cost.head.flops == 6.0 * 97 * 11);
  CHECK(cost.parameters() == 2 * 1067 + 5280 + 2277 + 77);
  CHECK(cost.flops() == 6.0 * (5280 + 7200 + 2277 + 1067));
}

TEST_CASE("a tied head has no parameters and costs the same product", "[models]") {
  ModelConfig c = odd_sizes();
  c.tie_embeddings = true;
  CHECK(cost_of(c).head.parameters == 0);
  CHECK(cost_of(c).flops() == cost_of(odd_sizes()).flops());
}

TEST_CASE("the head costs its share of the positions that the loss counts", "[models]") {
  const ModelCost all = cost_of(odd_sizes()), half = cost_of(odd_sizes(), 21), last = cost_of(odd_sizes(), 40);
  CHECK(half.head.flops == Approx(all.head.flops / 2));
  CHECK(last.head.flops == Approx(all.head.flops / 40));
  CHECK(half.parameters() == all.parameters());
  CHECK(all.flops() - half.flops() == Approx(all.head.flops / 2));
}

TEST_CASE("a learned embedding scale is one parameter", "[models]") {
  ModelConfig c = odd_sizes();
  c.embedding_scale = EmbeddingScale::kLearned;
  CHECK(cost_of(c).embedding.parameters == 97 * 11 + 1);
}

TEST_CASE("norms by kind and place", "[models]") {
  ModelConfig c = odd_sizes();
  const auto count = [&] { return cost_of(c).norms.parameters; };
  c.norm.output = true;
  CHECK(count() == 13 * 11);
  c.norm.kind = NormKind::kLayerNorm;
  CHECK(count() == 13 * 22);
  c.norm.kind = NormKind::kDynamicTanh;
  CHECK(count() == 13 * 12);
  c.norm.beta = true;
  CHECK(count() == 13 * 23);
  c.norm = {.input = false, .final = false};
  CHECK(count() == 0);
  c.norm.qk = QkNorm::kHead;
  CHECK(count() == 3 * (10 + 10));
  c.norm.qk = QkNorm::kFull;
  CHECK(count() == 3 * (60 + 20));
  c.ffn.kind = FfnKind::kAttention;  // twice the attention layers
  CHECK(count() == 2 * 3 * (60 + 20));
}

TEST_CASE("gates by source and granularity: matrices cost a product, constants and tables none", "[models]") {
  ModelConfig c = odd_sizes();
  const auto [granularity, width] = GENERATE(table<GateGranularity, std::int64_t>(
      {{GateGranularity::kChannel, 60}, {GateGranularity::kHead, 6}, {GateGranularity::kSingle, 1}}));
  c.attention.gate.granularity = granularity;
  const std::int64_t layers = GENERATE(3, 6);
  if (layers == 6) c.ffn.kind = FfnKind::kAttention;
  for (const GateSource source : {GateSource::kConditional, GateSource::kToken}) {
    c.attention.gate.source = source;
    CHECK(cost_of(c).gates.parameters == layers * width * 11);
    CHECK(cost_of(c).gates.flops == 6.0 * static_cast<double>(layers * width * 11));
  }
  c.attention.gate.source = GateSource::kUnconditional;
  CHECK(cost_of(c).gates.parameters == layers * width);
  CHECK(cost_of(c).gates.flops == 0);
  c.attention.gate.source = GateSource::kPositional;
  CHECK(cost_of(c).gates.parameters == layers * 40 * width);
  CHECK(cost_of(c).gates.flops == 0);
}

TEST_CASE("FFNs by kind", "[models]") {
  ModelConfig c = odd_sizes();
  c.ffn.kind = FfnKind::kGelu;
  CHECK(cost_of(c).ffn.parameters == 3 * 2 * 11 * 23);
  c.ffn.kind = FfnKind::kLinear;
  CHECK(cost_of(c).ffn.parameters == 3 * 11 * 11);
  CHECK(cost_of(c).ffn.flops == 6.0 * 3 * 11 * 11);
  c.ffn.kind = FfnKind::kAttention;
  CHECK(cost_of(c).ffn.parameters == cost_of(c).attention.parameters);
  CHECK(cost_of(c).ffn.flops == cost_of(c).attention.flops);
}

}  // namespace
}  // namespace spikesink
