#include "trainer/divergence.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "io/failure.h"
#include "tests/trainer/support.h"
#include "trainer/trainer.h"

namespace spikesink {
namespace {
using Catch::Contains;
using Lines = std::vector<nlohmann::json>;

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
      samples[i] = static_cast<std::int32_t>((static_cast<std::size_t>(step) * 5 + i * i) % 12);
    return samples;
  }
  Position position() const override { return position_; }
  void seek(const Position& position) override { position_ = position; }
  DocumentCounts counts() const override { return {}; }
  double waited_seconds() const override { return 0; }

  std::vector<std::int64_t> asked;
  std::int64_t fails_at = -1;

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
  double last_loss() const {
    double loss = 0;
    for (const auto& line : lines(run_.metrics()))
      if (!line.contains("event")) loss = line.at("loss");
    return loss;
  }
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
  std::int64_t text_ends_at = -1;  ///< a step of the data
  DType precision = DType::kF64;
  bool async = true;  ///< checkpoints in the background

 private:
  const test::TemporaryFolder folder_;
  const ModelConfig config_ = test::small_model();
  const Stream stream_ = Stream::cpu(1);
  TrainConfig training_;
  RunFolder run_;
};

double& weight(Decoder& model) {
  for (Param& param : model.params().all())
    if (param.name() == "model.layers.0.mlp.down_proj.weight") return param.value.span<double>()[3];
  throw std::logic_error("no such weight");
}

