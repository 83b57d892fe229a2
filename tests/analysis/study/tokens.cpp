// The analyses of what single tokens and queries do, against plain loops over what the model shows.
#include "analysis/measure.h"
#include "analysis/study/distance.h"
#include "analysis/study/norm.h"
#include "analysis/study/silu.h"
#include "analysis/study/sisters.h"
#include "tests/analysis/study/support.h"

namespace spikesink {
namespace {

using test::check_same;
using test::doubles;
using test::kC, test::kS, test::kT;

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());  // of none: NaN
}

/// Row n of an (N, C) matrix.
std::vector<double> row(const std::vector<double>& x, std::size_t n, std::size_t cols = kC) {
  return {x.begin() + static_cast<std::ptrdiff_t>(n * cols), x.begin() + static_cast<std::ptrdiff_t>((n + 1) * cols)};
}
double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}
double cosine(const std::vector<double>& a, const std::vector<double>& b) {
  return dot(a, b) / std::sqrt(dot(a, a) * dot(b, b));
}

}  // namespace

TEST_CASE("cosine and norm ratio of SiLU are those of every token's gate, by class", "[analysis][study]") {
  test::SmallStudy small(test::study_config());
  Results results;
  silu_identity(small.study, results);
  const test::Seen seen(small.study);
  const SpikePlaces& places = spike_places(small.study);
  for (std::size_t l = 0; l < 2; ++l)
    for (const bool spike : {true, false}) {
      std::vector<double> cosines, ratios;
      const auto& gate_up = seen.gate_up.at("model.layers." + std::to_string(l) + ".mlp");
      for (std::size_t n = 0; n < kS * kT; ++n) {
        if ((places.is_spike[n] != 0) != spike) continue;
        const std::vector<double> gate = row(gate_up, 2 * n, 24);
        std::vector<double> silu;
        for (const double g : gate) silu.push_back(g / (1 + std::exp(-g)));
        cosines.push_back(cosine(silu, gate));
        ratios.push_back(std::sqrt(dot(silu, silu) / dot(gate, gate)));
      }
      REQUIRE(!cosines.empty());
      const std::size_t at = l * 2 + (spike ? 0 : 1);
      double variance = 0;
      for (const double c : cosines)
        variance += (c - mean(cosines)) * (c - mean(cosines)) / static_cast<double>(cosines.size());
      check_same(doubles(results, "cosine")[at], mean(cosines));
      check_same(doubles(results, "norm_ratio")[at], mean(ratios));
      CHECK(doubles(results, "cosine_deviation")[at] == Approx(std::sqrt(variance)).margin(1e-7));
    }
  CHECK(silu_not_for(small.model.config()).empty());
  ModelConfig other = test::study_config();
  other.ffn.kind = FfnKind::kGelu;
  CHECK(silu_not_for(other).find("gelu") != std::string::npos);
}

TEST_CASE("what blocks read after the norm is described as plain loops do, for every kind of norm",
          "[analysis][study]") {
  ModelConfig config = test::study_config();
  config.norm.kind = GENERATE(NormKind::kRmsNorm, NormKind::kLayerNorm, NormKind::kDynamicTanh);
  if (config.norm.kind == NormKind::kDynamicTanh) config.embedding_scale = EmbeddingScale::kLearned;
  CAPTURE(static_cast<int>(config.norm.kind));
  test::SmallStudy small(config);
  for (const Param& param : small.model.params().all())  // scales start at one, where they cannot be told from none
    if (param.name().ends_with("layernorm.weight"))
      for (std::size_t i = 0; i < kC; ++i) param.value.span<double>()[i] = 0.5 + 0.1 * static_cast<double>(i);
  Results results;
  normed_tokens(small.study, results);
  const test::Seen seen(small.study);
  const SpikePlaces& places = spike_places(small.study);
  const double scale = config.embedding_scale == EmbeddingScale::kLearned
                           ? test::weights(small.model, "model.embed_tokens.scale")[0]
                           : 1;
  std::vector<std::vector<double>> before(1);  // the stream before each block, after the last
  for (const std::int32_t token : small.tokens)
    for (std::size_t c = 0; c < kC; ++c)
      before[0].push_back(
          scale * test::weights(small.model, "model.embed_tokens.weight")[static_cast<std::size_t>(token) * kC + c]);
  before.insert(before.end(), seen.residual.begin(), seen.residual.end());

  for (std::size_t p = 0; p < 5; ++p)
    for (const bool spike : {true, false}) {
      CAPTURE(p, spike);
      std::vector<double> maxima, shares, participation, cosines;
      double most = 0, most_scaled = 0;
      for (std::size_t n = 0; n < kS * kT; ++n) {
        if ((places.is_spike[n] != 0) != spike) continue;
        const auto x = row(before[p], n);
        for (std::size_t m = 0; m < n; ++m)
          if ((places.is_spike[m] != 0) == spike) cosines.push_back(cosine(x, row(before[p], m)));
        if (p == 4) continue;
        // The norm undone: what the block reads, without scale (and no bias: it starts at zero).
        const std::string& path = small.model.blocks()[p].input_norm;
        auto y = row(seen.of.at(path), n);
        for (const double value : y) most_scaled = std::max(most_scaled, std::abs(value));
        for (std::size_t c = 0; c < kC; ++c) y[c] /= test::weights(small.model, path + ".weight")[c];
        double top = 0, fourths = 0, on_spikes = 0;
        for (const double value : y) {
          top = std::max(top, std::abs(value));
          fourths += value * value * value * value;
        }
        for (const std::int64_t c : places.channels)
          on_spikes += y[static_cast<std::size_t>(c)] * y[static_cast<std::size_t>(c)];
        most = std::max(most, top);
        maxima.push_back(top);
        shares.push_back(on_spikes / dot(y, y));
        participation.push_back(dot(y, y) * dot(y, y) / fourths);
      }
      const std::size_t at = p * 2 + (spike ? 0 : 1);
      check_same(doubles(results, "cosine")[at], mean(cosines));
      if (p == 4) continue;
      REQUIRE(!maxima.empty());
      check_same(doubles(results, "max")[at], most);
      check_same(doubles(results, "max_mean")[at], mean(maxima));
      check_same(doubles(results, "max_scaled")[at], most_scaled);
      check_same(doubles(results, "spike_share")[at], mean(shares));
      check_same(doubles(results, "participation")[at], mean(participation));
      CHECK(most <= results.summary["bound"].get<double>());
    }
}

