#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "cli/commands.h"
#include "io/failure.h"

int main(int argc, char** argv) {
  using namespace spikesink;
  CLI::App app{"Pretrain Llama-style models from scratch to see spikes and attention sinks appear or vanish."};
  app.require_subcommand(1);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::kUsage);
  } catch (const Failure& failure) {
    std::fprintf(stderr, "spikesink: %s\n", failure.what());
    return static_cast<int>(failure.code);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "spikesink: internal error: %s\n", error.what());
    return static_cast<int>(ExitCode::kInternal);
  }
}
