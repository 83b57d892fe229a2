#include "trainer/run_folder.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "io/atomic_file.h"
#include "io/build_info.h"
#include "io/failure.h"
#include "io/json_lines.h"
#include "io/readable.h"
#include "tests/trainer/support.h"
#include "trainer/cut_back.h"
#include "trainer/divergence.h"
#include "trainer/metrics_log.h"
#include "trainer/resume_point.h"

namespace spikesink {
namespace {
namespace fs = std::filesystem;

std::vector<std::string> lines_of(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

}  // namespace

TEST_CASE("names of steps go there and back", "[trainer][run_folder]") {
  CHECK(RunFolder::step_name(1000) == "step_00001000");
  CHECK(RunFolder::step_of("step_00001000") == 1000);
  CHECK(RunFolder::step_of(RunFolder::step_name(123456789012)) == 123456789012);
  CHECK_FALSE(RunFolder::step_of("step_9223372036854775807"));  // no run has so many
  for (const char* name :
       {"latest", "step_", "step_5", "step_12x", "step_-1", "step_00000010.unfinished", "step_000000010"})
    CHECK_FALSE(RunFolder::step_of(name));
}

TEST_CASE("a folder that has a run is taken only by a resume", "[trainer][run_folder]") {
  const test::TemporaryFolder home;
  const RunFolder folder(home / "run");
  folder.make();
  folder.require_new();  // nothing in it yet
  std::ofstream(folder.config()) << "x";
  folder.make();
  CHECK_THROWS_WITH(folder.require_new(), Catch::Contains("--resume"));
}

TEST_CASE("a folder that is a checkpoint itself takes no run", "[trainer][run_folder]") {
  const test::TemporaryFolder home;
  const RunFolder folder(home / "imported");
  folder.make();
  folder.require_no_checkpoint();
  std::ofstream(home / "imported/state.json") << "{}";
  CHECK_THROWS_WITH(folder.require_no_checkpoint(), Catch::Contains("is itself a checkpoint"));
  CHECK_THROWS_WITH(folder.require_new(), Catch::Contains("is itself a checkpoint"));
}

TEST_CASE("a folder that has had a checkpoint, and has none, is not begun anew", "[trainer][run_folder]") {
  const test::TemporaryFolder home;
  const RunFolder folder(home / "run");
  require_never_saved(folder, 4);  // nothing is there
  folder.make();
  const auto measured = [&](std::int64_t step) {
    std::ofstream(folder.metrics()) << R"({"step":)" << step << R"(,"loss":1})" << '\n';
  };
  SECTION("it has had one, which was on another disk") {
    folder.note_checkpoint(2);
    folder.note_checkpoint(3);  // not the first
    CHECK(read_file(folder.first_checkpoint()) == "{\"step\": 2}\n");
    CHECK_THROWS_WITH(require_never_saved(folder, 4), Catch::Contains("first_checkpoint.json says; put the"));
    CHECK_THROWS_WITH(folder.require_new(), Catch::Contains("--resume"));
  }
  SECTION("more steps than without one") {
    measured(9);  // the one of step 4 failed, and that of 8 or 9 is being written
    require_never_saved(folder, 4);
    measured(10);
    const std::string said = folder.checkpoints() + ": has no whole checkpoint, although the run has come to step 10";
    CHECK_THROWS_WITH(require_never_saved(folder, 4),
                      Catch::StartsWith(said) && Catch::Contains("put the checkpoints back"));
    require_never_saved(folder, 5);
  }
  SECTION("a probe of such a step") {
    std::ofstream(folder.probe(8)) << "x";
    require_never_saved(folder, 4);
    std::ofstream(folder.probe(12)) << "x";
    CHECK_THROWS_AS(require_never_saved(folder, 4), DataError);
  }
  SECTION("something of a checkpoint") {
    const std::string rest = GENERATE("step_00000004", "step_00000004.damaged", "latest");
    fs::create_directories(folder.checkpoints() + "/" + rest);
    CHECK_THROWS_AS(require_never_saved(folder, 4), DataError);
    CHECK_THROWS_WITH(folder.require_new(), Catch::Contains("--resume"));
  }
  SECTION("what is not finished is none") {
    fs::create_directories(folder.checkpoints() + "/step_00000004.unfinished");
    require_never_saved(folder, 4);
  }
  SECTION("metrics that cannot be read") {
    fs::create_directories(folder.metrics());
    CHECK_THROWS_WITH(require_never_saved(folder, 4), Catch::StartsWith(folder.metrics()));
    CHECK_THROWS_AS(folder.last_step(), DataError);
  }
}

TEST_CASE("a folder that cannot be listed is not cut back", "[trainer][run_folder]") {
  const test::TemporaryFolder home;
  const RunFolder folder(home / "run");
  fs::create_directories(folder.path());
  fs::create_symlink("probes", folder.probes());
  CHECK_THROWS_WITH(CutBack(folder, 2).make(), Catch::StartsWith(folder.probes()));
  CHECK_THROWS_WITH(folder.remove_unfinished(), Catch::StartsWith(folder.probes()));
}

TEST_CASE("cutting back leaves each step up to the checkpoint, once", "[trainer][run_folder]") {
  const test::TemporaryFolder home;
  const RunFolder folder(home / "run");
  folder.make();
  {
    MetricsLog log(folder, {.loggers = {Logger::kJsonl, Logger::kTensorboard}});
    log.data(0, R"({"sources":[{"path":"a"}]})");
    log.probe(0, {{"perplexity", 9}});
    for (const std::int64_t step : {1, 2, 3, 4})
      log.step(step, {{"tokens", 64.0 * static_cast<double>(step)}, {"loss", 0.5}});
    log.probe(4, {{"perplexity", 5}});
    log.data(4, R"({"sources":[]})");
  }
  std::ofstream(folder.metrics(), std::ios::app) << R"({"step":5,"lo)";  // torn by a kill
  for (const std::int64_t step : {0, 4}) std::ofstream(folder.probe(step)) << "x";
  std::ofstream(folder.probe(4) + ".unfinished") << "x";

