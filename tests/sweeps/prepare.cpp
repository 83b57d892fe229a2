#include "sweeps/prepare.h"

#include <fmt/format.h>

#include <array>
#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "../io/scratch.h"
#include "configs/reader.h"
#include "configs/writer.h"
#include "data/position.h"
#include "data/train_data.h"
#include "io/failure.h"
#include "io/host_name.h"
#include "sweeps/attempts.h"
#include "trainer/checkpoint.h"
#include "trainer/run_folder.h"

namespace spikesink {
namespace {
namespace fs = std::filesystem;
using Names = std::vector<std::string>;

const std::string kConfig =
    "model: {context: 10}\ndata: {train: [a.jsonl]}\ntrain: {steps: 100, batch_tokens: 20, micro_batch: 1}\n";

Names names_of(const std::vector<const SweepRun*>& runs) {
  Names names;
  for (const SweepRun* run : runs) names.push_back(run->name);
  return names;
}

/// A sweep of the rows a and b, whose file is there.
class TwoRows {
 public:
  TwoRows() {
    sweep.file = home_ / "sweep.yaml";
    sweep.name = "s";
    sweep.dir = home_ / "sweeps";
    spill(sweep.file, "name: s\n");
    for (const char* name : {"a", "b"}) {
      const Config config =
          read_config_text(kConfig, "row", {"run.name=" + std::string(name), "run.dir=" + folder().runs()});
      sweep.rows.push_back({.name = name, .label = name, .paper = {}, .axes = {}, .runs = {{name, 1, config}}});
    }
  }
  SweepFolder folder() const { return SweepFolder(sweep.folder()); }
  SweepPlan plan(const RunCheck& check = {}) const { return plan_sweep(sweep, folder(), {}, check); }
  Config& config(std::size_t row) { return sweep.rows[row].runs[0].config; }
  void set(std::size_t row, const std::vector<std::string>& overrides) {
    config(row) = read_config_text(write_config(config(row)), "row", overrides);
  }
  /// As if it had been started and had ended.
  void ran(const std::string& run, std::size_t row, int code) {
    write_sweep(sweep, folder(), plan());
    fs::create_directories(folder().run(run).path());
    spill(folder().run(run).config(), write_config(config(row)));
    note_start(folder().attempts(run), {.began = 1, .host = host_name(), .job = {}, .ended = {}, .code = {}});
    note_end(folder().attempts(run), 2, code);
  }
  void finish(const std::string& run) const {
    fs::create_directories(folder().run(run).checkpoints() + "/step_00000100");
    spill(folder().run(run).checkpoints() + "/step_00000100/state.json", "{}");
    spill(folder().run(run).metrics(), "{\"step\": 100, \"event\": \"probe\"}\n");
  }
  std::string shorten(std::string text) const {
    const std::string prefix = home_.path() + "/";
    for (std::size_t at; (at = text.find(prefix)) != std::string::npos;) text.erase(at, prefix.size());
    return text;
  }
  std::string refusal() const {
    return shorten(message_of<UsageError>([&] { plan(); }));
  }

  Sweep sweep;

