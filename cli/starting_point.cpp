#include "cli/starting_point.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "configs/reader.h"
#include "configs/resume.h"
#include "configs/writer.h"
#include "data/loader.h"
#include "io/atomic_file.h"
#include "io/failure.h"
#include "io/listing.h"
#include "io/readable.h"
#include "trainer/checkpoint.h"
#include "trainer/dist/agree.h"
#include "trainer/schedule.h"

namespace spikesink::cli {
namespace {

/// What has changed of the config since it was `before`; not the samples, or it is refused.
std::vector<std::string> changes_since(const Config& before, const RunFolder& folder, const Config& config,
                                       const char* flag) {
  if (const auto changed = changes_of_past_samples(before, config); !changed.empty())
    throw UsageError(
        fmt::format("{}: {} would change what was trained on: {}; take this back, or start a new run "
                    "under another run.name",
                    folder.path(), flag, fmt::join(changed, ", ")));
  return config_difference(before, config);
}

/// "learning rate of step N: A -> B" where a step that is behind the run would have another by the config as it is now,
/// from which the coming ones go on; else empty.
std::string change_of_rate(const Config& before, const Config& config, std::int64_t step) {
  const auto rate = [&](const Config& c) {
    return fmt::format("{:.4g}",
                       learning_rate(c.train.optimizer, c.train.schedule, step, c.train.total_steps(c.model.context)));
  };
  const std::string was = rate(before), is = rate(config);
  return step > 0 && was != is ? fmt::format("learning rate of step {}: {} -> {}", step, was, is) : "";
}

/// Of the run that is in the folder, before it is this config's.
std::int64_t steps_between_checkpoints(const RunFolder& folder, const Config& config) {
  const bool has_own = is_there(folder.config());
  return (has_own ? read_config_text(read_file(folder.config()), folder.config()) : config).checkpoint.every_steps;
}

/// Goes to a checkpoint's place in the data, if that is the data of this run: what else differs is said later.
auto going_to(Loader& loader) {
  return [&loader](const Position& position) {
    try {
      loader.seek(position);
    } catch (const DamagedPosition&) {
      throw;
    } catch (const DataError&) {
    }
  };
}

/// The config that a run made a step with, and the file that has it: a checkpoint has that of the steps before it.
std::pair<std::string, std::string> config_of_step(std::int64_t step, const RunFolder& folder) {
  const auto whole = whole_checkpoints(folder.checkpoints());
  for (auto at = whole.lower_bound(step); at != whole.end(); ++at) try {
      return {read_state_alone(at->second).config, at->second + "/state.json"};
    } catch (const DataError&) {  // damaged: a later one will do, if the config did not change between
    }
  return {read_file(folder.config()), folder.config()};
}

UsageError beyond_the_end(std::int64_t step, std::int64_t total, const RunFolder& folder) {
  const Config of_run = read_config_text(read_file(folder.config()), folder.config());
  const auto own = of_run.train.total_steps(of_run.model.context);
  if (step > own)
    return UsageError(fmt::format("--replay {}: the run has {}; name one of them", step, counted(own, "step")));
  return UsageError(
      fmt::format("--replay {}: the config ends at step {}, but the run was trained on to {}; name {} in its place",
                  step, total, own, folder.config()));
}

}  // namespace

std::optional<ResumePoint> find_resume_point(const RunFolder& folder, const Config& config, Loader& loader,
                                             Communicator& ranks) {
  auto point = newest_resume_point(folder, ranks, std::numeric_limits<std::int64_t>::max(), going_to(loader));
  if (!point) {
    rank_0_does(ranks, [&] { require_never_saved(folder, steps_between_checkpoints(folder, config)); });
    return point;
  }
  const Config before = read_config_text(point->state.config, point->checkpoint + "/state.json");
  point->changes = changes_since(before, folder, config, "--resume");
  if (const std::string jump = change_of_rate(before, config, point->state.step); !jump.empty())
    point->changes.push_back(jump);
  const LoggingConfig& logging = before.metrics.logging;
  if (std::ranges::count(logging.loggers, Logger::kJsonl) > 0) point->logged_every = logging.every_steps;
  if (const auto total = config.train.total_steps(config.model.context); total < point->state.step)
    throw UsageError(
        fmt::format("{}: its checkpoint is at step {}, but the config ends at step {}; raise train.steps "
                    "or train.tokens",
                    folder.path(), point->state.step, total));
  return point;
}

std::optional<ResumePoint> checkpoint_before(std::int64_t step, const RunFolder& folder, const Config& config,
                                             Loader& loader, Communicator& ranks) {
  rank_0_does(ranks, [&] {  // steps between two that are logged leave no trace
    if (const auto total = config.train.total_steps(config.model.context); step > total)
      throw beyond_the_end(step, total, folder);
    const auto last = folder.last_step();
    if (step > last + config.metrics.logging.every_steps)
      throw UsageError(fmt::format("--replay {}: the run has come to step {}; --resume trains it further", step, last));
    if (step > last)
      fmt::print("  the last step that the run tells of is {}: it may not have come to {}\n", last, step);
    const auto [text, file] = config_of_step(step, folder);
    for (const std::string& change : changes_since(read_config_text(text, file), folder, config, "--replay"))
      fmt::print("  changed since step {} was made: {}; --set it as it was to see the step as it was\n", step, change);
  });
  auto point = newest_resume_point(folder, ranks, step, going_to(loader));
  if (ranks.rank() == 0) {
    if (point)
      for (const PassedOver& newer : point->passed_over) fmt::print("  passed over: {}\n", newer.problem);
  }
  return point;
}

}  // namespace spikesink::cli
