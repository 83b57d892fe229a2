#pragma once
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace spikesink::cli {

/// `sweep run`, declared on `sweep`.
void add_sweep_run_command(CLI::App& app);

/// --set, as all commands of a sweep take it.
void add_overrides(CLI::App& command, std::vector<std::string>& overrides);

}  // namespace spikesink::cli