 private:
  TempFolder home_;
};

/// "run: reason", with the folder's path left out.
Names refused_of(const TwoRows& two, const SweepPlan& plan) {
  Names lines;
  for (const auto& [run, reason] : plan.refused) lines.push_back(two.shorten(fmt::format("{}: {}", run, reason)));
  return lines;
}

TEST_CASE("what is left to do follows from the runs' files", "[sweeps]") {
  TwoRows two;
  SweepPlan plan = two.plan();
  CHECK(names_of(plan.start) == Names{"a", "b"});
  CHECK(!fs::exists(two.folder().path()));  // a plan writes nothing

  two.ran("a", 0, 3);
  CHECK(names_of(two.plan().start) == Names{"a", "b"});
  two.finish("a");
  plan = two.plan();
  CHECK(names_of(plan.start) == Names{"b"});
  CHECK(names_of(plan.finished) == Names{"a"});
  plan = plan_sweep(two.sweep, two.folder(), {.jobs = {{"b", {.job = "7_0", .state = "PENDING", .reason = ""}}}});
  CHECK(plan.start.empty());
  CHECK(names_of(plan.busy) == Names{"b"});
  CHECK(plan.refused.empty());
}

TEST_CASE("write_sweep writes the configs of the runs to start, which read back the same", "[sweeps]") {
  TwoRows two;
  SweepPlan plan = two.plan();
  plan.start.pop_back();
  write_sweep(two.sweep, two.folder(), plan);
  CHECK(config_difference(read_config(two.folder().config("a")), two.config(0)).empty());
  CHECK(!fs::exists(two.folder().config("b")));
  CHECK(names_of(two.plan().start) == Names{"a", "b"});
}

TEST_CASE("a run whose config has changed is refused with the difference, finished or not", "[sweeps]") {
  TwoRows two;
  two.ran("a", 0, 75);
  if (GENERATE(false, true)) two.finish("a");
  two.set(0, {"model.n_layers=2", "train.optimizer.lr=0.01", "system.precision=f32"});
  const SweepPlan plan = two.plan();
  REQUIRE(plan.refused.size() == 1);
  CHECK(refused_of(two, plan)[0] ==
        "a: differs from what it was run with: model.n_layers: 32 -> 2, train.optimizer.lr: 3.0e-04 -> 0.01, "
        "system.precision: auto -> f32; take this back, rename the row, or remove sweeps/s/runs/a to run it anew");
  CHECK(names_of(plan.start) == Names{"b"});  // the rest goes on
  fs::remove_all(two.folder().run("a").path());
  CHECK(names_of(two.plan().start) == Names{"a", "b"});
}

TEST_CASE("a run in the queue is refused another config, since its job would read it", "[sweeps]") {
  TwoRows two;
  write_sweep(two.sweep, two.folder(), two.plan());
  two.set(0, {"model.n_layers=2"});
  const Queue queue{.jobs = {{"a", {.job = "7_0", .state = "PENDING", .reason = ""}}}};
  CHECK(plan_sweep(two.sweep, two.folder(), queue).refused.size() == 1);
  CHECK(two.plan().refused.empty());  // a job that was cancelled before it began leaves nothing to differ from
}

TEST_CASE("where a run runs and what it logs may change", "[sweeps]") {
  TwoRows two;
  two.ran("a", 0, 75);
  const std::string set = GENERATE(values<std::string>(
      {"data.train=[elsewhere/*.jsonl]", "system.device=cpu", "system.recompute=layer", "train.micro_batch=2",
       "checkpoint.every_steps=7", "metrics.every_steps=3", "metrics.probe_every_steps=5", "metrics.loggers=[jsonl]",
       "data.threads=3", "metrics.loss_spike_deviations=9"}));
  CAPTURE(set);
  two.set(0, {set});
  CHECK(names_of(two.plan().start) == Names{"a", "b"});
}

TEST_CASE("a damaged newest checkpoint does not keep a run from going on elsewhere, where one before it is sound",
          "[sweeps]") {
  TwoRows two;
  const TempFolder home;
  for (const char* place : {"here", "there"}) {
    fs::create_directories(home / place);
    spill(home / place + "/a.jsonl", "{\"text\": \"a\"}\n");
  }
  two.set(0, {"data.train=[" + home / "here/a.jsonl" + "]"});
  two.ran("a", 0, 75);
  const std::string checkpoints = two.folder().run("a").checkpoints() + "/";
  for (const std::int64_t step : {20, 30, 40}) {
    const Position data{.step = step,
                        .fingerprint = {{"data.train", data_fingerprint(two.config(0).data.train, "data.train")}},
                        .lanes = {}};
    fs::create_directories(checkpoints + RunFolder::step_name(step));
    write_state(checkpoints + RunFolder::step_name(step), {.step = step, .config = "", .position = data.to_json()},
                std::array{0u});
  }
  fs::create_symlink(RunFolder::step_name(30), checkpoints + "latest");  // as whoever goes back sets it
  two.set(0, {"data.train=[" + home / "there/a.jsonl" + "]"});
  CHECK(names_of(two.plan().start) == Names{"a", "b"});
  const auto damage = [&](std::int64_t step) {
    spill(checkpoints + RunFolder::step_name(step) + "/state.json", "{\"step\": 30");
  };
  damage(30);
  CHECK(names_of(two.plan().start) == Names{"a", "b"});
  spill(home / "there/a.jsonl", "{\"text\": \"other\"}\n");
  REQUIRE(refused_of(two, two.plan()).size() == 1);
  CHECK(refused_of(two, two.plan())[0].starts_with("a: differs from what it was run with: data.train: 1 shards"));
  damage(20);
  REQUIRE(refused_of(two, two.plan()).size() == 1);
  CHECK(refused_of(two, two.plan())[0].find("runs/a/checkpoints/step_00000030/state.json: ") != std::string::npos);
}

TEST_CASE("what is measured may not change", "[sweeps]") {
  TwoRows two;
  two.ran("a", 0, 75);
  const std::string set =
      GENERATE(values<std::string>({"metrics.sequences=3", "metrics.sink_epsilon=0.2", "data.holdout=0.1",
                                    "train.steps=200", "run.seed=2", "system.state_precision=bf16"}));
  CAPTURE(set);
  two.set(0, {set});
  CHECK(two.plan().refused.size() == 1);
}

TEST_CASE("a folder of another sweep, or of none, is refused", "[sweeps]") {
  TwoRows two;
  write_sweep(two.sweep, two.folder(), two.plan());
  const std::string first = two.sweep.file, second = first + ".other.yaml";
  spill(second, "name: s\n");
  two.sweep.file = second;
  CHECK(two.refusal() == "sweeps/s: belongs to the sweep sweep.yaml; give sweep.yaml.other.yaml another name or dir");
  fs::remove(first);  // so it was renamed
  CHECK(names_of(two.plan().start) == Names{"a", "b"});
  write_sweep(two.sweep, two.folder(), two.plan());
  spill(first, "name: s\n");
  two.sweep.file = first;
  CHECK(two.refusal() == "sweeps/s: belongs to the sweep sweep.yaml.other.yaml; give sweep.yaml another name or dir");

  spill(two.folder().identity(), "{\"format\": 1");
  CHECK(two.refusal() == "sweeps/s/sweep.json: damaged; if sweeps/s is this sweep's folder, remove the file");
  spill(two.folder().identity(), "{\"format\": 7, \"file\": \"x\"}");
  CHECK(two.refusal() == "sweeps/s/sweep.json: format 7, this program reads 1; use the version that wrote it");
  fs::remove(two.folder().identity());
  CHECK(names_of(two.plan().start) == Names{"a", "b"});

  fs::remove_all(two.folder().path());
  fs::create_directories(two.folder().path());
  spill(two.folder().path() + "/metrics.jsonl", "");
  CHECK(two.refusal() ==
        "sweeps/s: has files, but is no sweep's folder (no sweep.json); give sweep.yaml another name or dir");
}

TEST_CASE("runs of a row that was renamed or taken out are named", "[sweeps]") {
  TwoRows two;
  CHECK(runs_of_other_rows(two.sweep, two.folder()).empty());
  two.ran("a", 0, 0);
  CHECK(runs_of_other_rows(two.sweep, two.folder()).empty());
  two.sweep.rows[1].runs[0].name = "c";
  two.sweep.rows.erase(two.sweep.rows.begin());
  CHECK(runs_of_other_rows(two.sweep, two.folder()) == Names{"a", "b"});
}

TEST_CASE("a run folder that the sweep has not made is refused", "[sweeps]") {
  TwoRows two;
  write_sweep(two.sweep, two.folder(), {});
  fs::create_directories(two.folder().run("b").path());
  spill(two.folder().run("b").metrics(), "");
  const SweepPlan plan = two.plan();
  REQUIRE(plan.refused.size() == 1);
  CHECK(refused_of(two, plan)[0] == "b: sweeps/s/runs/b was not made by this sweep; remove it, or rename the row");
}

TEST_CASE("a run is refused what its check says, if it would start", "[sweeps]") {
  TwoRows two;
  two.ran("a", 0, 0);
  two.finish("a");
  Names asked;
  const SweepPlan plan = two.plan([&](const Config& config) {
    asked.push_back(config.run.name);
    throw DataError("data.train: gone");
  });
  CHECK(asked == Names{"b"});
  CHECK(names_of(plan.finished) == Names{"a"});
  CHECK(refused_of(two, plan) == Names{"b: data.train: gone"});
  two.set(1, {"metrics.loggers=[tensorboard]"});
  CHECK(refused_of(two, two.plan()) == Names{"b: metrics.loggers: without jsonl there is nothing to collect; add it"});
}

TEST_CASE("a config that cannot be read refuses its run only", "[sweeps]") {
  TwoRows two;
  two.ran("a", 0, 75);
  spill(two.folder().run("a").config(), "model: {d_model: x}\n");
  const SweepPlan plan = two.plan();
  REQUIRE(plan.refused.size() == 1);
  CHECK(refused_of(two, plan)[0].starts_with("a: sweeps/s/runs/a/config.yaml:1: "));
  CHECK(names_of(plan.start) == Names{"b"});
}

TEST_CASE("a sweep's folder that cannot be made", "[sweeps]") {
  TwoRows two;
  spill(two.sweep.dir, "a file");
  CHECK(two.shorten(message_of<UsageError>([&] { make_sweep_folder(two.sweep, two.folder()); }))
            .starts_with("sweeps/s: cannot be made: "));
}

}  // namespace
}  // namespace spikesink
