#pragma once

namespace CLI {
class App;
}

namespace spikesink {
class Ranks;
}

namespace spikesink::cli {

// One function a subcommand: it declares its options on `app` and, as the callback, what runs when it is chosen. A
// command ends by returning, or by throwing a Failure (io/failure.h), which main() turns into one line and the exit
// code.
void add_tokenizer_command(CLI::App& app);
void add_prepare_command(CLI::App& app);
void add_data_command(CLI::App& app);
void add_train_command(CLI::App& app, Ranks& ranks);
void add_eval_command(CLI::App& app);
void add_analyze_command(CLI::App& app);
void add_bench_command(CLI::App& app, Ranks& ranks);
void add_plan_command(CLI::App& app);
void add_sweep_command(CLI::App& app);
void add_config_command(CLI::App& app);

}  // namespace spikesink::cli
