#include "trainer/checkpoint.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <system_error>
#include <utility>

#include "io/atomic_file.h"
#include "io/build_info.h"
#include "io/checksum.h"
#include "io/failure.h"
#include "io/json_integer.h"
#include "io/listing.h"
#include "trainer/config.h"
#include "trainer/run_folder.h"

namespace spikesink {
namespace fs = std::filesystem;
namespace {
constexpr int kFormat = 2, kOldestFormat = 1;  // 1: of one rank, whose file holds whole tensors
const std::string kStateFile = "state.json", kLatest = "latest", kNext = "latest.next", kSum = "state_crc32c";

/// Of all of state.json but the sum itself.
std::string sum_of(nlohmann::json state) {
  state.erase(kSum);
  const std::string text = state.dump();
  return fmt::format("{:08x}", crc32c(std::as_bytes(std::span(text))));
}

/// Of a checkpoint that lacks `file`.
[[noreturn]] void fail_without(const std::string& file, const std::string& checkpoint, const std::string& mend) {
  if (!is_there(checkpoint))
    throw DataError(checkpoint + ": is not there any more: a run that goes on removes old ones; try again");
  throw DamageError(file + ": missing, the checkpoint is incomplete", mend);
}

/// Calls f with the JSON of state.json.
auto with_state(const std::string& checkpoint, auto&& f) {
  const std::string file = checkpoint + "/" + kStateFile;
  if (!is_there(file)) fail_without(file, checkpoint, "use an older checkpoint");
  try {
    const auto json = nlohmann::json::parse(read_file(file));
    if (const int format = integer_of<int>(json.at("format")); format < kOldestFormat || format > kFormat)
      throw UsageError(fmt::format("{}: format {}, this program reads {} to {}; use the version that wrote it", file,
                                   format, kOldestFormat, kFormat));
    if (const int world = integer_of<int>(json.at("world")); world < 1)
      throw DamageError(fmt::format("{}: damaged: of {} ranks", file, world));
    if (json.contains(kSum) && json.at(kSum) != sum_of(json))  // not in older checkpoints
      throw DamageError(file + ": damaged: its checksum differs");
    return f(json);
  } catch (const nlohmann::json::exception& error) {
    const std::string_view what = error.what();  // "[json.exception.parse_error.101] parse error at ..."
    throw DamageError(fmt::format("{}: not a checkpoint's state: {}", file, what.substr(what.find("] ") + 2)));
  }
}

/// A rank's file in a checkpoint, which is there.
std::string file_of(const std::string& checkpoint, int rank) {
  const std::string file = checkpoint + "/" + rank_file(rank);
  if (!is_there(file)) fail_without(file, checkpoint, "use an older step_ folder beside it");
  return file;
}

/// Was the link `path` made after `other`, or is that not there?
bool is_newer_link(const std::string& path, const std::string& other) {
  using Status = struct stat;
  Status one{}, two{};
  if (lstat(path.c_str(), &one) != 0) return false;
  if (lstat(other.c_str(), &two) != 0) return true;
  const auto time = [](const Status& s) { return std::pair(s.st_mtim.tv_sec, s.st_mtim.tv_nsec); };
  return time(one) > time(two);
}

/// What a link `latest.next` leads to, which is left by who was killed before it became `latest`, if that is whole, and
/// if nobody has made another `latest` since.
std::optional<std::string> next_checkpoint(const std::string& folder) {
  const std::string next = folder + "/" + kNext;
  if (is_newer_link(folder + "/" + kLatest, next)) return std::nullopt;
  std::error_code none;  // it is there for moments only, while a run goes on
  const std::string name = fs::read_symlink(next, none).string(), checkpoint = folder + "/" + name;
  return RunFolder::step_of(name) && is_there(checkpoint + "/" + kStateFile) ? std::optional(checkpoint) : std::nullopt;
}

/// The new name: `as`, or where that is taken, as.2, as.3 ...
std::string renamed(const std::string& path, const std::string& as) {
  std::string to = as;
  for (int n = 2; is_there(to); ++n) to = fmt::format("{}.{}", as, n);
  std::error_code error;
  fs::rename(path, to, error);
  if (error)
    throw DataError(
        fmt::format("{}: cannot be kept as {}: {}; move it away, and resume again", path, to, error.message()));
  return to;
}

}  // namespace

std::string rank_file(int rank) { return fmt::format("rank_{:04d}.h5", rank); }

std::string unfinished_name(const std::string& checkpoint) { return checkpoint + ".unfinished"; }

void write_state(const std::string& folder, const TrainingState& state, std::span<const std::uint32_t> checksums) {
  nlohmann::ordered_json json;
  json["format"] = kFormat;
  json["program"] = build_info();
  json["step"] = state.step;
  json["tokens"] = state.tokens;
  json["world"] = state.world;
  json["threads"] = state.threads;
  json["skipped"] = state.skipped;
  json["probe_owed"] = state.probe_owed;
  json["config"] = state.config;
  json["data"] = nlohmann::ordered_json::parse(state.position);
  for (std::size_t rank = 0; rank < checksums.size(); ++rank)
    json["crc32c"][rank_file(static_cast<int>(rank))] = fmt::format("{:08x}", checksums[rank]);
  json[kSum] = sum_of(nlohmann::json::parse(json.dump()));
  write_atomically(folder + "/" + kStateFile, json.dump(1) + "\n");
}

void finish_checkpoint(const std::string& checkpoint, const TrainingState& state,
                       std::span<const std::uint32_t> checksums) {
  const std::string unfinished = unfinished_name(checkpoint);
  for (int rank = 0; rank < state.world; ++rank)
    if (const std::string file = unfinished + "/" + rank_file(rank); !is_there(file))
      throw DataError(fmt::format(
          "{}: is not there, though rank {} has written it; let all ranks see one folder, on a disk that they share",
          file, rank));
  write_state(unfinished, state, checksums);
  if (is_there(checkpoint)) remove_checkpoint(checkpoint);  // of the same step, by a run that was cut back
  const fs::path folder = fs::path(checkpoint).parent_path();
  const std::string next = (folder / kNext).string();  // who is killed in between has this one as the newest too
  replace_link(next, fs::path(checkpoint).filename().string());
  commit_folder(unfinished, checkpoint);
  rename_and_sync(next, (folder / kLatest).string());
}

void settle_latest(const std::string& folder) {
  const std::string next = folder + "/" + kNext;
  if (type_of(next, false) != fs::file_type::symlink) return;
  if (next_checkpoint(folder)) return rename_and_sync(next, folder + "/" + kLatest);
  std::error_code error;
  fs::remove(next, error);
}

std::map<std::int64_t, std::string> whole_checkpoints(const std::string& folder) {
  std::map<std::int64_t, std::string> found;
  for (const fs::path& path : entries_of(folder))
    if (const auto step = RunFolder::step_of(path.filename().string()))
      if (is_there((path / kStateFile).string())) found[*step] = path.string();
  return found;
}

std::optional<std::string> latest_checkpoint(const std::string& folder) {
  if (const auto next = next_checkpoint(folder)) return next;
  const std::string latest = folder + "/" + kLatest;
  if (type_of(latest, false) != fs::file_type::symlink) {  // a copy may have lost the link
    const auto found = whole_checkpoints(folder);
    return found.empty() ? std::nullopt : std::optional(found.rbegin()->second);
  }
  const std::string name = fs::read_symlink(latest).string(), target = (fs::path(folder) / name).string();
  if (RunFolder::step_of(name)) {
    if (is_there(target + "/" + kStateFile)) return target;
    if (const auto found = whole_checkpoints(folder); !found.empty()) return found.rbegin()->second;
  }
  const char* why = RunFolder::step_of(name) ? "which is no checkpoint" : "not by its name to one beside it";
  throw DataError(fmt::format("{}: points to {}, {}; point it to a step_ folder beside it, as ln -s step_00001000 does",
                              latest, name, why));
}

std::optional<PassedOver> broken_latest(const std::string& folder) {
  const std::string latest = folder + "/" + kLatest;
  if (type_of(latest, false) != fs::file_type::symlink) return std::nullopt;
  const std::string name = fs::read_symlink(latest).string(), target = folder + "/" + name;
  if (!RunFolder::step_of(name)) return std::nullopt;  // leads elsewhere
  if (is_there(target + "/" + kStateFile)) return std::nullopt;
  return PassedOver{is_there(target) ? target : "",
                    fmt::format("{}: the newest checkpoint has no {}", target, kStateFile)};
}

std::string set_aside(const std::string& checkpoint) { return renamed(checkpoint, checkpoint + ".damaged"); }

std::optional<std::string> set_aside_latest(const std::string& folder) {
  const std::string latest = folder + "/" + kLatest;
  if (type_of(latest, false) != fs::file_type::directory) return std::nullopt;
  return renamed(latest, latest + ".copy");
}

void remove_checkpoint(const std::string& checkpoint) {
  std::error_code error;
  const std::string going = unfinished_name(checkpoint);
  fs::rename(checkpoint, going, error);  // fails where that holds another, which is to take its place
  fs::remove_all(error ? checkpoint : going, error);
}

std::string find_checkpoint(const std::string& path) {
  if (is_there(path + "/" + kStateFile)) return path;
  for (const std::string& folder : {path, path + "/checkpoints"})
    if (const auto latest = latest_checkpoint(folder)) return *latest;
  throw DataError(path + ": no checkpoint here; name a step_ folder, or a run's folder that has checkpoints/latest");
}

TrainingState read_state(const std::string& checkpoint, int first, int stride) {
  return with_state(checkpoint, [&](const nlohmann::json& json) {
    const int world = integer_of<int>(json.at("world"));
    for (int rank = first; rank < world; rank += stride) {
      const std::string file = file_of(checkpoint, rank), sum = json.at("crc32c").at(rank_file(rank));
      if (fmt::format("{:08x}", crc32c_of_file(file)) != sum)
        throw DamageError(file + ": checksum differs from state.json, the file is damaged");
    }
    const auto number = [&](const char* key, std::int64_t most) {
      const auto value = integer_of<std::int64_t>(json.at(key));
      if (value < 0 || value > most)
        throw DamageError(fmt::format("{}/{}: damaged: {} {}", checkpoint, kStateFile, key, value));
      return value;
    };
    const std::int64_t step = number("step", kMostSteps);
    if (const auto named = RunFolder::step_of(fs::path(checkpoint).filename().string()); named && *named != step)
      throw DamageError(fmt::format("{}/{}: damaged: of step {}, unlike its folder", checkpoint, kStateFile, step));
    return TrainingState{
        .step = step,
        .tokens = number("tokens", static_cast<std::int64_t>(kMostInputTokens)),
        .world = integer_of<int>(json.at("world")),
        .threads = integer_of<int>(json.at("threads")),
        .skipped = json.contains("skipped") ? number("skipped", kMostSteps) : 0,  // these two not in older checkpoints
        .probe_owed = json.value("probe_owed", false),
        .config = json.at("config"),
        .position = json.at("data").dump()};
  });
}

TrainingState read_state_alone(const std::string& checkpoint) {
  return read_state(checkpoint, /*first=*/std::numeric_limits<int>::max());
}

std::vector<std::string> rank_files(const std::string& checkpoint) {
  const int world =
      with_state(checkpoint, [](const nlohmann::json& json) { return integer_of<int>(json.at("world")); });
  std::vector<std::string> files;
  for (int rank = 0; rank < world; ++rank) files.push_back(file_of(checkpoint, rank));
  return files;
}

void require_weights(const std::string& checkpoint, const ParamSet& params) {
  require_weights(rank_files(checkpoint), params);
}

void load_slices(const Stream& stream, const std::string& checkpoint, std::span<const StateSlice> slices) {
  load_slices(stream, rank_files(checkpoint), slices);
}

}  // namespace spikesink