TEST_CASE("attention distances are those of plain loops over A, with sink heads and documents or without",
          "[analysis][study]") {
  ModelConfig config = test::study_config();
  const std::int64_t length = GENERATE(12, 70);  // more than a block of queries
  config.context = length;
  test::SmallStudy small(config, length);
  small.study.sink_epsilon = 0.15;
  if (GENERATE(false, true)) small.study.end_of_text = 3;
  Results results;
  attention_distance(small.study, results);
  const test::Seen seen(small.study);
  const auto time = static_cast<std::size_t>(length);
  std::vector<double> of_sinks, of_others;
  for (std::size_t l = 0; l < 2; ++l)
    for (std::int64_t h = 0; h < 4; ++h) {
      CAPTURE(l, h);
      std::vector<double> all, without_first, is_sink;
      for (std::int64_t s = 0; s < 5; ++s) {
        const auto A = seen.probabilities(l, s, h);
        std::vector<double> alpha(time);
        for (std::size_t t = 0; t < time; ++t) {
          double sum = 0, rest = 0;
          for (std::size_t k = 0; k <= t; ++k) {
            sum += A[t][k] * static_cast<double>(t - k);
            rest += k > 0 ? A[t][k] : 0;
            alpha[k] += A[t][k] / static_cast<double>(length);
          }
          if (t == 0) continue;
          all.push_back(sum);
          without_first.push_back((sum - A[t][0] * static_cast<double>(t)) / rest);
        }
        is_sink.push_back(*std::max_element(alpha.begin(), alpha.begin() + length / 2) > 0.15);
      }
      const std::size_t at = l * 4 + static_cast<std::size_t>(h);
      check_same(doubles(results, "distance")[at], mean(all));
      check_same(doubles(results, "distance_without_first")[at], mean(without_first));
      check_same(doubles(results, "sink_share")[at], mean(is_sink));
      (mean(is_sink) > 0.5 ? of_sinks : of_others).push_back(mean(all));
    }
  CHECK(results.summary["sink_heads"] == of_sinks.size());
  check_same(results.summary["distance"]["sink_heads"].get<double>(), mean(of_sinks));
  check_same(results.summary["distance"]["other_heads"].get<double>(), mean(of_others));
}

TEST_CASE("a planted sink head looks at the first token, and evenly at the rest", "[analysis][study]") {
  // One layer, two heads. All tokens have channel 0, which is the query of head 0; the first alone has channel 1, its
  // key. They stand in the last pair of channels, which such a base hardly turns. Head 1 has no queries.
  ModelConfig config;
  config.d_model = 4;
  config.n_layers = 1;
  config.context = 20;
  config.vocab_size = 3;
  config.attention = {.n_heads = 2, .d_head = 8, .rope_theta = 1e12};
  config.ffn.d_hidden = 4;
  test::SmallStudy small(config, 20);
  for (Param& param : small.model.params().all()) std::ranges::fill(param.value.span<double>(), param.decays() ? 0 : 1);
  const auto set = [&](const char* name, std::size_t row, std::size_t col, double value) {
    test::weights(small.model, name)[row * 4 + col] = value;
  };
  for (std::size_t token = 0; token < 3; ++token) set("model.embed_tokens.weight", token, 0, 1);
  set("model.embed_tokens.weight", 0, 1, 1);
  set("model.layers.0.self_attn.q_proj.weight", 3, 0, 20);
  set("model.layers.0.self_attn.k_proj.weight", 3, 1, 20);
  for (std::size_t i = 0; i < small.tokens.size(); ++i)
    small.tokens[i] = i % 20 == 0 ? 0 : 1 + static_cast<std::int32_t>(i % 2);
  Results results;
  attention_distance(small.study, results);
  CHECK(doubles(results, "distance")[0] == Approx(20.0 / 2).epsilon(1e-6));
  CHECK(doubles(results, "distance_without_first")[0] == Approx(18.0 / 4).epsilon(1e-6));
  CHECK(doubles(results, "distance")[1] == Approx(20.0 / 4).epsilon(1e-9));  // even attention
  CHECK(doubles(results, "distance_without_first")[1] == Approx(18.0 / 4).epsilon(1e-9));
  CHECK(doubles(results, "sink_share") == std::vector<double>{1, 0});
  CHECK(results.summary["sink_heads"] == 1);
}