  std::ofstream(folder.probes() + "/notes.txt") << "a user's own";

  folder.remove_unfinished();
  CutBack(folder, 2).make();
  CHECK(fs::exists(folder.probes() + "/notes.txt"));
  const std::string start =
      fmt::format(R"({{"step":0,"event":"data","program":"{}","sources":[{{"path":"a"}}]}})", build_info());
  CHECK(lines_of(folder.metrics()) == std::vector<std::string>{start, R"({"step":0,"event":"probe","perplexity":9.0})",
                                                               R"({"step":1,"tokens":64,"loss":0.5})",
                                                               R"({"step":2,"tokens":128,"loss":0.5})"});
  CHECK(fs::exists(folder.probe(0)));
  CHECK_FALSE(fs::exists(folder.probe(4)));
  CHECK_FALSE(fs::exists(folder.probe(4) + ".unfinished"));

  CutBack(folder, -1).make();
  CHECK(lines_of(folder.metrics()).empty());
  CHECK_FALSE(fs::exists(folder.probe(0)));
}

TEST_CASE("damaged lines of metrics are kept before they are taken out", "[trainer][run_folder]") {
  const test::TemporaryFolder home;
  const RunFolder folder(home / "run");
  folder.make();
  const std::string text =
      "{\"step\":1}\n{broken\n{\"step\":1.5}\n{\"loss\":2}\n{\"step\":-9223372036854775808}\n{\"step\":2}\n";
  write_atomically(folder.metrics(), text);
  fs::create_directory(folder.metrics() + ".damaged");  // where they cannot be kept
  CHECK_THROWS_AS(CutBack(folder, 2).make(), DataError);
  CHECK(read_file(folder.metrics()) == text);
  fs::remove(folder.metrics() + ".damaged");
  CHECK(CutBack(folder, 2).make() ==
        std::vector<std::string>{folder.metrics() + ": 4 damaged lines left out, kept in " + folder.metrics() +
                                 ".damaged"});
  CHECK(lines_of(folder.metrics() + ".damaged") ==
        std::vector<std::string>{"{broken", R"({"step":1.5})", R"({"loss":2})", R"({"step":-9223372036854775808})"});
  CHECK(lines_of(folder.metrics()) == std::vector<std::string>{R"({"step":1})", R"({"step":2})"});
  CHECK(CutBack(folder, 2).make().empty());
}

TEST_CASE("logged steps that a checkpoint is ahead of are missed", "[trainer][run_folder]") {
  const test::TemporaryFolder home;
  const RunFolder folder(home / "run");
  folder.make();
  const auto said = [&](std::int64_t step, std::int64_t logged_every) {
    const auto notes = CutBack(folder, step, false, logged_every).make();
    return notes.empty() ? "" : notes.at(0);
  };
  const auto write = [&](const std::vector<std::int64_t>& steps) {
    std::ofstream file(folder.metrics());
    for (const std::int64_t step : steps) file << R"({"step":)" << step << "}\n";
    if (!steps.empty()) file << R"({"step":18,"event":"probe"})" << '\n';
  };
  const auto lost = [&](std::int64_t steps, std::int64_t step, std::int64_t first) {
    return fmt::format("{}: {} on the way to step {}, where the run goes on, {} lost, from step {} on",
                       folder.metrics(), counted(steps, "logged step"), step, steps == 1 ? "is" : "are", first);
  };
  CHECK(said(20, 10) == lost(2, 20, 10));  // the file itself
  CHECK(said(9, 10).empty());
  write({});
  CHECK(said(20, 10) == lost(2, 20, 10));
  CHECK(said(20, 0).empty());
  CHECK(said(0, 10).empty());
  CHECK(said(-1, 10).empty());
  write({5, 10});
  CHECK(said(18, 5) == lost(1, 18, 15));
  CHECK(said(15, 5) == lost(1, 15, 15));  // its own line came before it
  CHECK(said(14, 5).empty());
  CHECK(said(10, 5).empty());
  write({7, 14});
  CHECK(said(20, 7).empty());
  CHECK(said(21, 7) == lost(1, 21, 21));
  std::ofstream(folder.metrics()) << R"({"step":0,"event":"data"})" << '\n' << R"({"step":110,"event":"data"})" << '\n';
  CHECK(said(110, 1000).empty());
  CHECK(said(111, 2).empty());  // every 1000 steps, until the start at 110
  CHECK(said(112, 2) == lost(1, 112, 112));
  write({10, 20});
  CHECK(said(28, 10).empty());
  write({2, 4, 6, 9, 12, 14, 18});
  CHECK(said(18, 2) == lost(3, 18, 8));  // 10 and 16 too
}

TEST_CASE("a step that no run comes to does not count as the last", "[trainer][run_folder]") {
  const test::TemporaryFolder home;
  const RunFolder folder(home / "run");
  folder.make();
  std::ofstream(folder.metrics()) << "{\"step\":7}\n{\"step\":9223372036854775807}\n{\"step\":18446744073709551615}\n"
                                     "{\"step\":\"8\"}\n[9]\n{\"step\":1";
  std::ofstream(folder.divergences()) << "{\"step\":9223372036854775800}\n{\"step\":6}\n";
  CHECK(folder.last_step() == 7);
  CHECK(folder.last_measured() == 7);
}

TEST_CASE("steps that were skipped are not missed", "[trainer][run_folder]") {
  const test::TemporaryFolder home;
  const RunFolder folder(home / "run");
  folder.make();
  const auto diverged = [&](std::int64_t step, const std::string& action) {
    const Divergence line{.step = step,
                          .kind = action == "none" ? "loss_spike" : "not_finite",
                          .loss = 1,
                          .grad_norm = 1,
                          .data_step = step - 1,
                          .sequences = 2,
                          .action = action};
    std::ofstream(folder.divergences(), std::ios::app) << line.to_json() << '\n';
  };
  std::int64_t first = 0;
  const auto missed = [&](std::int64_t step, std::int64_t logged_every) {
    std::ofstream file(folder.metrics());
    for (const std::int64_t each : {2, 4, 6}) file << R"({"step":)" << each << "}\n";
    file.close();
    const auto notes = CutBack(folder, step, false, logged_every).make();
    first = -1;
    if (!notes.empty() && std::sscanf(notes[0].c_str() + notes[0].find(", from step"), ", from step %ld", &first) != 1)
      FAIL();
    return !notes.empty();
  };
  CHECK(missed(10, 2));
  diverged(7, "skip");  // not one that was to be logged
  CHECK((missed(10, 2) && first == 8));
  diverged(8, "skip");
  CHECK_FALSE(missed(9, 2));
  CHECK((missed(10, 2) && first == 10));
  diverged(10, "skip");
  diverged(11, "stop");
  CHECK_FALSE(missed(11, 2));
  CHECK((missed(12, 2) && first == 12));
  diverged(14, "none");
  CHECK((missed(14, 2) && first == 12));
  diverged(18, "skip");
  CHECK((missed(18, 2) && first == 12));
  diverged(12, rollback_to(9));
  CHECK((missed(11, 2) && first == 10));
  note_resumed(folder.divergences(), 6, 6, 2);
  CHECK((missed(10, 2) && first == 8));
}

TEST_CASE("a probe that is to be measured again does not stand yet, nor one that a kill left of it",
          "[trainer][run_folder]") {
  const test::TemporaryFolder home;
  const RunFolder folder(home / "run");
  folder.make();
  {
    MetricsLog log(folder, {.loggers = {Logger::kJsonl, Logger::kTensorboard}});
    for (const std::int64_t step : {1, 2, 3}) {
      log.step(step, {{"loss", 0.5}});
      log.probe(step, {{"perplexity", 9}});
    }
  }
  for (const std::int64_t step : {1, 2, 3}) std::ofstream(folder.probe(step)) << "x";
  const auto events = [&] {
    std::string bytes;
    for (const auto& entry : fs::directory_iterator(folder.tensorboard())) bytes += read_file(entry.path().string());
    const auto count = [&](const std::string& tag) {
      std::size_t found = 0;
      for (std::size_t at = bytes.find(tag); at != std::string::npos; at = bytes.find(tag, at + 1)) ++found;
      return found;
    };
    return std::pair(count("train/loss"), count("probe/perplexity"));
  };
  CutBack(folder, 2).make();
  CHECK(lines_of(folder.metrics()).size() == 4);
  CHECK(events() == std::pair<std::size_t, std::size_t>(2, 2));
  CutBack(folder, 2, /*probe_too=*/true).make();
  CHECK(lines_of(folder.metrics()) == std::vector<std::string>{R"({"step":1,"loss":0.5})",
                                                               R"({"step":1,"event":"probe","perplexity":9.0})",
                                                               R"({"step":2,"loss":0.5})"});
  CHECK(events() == std::pair<std::size_t, std::size_t>(2, 1));
  CHECK(fs::exists(folder.probe(1)));
  CHECK_FALSE(fs::exists(folder.probe(2)));
}

TEST_CASE("loggers write what they are named for", "[trainer][run_folder]") {
  const test::TemporaryFolder home;
  const RunFolder folder(home / "run");
  folder.make();
  MetricsLog(folder, {.loggers = {}}).step(1, {{"loss", 1}});
  CHECK_FALSE(fs::exists(folder.metrics()));
  CHECK_FALSE(fs::exists(folder.tensorboard()));
  MetricsLog(folder, {.loggers = {Logger::kTensorboard}}).step(1, {{"loss", 1}});
  CHECK_FALSE(fs::exists(folder.metrics()));
  CHECK(fs::exists(folder.tensorboard()));
}

TEST_CASE("TensorBoard is told once what a run is made with, and how it ended", "[trainer][run_folder]") {
  const test::TemporaryFolder home;
  const RunFolder folder(home / "run");
  folder.make();
  const auto count = [&](const std::string& text) {
    int found = 0;
    for (const auto& entry : fs::directory_iterator(folder.tensorboard())) {
      std::ifstream file(entry.path(), std::ios::binary);
      const std::string bytes{std::istreambuf_iterator<char>(file), {}};
      for (std::size_t at = bytes.find(text); at != std::string::npos; at = bytes.find(text, at + 1)) ++found;
    }
    return found;
  };
  const LoggingConfig config{.loggers = {Logger::kTensorboard}};
  const auto diverges = [&] {
    MetricsLog log(folder, config, {{"lr", 0.5}});
    log.step(1, {{"loss", 1}});
    throw DivergenceError("step 2: the loss is nan");
  };
  CHECK_THROWS_AS(diverges(), DivergenceError);
  CHECK(count("session_start_info") == 1);
  CHECK(count("session_end_info") == 1);
  MetricsLog(folder, config, {{"lr", 0.25}}).step(2, {{"loss", 1}});  // stopped: no end
  CHECK(count("session_start_info") == 1);
  CHECK(count("session_end_info") == 0);
  MetricsLog(folder, config, {{"lr", 0.25}}).done();
  CHECK(count("session_start_info") == 1);
  CHECK(count("session_end_info") == 1);
  CHECK(count("train/loss") == 2);
}

}  // namespace spikesink
