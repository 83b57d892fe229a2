#include <catch2/catch.hpp>

#include "tests/trainer/divergence_run.h"

// What becomes of weights and checkpoints around steps that diverge, and of a run whose text ends.
namespace spikesink {
using Catch::Contains;
using test::Run;
using test::Saboteur;
using test::Steps;
using test::weight;

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

TEST_CASE("a run whose every step diverges has a checkpoint all the same, from which it is resumed",
          "[trainer][divergence][checkpoint]") {
  Run run({.steps = 9, .on_divergence = OnDivergence::kSkip, .max_divergences = 5});
  run.save_every = 1;
  Decoder model(run.config()), again(run.config());
  Saboteur saboteur;
  saboteur.after = [&](std::int64_t step) {
    if (step == 0) weight(model) = NAN;
  };
  CHECK_THROWS_AS(run.train(model, saboteur), DivergenceError);
  CHECK(run.saved() == Steps{1});
  CHECK_THROWS_AS(run.train(again, saboteur), DivergenceError);
  CHECK(run.asked.front() == 1);
}

TEST_CASE("on_divergence rollback: without a sound checkpoint before the last it goes to that again",
          "[trainer][divergence][checkpoint]") {
  Run run({.steps = 8, .on_divergence = OnDivergence::kRollback, .max_divergences = 2});
  run.save_every = 2;
  run.async = false;
  Decoder model(run.config());
  Saboteur saboteur;
  saboteur.after = [&](std::int64_t step) {
    if (step != 4 || !run.divergences().empty()) return;
    weight(model) = NAN;  // before it is saved
    std::filesystem::remove(run.folder().checkpoints() + "/step_00000002/rank_0000.h5");
  };
  CHECK_THROWS_AS(run.train(model, saboteur), DivergenceError);
  REQUIRE(run.divergences().size() == 3);
  CHECK(run.divergences()[0].at("action") == "rollback to step 4");
  CHECK(run.divergences()[1].at("action") == "rollback to step 4");
  CHECK(run.saved() == Steps{2, 4});
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

}  // namespace spikesink
