#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "configs/schema.h"
#include "io/failure.h"
#include "trainer/run_log.h"

namespace {

/// Said here, since CLI11 would only say that a subcommand is required.
void require_command(const CLI::App& app, const std::string& word) {
  std::vector<std::string_view> names;
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* command : commands) {
    if (command->get_name() == word) return;
    names.emplace_back(command->get_name());
  }
  const std::string_view near = spikesink::nearest(word, names);
  throw spikesink::UsageError(word + ": no such command; " +
                              (near.empty() ? "see --help" : "did you mean " + std::string(near) + "?"));
}

}  // namespace

int main(int argc, char** argv) {
  using namespace spikesink;
  CLI::App app{"Pretrain Llama-style models from scratch to see spikes and attention sinks appear or vanish."};
  app.set_version_flag("--version", "spikesink " SPIKESINK_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Start with `spikesink config`, which prints every key of a config with its default and meaning.\n"
      "Exit codes: 0 done, 2 usage or config, 3 data or files, 4 divergence, 75 stopped after a checkpoint.");
  cli::add_tokenizer_command(app);
  cli::add_plan_command(app);
  cli::add_train_command(app);
  cli::add_eval_command(app);
  cli::add_bench_command(app);
  cli::add_config_command(app);

  try {
    if (argc > 1 && argv[1][0] != '-') require_command(app, argv[1]);
    app.parse(argc, argv);
    return static_cast<int>(ExitCode::kOk);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    std::fprintf(stderr, "spikesink: %s; see --help\n", error.what());
    return static_cast<int>(ExitCode::kUsage);
  } catch (const std::exception& error) {
    const auto [code, text] = ending_of(error);
    std::fprintf(stderr, "spikesink: %s\n", text.c_str());
    return static_cast<int>(code);
  }
}
