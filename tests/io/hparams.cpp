#include "io/hparams.h"

#include "scratch.h"

// That the messages are TensorBoard's own is tested with its own reader: tests/end_to_end/hparams_test.py.
namespace spikesink {
namespace {
namespace fs = std::filesystem;

constexpr const char* kStart = "_hparams_/session_start_info";
constexpr const char* kEnd = "_hparams_/session_end_info";
constexpr const char* kExperiment = "_hparams_/experiment";

/// How often a text stands in all files of a folder.
std::size_t count(const TempFolder& folder, const std::string& text) {
  std::size_t found = 0;
  for (const std::string& name : folder.names()) {
    const std::string bytes = slurp(folder / name);
    for (std::size_t at = bytes.find(text); at != std::string::npos; at = bytes.find(text, at + 1)) ++found;
  }
  return found;
}

void write_session(const TempFolder& folder, double lr, std::int64_t steps) {
  EventFile events(folder.path());
  write_session_start(events, {{"lr", lr}});
  for (std::int64_t step = 1; step <= steps; ++step) events.scalar("loss", 1, step);
  write_session_end(events, SessionEnd::kDone);
}

TEST_CASE("a session is taken out as a whole, and scalars stay", "[io]") {
  const TempFolder folder;
  write_session(folder, 0.5, 3);
  write_session(folder, 0.25, 0);
  CHECK(count(folder, kStart) == 2);
  drop_sessions(folder.path());
  CHECK(folder.names().size() == 1);  // nothing but a session was in the second
  CHECK(count(folder, kStart) == 0);
  CHECK(count(folder, kEnd) == 0);
  CHECK(count(folder, "loss") == 3);
}

TEST_CASE("a session stands at step 0: it stays with the steps of a checkpoint, and goes with all of them", "[io]") {
  const TempFolder folder;
  write_session(folder, 0.5, 3);
  cut_back_events(folder.path(), 1);
  CHECK(count(folder, kStart) == 1);
  CHECK(count(folder, "loss") == 1);
  cut_back_events(folder.path(), -1);
  CHECK(folder.names().empty());
}

TEST_CASE("an experiment replaces the one before", "[io]") {
  const TempFolder folder;
  spill(folder / "sweep.json", "{}");
  const std::vector<MetricColumn> metrics = {{"probe/perplexity", "perplexity"}};
  write_experiment(folder.path(), {{"old.key", {1.0, 2.0}}}, metrics);
  write_experiment(folder.path(), {{"new.key", {true, false}}, {"text", {std::string("a"), 2.0}}}, metrics);
  CHECK(count(folder, kExperiment) == 1);
  CHECK(count(folder, "old.key") == 0);
  CHECK(count(folder, "new.key") == 1);
  write_experiment(folder.path(), {}, metrics);
  CHECK(folder.names() == std::set<std::string>{"sweep.json"});
}

}  // namespace
}  // namespace spikesink
