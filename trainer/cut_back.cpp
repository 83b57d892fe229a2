#include "trainer/cut_back.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "io/failure.h"
#include "io/file_descriptor.h"
#include "io/listing.h"
#include "io/readable.h"
#include "trainer/divergence.h"
#include "trainer/metrics_log.h"

namespace spikesink {
namespace fs = std::filesystem;

CutBack::CutBack(const RunFolder& folder, std::int64_t step, bool probe_too, std::int64_t logged_every)
    : metrics_(folder.metrics()), step_(step) {
  const auto stays = [&](std::int64_t at, bool is_probe) {
    return at < step || (at == step && !(probe_too && is_probe));
  };
  std::set<std::int64_t> told = skipped_steps(folder.divergences());  // logged or skipped
  std::int64_t began = 0;                                             // the last start on the way here
  const auto fate = [&](const nlohmann::json& line) {
    const auto at = line.find("step");
    if (at == line.end() || !at->is_number_integer() || at->get<std::int64_t>() < 0) return LineFate::kDamaged;
    const auto event = line.value("event", nlohmann::json());
    if (!stays(at->get<std::int64_t>(), event == "probe")) return LineFate::kGoes;
    if (event.is_null()) told.insert(at->get<std::int64_t>());
    if (event == "data" && *at < step) began = *at;
    return LineFate::kStays;
  };
  if (is_there(metrics_)) lines_ = read_json_lines_cut(metrics_, fate);
  if (is_there(folder.tensorboard()))
    events_ = read_events_cut(folder.tensorboard(), step, probe_too ? MetricsLog::kProbeTags : "");
  for (const fs::path& path : entries_of(folder.probes()))
    if (const auto at = RunFolder::step_of(path.stem().string()); at && !stays(*at, true) && path.extension() == ".h5")
      probes_.push_back(path.string());
  if (logged_every == 0) return;
  std::int64_t missing = step / logged_every - began / logged_every,
               first = began - began % logged_every + logged_every;
  for (auto at = told.upper_bound(began); at != told.end() && *at <= step; ++at) {
    if (*at % logged_every != 0) continue;
    if (*at == first) first += logged_every;
    --missing;
  }
  if (missing > 0)
    missing_ = fmt::format("{}: {} on the way to step {}, where the run goes on, {} lost, from step {} on", metrics_,
                           counted(missing, "logged step"), step, missing == 1 ? "is" : "are", first);
}

std::vector<std::string> CutBack::make() const {
  // Nothing goes before its copy is on the disk: who is killed between the two keeps it twice.
  const auto keep = [this](std::string_view lines) {
    FileDescriptor file = FileDescriptor::open(metrics_ + ".damaged", O_WRONLY | O_APPEND | O_CREAT);
    file.append(lines);
    file.sync();
  };
  const std::int64_t damaged = lines_ ? lines_->make(keep) : 0;
  std::vector<std::string> notes;
  for (const EventFileCut& file : events_)
    if (const std::string note = file.make(); !note.empty()) notes.push_back(note);
  for (const std::string& path : probes_)
    if (std::error_code failed; !fs::remove(path, failed) && failed)
      throw DataError(fmt::format("{}: cannot be removed: {}; the run goes on from step {} and writes it again", path,
                                  failed.message(), step_));
  if (damaged > 0)
    notes.push_back(fmt::format("{}: {} damaged line{} left out, kept in {}.damaged", metrics_, damaged,
                                damaged == 1 ? "" : "s", metrics_));
  if (!missing_.empty()) notes.push_back(missing_);
  return notes;
}

}  // namespace spikesink
