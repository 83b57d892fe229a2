#include "configs/hyperparameters.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <vector>

#include "configs/reader.h"

namespace spikesink {
namespace {

const std::string kRun =
    "run: {seed: 7}\ndata: {train: [a.jsonl]}\ntrain: {steps: 10, batch_tokens: 8192, optimizer: {betas: [0.8, "
    "0.95]}}\n";

Hyperparameters of(const std::vector<std::string>& overrides = {}) {
  return hyperparameters_of(read_config_text(kRun, "run.yaml", overrides));
}
std::optional<HyperparameterValue> value(const Hyperparameters& all, const std::string& name) {
  const auto at = std::ranges::find(all, name, &Hyperparameter::name);
  return at == all.end() ? std::nullopt : std::optional(at->value);
}

TEST_CASE("hyperparameters are the values that decide a run's figures, each with its type", "[configs]") {
  const Hyperparameters all = of();
  CHECK(value(all, "run.seed") == HyperparameterValue(7.0));
  CHECK(value(all, "model.attention.d_head") == HyperparameterValue(128.0));
  CHECK(value(all, "model.tie_embeddings") == HyperparameterValue(false));
  CHECK(value(all, "model.norm.kind") == HyperparameterValue(std::string("rmsnorm")));
  CHECK(value(all, "train.optimizer.beta1") == HyperparameterValue(0.8));
  CHECK(value(all, "train.optimizer.beta2") == HyperparameterValue(0.95));
  CHECK(value(all, "train.steps") == HyperparameterValue(10.0));
  CHECK(value(all, "data.tokenizer") == HyperparameterValue(std::string("bytes")));
  CHECK(value(all, "system.precision") == HyperparameterValue(std::string("auto")));
  for (const char* name : {"run.name", "run.dir", "data.train", "data.threads", "train.optimizer.betas",
                           "train.on_divergence", "checkpoint.keep", "metrics.every_steps", "system.device"}) {
    CAPTURE(name);
    CHECK_FALSE(value(all, name));
  }
}

TEST_CASE("hyperparameters without a value or an effect are left out, and order is the schema's", "[configs]") {
  const Hyperparameters all = of(), tanh = of({"model.norm.kind=dynamic_tanh"});
  CHECK_FALSE(value(all, "train.tokens"));
  CHECK_FALSE(value(all, "model.norm.alpha.ffn"));
  CHECK(value(tanh, "model.norm.alpha.ffn"));
  CHECK(all.front().name == "run.seed");
  const auto place = [&](const char* name) {
    return std::ranges::find(all, name, &Hyperparameter::name) - all.begin();
  };
  CHECK(place("model.n_layers") < place("train.steps"));
}

}  // namespace
}  // namespace spikesink
