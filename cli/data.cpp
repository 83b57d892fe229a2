#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/terminal_line.h"
#include "data/store/show.h"
#include "data/store/store_order.h"
#include "data/store/verify.h"
#include "data/tokenizer.h"
#include "io/failure.h"
#include "trainer/run_log.h"

namespace spikesink::cli {
namespace {
using Clock = std::chrono::steady_clock;

double megabytes(std::int64_t bytes) { return static_cast<double>(bytes) / 1e6; }

struct VerifyCommand {
  std::string store;
  int threads = 0;
};

void verify(const VerifyCommand& command) {
  TerminalLine line;
  const auto begin = Clock::now();
  const auto rate = [begin](std::int64_t bytes) {
    return megabytes(bytes) / std::max(std::chrono::duration<double>(Clock::now() - begin).count(), 1e-3);
  };
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  const Verification result =
      verify_store({.store = command.store,
                    .threads = command.threads > 0 ? command.threads : cores,
                    .report = [&](const VerifyProgress& p) {
                      std::string text =
                          fmt::format("{} of {} files, {:.0f} of {:.0f} MB, {:.0f} MB/s", p.files_done, p.files,
                                      megabytes(p.bytes_done), megabytes(p.bytes), rate(p.bytes_done));
                      if (p.findings > 0) text += ", " + counted(p.findings, "finding");
                      line.show(text);
                    }});
  line.close();
  for (const std::string& finding : result.findings) fmt::print("{}\n", finding);
  std::int64_t tokens = 0, documents = 0;
  for (const StoreFile& file : result.manifest.files) {
    tokens += file.train.tokens + file.held_out.tokens;
    documents += file.train.documents + file.held_out.documents;
  }
  fmt::print("{}: {} tokens of {} documents in {} by the manifest; {:.1f} MB read, {:.0f} MB/s; {}\n", command.store,
             tokens, documents, counted(static_cast<std::int64_t>(result.manifest.files.size()), "file"),
             megabytes(result.bytes), rate(result.bytes),
             result.findings.empty() ? "all is as the manifest says"
                                     : counted(static_cast<std::int64_t>(result.findings.size()), "finding"));
  if (!result.findings.empty())
    throw DataError(fmt::format(
        "{}: is not sound, see {} above; mend those files from a sound copy, or remove the folder and prepare it anew",
        command.store, counted(static_cast<std::int64_t>(result.findings.size()), "line")));
}

struct ShowCommand {
  std::string store, tokenizer;
  std::optional<std::int64_t> sample, draw;
  std::int64_t context = 2048;
  std::uint64_t seed = 1;
  bool held_out = false, begin_of_text = false;
};

/// Line breaks and tabs as they are; other control characters, which could change a terminal, by their code.
std::string printable(const std::string& text) {
  std::string out;
  for (const char c : text)
    if (const auto code = static_cast<unsigned char>(c); (code < 32 && c != '\n' && c != '\t') || code == 127)
      out += fmt::format("\\x{:02x}", code);
    else
      out += c;
  return out;
}

void show(const ShowCommand& command) {
  if (command.sample.has_value() == command.draw.has_value())
    throw UsageError("data show: give either --sample I or --draw G");
  if (command.draw && command.held_out)
    throw UsageError("data show: --draw is of training, which has nothing that is held out; give --sample I");
  const auto tokenizer = make_tokenizer(command.tokenizer, "--tokenizer");
  const StorePart part = command.held_out ? StorePart::kHeldOut : StorePart::kTrain;
  const TokenStore store(command.store, part);
  if (!names_same_tokenizer(store.manifest().tokenizer, tokenizer->name()))
    throw DataError(fmt::format("{}: was made with the tokenizer {}, but --tokenizer is {}; name that one",
                                command.store, store.manifest().tokenizer, tokenizer->name()));
  const std::optional<std::int32_t> begin = begin_token(command.begin_of_text, *tokenizer, "--begin-of-text");
  const std::int64_t row = command.context + (begin ? 0 : 1);  // of the store's tokens
  const std::int64_t samples = std::max<std::int64_t>(0, store.tokens() - (begin ? 0 : 1)) / command.context;
  const std::string name = command.held_out ? "held-out tokens" : "tokens to train on";
  if (samples == 0)
    throw DataError(fmt::format("{}: has {} {}, fewer than one sample of {}; lower --context", command.store,
                                store.tokens(), name, command.context));
  std::int64_t sample = 0;
  if (command.draw) {
    const StoreOrder order({&store}, {}, command.context, begin, command.seed);
    const auto drawn = order.at(*command.draw);
    sample = drawn.index;
    fmt::print("draw {} of seed {} is sample {} of {}, in epoch {}\n", *command.draw, command.seed, sample, samples,
               drawn.epoch);
  } else {
    sample = *command.sample;
    if (sample >= samples)
      throw UsageError(fmt::format("--sample {}: {} has {} of {} {} each, 0 to {}", sample, command.store,
                                   counted(samples, "sample"), command.context, name, samples - 1));
    fmt::print("sample {} of {}\n", sample, samples);
  }
  for (const DocumentPiece& piece : document_pieces(store, part, sample * command.context, row)) {
    const StoreFile& file = store.manifest().files[piece.file];
    const bool ends = piece.tokens.back() == store.manifest().end_of_text;
    fmt::print("---- {}document {} of {} ({}), from its token {}: {}{}\n{}\n", command.held_out ? "held-out " : "",
               piece.document, file.name, file.source, piece.token,
               counted(static_cast<std::int64_t>(piece.tokens.size()), "token"), ends ? ", to its end" : "",
               printable(tokenizer->decode(piece.tokens)));
  }
}

std::string from_zero(const std::string& text) {
  const std::string problem = text == "0" ? "" : at_least_one(text);
  return problem.empty() ? problem : text + ", must be a whole number from 0 on";
}

void add_verify(CLI::App& data) {
  CLI::App* command = data.add_subcommand("verify", "Hold every byte of a token store against its manifest");
  auto options = std::make_shared<VerifyCommand>();
  command->add_option("STORE", options->store, "a folder that `prepare` made")->required();
  command->add_option("--threads", options->threads, "default: the machine's cores")->check(at_least_one);
  command->footer(
      "Checked are files, counts, checksums, document starts, ends of text and ids. A line for each finding; exit code "
      "3\nif there is one.\n\n"
      "Example:\n  spikesink data verify stores/dclm");
  command->callback([options] { verify(*options); });
}

void add_show(CLI::App& data) {
  CLI::App* command = data.add_subcommand("show", "Print the text of a sample, and the documents that it is of");
  auto options = std::make_shared<ShowCommand>();
  command->add_option("STORE", options->store, "a folder that `prepare` made")->required();
  command->add_option("--tokenizer", options->tokenizer, "that the store was made with: bytes, or its file")
      ->required();
  command->add_option("--sample", options->sample, "the sample of this number in the store's own order, from 0")
      ->check(from_zero);
  command->add_option("--draw", options->draw, "the sample that training takes as the draw of this number, from 0")
      ->check(from_zero);
  command->add_option("--seed", options->seed, "run.seed of that training")->capture_default_str();
  command->add_option("--context", options->context, "model.context of that training")
      ->check(at_least_one)
      ->capture_default_str();
  command->add_flag("--held-out", options->held_out, "of what is held out");
  command->add_flag("--begin-of-text", options->begin_of_text, "as training with data.begin_of_text packs");
  command->footer(
      "A sample has one token more than the context: the last is only predicted. Slot s of step b, both from 0, is "
      "draw\n"
      "b * S + s of a run with S samples a step that has this store alone.\n\n"
      "Example:\n  spikesink data show stores/dclm --sample 17 --tokenizer tokenizer.model --context 4096");
  command->callback([options] { show(*options); });
}

}  // namespace

void add_data_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("data", "Verify a token store; show what a sample holds");
  command->require_subcommand(1);
  add_verify(*command);
  add_show(*command);
}

}  // namespace spikesink::cli
