#include "trainer/divergence.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "io/failure.h"
#include "tests/trainer/divergence_run.h"
#include "trainer/trainer.h"

namespace spikesink {
using Catch::Contains;
using test::CountedLoader;
using test::Lines;
using test::Run;
using test::Saboteur;
using test::Steps;
using test::weight;

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

  // Nothing of what was before stays: not the optimizer's moments either.
  Run other({.steps = 3});
  other.text_begins_at = 2;
  Decoder fresh(other.config());
  Saboteur none;
  other.train(fresh, none);
  CHECK(run.losses() == other.losses());
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
  CHECK_THAT(text, Contains("at step 8") && !Contains("logged step"));
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
  const auto spike = watch.look(3.5);
  REQUIRE(spike);
  CHECK(spike->deviations == Approx((3.5 - 3.02) / (0.01 * std::sqrt(2.0))).epsilon(0.02));
  CHECK(spike->losses == 128);
  CHECK_FALSE(never.look(100));
}

TEST_CASE("of losses that are all equal a rounding is no spike, and any rise is one of finite size",
          "[trainer][divergence]") {
  LossWatch watch(8);
  for (int i = 0; i < 32; ++i) CHECK_FALSE(watch.look(2));
  CHECK_FALSE(watch.look(2.0000002));
  watch.clear();
  for (int i = 0; i < 40; ++i) CHECK_FALSE(watch.look(2));
  const auto spike = watch.look(2.1);
  REQUIRE(spike);
  CHECK(std::isfinite(spike->deviations));
  CHECK(spike->losses == 40);
  watch.clear();
  for (int i = 0; i < 40; ++i) CHECK_FALSE(watch.look(0));
  CHECK_FALSE(watch.look(1));  // there is nothing to measure it by
}

}  // namespace spikesink
