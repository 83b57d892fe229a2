#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "cli/commands.h"
#include "cli/options.h"
#include "data/train_tokenizer.h"
#include "io/failure.h"

namespace spikesink::cli {
namespace {

/// Training takes its time: UsageError before it if what it makes could not be written.
void require_folder_for(const std::string& file) {
  const std::filesystem::path named = std::filesystem::path(file).parent_path();
  const std::string folder = named.empty() ? "." : named.string();
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error))
    throw UsageError(fmt::format("{}: there is no folder {}; make it, or choose another --out", file, folder));
  if (access(folder.c_str(), W_OK) != 0)
    throw UsageError(fmt::format("{}: nothing can be written in {}; choose another --out", file, folder));
}

}  // namespace

void add_tokenizer_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("tokenizer", "Train a tokenizer");
  command->require_subcommand(1);
  command->footer(
      "A tokenizer of one's own, for small models: a vocabulary of 128,000 would be most of their parameters.\n\n"
      "Example\n"
      "  spikesink tokenizer train 'data/*.jsonl.zst' --vocab 8192 --out tokenizer.model");
  CLI::App* train = command->add_subcommand("train", "Train a sentencepiece BPE model on the text of shards");
  auto options = std::make_shared<TokenizerTraining>();
  train->add_option("INPUT", options->inputs, "shards or globs: .jsonl, .jsonl.zst, .jsonl.gz")->required();
  train->add_option("--vocab", options->vocab, "number of tokens, at least 300; give model.vocab_size the same number")
      ->required()
      ->check([](const std::string& text) {
        const std::string problem = whole_number(text, 0, 1 << 24);
        return problem.empty() ? problem_of_vocab(std::stoll(text)) : problem;
      });
  train->add_option("--out", options->out, "file to write, FILE.model")->required();
  train->add_option("--max-bad-share", options->max_bad_share, "share of broken lines above which no tokenizer is made")
      ->capture_default_str()
      ->check(share_below_one);
  train->footer(
      "Llama 2's settings: BPE with byte fallback, digits split, unk 0, begin of text 1, end of text 2.\n\n"
      "Example:\n  spikesink tokenizer train data/*.jsonl.zst --vocab 8192 --out tokenizer.model");
  train->callback([options] {
    if (std::error_code error; std::filesystem::exists(options->out, error))
      throw UsageError(options->out +
                       ": is there already, and what was made with it needs it; choose another --out, or "
                       "remove it");
    require_folder_for(options->out);
    fmt::print("training a tokenizer of {} tokens on up to {} MB of text\n", options->vocab,
               options->text_bytes / 1'000'000);
    std::fflush(stdout);
    train_tokenizer(*options);
    fmt::print("{}: {} tokens\n", options->out, options->vocab);
  });
}

}  // namespace spikesink::cli