using Steps = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("on_divergence skip: the step changes nothing and the next goes on", "[trainer][divergence]") {
  Run run({.steps = 8, .on_divergence = OnDivergence::kSkip});
  Decoder model(run.config());
  Saboteur saboteur;
  double kept = 0;
  saboteur.after = [&](std::int64_t step) {
    if (step == 5) kept = std::exchange(weight(model), NAN);
    if (step == 6) weight(model) = kept;
  };
  run.train(model, saboteur);
  CHECK(run.asked == Steps{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(run.logged() == Steps{1, 2, 3, 4, 5, 7, 8});
  CHECK(std::isfinite(run.last_loss()));
  const Lines found = run.divergences();
  REQUIRE(found.size() == 1);
  CHECK(found[0].at("step") == 6);
  CHECK(found[0].at("kind") == "not_finite");
  CHECK(found[0].at("where") == "model.layers.0.mlp");
  CHECK(found[0].at("loss").is_null());
  CHECK(found[0].at("action") == "skip");
  CHECK(found[0].at("samples") == nlohmann::json({{"data_step", 5}, {"first", 10}, {"count", 2}}));
}

TEST_CASE("a step whose loss alone is not finite changes nothing", "[trainer][divergence]") {
  Run run({.steps = 8, .on_divergence = OnDivergence::kSkip});
  run.precision = DType::kF32;
  Decoder model(run.config());
  const auto set = [&](const std::string& name, float value, std::int64_t row = -1) {
    for (Param& param : model.params().all()) {
      if (!param.name().ends_with(name)) continue;
      const auto values = param.value.span<float>();
      const std::int64_t cols = row < 0 ? std::ssize(values) : param.shape[1], first = row < 0 ? 0 : row * cols;
      std::ranges::fill(values.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(cols)), value);
    }
  };
  const auto weights = [&] {
    std::vector<std::vector<double>> all;
    for (const Param& param : model.params().all()) all.push_back(test::values(param.value));
    return all;
  };
  Saboteur saboteur;
  std::vector<std::vector<double>> before, after;
  saboteur.after = [&](std::int64_t step) {
    if (step == 5) {  // every hidden state is 1, and the logit of a token that comes next -inf
      for (const char* name : {"embed_tokens.weight", "norm.weight"}) set(name, 1);
      for (const char* name : {"o_proj.weight", "down_proj.weight"}) set(name, 0);
      set("lm_head.weight", -1e38F, 2);
      before = weights();
    }
    if (step == 6) {
      after = weights();
      set("lm_head.weight", 0, 2);
    }
  };
  run.train(model, saboteur);
  REQUIRE(run.divergences().size() == 1);
  const nlohmann::json found = run.divergences()[0];
  CAPTURE(found.dump());
  CHECK(found.at("step") == 6);
  CHECK(found.at("loss").is_null());
  CHECK(found.at("grad_norm").is_number());
  CHECK(found.at("action") == "skip");
  CHECK(before == after);
}

TEST_CASE("states behind which no step is finite push out no checkpoint", "[trainer][divergence][checkpoint]") {
  Run run({.steps = 10, .on_divergence = OnDivergence::kSkip});
  run.save_every = 1;
  run.keep = 2;
  Decoder model(run.config());
  Saboteur saboteur;
  saboteur.after = [&](std::int64_t step) {
    if (step == 4) weight(model) = NAN;  // before it is saved
  };
  run.train(model, saboteur);
  CHECK(run.divergences().size() == 6);
  CHECK(run.saved() == Steps{3, 4, 10});
}

TEST_CASE("on_divergence rollback: a checkpoint behind which two steps diverge is set aside for the one before",
          "[trainer][divergence][checkpoint]") {
  Run run({.steps = 8, .on_divergence = OnDivergence::kRollback});
  run.save_every = GENERATE(1, 4);
  run.async = GENERATE(false, true);
  Decoder model(run.config());
  Saboteur saboteur;
  saboteur.after = [&](std::int64_t step) {
    if (step == 4 && run.divergences().empty()) weight(model) = NAN;  // before it is saved
  };
  const bool has_older = run.save_every == 1;
  const std::string bad = run.folder().checkpoints() + "/step_00000004";
  if (!has_older) {  // there is none to go back to but this
    CHECK_THROWS_AS(run.train(model, saboteur), DivergenceError);
    CHECK(run.saved() == Steps{4});
    return;
  }
  run.train(model, saboteur);
  REQUIRE(run.divergences().size() == 2);
  CHECK(run.divergences()[0].at("action") == "rollback to step 4");
  CHECK(run.divergences()[1].at("action") == "rollback to step 3");
  CHECK(run.asked == Steps{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  CHECK(std::filesystem::exists(bad + ".damaged/state.json"));
  CHECK(run.saved().back() == 8);
  CHECK(run.logged() == Steps{1, 2, 3, 4, 5, 6, 7, 8});
}

TEST_CASE("a run whose text fails has all that it had, and goes on to the end of one whose text did not",
          "[trainer][divergence][checkpoint]") {
  Run whole({.steps = 9}), run({.steps = 9});
  run.async = GENERATE(false, true);
  Saboteur saboteur;
  Decoder first(whole.config()), failing(run.config()), again(run.config());
  whole.train(first, saboteur);
  run.text_ends_at = GENERATE(0, 4, 6);
  CHECK_THROWS_WITH(run.train(failing, saboteur), Contains("no more text"));
  const std::int64_t made = std::exchange(run.text_ends_at, -1);
  CHECK(run.saved() == (made == 0 ? Steps{} : made == 4 ? Steps{4} : Steps{4, 6}));
  run.train(again, saboteur);
  CHECK(run.asked.front() == made);
  CHECK(run.last_loss() == whole.last_loss());
  CHECK(run.logged() == whole.logged());
}

TEST_CASE("on_divergence rollback: back to the checkpoint, and on without the samples since", "[trainer][divergence]") {
  Run run({.steps = 10, .on_divergence = OnDivergence::kRollback});
  Decoder model(run.config());
  Saboteur saboteur;
  bool done = false;
  saboteur.after = [&](std::int64_t step) {
    if (step == 6 && !std::exchange(done, true)) weight(model) = INFINITY;
  };
  run.train(model, saboteur);
  CHECK(run.asked == Steps{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});  // step 7 fails on data 6, and 5 comes on data 7
  CHECK(run.logged() == Steps{1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  CHECK(run.logged(true) == Steps{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  REQUIRE(run.divergences().size() == 1);
  CHECK(run.divergences()[0].at("step") == 7);
  CHECK(run.divergences()[0].at("action") == "rollback to step 4");

  // What is left out stays left out for who goes on from a later checkpoint, and for who is killed before one.
  const double loss = run.last_loss();
  const auto whole = whole_checkpoints(run.folder().checkpoints());
  CHECK(read_state(whole.at(8)).skipped == 3);
  CHECK(read_state(whole.at(4)).skipped == 0);
  std::filesystem::remove_all(whole.at(10));
  std::filesystem::remove(run.folder().checkpoints() + "/latest");
  Decoder again(run.config());
  Saboteur none;
  run.train(again, none);
  CHECK(run.asked == Steps{11, 12});
  CHECK(run.last_loss() == loss);
}

TEST_CASE("on_divergence rollback: without a checkpoint the run begins anew on other samples",
          "[trainer][divergence]") {
  Run run({.steps = 3, .on_divergence = OnDivergence::kRollback});
  Decoder model(run.config());
  Saboteur saboteur;
  saboteur.after = [&](std::int64_t step) {
    if (step == 1 && run.divergences().empty()) weight(model) = NAN;
  };
  run.train(model, saboteur);
  CHECK(run.asked == Steps{0, 1, 2, 3, 4});
  CHECK(run.logged() == Steps{1, 2, 3});
  CHECK(run.divergences().at(0).at("action") == "rollback to step 0");
}

TEST_CASE("on_divergence rollback: what is left is taken from the step that the run goes on from",
          "[trainer][divergence]") {
  Run run({.steps = 20, .on_divergence = OnDivergence::kRollback});
  Saboteur saboteur;
  saboteur.after = [](std::int64_t step) {
    if (step == 9) throw DataError("killed");
  };
  {
    Decoder model(run.config());
    CHECK_THROWS_AS(run.train(model, saboteur), DataError);
  }
  Decoder model(run.config());
  bool done = false;
  saboteur.after = [&](std::int64_t step) {
    if (step != 9 || std::exchange(done, true)) return;
    std::filesystem::remove_all(whole_checkpoints(run.folder().checkpoints()).at(8));  // where this process began
    weight(model) = NAN;
  };
  run.train(model, saboteur);
  CHECK(run.divergences().at(0).at("action") == "rollback to step 4");
  std::ifstream log(run.folder().log());
  const std::string text{std::istreambuf_iterator<char>(log), {}};
  CHECK_THAT(text, Contains("step 8/20") && Contains("  left ") && !Contains("left -") && !Contains("left inf"));
}

TEST_CASE(
    "on_divergence skip or rollback: a checkpoint that fails is written at the next step, and a second ends the run",
    "[trainer][divergence][checkpoint]") {
  const OnDivergence policy = GENERATE(OnDivergence::kSkip, OnDivergence::kRollback);
  const bool twice = GENERATE(false, true);
  CAPTURE(policy == OnDivergence::kSkip, twice);
  Run run({.steps = 10, .on_divergence = policy});
  Decoder model(run.config());
  Saboteur saboteur;
  const std::string checkpoints = run.folder().checkpoints();
  const auto in_the_way = [&](std::int64_t step) {  // no file can be made here
    std::filesystem::create_directories(unfinished_name(checkpoints + "/" + RunFolder::step_name(step)) +
                                        "/rank_0000.h5");
  };
  double kept = 0;
  bool done = false;
  const std::int64_t next = policy == OnDivergence::kSkip ? 9 : 5;
  saboteur.after = [&](std::int64_t step) {
    if (step == 8 && !done) {  // its checkpoint is due, and step 9 diverges
      in_the_way(8);
      if (twice) in_the_way(next);
      kept = std::exchange(weight(model), NAN);
    }
    if (step == 9 && !std::exchange(done, true) && policy == OnDivergence::kSkip) weight(model) = kept;
    if (step < 8 && run.divergences().size() == 1) done = true;
  };
  if (twice) {
    CHECK_THROWS_WITH(run.train(model, saboteur), Contains(RunFolder::step_name(next) + ".unfinished/rank_0000.h5"));
    CHECK(run.logged().back() <= 9);
  } else {
    run.train(model, saboteur);
    CHECK(whole_checkpoints(checkpoints).contains(next));
    CHECK(run.logged().back() == 10);
  }
  REQUIRE(run.divergences().size() == 1);
}

TEST_CASE("on_divergence rollback: what cannot be gone back to is recorded, and ends the run with all that it has",
          "[trainer][divergence]") {
  Run run({.steps = 10, .on_divergence = OnDivergence::kRollback});
  run.async = false;
  Decoder model(run.config());
  Saboteur saboteur;
  const std::string checkpoints = run.folder().checkpoints();
  const std::string way = GENERATE("not listed", "gone", "damaged"), kept = run.folder().path() + "/kept";
  CAPTURE(way);
  std::string says;
  saboteur.after = [&](std::int64_t step) {
    if (step != 6) return;
    weight(model) = NAN;
    if (way == "damaged") {
      std::filesystem::resize_file(checkpoints + "/step_00000004/rank_0000.h5", 9);
      says = "none of 1 damaged checkpoint can be used";
      return;
    }
    std::filesystem::rename(checkpoints, kept);
    says = way == "gone" ? "has no whole checkpoint, although the run has had one" : "cannot be looked at";
    if (way == "gone") return std::filesystem::create_directories(checkpoints), void();
    std::filesystem::create_symlink("checkpoints", checkpoints);
  };
  CHECK_THROWS_WITH(run.train(model, saboteur), Contains(checkpoints) && Contains(says));
  CHECK(run.logged() == Steps{1, 2, 3, 4, 5, 6});
  REQUIRE(run.divergences().size() == 1);
  CHECK(run.divergences()[0].at("step") == 7);
  CHECK(run.divergences()[0].at("action") == "stop");
}

TEST_CASE("on_divergence rollback: a damaged checkpoint that is passed over is kept", "[trainer][divergence]") {
  Run run({.steps = 10, .on_divergence = OnDivergence::kRollback});
  run.async = false;
  Decoder model(run.config());
  Saboteur saboteur;
  const std::string newest = run.folder().checkpoints() + "/step_00000008";
  saboteur.after = [&](std::int64_t step) {
    if (step != 9 || !run.divergences().empty()) return;
    weight(model) = NAN;
    std::filesystem::resize_file(newest + "/rank_0000.h5", 9);
  };
  run.train(model, saboteur);
  CHECK(run.divergences().at(0).at("action") == "rollback to step 4");
  CHECK(std::filesystem::file_size(newest + ".damaged/rank_0000.h5") == 9);
  CHECK(read_state(newest).skipped == 6);
}

TEST_CASE("on_divergence rollback: where metrics cannot be read no checkpoint goes and no step is taken back",
          "[trainer][divergence]") {
  Run run({.steps = 10, .on_divergence = OnDivergence::kRollback});
  run.async = false;
  Decoder model(run.config());
  Saboteur saboteur;
  const std::string newest = run.folder().checkpoints() + "/step_00000008";
  saboteur.after = [&](std::int64_t step) {
    if (step != 9) return;
    weight(model) = NAN;
    std::filesystem::resize_file(newest + "/rank_0000.h5", 9);
    std::filesystem::remove(run.folder().probes());
    std::filesystem::create_symlink("probes", run.folder().probes());
  };
  CHECK_THROWS_WITH(run.train(model, saboteur), Contains(run.folder().probes() + ": cannot be looked at"));
  CHECK(std::filesystem::file_size(newest + "/rank_0000.h5") == 9);
  CHECK(run.logged() == Steps{1, 2, 3, 4, 5, 6, 7, 8, 9});
  REQUIRE(run.divergences().size() == 1);
  CHECK(run.divergences()[0].at("action") == "stop");
}

TEST_CASE("a run that goes on from a step that was skipped says nothing of it", "[trainer][divergence]") {
  Run run({.steps = 8, .on_divergence = OnDivergence::kSkip});
  Saboteur saboteur;
  for (const bool resumes : {false, true}) {
    Decoder model(run.config());
    saboteur.after = [&](std::int64_t step) {
      if (step >= 6 && !resumes) weight(model) = NAN;
    };
    run.train(model, saboteur);
  }
  CHECK(run.logged() == Steps{1, 2, 3, 4, 5, 6});
  std::ifstream log(run.folder().log());
  const std::string text{std::istreambuf_iterator<char>(log), {}};
  CHECK_THAT(text, Contains("at step 8") && !Contains("has no steps between"));
}

TEST_CASE("a run that diverges more often than max_divergences stops", "[trainer][divergence]") {
  const OnDivergence policy = GENERATE(OnDivergence::kStop, OnDivergence::kSkip, OnDivergence::kRollback);
  Run run({.steps = 20, .on_divergence = policy, .max_divergences = 2});
  Decoder model(run.config());
  Saboteur saboteur;
  saboteur.after = [&](std::int64_t step) {
    if (step >= 5) weight(model) = -NAN;
  };
  CHECK_THROWS_WITH(run.train(model, saboteur), Contains("is nan, first in"));
  const Lines found = run.divergences();
  CHECK(found.size() == (policy == OnDivergence::kStop ? 1 : 3));
  CHECK(found.back().at("action") == "stop");
}

TEST_CASE("the samples of a step behind a rollback are those that it had last, or diverged on",
          "[trainer][divergence]") {
  const test::TemporaryFolder folder;
  const std::string file = folder / "divergences.jsonl";
  const auto write = [&](std::int64_t step, std::int64_t data_step, const std::string& action,
                         const std::string& kind = "not_finite") {
    std::ofstream(file, std::ios::app) << Divergence{.step = step,
                                                     .kind = kind,
                                                     .loss = NAN,
                                                     .grad_norm = NAN,
                                                     .where = "",
                                                     .data_step = data_step,
                                                     .sequences = 2,
                                                     .action = action}
                                              .to_json()
                                       << '\n';
  };
  using Ahead = std::map<std::int64_t, std::int64_t>;
  const auto way = [&](std::int64_t step, std::int64_t from, std::int64_t skipped) {
    return way_to(step, file, from, skipped, /*most=*/100).ahead;
  };
  note_resumed(file, 4, 4, 2);
  CHECK_FALSE(std::filesystem::exists(file));  // of a run that never diverged
  CHECK(way(6, 4, 3) == Ahead{{4, 3}});
  write(3, 2, "skip");
  write(6, 8, rollback_to(4));
  write(9, 20, "none", "loss_spike");
  std::ofstream(file, std::ios::app) << "{\"step\": 5, \"ki\n";
  write(7, 11, rollback_to(4));
  CHECK(way(5, 4, 3) == Ahead{{4, 8}});  // data 12 after step 4, which had data 6
  CHECK(way(6, 4, 3) == Ahead{{4, 3}});  // diverged on data 8
  CHECK(way(7, 4, 3) == Ahead{{4, 5}});
  CHECK(way(9, 4, 3) == Ahead{{4, 8}});
  CHECK(way(9, 8, 8) == Ahead{{8, 8}});  // from a later checkpoint
  CHECK(way(7, 6, 8) == Ahead{{6, 8}});  // of which the divergence knows nothing
  CHECK(way(3, 0, 0) == Ahead{{0, 0}});
  CHECK(way_to(7, file, 4, 3, 100).diverged == "");
  CHECK_FALSE(way_to(9, file, 4, 3, 100).diverged);

  note_resumed(file, 4, 7, 2);  // by who knew no rollback
  CHECK(way(5, 4, 3) == Ahead{{4, 3}});
  CHECK(way(9, 4, 3) == Ahead{{4, 3}});
  CHECK(way(9, 8, 8) == Ahead{{8, 8}});  // the checkpoint of 8 is newer, and knows
  write(12, 14, rollback_to(8));
  CHECK(way(11, 4, 3) == Ahead{{4, 3}, {8, 7}});
  CHECK(way(8, 4, 3) == Ahead{{4, 3}});
  CHECK(way(11, 8, 3) == Ahead{{8, 7}});
  write(11, 17, "stop");
  CHECK(way(12, 4, 3) == Ahead{{4, 3}});          // on data 14, of the way before
  CHECK(way(11, 4, 3) == Ahead{{4, 3}, {8, 7}});  // by way of both
  note_resumed(file, 10, 17, 2);
  CHECK(way(11, 4, 3) == Ahead{{4, 3}, {8, 7}});
  CHECK(way(20, 4, 3) == Ahead{{4, 3}, {8, 7}, {10, 7}});
  note_resumed(file, 2, 2, 2);
  CHECK(way(20, 4, 0) == Ahead{{4, 0}});

  // What no run has written.
  note_resumed(file, 6, 5, 2);
  note_resumed(file, 6, 911111117, 2);
  write(6, 911111117, rollback_to(4));
  write(101, 100, rollback_to(4));
  write(6, 5, rollback_to(7));
  write(6, 5, "rollback to step -1");
  CHECK(way(20, 4, 0) == Ahead{{4, 0}});
  write(5, 4, rollback_to(4));
  note_resumed(file, 4, 6, 2);
  note_resumed(file, 6, 7, 2);  // data that step 6 has had on that way
  std::ofstream(file, std::ios::app) << "{\"step\": 4, \"kind\": \"resumed\", \"samp";
  CHECK(way(20, 4, 0) == Ahead{{4, 2}});
  note_resumed(file, 4, 5, 2);  // behind a line that a kill tore
  CHECK(way(20, 4, 0) == Ahead{{4, 1}});
}

TEST_CASE("of a way to a step that diverged metrics have what no rollback or resume has taken back",
          "[trainer][divergence]") {
  const test::TemporaryFolder folder;
  const std::string file = folder / "divergences.jsonl";
  const auto write = [&](std::int64_t step, std::int64_t data_step, const std::string& action) {
    const Divergence line{.step = step,
                          .kind = "not_finite",
                          .loss = NAN,
                          .grad_norm = NAN,
                          .data_step = data_step,
                          .sequences = 2,
                          .action = action};
    std::ofstream(file, std::ios::app) << line.to_json() << '\n';
  };
  const auto logged = [&](std::int64_t step) { return way_to(step, file, 2, 0, 100).logged; };
  write(8, 7, GENERATE("stop", "skip"));
  CHECK(logged(8) == 8);
  CHECK(logged(12) == 12);
  note_resumed(file, 9, 9, 2);
  CHECK(logged(8) == 8);
  note_resumed(file, 6, 6, 2);
  note_resumed(file, 7, 7, 2);
  CHECK(logged(8) == 6);
  CHECK(logged(12) == 12);
  write(8, 7, rollback_to(4));
  CHECK(logged(8) == 4);
}

TEST_CASE("divergences that cannot be looked at or read are not taken for none", "[trainer][divergence]") {
  const test::TemporaryFolder folder;
  const std::string file = folder / "divergences.jsonl";
  SECTION("a link to itself") {
    std::filesystem::create_symlink("divergences.jsonl", file);
    CHECK_THROWS_WITH(note_resumed(file, 4, 4, 2), Contains(file + ": cannot be looked at"));
  }
  SECTION("a folder") { std::filesystem::create_directory(file); }
  CHECK_THROWS_WITH(way_to(6, file, 4, 3, 100), Contains(file + ": cannot be"));
}

TEST_CASE("a loss far above those before is a spike; a rise that others had too is none", "[trainer][divergence]") {
  LossWatch watch(8), never(0);
  const auto usual = [](int i) { return 3 + 0.01 * ((i * 7) % 5); };
  for (int i = 0; i < 31; ++i) CHECK_FALSE(watch.look(usual(i)));
  CHECK_FALSE(watch.look(9));  // one too few to judge by
  watch.clear();
  for (int i = 0; i < 40; ++i) CHECK_FALSE(watch.look(usual(i)));
  CHECK_FALSE(watch.look(3.05));
  CHECK_FALSE(watch.look(1));  // below
  watch.clear();
  for (int i = 0; i < 200; ++i) never.look(usual(i)), watch.look(usual(i));
  const auto deviations = watch.look(3.5);
  REQUIRE(deviations);
  CHECK(*deviations == Approx((3.5 - 3.02) / (0.01 * std::sqrt(2.0))).epsilon(0.02));
  CHECK_FALSE(never.look(100));
}

}  // namespace spikesink
