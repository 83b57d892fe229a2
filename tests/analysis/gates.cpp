#include "analysis/gates.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "analysis/probe.h"
#include "io/h5.h"
#include "kernels/core/random.h"
#include "models/sample_loss.h"
#include "tests/kernels/support.h"

namespace spikesink {
namespace {

constexpr std::int64_t kSamples = 5, kTime = 12, kVocab = 11;
constexpr int kBins = 20;

ModelConfig gated_config(GateSource source, GateGranularity granularity, FfnKind ffn = FfnKind::kSwiGlu) {
  ModelConfig c;
  c.d_model = 16;
  c.n_layers = 2;
  c.context = kTime;
  c.vocab_size = kVocab;
  c.init_std = 0.3;
  c.attention = {.n_heads = 4, .n_kv_heads = 2, .d_head = 6, .gate = {.source = source, .granularity = granularity}};
  c.ffn.kind = ffn;
  if (ffn != FfnKind::kAttention) c.ffn.d_hidden = 24;
  return c;
}

std::vector<std::int32_t> some_samples() {
  std::vector<std::int32_t> samples;
  for (std::uint64_t i = 0; i < kSamples * (kTime + 1); ++i)
    samples.push_back(static_cast<std::int32_t>(Random{.seed = 3}.below(i, kVocab)));
  return samples;
}

void init(const Stream& stream, Decoder& model, DType dtype = DType::kF64) {
  model.params().allocate(stream, dtype, false);
  model.params().init(1);
}

const Tensor& value_of(const Decoder& model, const std::string& name) {
  for (const Param& param : model.params().all())
    if (param.name() == name) return param.value;
  throw std::runtime_error("no parameter " + name);
}

/// Paths of the layers that attend, with the norm that each reads.
std::vector<std::array<std::string, 2>> attention_layers(const ModelConfig& c) {
  std::vector<std::array<std::string, 2>> all;
  for (std::int64_t l = 0; l < c.n_layers; ++l) {
    const std::string layer = "model.layers." + std::to_string(l);
    all.push_back({layer + ".self_attn", layer + ".input_layernorm"});
    if (c.ffn.kind == FfnKind::kAttention) all.push_back({layer + ".self_attn2", layer + ".post_attention_layernorm"});
  }
  return all;
}

/// Copies of what the norms put out, a pass after the other.
struct Norms final : Observer {
  void activation(std::string_view path, const Tensor& value) override {
    if (!path.ends_with("norm")) return;
    auto& rows = of[std::string(path)];
    rows.insert(rows.end(), value.span<double>().begin(), value.span<double>().end());
  }
  std::map<std::string, std::vector<double>> of;
};

/// The gate values of one attention layer, of all samples: s[b][t][g], from parameters, tokens and norms alone.
std::vector<double> plain_gates(const Decoder& model, const std::string& attention,
                                const std::vector<double>& block_input, std::span<const std::int32_t> samples) {
  const ModelConfig& c = model.config();
  const std::int64_t G = c.attention.gate_width(), C = c.d_model;
  const std::string path = attention + ".gate.";
  std::vector<double> s;
  for (std::int64_t b = 0; b < kSamples; ++b)
    for (std::int64_t t = 0; t < kTime; ++t)
      for (std::int64_t g = 0; g < G; ++g) {
        double logit = 0;
        if (c.attention.gate.source == GateSource::kUnconditional) {
          logit = value_of(model, path + "logits").data<double>()[g];
        } else if (c.attention.gate.source == GateSource::kPositional) {
          logit = value_of(model, path + "table").data<double>()[t * G + g];
        } else {
          const double* const weight = value_of(model, path + "weight").data<double>() + g * C;
          const std::int64_t token = samples[static_cast<std::size_t>(b * (kTime + 1) + t)];
          const double* const x = c.attention.gate.source == GateSource::kToken
                                      ? value_of(model, "model.embed_tokens.weight").data<double>() + token * C
                                      : block_input.data() + (b * kTime + t) * C;
          for (std::int64_t i = 0; i < C; ++i) logit += weight[i] * x[i];
        }
        s.push_back(1 / (1 + std::exp(-logit)));
      }
  return s;
}

/// What gates of those values are like, head by head, with plain sums.
void check_layer(const GateFigures& got, std::size_t layer, const std::vector<double>& s, std::int64_t G) {
  const std::int64_t H = got.n_heads, W = G / H;
  std::array<double, kBins> histogram{};
  for (std::int64_t h = 0; h < H; ++h) {
    double sum = 0, squares = 0, first = 0, closed = 0, open = 0;
    const auto over = [&](auto f) {
      for (std::int64_t n = 0; n < kSamples * kTime; ++n)
        for (std::int64_t w = 0; w < W; ++w) f(n % kTime, s[static_cast<std::size_t>(n * G + h * W + w)]);
    };
    over([&](std::int64_t t, double v) {
      sum += v;
      first += t == 0 ? v : 0;
      closed += v < 0.1;
      open += v >= 0.9;
      ++histogram[static_cast<std::size_t>(std::min(v * kBins, kBins - 1.0))];  // 1 is in the last
    });
    const auto n = static_cast<double>(kSamples * kTime * W);
    over([&](std::int64_t, double v) { squares += (v - sum / n) * (v - sum / n); });
    const HeadGates& head = got.heads[layer * static_cast<std::size_t>(H) + static_cast<std::size_t>(h)];
    CAPTURE(layer, h);
    CHECK(head.mean == Approx(sum / n).epsilon(1e-12));
    CHECK(head.deviation == Approx(std::sqrt(squares / n)).epsilon(1e-9).margin(1e-12));
    CHECK(head.closed == Approx(closed / n).epsilon(1e-12));
    CHECK(head.open == Approx(open / n).epsilon(1e-12));
    CHECK(head.first_position_mean == Approx(first * static_cast<double>(kTime) / n).epsilon(1e-12));
  }
  for (std::size_t bin = 0; bin < kBins; ++bin)
    CHECK(got.histograms[layer][bin] ==
          Approx(histogram[bin] / static_cast<double>(kSamples * kTime * G)).epsilon(1e-12).margin(1e-15));
}

}  // namespace

TEST_CASE("gate figures are those of the gate values that parameters and inputs give", "[analysis][gate]") {
  const GateSource source =
      GENERATE(GateSource::kConditional, GateSource::kUnconditional, GateSource::kPositional, GateSource::kToken);
  const GateGranularity granularity =
      GENERATE(GateGranularity::kChannel, GateGranularity::kHead, GateGranularity::kSingle);
  const FfnKind ffn = GENERATE(FfnKind::kSwiGlu, FfnKind::kAttention);
  const ModelConfig c = gated_config(source, granularity, ffn);
  CAPTURE(names_of(source)[static_cast<std::size_t>(source)], static_cast<int>(granularity), static_cast<int>(ffn));
  const Stream stream = Stream::cpu(2);
  Decoder model(c);
  init(stream, model);
  for (Param& param : model.params().all())  // constants and tables start at zero, weights too small to close a gate
    if (param.name().find(".gate.") != std::string::npos)
      for (std::int64_t i = 0; i < param.value.numel(); ++i)
        param.value.data<double>()[i] = 3 * Random{.seed = 5}.normal(static_cast<std::uint64_t>(param.offset + i));

  const auto samples = some_samples();
  const Measurement m = measure(stream, model, samples, {.metrics = {.sink_length = 4}, .micro_batch = 2});
  REQUIRE(m.gates.has_value());
  const auto layers = attention_layers(c);
  const auto H = granularity == GateGranularity::kSingle ? 1U : 4U;
  REQUIRE(m.gates->n_heads == H);
  REQUIRE(m.gates->heads.size() == layers.size() * H);
  REQUIRE(m.gates->histograms.size() == layers.size());
  Norms norms;
  mean_loss(stream, model, samples, {.context = kTime, .micro_batch = kSamples, .loss_from_position = 1}, &norms);
  for (std::size_t l = 0; l < layers.size(); ++l)
    check_layer(*m.gates, l, plain_gates(model, layers[l][0], norms.of[layers[l][1]], samples),
                c.attention.gate_width());
  double mean = 0, closed = 0;
  for (const HeadGates& head : m.gates->heads) {
    mean += head.mean / static_cast<double>(m.gates->heads.size());
    closed += head.closed / static_cast<double>(m.gates->heads.size());
  }
  CHECK(m.gates->gate_mean == Approx(mean).epsilon(1e-12));
  CHECK(m.gates->gate_closed == Approx(closed).epsilon(1e-12).margin(1e-15));
  if (granularity == GateGranularity::kChannel) CHECK(m.gates->gate_closed > 0);  // else the shares say nothing
}

TEST_CASE("an untrained gate is half open", "[analysis][gate]") {
  const GateSource source =
      GENERATE(GateSource::kConditional, GateSource::kUnconditional, GateSource::kPositional, GateSource::kToken);
  ModelConfig c = gated_config(source, GateGranularity::kHead);
  c.init_std = 0.02;
  const Stream stream = Stream::cpu(1);
  Decoder model(c);
  init(stream, model, DType::kF32);
  const Measurement m = measure(stream, model, some_samples(), {.micro_batch = 2});
  CHECK(m.gates->gate_mean == Approx(0.5).margin(0.02));
  CHECK(m.gates->gate_closed == 0);
  if (source == GateSource::kConditional || source == GateSource::kToken) {
    CHECK(m.gates->heads[0].deviation > 0);
    return;
  }
  for (const HeadGates& head : m.gates->heads) {
    CHECK(head.mean == 0.5);
    CHECK(head.deviation == 0);
  }
  CHECK(m.gates->histograms[1][10] == 1);
}

TEST_CASE("a gate that closes at the first position is told from one that is closed", "[analysis][gate]") {
  const Stream stream = Stream::cpu(2);
  Decoder model(gated_config(GateSource::kPositional, GateGranularity::kHead));
  init(stream, model);
  const Tensor& table = value_of(model, "model.layers.1.self_attn.gate.table");
  for (std::int64_t t = 0; t < kTime; ++t) {
    table.data<double>()[t * 4 + 1] = t == 0 ? -6 : 6;
    table.data<double>()[t * 4 + 2] = -6;
  }
  const double closed = 1 / (1 + std::exp(6.0)), open = 1 - closed;
  // Documents that begin inside of a sequence have no first position of their own.
  const bool documents = GENERATE(false, true);
  MeasureOptions options{.micro_batch = 2};
  if (documents) options.end_of_text = 3;
  const GateFigures f = *measure(stream, model, some_samples(), options).gates;
  const HeadGates &sink = f.heads[4 + 1], &shut = f.heads[4 + 2];
  CHECK(sink.first_position_mean == Approx(closed).epsilon(1e-9));
  CHECK(sink.mean == Approx((closed + (kTime - 1) * open) / kTime).epsilon(1e-12));
  CHECK(sink.closed == Approx(1.0 / kTime));
  CHECK(sink.open == Approx((kTime - 1.0) / kTime));
  CHECK(shut.first_position_mean == Approx(closed).epsilon(1e-9));
  CHECK(shut.mean == Approx(closed).epsilon(1e-9));
  CHECK(shut.closed == 1);
  CHECK(shut.open == 0);
  CHECK(f.heads[4].mean == 0.5);
  CHECK(f.gate_closed == Approx((1 + 1.0 / kTime) / 8));
  CHECK(f.histograms[1][0] == Approx((1 + 1.0 / kTime) / 4));
  CHECK(f.histograms[1][19] == Approx((kTime - 1.0) / kTime / 4));
  CHECK(f.histograms[0][10] == 1);
}

TEST_CASE("gate figures do not depend on how sequences are cut into passes", "[analysis][gate]") {
  const Stream stream = Stream::cpu(1);
  Decoder model(gated_config(GateSource::kConditional, GateGranularity::kChannel));
  init(stream, model);
  const auto figures = [&](std::int64_t micro_batch) {
    return *measure(stream, model, some_samples(), {.micro_batch = micro_batch}).gates;
  };
  const GateFigures whole = figures(kSamples), parts = figures(2);
  for (std::size_t i = 0; i < whole.heads.size(); ++i) {
    CHECK(parts.heads[i].mean == Approx(whole.heads[i].mean).epsilon(1e-12));
    CHECK(parts.heads[i].deviation == Approx(whole.heads[i].deviation).epsilon(1e-12));
    CHECK(parts.heads[i].closed == whole.heads[i].closed);
    CHECK(parts.heads[i].first_position_mean == Approx(whole.heads[i].first_position_mean).epsilon(1e-12));
  }
  CHECK(parts.histograms == whole.histograms);
}

TEST_CASE("a probe has gate figures where the model has gates, and only there", "[analysis][gate]") {
  const GateSource source = GENERATE(GateSource::kNone, GateSource::kConditional);
  const GateGranularity granularity = GENERATE(GateGranularity::kChannel, GateGranularity::kSingle);
  const Stream stream = Stream::cpu(2);
  Decoder model(gated_config(source, granularity));
  init(stream, model, DType::kF32);
  const auto samples = some_samples();
  const MeasureOptions options{.metrics = {.sink_length = 4}, .micro_batch = 2};
  const Measurement m = measure(stream, model, samples, options);

  const auto folder = std::filesystem::temp_directory_path() / ("spikesink_gates_test_" + std::to_string(getpid()));
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  const std::string path = (folder / "step_00000007.h5").string();
  const Scalars scalars = ModelProbe(stream, model, samples, options).measure(7, path);
  const auto has = [&](const std::string& name) {
    return std::ranges::any_of(scalars, [&](const auto& scalar) { return scalar.first == name; });
  };
  const bool gated = source != GateSource::kNone;
  CHECK(has("gate_mean") == gated);
  CHECK(has("gate_closed") == gated);
  CHECK(m.gates.has_value() == gated);
  {
    const H5File file = H5File::open(path);
    CHECK(file.exists("gate") == gated);
    CHECK(file.has_attribute("/", "gate_mean") == gated);
    if (gated) {
      const std::int64_t H = granularity == GateGranularity::kSingle ? 1 : 4;
      const auto last = static_cast<std::size_t>(2 * H - 1);
      CHECK(file.number_attribute<double>("/", "gate_closed") == m.gates->gate_closed);
      for (const char* name : {"mean", "deviation", "closed", "open", "first_position_mean", "histogram"}) {
        CAPTURE(name);
        const std::string at = std::string("gate/") + name;
        CHECK(file.dims(at) == std::vector<std::int64_t>{2, at == "gate/histogram" ? kBins : H});
        CHECK(file.has_attribute(at, "meaning"));
      }
      CHECK(file.read<double>("gate/mean")[last] == m.gates->heads[last].mean);
      CHECK(file.read<double>("gate/deviation")[last] == m.gates->heads[last].deviation);
      CHECK(file.read<double>("gate/closed")[last] == m.gates->heads[last].closed);
      CHECK(file.read<double>("gate/open")[last] == m.gates->heads[last].open);
      CHECK(file.read<double>("gate/first_position_mean")[last] == m.gates->heads[last].first_position_mean);
      CHECK(file.read<double>("gate/histogram")[kBins + 11] == m.gates->histograms[1][11]);
    }
  }
  std::filesystem::remove_all(folder);
}

}  // namespace spikesink
