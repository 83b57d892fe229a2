#include "tests/analysis/study/planted_structure.h"

#include "analysis/study/delimiters.h"
#include "analysis/study/first_position.h"
#include "analysis/study/keys.h"
#include "analysis/study/quadratic.h"
#include "analysis/study/trajectory.h"
#include "analysis/study/vocabulary.h"

namespace spikesink {
namespace test {
namespace {

ModelConfig planted_config() {
  ModelConfig c;
  c.d_model = 16;
  c.n_layers = 3;
  c.context = 8;
  c.vocab_size = 8;
  c.attention = {.n_heads = 2, .d_head = 8, .rope_theta = 1e12};  // channels 2, 3, 6, 7 of a head hardly turn
  c.ffn.d_hidden = 4;
  return c;
}

}  // namespace

PlantedStructure::PlantedStructure() : model(planted_config()) {
  model.params().allocate(stream, DType::kF64, false);  // zeros
  for (Param& param : model.params().all())
    if (!param.decays()) std::ranges::fill(param.value.span<double>(), 1.0);
  const auto set = [&](const std::string& name, std::size_t row, std::size_t col, double value) {
    const Tensor t = parameter(model, name);
    weights(model, name)[row * static_cast<std::size_t>(matrix_dims(t).cols) + col] = value;
  };
  const std::string embedding = "model.embed_tokens.weight";
  for (const std::size_t token : {1, 2, 3}) set(embedding, token, 1, 1);
  set(embedding, 2, 5, 0.5);
  set(embedding, 3, 5, -0.5);
  for (const std::size_t token : {4, 5, 6, 7}) {
    set(embedding, token, 0, 1);
    set(embedding, token, token < 6 ? 2 : 3, token % 2 == 0 ? kVariation : -kVariation);
  }

  // Block 4. The scale of its norm is folded out of the matrices again.
  const std::string rise = "model.layers.1.mlp.", fall = "model.layers.2.mlp.";
  const auto scale = weights(model, "model.layers.1.post_attention_layernorm.weight");
  for (std::size_t c = 0; c < 16; ++c) scale[c] = 0.5 + 0.1 * static_cast<double>(c);
  const auto set_folded = [&](const char* name, std::size_t row, std::size_t col, double value) {
    set(rise + name, row, col, value / scale[col]);
  };
  constexpr double kGate = 5;  // so that SiLU is the identity
  const auto s = leading_vector();
  for (std::size_t c = 0; c < 16; ++c) {
    set_folded("gate_proj.weight", 0, c, kGate * s[c]);
    set_folded("up_proj.weight", 0, c, s[c]);
  }
  set_folded("gate_proj.weight", 1, 10, 1);
  set_folded("up_proj.weight", 1, 10, 1);
  set_folded("gate_proj.weight", 2, 11, 1);
  set_folded("up_proj.weight", 2, 12, 1);
  set(rise + "down_proj.weight", 7, 0, kEigenvalue / kGate);
  set(rise + "down_proj.weight", 7, 1, 0.15 * kEigenvalue);
  set(rise + "down_proj.weight", 7, 2, 0.2 * kEigenvalue);
  set(rise + "down_proj.weight", 8, 0, -kEigenvalue / 2 / kGate);

  // Behind it the stream of a spike token is kRise (e_7 - e_8 / 2) and what it was; behind the norm 4 / |that| times
  // so.
  const double length = kRise * std::sqrt(1.25), y7 = 4 * kRise / length;
  const std::string attention = "model.layers.2.self_attn.";
  set(attention + "q_proj.weight", 3, 1, 1);
  set(attention + "k_proj.weight", 3, 7, kLogit * std::sqrt(8.0) / (4 * y7));
  set(attention + "k_proj.weight", 2, 2, std::sqrt(2.0) * length);
  set(attention + "k_proj.weight", 6, 3, length);
  set(attention + "v_proj.weight", 8, 1, 1);
  for (std::size_t c = 0; c < 16; ++c)
    set(attention + "o_proj.weight", c, 8, kSingular * (0.6 * s[c] + (c == 15 ? 0.8 : 0)));

  set(fall + "gate_proj.weight", 0, 7, kGate);
  set(fall + "up_proj.weight", 0, 7, 1);
  set(fall + "down_proj.weight", 7, 0, -0.9 * kRise / (kGate * y7 * y7));
  set(fall + "down_proj.weight", 8, 0, 0.45 * kRise / (kGate * y7 * y7));
  study.length = 8;
  study.tokens = tokens;
  study.micro_batch = 3;
  study.sink_epsilon = 0.5;  // even attention over 8 positions gives the first 0.34
}

}  // namespace test

namespace {

using test::doubles;
using test::integers;

constexpr double kWithin = 0.01;  // of what is planted

Results run(void (*analysis)(const Study&, Results&), const Study& study) {
  Results results;
  analysis(study, results);
  return results;
}

}  // namespace

TEST_CASE("planted step-up and step-down blocks and spike channels are found", "[analysis][study][planted]") {
  const test::PlantedStructure planted;
  const Results r = run(trajectory, planted.study);
  CHECK(integers(r, "steps/up") == std::vector<std::int64_t>{4});
  CHECK(integers(r, "steps/down") == std::vector<std::int64_t>{6});
  CHECK(integers(r, "spikes/channels") == std::vector<std::int64_t>{7, 8});
  CHECK(doubles(r, "spikes/output")[3 * 2] == Approx(500).epsilon(kWithin));
  CHECK(integers(r, "spikes/position") == std::vector<std::int64_t>{0, 1, 2, 3, 1, 2, 0, 1});
}

TEST_CASE("a planted S_k is found: norms, outliers, lambda*, s* and what it predicts", "[analysis][study][planted]") {
  const test::PlantedStructure planted;
  const Results r = run(quadratic, planted.study);
  constexpr double kEigenvalue = test::PlantedStructure::kEigenvalue;
  const std::size_t C = 16, n = integers(r, "channels").size() / 3;
  const double* norm = doubles(r, "norm").data() + C;
  CHECK(norm[7] == Approx(kEigenvalue * std::sqrt(1 + 0.15 * 0.15 + 0.2 * 0.2)).epsilon(kWithin));
  CHECK(norm[8] == Approx(kEigenvalue / 2).epsilon(kWithin));
  const double symmetric = kEigenvalue * std::sqrt(1 + 0.15 * 0.15 + 2 * 0.1 * 0.1);
  CHECK(doubles(r, "symmetric_norm")[C + 7] == Approx(symmetric).epsilon(kWithin));
  for (std::size_t c = 0; c < C; ++c) CHECK(integers(r, "is_outlier")[C + c] == (c == 7 || c == 8));
  REQUIRE(integers(r, "channels")[n] == 7);
  REQUIRE(integers(r, "channels")[n + 1] == 8);
  const double* values = doubles(r, "eigenvalues").data() + n * kEigenvalues;
  CHECK(values[0] == Approx(kEigenvalue).epsilon(kWithin));
  CHECK(values[1] == Approx(0.15 * kEigenvalue).epsilon(kWithin));
  CHECK(std::abs(values[2]) == Approx(0.1 * kEigenvalue).epsilon(kWithin));
  CHECK(values[2] == Approx(-values[3]).epsilon(kWithin));
  CHECK(values[kEigenvalues] == Approx(-kEigenvalue / 2).epsilon(kWithin));
  CHECK(doubles(r, "eigenvalue_share")[n] == Approx(kEigenvalue / symmetric).epsilon(kWithin));
  CHECK(doubles(r, "eigenvalue_share")[n + 1] == Approx(1).epsilon(kWithin));
  const auto s = test::PlantedStructure::leading_vector();
  for (std::size_t c = 0; c < C; ++c)
    CHECK(doubles(r, "eigenvector")[n * C + c] == Approx(s[c]).epsilon(kWithin).margin(1e-6));
  CHECK(doubles(r, "sharing")[n * n + 1] == Approx(1).epsilon(kWithin));
  for (const std::size_t kind : {0, 1}) {
    CHECK(doubles(r, "correlation")[(n * 2 + kind) * 3 + 2] == Approx(1).epsilon(kWithin));
    CHECK(doubles(r, "error")[(n * 2 + kind) * 3] < kWithin);
  }
  CHECK(r.summary.at("block") == 4);
  CHECK(r.summary.at("channel") == 7);
  CHECK(r.summary.at("sharing_of_spike_channels").get<double>() == Approx(1).epsilon(kWithin));
}

TEST_CASE("planted spike tokens are those of the vocabulary, alone too", "[analysis][study][planted]") {
  const test::PlantedStructure planted;
  const Results r = run(vocabulary, planted.study);
  CHECK(integers(r, "is_spike") == std::vector<std::int64_t>{0, 0, 0, 0, 1, 1, 1, 1});
  CHECK(r.summary.at("spike_share") == 0.5);
  for (const std::size_t v : {4, 5, 6, 7}) {
    CHECK(doubles(r, "max")[v] == Approx(500).epsilon(kWithin));
    CHECK(integers(r, "block")[v] == 4);
  }
}

TEST_CASE("a planted W_VO is found, with its alignment to s*", "[analysis][study][planted]") {
  const test::PlantedStructure planted;
  const Results r = run(first_position, planted.study);
  const std::size_t layer = 2;
  CHECK(doubles(r, "error")[layer] < 1e-12);
  CHECK(doubles(r, "singular_values")[layer * kSingularValues] == Approx(2).epsilon(kWithin));
  CHECK(doubles(r, "singular_values")[layer * kSingularValues + 1] == Approx(0).margin(kWithin));
  CHECK(std::abs(doubles(r, "right")[layer * 16 + 1]) == Approx(1).epsilon(kWithin));
  CHECK(doubles(r, "left_alignment")[layer * kSingularValues] == Approx(0.6).epsilon(kWithin));
  for (const std::size_t place : {0, 1})
    CHECK(doubles(r, "output_alignment")[layer * 2 + place] == Approx(0.6).epsilon(kWithin));
  CHECK(r.summary.at("block") == 4);
}

TEST_CASE("a planted sink head, its logits and the dimension of its keys are found", "[analysis][study][planted]") {
  const test::PlantedStructure planted;
  const Results r = run(key_geometry, planted.study);
  CHECK(integers(r, "sink_position") == std::vector<std::int64_t>{0, 1, 2, 3, 1, 2, 0, 1});
  for (std::size_t head = 0; head < 6; ++head) CHECK(doubles(r, "sink_share")[head] == (head == 4 ? 1 : 0));
  // Of queries of tokens 1; those of 2 and 3 have 1 / sqrt(1.25) of the length.
  double mean = 0, queries = 0;
  for (std::size_t n = 0; n < planted.tokens.size(); ++n)
    if (static_cast<std::int64_t>(n % 8) > integers(r, "sink_position")[n / 8]) {
      mean += planted.tokens[n] == 1 ? 8 : 8 / std::sqrt(1.25);
      ++queries;
    }
  CHECK(doubles(r, "logit_gap")[4] == Approx(mean / queries).epsilon(kWithin));
  CHECK(doubles(r, "other_logit")[4] == Approx(0).margin(1e-6));
  // Variances of 2 to 1 along two channels.
  CHECK(doubles(r, "sink_dimension")[4] == Approx(9.0 / 5).epsilon(kWithin));
  CHECK(doubles(r, "sink_dimension")[5] == 0);
  CHECK(integers(r, "points/heads")[0] == 3);
  CHECK(integers(r, "points/heads")[1] == 1);
}

}  // namespace spikesink
