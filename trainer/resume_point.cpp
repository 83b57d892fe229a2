#include "trainer/resume_point.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <utility>

#include "io/failure.h"
#include "io/listing.h"
#include "io/readable.h"
#include "trainer/dist/agree.h"

namespace spikesink {
namespace {
constexpr std::int64_t kAny = std::numeric_limits<std::int64_t>::max();

std::string lost(const RunFolder& folder, const std::string& although) {
  return fmt::format(
      "{}: has no whole checkpoint, although {}; put the checkpoints back (is their disk mounted?), or remove {} to "
      "begin anew",
      folder.checkpoints(), although, folder.path());
}

Position position_of(const ResumePoint& point) {
  try {
    return Position::from_json(point.state.position);
  } catch (const DataError& error) {
    throw DamageError(fmt::format("{}/state.json: {}", point.checkpoint, error.what()), "go on from another");
  }
}

}  // namespace

Position data_position(const ResumePoint& point) {
  Position position = position_of(point);
  const std::int64_t step = point.state.step;
  if (step < 0 || position.step < step || position.step - step != point.state.skipped)
    throw DamageError(
        fmt::format("{}/state.json: damaged: step {} with data of step {}", point.checkpoint, step, position.step));
  return position;
}

std::optional<ResumePoint> newest_resume_point(const RunFolder& folder, Communicator& ranks, std::int64_t before,
                                               const std::function<void(const Position&)>& go_to) {
  std::vector<PassedOver> passed_over;
  for (std::size_t tried = 0;; ++tried) {
    std::string checkpoint;
    rank_0_does(ranks, [&] {
      const auto latest = latest_checkpoint(folder.checkpoints());
      if (!latest) return;
      if (auto broken = tried == 0 ? broken_latest(folder.checkpoints()) : std::nullopt)
        passed_over.push_back(std::move(*broken));
      auto all = whole_checkpoints(folder.checkpoints());
      const auto step = RunFolder::step_of(std::filesystem::path(*latest).filename().string());
      if (step) all.erase(all.upper_bound(*step), all.end());
      all.erase(all.lower_bound(before), all.end());
      if (all.empty() && before == kAny) throw DataError(lost(folder, fmt::format("latest leads to {}", *latest)));
      if (all.empty()) return;
      if (tried == all.size())
        throw DataError(
            fmt::format("{}: none of {} can be used; the newest: {}; put a sound one there, or remove {} to "
                        "begin anew",
                        folder.checkpoints(), counted(std::ssize(passed_over), "damaged checkpoint"),
                        passed_over.front().problem, folder.path()));
      checkpoint = std::next(all.rbegin(), static_cast<std::ptrdiff_t>(tried))->second;
    });
    checkpoint = text_from_rank_0(ranks, checkpoint);
    if (checkpoint.empty()) return std::nullopt;
    TrainingState state;
    std::string problem, unread;
    try {
      state = read_state(checkpoint, ranks.rank(), ranks.world());
      const Position position = data_position({checkpoint, state});  // which can be damaged too
      if (go_to) go_to(position);
    } catch (const DamageError& error) {
      problem = error.damage;
    } catch (const DamagedPosition& error) {
      problem = fmt::format("{}/state.json: {}", checkpoint, error.what());
    } catch (const DataError& error) {
      unread = error.what();
    }
    throw_problem<DataError>(ranks, unread);
    const std::vector<std::string> problems = gather_texts(ranks, problem);
    const auto bad = std::ranges::find_if_not(problems, &std::string::empty);
    if (bad == problems.end()) return ResumePoint{std::move(checkpoint), std::move(state), std::move(passed_over)};
    passed_over.push_back({checkpoint, *bad});
  }
}

std::vector<std::string> about(const ResumePoint& point, int world, int threads) {
  constexpr const char* kBits = "losses differ in their last bits from those of an unbroken run";
  const TrainingState& state = point.state;
  std::vector<std::string> lines{fmt::format("resumed from {} at step {}", point.checkpoint, state.step)};
  for (const std::string& change : point.changes) lines.push_back("  changed: " + change);
  if (state.world != world) lines.push_back(fmt::format("  ranks: {} -> {}; {}", state.world, world, kBits));
  if (state.threads != threads) lines.push_back(fmt::format("  threads: {} -> {}; {}", state.threads, threads, kBits));
  return lines;
}

void clear_the_way(const RunFolder& folder, const ResumePoint& point,
                   const std::function<void(const std::string&)>& say) {
  auto whole = whole_checkpoints(folder.checkpoints());  // before anything is changed
  folder.note_checkpoint(point.state.step);              // who was killed before had not come to it
  for (const PassedOver& newer : point.passed_over) {
    std::erase_if(whole, [&](const auto& other) { return other.second == newer.checkpoint; });
    say("passed over: " + newer.problem + (newer.checkpoint.empty() ? "" : "; kept as " + set_aside(newer.checkpoint)));
  }
  settle_latest(folder.checkpoints());
  if (const auto aside = set_aside_latest(folder.checkpoints()))
    say(fmt::format("{}/latest: is a folder and no link, as in a copy; kept as {}", folder.checkpoints(), *aside));
  for (const auto& [step, newer] : whole) {
    if (step <= point.state.step) continue;
    say(fmt::format("{}: taken back, since it is newer than {}, which is gone on from", newer, point.checkpoint));
    remove_checkpoint(newer);
  }
}

void require_never_saved(const RunFolder& folder, std::int64_t every_steps) {
  if (is_there(folder.first_checkpoint()))
    throw DataError(lost(folder, fmt::format("the run has had one, as {} says", folder.first_checkpoint())));
  if (folder.has_checkpoints()) throw DataError(lost(folder, "something of one is there"));
  // The first is whole when the second begins, or else that or the one of the step after it is, or the run ends there.
  const std::int64_t last = folder.last_measured();
  if (last / 2 > every_steps)
    throw DataError(lost(folder, fmt::format("the run has come to step {} and saves every {}", last, every_steps)));
}

}  // namespace spikesink
