#include "sweeps/hparams.h"

#include <catch2/catch.hpp>
#include <string>

#include "configs/reader.h"

namespace spikesink {
namespace {

SweepRun run(const std::vector<std::string>& overrides) {
  const std::string text = "data: {train: [a.jsonl]}\ntrain: {steps: 10, batch_tokens: 8192}\n";
  return {.name = "x", .seed = 1, .config = read_config_text(text, "run.yaml", overrides)};
}
std::vector<std::string> names(const std::vector<HyperparameterColumn>& columns) {
  std::vector<std::string> all;
  for (const auto& column : columns) all.push_back(column.name);
  return all;
}

TEST_CASE("the hyperparameters of a sweep are those that vary, in schema order, with each value once", "[sweeps]") {
  Sweep sweep;
  sweep.rows = {{.name = "a", .runs = {run({}), run({"run.seed=2"})}},
                {.name = "b", .runs = {run({"train.optimizer.lr=1e-3", "model.attention.d_head=64"})}},
                {.name = "c", .runs = {run({"model.attention.d_head=32", "run.seed=2"})}}};
  const auto columns = varying_hyperparameters(sweep);
  REQUIRE(names(columns) == std::vector<std::string>{"run.seed", "model.attention.d_head", "train.optimizer.lr"});
  CHECK(columns[1].values == std::vector<HyperparameterValue>{128.0, 64.0, 32.0});
}

TEST_CASE("a hyperparameter that only some runs have varies", "[sweeps]") {
  Sweep sweep;
  sweep.rows = {{.name = "rms", .runs = {run({})}}, {.name = "tanh", .runs = {run({"model.norm.kind=dynamic_tanh"})}}};
  CHECK(names(varying_hyperparameters(sweep)) ==
        std::vector<std::string>{"model.norm.kind", "model.norm.eps", "model.norm.alpha.attention",
                                 "model.norm.alpha.ffn", "model.norm.alpha.final", "model.norm.beta"});
}

TEST_CASE("runs that are all alike have nothing to show", "[sweeps]") {
  Sweep sweep;
  sweep.rows = {{.name = "a", .runs = {run({})}}};
  CHECK(varying_hyperparameters(sweep).empty());
}

}  // namespace
}  // namespace spikesink
