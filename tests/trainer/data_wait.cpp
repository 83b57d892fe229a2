#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/trainer/support.h"
#include "trainer/trainer.h"

namespace spikesink {
namespace {
using Catch::Contains;

/// Samples of zeros, each batch ready only `late` after it is asked for.
class LateLoader final : public Loader {
 public:
  LateLoader(std::int64_t context, std::chrono::milliseconds late) : row_(context + 1), late_(late) {}
  std::vector<std::int32_t> next(std::int64_t step, std::int64_t, std::int64_t count) override {
    const auto begin = std::chrono::steady_clock::now();
    std::this_thread::sleep_for(late_);
    if (late_.count() > 0) waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    position_.step = step + 1;
    return std::vector<std::int32_t>(static_cast<std::size_t>(count * row_));
  }
  Position position() const override { return position_; }
  void seek(const Position& position) override { position_ = position; }
  DocumentCounts counts() const override { return {}; }
  double waited_seconds() const override { return waited_; }

 private:
  std::int64_t row_;
  std::chrono::milliseconds late_;
  Position position_;
  double waited_ = 0;
};

struct NoProbe final : Probe {
  Scalars measure(std::int64_t, const std::string&) override { return {}; }
};

/// The step lines of metrics.jsonl and the log of a run of four steps that logs every other one.
struct Ran {
  std::vector<nlohmann::json> steps;
  std::string log;
};
Ran ran_with(std::chrono::milliseconds late) {
  const test::TemporaryFolder folder;
  const ModelConfig config = test::small_model();
  const TrainConfig training{.steps = 4, .batch_tokens = config.context};
  LateLoader loader(config.context, late);
  const Stream stream = Stream::cpu(1);
  Decoder model(config);
  const auto communicator = alone();
  NoProbe probe;
  const RunFolder run(folder / "run");
  run.make();
  train({.stream = stream,
         .communicator = *communicator,
         .model = model,
         .loader = loader,
         .probe = probe,
         .folder = run,
         .train = training,
         .precision = DType::kF32,
         .state_precision = StatePrecision::kF32,
         .shards = {},
         .seed = 1,
         .checkpoint = {},
         .logging = {.every_steps = 2}});
  Ran ran;
  std::ifstream metrics(run.metrics());
  for (std::string line; std::getline(metrics, line);)
    if (const auto json = nlohmann::json::parse(line); !json.contains("event")) ran.steps.push_back(json);
  std::ifstream log(run.log());
  ran.log.assign(std::istreambuf_iterator<char>(log), {});
  return ran;
}

}  // namespace

TEST_CASE("a logged step says what share of the time training waited for data", "[trainer][data]") {
  // The model is so small that nearly all of a step is the wait: a share of anything else than the steps' own seconds,
  // or of an interval that is not begun anew, would fall out of these bounds.
  const Ran late = ran_with(std::chrono::milliseconds(400));
  REQUIRE(late.steps.size() == 2);
  for (const auto& step : late.steps) {
    CHECK(step.at("data_wait") > 0.5);
    CHECK(step.at("data_wait") <= 1.0);
  }
  CHECK_THAT(late.log, Contains("  waited for data "));

  const Ran ready = ran_with(std::chrono::milliseconds(0));
  REQUIRE(ready.steps.size() == 2);
  for (const auto& step : ready.steps) CHECK(step.at("data_wait") == 0.0);
  CHECK_THAT(ready.log, !Contains("waited for data"));
}

}  // namespace spikesink
