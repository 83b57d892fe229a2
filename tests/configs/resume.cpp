#include "configs/resume.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "configs/reader.h"

namespace spikesink {
namespace {

const std::string kData = "data: {train: [a.jsonl]}\ntrain: {steps: 10, batch_tokens: 8192}\n";

std::vector<std::string> changes(const std::vector<std::string>& overrides) {
  return changes_of_past_samples(read_config_text(kData, "before"), read_config_text(kData, "after", overrides));
}

TEST_CASE("a resume may change what leaves past samples as they were", "[configs]") {
  const std::string set = GENERATE(
      values<std::string>({"train.steps=20", "train.tokens=1e9", "train.micro_batch=1", "train.optimizer.lr=1e-3",
                           "run.dir=elsewhere", "system.device=cpu", "checkpoint.every_steps=5",
                           "metrics.probe_every_steps=5", "data.train=[moved/a.jsonl]", "data.threads=5"}));
  CAPTURE(set);
  CHECK(changes({set}).empty());
}

TEST_CASE("a resume that would change the model or past samples is told key, old and new", "[configs]") {
  CHECK(changes({"model.n_layers=2", "data.lanes=8", "train.batch_tokens=4096", "run.seed=2", "train.steps=20"}) ==
        std::vector<std::string>{"run.seed: 1 -> 2", "model.n_layers: 32 -> 2", "data.lanes: 64 -> 8",
                                 "train.batch_tokens: 8192 -> 4096"});
}

}  // namespace
}  // namespace spikesink
