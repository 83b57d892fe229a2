#pragma once

namespace CLI {
class App;
}

namespace spikesink::cli {

// One function a benchmark, each a subcommand of `bench`.
void add_bench_data_command(CLI::App& bench);
void add_bench_kernels_command(CLI::App& bench);

}  // namespace spikesink::cli
