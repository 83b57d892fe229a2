#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/commands.h"
#include "configs/schema.h"
#include "io/failure.h"
#include "trainer/dist/ranks.h"
#include "trainer/run_log.h"
#include "trainer/stop_signals.h"

namespace {

/// Said here, since CLI11 would only say that a subcommand is required. `words`: those of the command line; `before`:
/// of the command that `app` is.
void require_command(const CLI::App& app, std::span<char*> words, const std::string& before = "") {
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  if (commands.empty() || words.empty() || words[0][0] == '-') return;
  const std::string word = words[0];
  std::vector<std::string_view> names;
  for (const CLI::App* command : commands) {
    if (command->get_name() == word) return require_command(*command, words.subspan(1), before + word + " ");
    names.emplace_back(command->get_name());
  }
  const std::string_view near = spikesink::nearest(word, names);
  throw spikesink::UsageError(before + word + ": no such command; " +
                              (near.empty() ? "see --help" : "did you mean " + std::string(near) + "?"));
}

/// `command`: "train", "bench train", ...
void require_ranks(const spikesink::Ranks& ranks, const std::string& command) {
  if (ranks.world() > 1 && !command.starts_with("train") && !command.starts_with("bench train"))
    throw spikesink::UsageError(command + ": runs as one process; start it without mpirun or srun");
}

/// `train`, but for a replay: what saves a checkpoint when it is asked to stop.
bool saves_when_stopped(std::span<char*> words) {
  const auto replays = [](std::string_view word) { return word.starts_with("--replay"); };
  return !words.empty() && std::string_view(words[0]) == "train" && std::ranges::none_of(words, replays);
}

struct Outcome {
  spikesink::ExitCode code;
  std::string message = {};  ///< of what went wrong
};

Outcome run(int argc, char** argv, spikesink::Ranks& ranks) {
  using namespace spikesink;
  CLI::App app{"Pretrain Llama-style models from scratch to see spikes and attention sinks appear or vanish."};
  app.set_version_flag("--version", "spikesink " SPIKESINK_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Start with `spikesink config`, which prints every key of a config with its default and meaning.\n"
      "Exit codes: 0 done, 1 a rank that hangs or a fault of our own, 2 usage or config, 3 data or files,\n"
      "4 divergence, 5 a sweep's run failed, 75 stopped by a signal, after a checkpoint where a step was done.");
  cli::add_tokenizer_command(app);
  cli::add_prepare_command(app);
  cli::add_data_command(app);
  cli::add_plan_command(app);
  cli::add_train_command(app, ranks);
  cli::add_eval_command(app);
  cli::add_analyze_command(app);
  cli::add_export_command(app);
  cli::add_import_command(app);
  cli::add_bench_command(app, ranks);
  cli::add_sweep_command(app);
  cli::add_config_command(app);

  try {
    if (argc > 1 && argv[1][0] != '-') {
      require_command(app, std::span(argv, static_cast<std::size_t>(argc)).subspan(1));
      require_ranks(ranks, argv[1] + std::string(argc > 2 && argv[2][0] != '-' ? std::string(" ") + argv[2] : ""));
    }
    app.parse(argc, argv);
    return {ExitCode::kOk};
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) return {ExitCode::kUsage, std::string(error.what()) + "; see --help"};
    app.exit(error);  // --help, --version
    return {ExitCode::kOk};
  } catch (const std::exception& error) {
    const auto [code, text] = ending_of(error);
    return {code, text};
  }
}

}  // namespace

int main(int argc, char** argv) {
  using namespace spikesink;
  // First of all: MPI takes its time to start, and launchers and schedulers do not wait for it.
  if (saves_when_stopped(std::span(argv, static_cast<std::size_t>(argc)).subspan(argc > 0))) end_at_stop_signals();
  try {
    Ranks ranks;
    const auto [code, message] = run(argc, argv, ranks);
    return static_cast<int>(ranks.conclude(code, message));
  } catch (const Failure& failure) {  // of ranks that cannot start
    std::fprintf(stderr, "spikesink: %s\n", failure.what());
    return static_cast<int>(failure.code);
  }
}
