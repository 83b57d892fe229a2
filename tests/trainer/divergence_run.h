#pragma once
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "io/failure.h"
#include "tests/trainer/support.h"
#include "trainer/checkpoint.h"
#include "trainer/resume_point.h"
#include "trainer/trainer.h"

namespace spikesink::test {

using Lines = std::vector<nlohmann::json>;
using Steps = std::vector<std::int64_t>;

/// The samples of a step of the data are a function of it.
class CountedLoader final : public Loader {
 public:
  explicit CountedLoader(std::int64_t context) : row_(context + 1) {}
  std::vector<std::int32_t> next(std::int64_t step, std::int64_t, std::int64_t count) override {
    if (step == fails_at) throw DataError("no more text");
    asked.push_back(step);
    position_.step = step + 1;
    std::vector<std::int32_t> samples(static_cast<std::size_t>(count * row_));
    for (std::size_t i = 0; i < samples.size(); ++i)
      samples[i] = static_cast<std::int32_t>((static_cast<std::size_t>(begins_at + step) * 5 + i * i) % 12);
    return samples;
  }
  Position position() const override { return position_; }
  void seek(const Position& position) override { position_ = position; }
  DocumentCounts counts() const override { return {}; }
  double waited_seconds() const override { return 0; }

  std::vector<std::int64_t> asked;
  std::int64_t fails_at = -1;
  std::int64_t begins_at = 0;  ///< its first step has the samples that this step of another has

 private:
  std::int64_t row_;
  Position position_;
};

/// Changes the model after a step, which is when it is asked to measure it.
struct Saboteur final : Probe {
  std::function<void(std::int64_t)> after = [](std::int64_t) {};
  Scalars measure(std::int64_t step, const std::string&) override {
    after(step);
    return {{"seen", static_cast<double>(step)}};
  }
};

class Run {
 public:
  explicit Run(TrainConfig training) : training_(std::move(training)), run_(folder_ / "run") {
    training_.batch_tokens = 2 * config_.context;
    run_.make();
  }
  /// On a model that is new, from the newest checkpoint if there is one.
  void train(Decoder& model, Saboteur& saboteur) {
    CountedLoader loader(config_.context);
    loader.fails_at = text_ends_at;
    loader.begins_at = text_begins_at;
    const auto communicator = alone();
    std::exception_ptr error;
    try {
      spikesink::train({.stream = stream_,
                        .communicator = *communicator,
                        .model = model,
                        .loader = loader,
                        .probe = saboteur,
                        .folder = run_,
                        .train = training_,
                        .precision = precision,
                        .state_precision = StatePrecision::kF32,
                        .shards = {},
                        .seed = 1,
                        .checkpoint = {.every_steps = save_every, .keep = keep, .async = async},
                        .logging = {.every_steps = 1, .probe_every_steps = 1},
                        .resuming = true,
                        .resume = newest_resume_point(run_, *communicator)});
    } catch (...) {
      error = std::current_exception();
    }
    asked = loader.asked;
    if (error) std::rethrow_exception(error);
  }
  Lines lines(const std::string& file) const {
    Lines all;
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) all.push_back(nlohmann::json::parse(line));
    return all;
  }
  std::vector<std::int64_t> logged(bool probes = false) const {
    std::vector<std::int64_t> steps;
    for (const auto& line : lines(run_.metrics()))
      if (line.contains("event") == probes) steps.push_back(line.at("step"));
    return steps;
  }
  /// Of the steps that are logged, in their order.
  std::vector<double> losses() const {
    std::vector<double> all;
    for (const auto& line : lines(run_.metrics()))
      if (!line.contains("event")) all.push_back(line.at("loss"));
    return all;
  }
  double last_loss() const { return losses().back(); }
  Lines divergences() const { return lines(run_.divergences()); }
  const ModelConfig& config() const { return config_; }
  const RunFolder& folder() const { return run_; }

  /// Of its checkpoints, by step.
  std::vector<std::int64_t> saved() const {
    std::vector<std::int64_t> steps;
    for (const auto& [step, path] : whole_checkpoints(run_.checkpoints())) steps.push_back(step);
    return steps;
  }

  std::vector<std::int64_t> asked;
  std::int64_t save_every = 4, keep = 9;
  std::int64_t text_begins_at = 0, text_ends_at = -1;  ///< steps of the data
  DType precision = DType::kF64;
  bool async = true;  ///< checkpoints in the background

 private:
  const TemporaryFolder folder_;
  const ModelConfig config_ = small_model();
  const Stream stream_ = Stream::cpu(1);
  TrainConfig training_;
  RunFolder run_;
};

inline double& weight(Decoder& model) {
  for (Param& param : model.params().all())
    if (param.name() == "model.layers.0.mlp.down_proj.weight") return param.value.span<double>()[3];
  throw std::logic_error("no such weight");
}

}  // namespace spikesink::test
