#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "configs/reader.h"
#include "configs/writer.h"

namespace spikesink::cli {

void add_config_command(CLI::App& app) {
  struct Options {
    std::string config;
    std::vector<std::string> overrides;
  };
  auto options = std::make_shared<Options>();

  CLI::App* command = app.add_subcommand("config", "Print the schema with defaults, or a config resolved");
  command->add_option("CONFIG", options->config,
                      "a YAML file; without it every key is printed with its default and meaning");
  command
      ->add_option("--set", options->overrides,
                   "key=value, written over the file: a dotted key and a YAML value; may be repeated")
      ->allow_extra_args(false)
      ->needs("CONFIG");
  command->footer(
      "What is printed is itself a config: the file, what it extends and --set, checked and with every default.\n"
      "Lists and texts with special characters need the shell's quotes.\n\n"
      "Example:\n"
      "  spikesink config configs/cpu/tiny.yaml --set train.steps=100 --set 'data.train=[data/dclm/*.jsonl.zst]'");
  command->callback([options] {
    const std::string text =
        options->config.empty() ? describe_schema() : write_config(read_config(options->config, options->overrides));
    std::fputs(text.c_str(), stdout);
  });
}

}  // namespace spikesink::cli
