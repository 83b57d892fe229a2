#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/commands.h"
#include "configs/schema.h"
#include "io/build_info.h"
#include "io/failure.h"
#include "trainer/dist/ranks.h"
#include "trainer/run_log.h"
#include "trainer/stop_signals.h"

namespace {

/// Said here, since CLI11 would only say that a subcommand is required. `words`: those of the command line; `before`:
/// of the command that `app` is.
void require_command(const CLI::App& app, std::span<char*> words, const std::string& before = "") {
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  if (commands.empty()) return;
  std::vector<std::string_view> names;
  std::string listed;
  for (const CLI::App* command : commands) {
    names.emplace_back(command->get_name());
    listed += (listed.empty() ? "" : ", ") + command->get_name();
  }
  if (words.empty()) throw spikesink::UsageError(before + "needs a command: " + listed + "; see --help");
  const std::string word = words[0];
  if (word[0] == '-') {
    if (app.get_option_no_throw(word) != nullptr) return;
    throw spikesink::UsageError(before + word + ": not expected before a command; see --help");
  }
  for (const CLI::App* command : commands)
    if (command->get_name() == word) return require_command(*command, words.subspan(1), before + word + " ");
  const std::string_view near = spikesink::nearest(word, names);
  throw spikesink::UsageError(before + word + ": no such command; " +
                              (near.empty() ? "see --help" : "did you mean " + std::string(near) + "?"));
}

/// What a command does not take, in the order in which it was given; CLI11 would turn that around.
spikesink::UsageError unexpected(const CLI::App& app) {
  const CLI::App* command = &app;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  std::string text;
  for (const std::string& word : app.remaining(true)) text += (text.empty() ? "" : " ") + word;
  text += ": not expected";
  if (command->get_option_no_throw("--set") != nullptr) text += "; a key of the config is set by --set key=value";
  return spikesink::UsageError(text + "; see --help");
}

/// No argument means anything if it is empty: a shell's variable was not set.
void require_no_empty(std::span<char*> words) {
  for (std::size_t i = 0; i < words.size(); ++i)
    if (words[i][0] == '\0')
      throw spikesink::UsageError(std::string("an empty argument behind ") + (i > 0 ? words[i - 1] : "spikesink") +
                                  "; is a variable of the shell unset?");
}

/// `command`: "train", "bench train", ...
void require_ranks(const spikesink::Ranks& ranks, const std::string& command) {
  if (ranks.world() > 1 && !command.starts_with("train") && !command.starts_with("bench train"))
    throw spikesink::UsageError(command + ": runs as one process; start it without mpirun or srun");
}

/// `train`, but for a replay: what saves a checkpoint when it is asked to stop, and has its result in its run's folder.
bool fills_a_run_folder(std::span<char*> words) {
  const auto replays = [](std::string_view word) { return word.starts_with("--replay"); };
  return !words.empty() && std::string_view(words[0]) == "train" && std::ranges::none_of(words, replays);
}

/// Is its memory that of a model's passes, by the keys of a config?
bool passes_a_model(std::span<char*> words) {
  constexpr std::string_view kCommands[] = {"train", "plan", "eval", "analyze"};
  if (words.size() > 1 && std::string_view(words[0]) == "bench") return std::string_view(words[1]) == "train";
  return !words.empty() && std::ranges::count(kCommands, std::string_view(words[0])) > 0;
}

/// What other commands print must have arrived.
void require_output() {
  std::cout.flush();
  if (std::fflush(stdout) == 0 && !std::ferror(stdout) && std::cout) return;
  throw spikesink::DataError(
      "standard output cannot be written, so that what was printed is not whole; free some space there, or let it go "
      "elsewhere");
}

struct Outcome {
  spikesink::ExitCode code;
  std::string message = {};  ///< of what went wrong
};

Outcome run(std::span<char*> words, int argc, char** argv, spikesink::Ranks& ranks) {
  using namespace spikesink;
  CLI::App app{"Pretrain Llama-style models from scratch to see spikes and attention sinks appear or vanish."};
  app.set_version_flag("--version", build_info());
  app.require_subcommand(1);
  app.footer(
      "Start with `spikesink config`, which prints every key of a config with its default and meaning.\n"
      "Exit codes: 0 done, 1 a rank that hangs or a fault of our own, 2 usage or config, 3 data or files,\n"
      "4 divergence, 5 a sweep's run failed, 75 stopped by a signal, after a checkpoint where training had begun.");
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
    require_no_empty(words);
    require_command(app, words);
    if (argv[1][0] != '-')
      require_ranks(ranks, argv[1] + std::string(argc > 2 && argv[2][0] != '-' ? std::string(" ") + argv[2] : ""));
    try {
      app.parse(argc, argv);
    } catch (const CLI::ExtrasError&) {
      throw unexpected(app);
    } catch (const CLI::ParseError& error) {
      if (error.get_exit_code() != 0) throw UsageError(error.what() + std::string("; see --help"));
      app.exit(error);  // --help, --version
      words = {};
    }
    if (!fills_a_run_folder(words)) require_output();
    return {ExitCode::kOk};
  } catch (const std::exception& error) {
    const auto [code, text] = ending_of(error, passes_a_model(words) ? MemoryOf::kModel : MemoryOf::kOthers);
    return {code, text};
  }
}

}  // namespace

int main(int argc, char** argv) {
  using namespace spikesink;
  // A file that may not grow (ulimit -f) is then told of as a full disk is.
  std::signal(SIGXFSZ, SIG_IGN);
  // Ignored by who has started this, it would take the exit codes of our own children.
  std::signal(SIGCHLD, SIG_DFL);
  // Before MPI, which takes its time to start; launchers and schedulers do not wait for it.
  const std::span words = std::span(argv, static_cast<std::size_t>(argc)).subspan(argc > 0);
  if (fills_a_run_folder(words)) end_at_stop_signals();
  try {
    Ranks ranks;
    const auto [code, message] = run(words, argc, argv, ranks);
    if (fills_a_run_folder(words)) end_despite_stop_signals();
    return static_cast<int>(ranks.conclude(code, message));
  } catch (const Failure& failure) {  // of ranks that cannot start
    std::fprintf(stderr, "spikesink: %s\n", failure.what());
    return static_cast<int>(failure.code);
  }
}
