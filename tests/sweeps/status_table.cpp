#include "sweeps/status_table.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <sstream>

namespace spikesink {
namespace {

struct Runs {
  std::vector<SweepRun> runs = std::vector<SweepRun>(4);
  std::vector<StatusOfRun> all() const {
    std::vector<StatusOfRun> list;
    RunStatus finished{.phase = RunPhase::kFinished, .step = 2000, .total_steps = 2000};
    finished.metrics = {.step = {{"loss", 2.3456}, {"tokens", 4e6}},
                        .probe = {{"perplexity", 10.12}, {"sink_ratio", 0.4567}, {"spike_max", 3818.0}},
                        .tokens_per_second = 12345,
                        .problem = ""};
    RunStatus running{.phase = RunPhase::kRunning, .step = 20, .total_steps = 2000};
    running.metrics = {.step = {{"loss", 10.5}}, .probe = {}, .tokens_per_second = 900, .problem = ""};
    running.seconds_left = 4000;
    running.job = "4711_3";
    const RunStatus failed{
        .phase = RunPhase::kFailed, .total_steps = 2000, .reason = "data.train: " + std::string(200, 'x')};
    list.emplace_back(&runs[0], finished);
    list.emplace_back(&runs[1], running);
    list.emplace_back(&runs[2], failed);
    list.emplace_back(&runs[3], RunStatus{.total_steps = 100});
    return list;
  }
  Runs() {
    runs[0].name = "pre_norm";
    runs[1].name = "sandwich_seed2";
    runs[2].name = "bad";
    runs[3].name = "late";
  }
};

TEST_CASE("the table of a sweep's state", "[sweeps]") {
  const Runs runs;
  CHECK(status_table(runs.all(), 100) ==
        "row             state          step    loss  perplexity   sinks  spike  tokens/s        left  remark\n"
        "pre_norm        finished  2000/2000   2.346        10.1  45.7 %   3818     12.3k           -\n"
        "sandwich_seed2  running     20/2000  10.500           -       -      -       900  1 h 06 min  4711_3\n"
        "bad             failed       0/2000       -           -       -      -         -           -  dat...\n"
        "late            waiting       0/100       -           -       -      -         -           -\n"
        "4 runs: 1 finished, 1 running, 1 waiting, 1 failed\n");
}

TEST_CASE("no line of the table is wider than it may be, unless its figures are", "[sweeps]") {
  Runs runs;
  runs.runs[0].name = std::string(100, 'n');
  const std::size_t width = GENERATE(95, 120, 160);
  auto all = runs.all();
  all[0].second.total_steps = all[0].second.step = GENERATE(2000, 100000);
  std::istringstream lines(status_table(all, width));
  std::size_t longest = 0;
  for (std::string line; std::getline(lines, line);) longest = std::max(longest, line.size());
  CHECK(longest <= width);
  CHECK(longest + 2 >= width);  // the name or the reason fills it, but for the gap before a reason without room
}

TEST_CASE("the state as JSON: what is not there is left out", "[sweeps]") {
  const Runs runs;
  const auto json = nlohmann::json::parse(status_json({.name = "s", .dir = "d"}, runs.all()));
  CHECK(json["folder"] == "d/s");
  REQUIRE(json["runs"].size() == 4);
  CHECK(json["runs"][0]["state"] == "finished");
  CHECK(json["runs"][0]["probe"]["sink_ratio"] == 0.4567);
  CHECK(json["runs"][1]["seconds_left"] == 4000);
  CHECK(json["runs"][1]["job"] == "4711_3");
  CHECK(json["runs"][2]["reason"].get<std::string>().size() == 212);  // not cut
  CHECK(json["runs"][3] ==
        nlohmann::json{{"run", "late"}, {"seed", 1}, {"state", "waiting"}, {"step", 0}, {"total_steps", 100}});
}

}  // namespace
}  // namespace spikesink
