#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "configs/config.h"

namespace spikesink {

/// What the paper prints of a row of its tables. Absent: the paper does not say.
struct PaperFigures {
  std::optional<double> perplexity;
  std::optional<double> sink_ratio;  ///< in per cent
  std::optional<double> spike;

  void fields(auto&& v) {
    v("perplexity", perplexity, "on C4");
    v("sink_ratio", sink_ratio, "in per cent, as printed");
    v("spike", spike, "largest magnitude of the residual stream");
  }
};

/// A row with one of the sweep's seeds: one run of `spikesink train`.
struct SweepRun {
  std::string name;  ///< ROW, or ROW_seedN where the sweep lists seeds; that of its files, unique in the sweep
  std::int64_t seed = 1;
  Config config;  ///< resolved; run.dir/run.name is SweepFolder::run(name)
};

struct SweepRow {
  std::string name;
  std::string label;                                      ///< in tables; the name where the file gives none
  std::optional<PaperFigures> paper;                      ///< absent with axes, which the paper did not have
  std::vector<std::pair<std::string, std::string>> axes;  ///< key and value of each grid and zip axis, e.g. "8"
  std::vector<SweepRun> runs;                             ///< one a seed
  std::string refusal = {};  ///< why its config cannot be: one line with the place; it then has no runs
};

/// `local:`, how runs go on this machine.
struct LocalConfig {
  std::int64_t jobs = 1;   ///< runs at a time
  std::int64_t ranks = 1;  ///< processes of a run, by mpirun where more than 1

  void fields(auto&& v) {
    v("jobs", jobs, "runs at a time; each has its share of the cores or GPUs");
    v("ranks", ranks, "processes of a run; with more than 1 mpirun starts them");
  }
};

enum class SlurmLauncher { kSrun, kMpirun, kNone };
constexpr std::array<std::string_view, 3> names_of(SlurmLauncher) { return {"srun", "mpirun", "none"}; }

/// `slurm:`, what a job of the array asks for. A job is a run.
struct SlurmConfig {
  std::optional<std::string> script_template;
  std::optional<std::string> partition, account, qos, constraint, memory;
  std::string time = "24:00:00";
  std::int64_t nodes = 1;
  std::int64_t tasks_per_node = 1;
  std::optional<std::int64_t> gpus_per_node;  ///< at least 1: read_sweep() takes 0 for none
  std::optional<std::int64_t> cpus_per_task;
  std::int64_t throttle = 0;
  std::int64_t stop_seconds = 120;
  SlurmLauncher launcher = SlurmLauncher::kSrun;
  std::vector<std::string> launcher_options, extra, setup;
  std::optional<std::string> container, program;

  void fields(auto&& v) {
    v("template", script_template, "file of the sbatch script, relative to the sweep file; absent: the one built in");
    v("partition", partition, "--partition");
    v("account", account, "--account");
    v("qos", qos, "--qos");
    v("constraint", constraint, "--constraint");
    v("memory", memory, "--mem of a node, e.g. 200G");
    v("time", time, "--time of a job; a run that is not done by then saves a checkpoint and is queued again");
    v("nodes", nodes, "--nodes of a job");
    v("tasks_per_node", tasks_per_node, "--ntasks-per-node: ranks on a node, one a GPU");
    v("gpus_per_node", gpus_per_node, "--gpus-per-node; absent or 0: none are asked for");
    v("cpus_per_task", cpus_per_task, "--cpus-per-task");
    v("throttle", throttle, "jobs of the array at a time; 0: all");
    v("stop_seconds", stop_seconds, "how long before the time limit a run is told to save and stop");
    v("launcher", launcher, "what starts the ranks: srun | mpirun | none, for one rank");
    v("launcher_options", launcher_options, "options of srun or mpirun, e.g. [--mpi=pmix]");
    v("extra", extra, "more #SBATCH options, e.g. [--exclude=n13, --mail-type=FAIL]");
    v("setup", setup, "shell lines before the run, e.g. [module load cuda/13.0]");
    v("container", container, "what the program is started in, e.g. apptainer exec --nv spikesink.sif");
    v("program", program, "spikesink where the jobs run, e.g. the container's; absent: the one that submits");
  }
};

/// A sweep file: rows, grid and zip axes over one base config, seeds, and how its runs are launched.
struct Sweep {
  std::string file;  ///< as it was named
  std::string name;
  std::string dir = "runs/sweeps";
  std::string title;     ///< of its table; the name where the file gives none
  std::string baseline;  ///< the row that others are held against; the first where the file gives none
  std::vector<SweepRow> rows;
  LocalConfig local;
  SlurmConfig slurm;

  std::string folder() const { return dir + "/" + name; }
};

/// Reads a sweep file and all configs of its rows:
///
///     extends: table5.yaml        # or a list; set, local and slurm are merged, other keys replace those of the base
///     name: table5_mine           # the sweep's folder is dir/name; absent: table5_mine.yaml's
///     dir: runs/sweeps
///     title: "Table 5: normalisation"
///     baseline: pre_norm
///     configs: ../../paper        # where `base` and the rows' `config` are, also those of the base; relative to this
///                                 # file, as all paths are. Absent: beside the file that names them
///     base: baseline.yaml
///     set: {data: {train: [data/*.jsonl.zst]}}     # over every row: a map as in a config
///     seeds: [1, 2, 3]            # absent: run.seed of the config
///     rows:
///       - {name: pre_norm, label: Pre-norm, paper: {perplexity: 10.1, sink_ratio: 46.0, spike: 3818}}
///       - {name: sandwich, config: table5_sandwich.yaml}          # instead of `base`
///       - {name: no_decay, set: {train: {optimizer: {weight_decay: 0}}}}
///     grid: {model.attention.d_head: [8, 16, 32]}  # all combinations of the axes
///     zip: {model.context: [256, 1024], train.loss_from_position: [1, 64]}   # the first of each, the second of each
///     local: {jobs: 2}
///     slurm: {partition: gpu, gpus_per_node: 8, tasks_per_node: 8, time: "12:00:00"}
///
/// Rows x zip x grid gives the sweep's rows; those of axes are called by the last word of the key and the value,
/// d_head_8 or pre_norm_d_head_8, by more words where two axes end in the same. Order of strength: config, the sweep's
/// `set`, the row's `set`, axes, `overrides`, the seed. `overrides`, as --set gives them, may name keys of a config
/// (over every row) or of the sweep (slurm.time=1:00).
///
/// UsageError of one line, "sweep.yaml:12: ..." or with the file of a config: unknown key or axis, wrong type, a row
/// name twice, names that are no file names, zip axes of different lengths, a missing baseline, a config that is
/// refused in every row. Where others can run, SweepRow::refusal says it of a row.
Sweep read_sweep(const std::string& file, const std::vector<std::string>& overrides = {});

}  // namespace spikesink
