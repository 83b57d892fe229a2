#include "analysis/practice/quantization.h"

#include "analysis/practice/quantizer.h"
#include "tests/analysis/practice.h"

namespace spikesink {
namespace {

using test::doubles;
using test::Studied;

/// Keeps the residual stream after every block of all passes, a list a block.
struct Streams final : Observer {
  void activation(std::string_view path, const Tensor& value) override {
    if (!path.ends_with(".residual")) return;
    auto& block = blocks[std::string(path)];
    for (const double h : test::values(value)) block.push_back(h);
  }
  std::map<std::string, std::vector<double>> blocks;  // in the order of the names, here that of the blocks of a layer
};

Streams streams_of(const Studied& studied, Intervention* intervention) {
  Streams seen;
  const std::int64_t T = studied.model.config().context;
  for (std::size_t b = 0; b < studied.tokens.size(); b += static_cast<std::size_t>(T)) {
    Pass pass(studied.stream, {1, T}, Pass::Mode::kForwardOnly, &seen, intervention);
    studied.model.hidden(pass,
                         upload_ids(studied.stream, std::span(studied.tokens).subspan(b, static_cast<std::size_t>(T))));
  }
  return seen;
}

}  // namespace

TEST_CASE("quantization's losses and errors are those of plain passes, however many sequences are in one",
          "[analysis][quantize]") {
  const Studied studied(1000);
  Results results;
  quantization(studied.study(GENERATE(1, 2, 5)), results);
  const auto &loss = doubles(results, "loss"), &all = doubles(results, "error"),
             &of_spikes = doubles(results, "error_spike_tokens"), &of_others = doubles(results, "error_other_tokens");
  CHECK(loss[0] == Approx(studied.loss()).epsilon(1e-12));
  CHECK(doubles(results, "perplexity")[1] == Approx(std::exp(loss[1])));
  const auto C = static_cast<std::size_t>(studied.model.config().d_model), blocks = studied.model.blocks().size();
  const Streams exact = streams_of(studied, nullptr);
  for (std::size_t i = 0; i < kSchemes.size(); ++i) {
    CAPTURE(kSchemes[i].name);
    Quantizer quantizer(studied.stream, kSchemes[i], studied.model.config().context);
    CHECK(loss[i + 1] == Approx(studied.loss(&quantizer)).epsilon(1e-10));
    const Streams rounded = streams_of(studied, &quantizer);
    for (std::size_t b = 0; b < blocks; ++b) {
      const std::string path = studied.model.blocks()[b].residual;
      const std::vector<double>&h = exact.blocks.at(path), &other = rounded.blocks.at(path);
      double sums[2] = {}, counts[2] = {};
      for (std::size_t n = 0; n < studied.tokens.size(); ++n) {
        double apart = 0, length = 0;
        for (std::size_t c = n * C; c < (n + 1) * C; ++c) apart += std::pow(other[c] - h[c], 2), length += h[c] * h[c];
        const bool is_spike = studied.tokens[n] == Studied::kSpikeToken;
        sums[is_spike] += std::sqrt(apart / length), counts[is_spike] += 1;
      }
      REQUIRE(counts[1] > 0);
      CHECK(of_spikes[i * blocks + b] == Approx(sums[1] / counts[1]).epsilon(1e-9).margin(1e-12));
      CHECK(of_others[i * blocks + b] == Approx(sums[0] / counts[0]).epsilon(1e-9).margin(1e-12));
      CHECK(all[i * blocks + b] == Approx((sums[0] + sums[1]) / (counts[0] + counts[1])).epsilon(1e-9).margin(1e-12));
    }
  }
}

TEST_CASE("a spike in the products' inputs costs other tokens with one scale a tensor only", "[analysis][quantize]") {
  // Without input norms the spike reaches every product as it is.
  const auto measured = [](double spike) {
    ModelConfig c = Studied::config(16);
    c.norm.input = false;
    const Studied studied(spike, 5, c);
    Results results;
    quantization(studied.study(), results);
    return results;
  };
  const Results none = measured(0), some = measured(150), large = measured(3000);
  const auto other_tokens = [](const Results& results, std::size_t scheme) {
    const bool has = results.summary.at("spike_tokens") > 0;
    return doubles(results, has ? "error_other_tokens" : "error").at(scheme * 4);  // after the first block
  };
  CHECK(other_tokens(some, 0) > 3 * other_tokens(none, 0));
  CHECK(other_tokens(large, 0) > 3 * other_tokens(some, 0));
  // With a scale a token they err by what they read of the spike token's value, through attention.
  CHECK(other_tokens(none, 0) < 3 * other_tokens(none, 1));
  CHECK(other_tokens(large, 0) > 20 * other_tokens(large, 1));
  CHECK(some.summary.at("shared_scale_cost") != none.summary.at("shared_scale_cost"));
}

TEST_CASE("a model without massive activations has no errors of spike tokens", "[analysis][quantize]") {
  const Studied studied(0);
  Results results;
  quantization(studied.study(), results);
  CHECK(results.summary.at("spike_tokens") == 0);
  CHECK_THROWS_AS(results.at("error_spike_tokens"), ContractError);
  CHECK(results.at("error").dims == std::vector<std::int64_t>{5, 4});
}

}  // namespace spikesink