TEST_CASE("sinks and spikes of every sequence are those of plain loops, and their means those of a probe",
          "[analysis][study]") {
  ModelConfig config = test::study_config();
  config.context = 30;
  test::SmallStudy small(config);
  test::SmallStudy longer(config, 30);  // the same weights
  small.study.sink_epsilon = 0.25;
  small.study.context = 30;
  small.study.context_tokens = longer.study.tokens;
  Results results;
  sisters(small.study, results);
  for (const auto& [group, study] : {std::pair{"length", &small.study}, std::pair{"context", &longer.study}}) {
    const test::Seen seen(*study);
    const auto time = static_cast<std::size_t>(study->length);
    for (std::int64_t s = 0; s < 5; ++s) {
      CAPTURE(group, s);
      double sinks = 0, firsts = 0, mass = 0, largest = 0, ratio = 0;
      for (std::size_t l = 0; l < 2; ++l)
        for (std::int64_t h = 0; h < 4; ++h) {
          const auto A = seen.probabilities(l, s, h);
          std::vector<double> alpha(time);
          for (std::size_t t = 0; t < time; ++t)
            for (std::size_t k = 0; k < time; ++k) {
              alpha[k] += A[t][k] / static_cast<double>(time);
              if (t > 0 && k == 0) mass += A[t][0] / static_cast<double>(8 * (time - 1));
            }
          sinks += *std::max_element(alpha.begin(), alpha.begin() + study->length / 2) > 0.25;
          firsts += alpha[0] > 0.25;
        }
      for (const auto& h : seen.residual) {
        std::vector<double> all;
        for (std::size_t i = 0; i < time * kC; ++i)
          all.push_back(std::abs(h[static_cast<std::size_t>(s) * time * kC + i]));
        std::ranges::sort(all);
        if (all.back() <= largest) continue;
        largest = all.back();
        ratio = largest / all[(all.size() - 1) / 2];
      }
      const auto i = static_cast<std::size_t>(s);
      const std::string prefix = std::string(group) + "/";
      CHECK(doubles(results, prefix + "sink_ratio")[i] == sinks / 8);
      CHECK(doubles(results, prefix + "sink_first")[i] == firsts / 8);
      check_same(doubles(results, prefix + "first_token_mass")[i], mass);
      CHECK(doubles(results, prefix + "spike_max")[i] == largest);
      CHECK(doubles(results, prefix + "spike_ratio")[i] == ratio);
    }
  }
  Results of_two;  // sequences of 30 are as many tokens as five of 12
  small.study.context_tokens = longer.study.tokens.first(small.study.tokens.size());
  sisters(small.study, of_two);
  const auto all = doubles(results, "context/first_token_mass");
  CHECK(doubles(of_two, "context/first_token_mass") == std::vector<double>(all.begin(), all.begin() + 2));
  // A probe of the same text: rows of the context and a target.
  std::vector<std::int32_t> samples;
  for (std::size_t s = 0; s < 5; ++s) {
    const auto row = longer.study.tokens.subspan(s * 30, 30);
    samples.insert(samples.end(), row.begin(), row.end());
    samples.push_back(0);
  }
  const Measurement m =
      measure(longer.stream, longer.model, samples, {.metrics = {.sink_epsilon = 0.25, .sink_length = 12}});
  const auto& summary = results.summary["context"];
  CHECK(summary["sink_ratio"]["mean"].get<double>() == Approx(m.sinks_context.sink_ratio).epsilon(1e-12));
  CHECK(summary["sink_first"]["mean"].get<double>() == Approx(m.sinks_context.sink_first).epsilon(1e-12));
  CHECK(summary["first_token_mass"]["mean"].get<double>() == Approx(m.sinks_context.first_token_mass).epsilon(1e-12));
  CHECK(summary["probe"]["spike_max"] == m.spikes.spike_max);
  CHECK(summary["probe"]["spike_mean"].get<double>() == Approx(m.spikes.spike_mean).epsilon(1e-12));
  CHECK(summary["spike_max"]["mean"].get<double>() == Approx(m.spikes.spike_mean).epsilon(1e-12));
}

}  // namespace spikesink
