#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "configs/sweep.h"

namespace spikesink {

/// The keys of a sweep file that have one value, as they are written; `extends`, `set`, `rows`, `grid` and `zip` stand
/// beside them. Of this part only.
struct SweepKeys {
  std::optional<std::string> name, dir, title, baseline, configs, base;
  std::vector<std::int64_t> seeds;
  LocalConfig local;
  SlurmConfig slurm;

  void fields(auto&& v) {
    v("name", name, "the sweep's folder is dir/name; absent: the file's name without .yaml");
    v("dir", dir, "where sweep folders are made");
    v("title", title, "of the table; absent: the name");
    v("baseline", baseline, "the row that others are held against; absent: the first");
    v("configs", configs, "where base and the rows' configs are; absent: beside the file that names them");
    v("base", base, "the config of all rows that name none");
    v("seeds", seeds, "each row runs with each of them; []: once, with the config's run.seed");
    v("local", local, "how runs go on this machine");
    v("slurm", slurm, "what a job of the array asks for; a job is a run");
  }
};

/// The first impossible value as one line that begins with its key, or empty.
std::string problem_of(const SweepKeys& keys);

/// Letters, digits and . _ + -.
bool is_in_file_name(char c);

/// Whether files may be called so on every machine and in every shell: letters, digits and . _ + - only, at most 100.
bool is_file_name(std::string_view name);
inline constexpr std::string_view kFileNameRule =
    "is no plain file name; use at most 100 letters, digits and . _ + -, of which . and - not in front";

/// Seconds of one of Slurm's --time forms, M, M:S, H:M:S, D-H, D-H:M, D-H:M:S; nothing if it is none.
std::optional<std::int64_t> slurm_seconds(std::string_view time);

}  // namespace spikesink
