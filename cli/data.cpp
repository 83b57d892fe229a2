#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/terminal_line.h"
#include "configs/reader.h"
#include "data/store/show.h"
#include "data/store/store_loader.h"
#include "data/store/store_order.h"
#include "data/store/verify.h"
#include "data/tokenizer.h"
#include "data/train_data.h"
#include "data/utf8.h"
#include "io/failure.h"
#include "io/readable.h"
#include "trainer/run_folder.h"

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
  const Verification result = verify_store(
      {.store = command.store, .threads = threads_or_cores(command.threads), .report = [&](const VerifyProgress& p) {
         std::string text = fmt::format("{} of {} files, {:.0f} of {:.0f} MB, {:.0f} MB/s", p.files_done, p.files,
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
  std::string store, run, tokenizer;
  std::optional<std::int64_t> sample, draw;
  std::int64_t context = 2048;
  std::optional<std::uint64_t> seed;
  bool held_out = false, begin_of_text = false;
};

/// Characters that could change a terminal or the order of what it shows: controls but for line breaks and tabs, and
/// directions of writing.
bool acts(char32_t c) {
  return (c < 32 && c != '\n' && c != '\t') || (c >= 0x7F && c < 0xA0) || (c >= 0x202A && c <= 0x202E) ||
         (c >= 0x2066 && c <= 0x2069);
}

/// What could act, and bytes that are no UTF-8, by their numbers.
std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    std::size_t size = 1;
    while (size <= std::min<std::size_t>(4, text.size()) && !is_utf8(text.substr(0, size))) ++size;
    const bool whole = size <= std::min<std::size_t>(4, text.size());
    if (const char32_t c = whole ? character_at(text.data(), 0).code_point : 0; !whole || (acts(c) && c < 0x80))
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
    else if (acts(c))
      out += fmt::format("\\u{:04x}", std::uint32_t{c});
    else
      out += text.substr(0, size);
    text.remove_prefix(whole ? size : 1);
  }
  return out;
}

/// Prints the documents that `count` tokens from `first` on lie in.
void print_pieces(const TokenStore& store, StorePart part, std::int64_t first, std::int64_t count,
                  const Tokenizer& tokenizer) {
  for (const DocumentPiece& piece : document_pieces(store, part, first, count)) {
    const StoreFile& file = store.manifest().files[piece.file];
    const bool ends = piece.tokens.back() == store.manifest().end_of_text;
    fmt::print("---- {}document {} of {} ({}), from its token {}: {}{}\n{}\n",
               part == StorePart::kHeldOut ? "held-out " : "", piece.document, file.name, file.source, piece.token,
               counted(static_cast<std::int64_t>(piece.tokens.size()), "token"), ends ? ", to its end" : "",
               printable(tokenizer.decode(piece.tokens)));
  }
}

void show_of_store(const ShowCommand& command) {
  if (command.sample.has_value() == command.draw.has_value())
    throw UsageError("data show: give either --sample I or --draw G");
  if (command.tokenizer.empty())
    throw UsageError("data show: --tokenizer is missing; give the one that the store was made with");
  if (command.sample && command.seed)
    throw UsageError(
        "data show: --seed has no effect on --sample, which counts in the store's own order; leave it out");
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
    const std::uint64_t seed = command.seed.value_or(1);
    const StoreOrder order({&store}, {}, command.context, begin, seed);
    const auto drawn = order.at(*command.draw);
    sample = drawn.index;
    fmt::print("draw {} of seed {} is sample {} of {}, in epoch {}\n", *command.draw, seed, sample, samples,
               drawn.epoch);
  } else {
    sample = *command.sample;
    if (sample >= samples)
      throw UsageError(fmt::format("--sample {}: {} has {} of {} {} each, 0 to {}", sample, command.store,
                                   counted(samples, "sample"), command.context, name, samples - 1));
    fmt::print("sample {} of {}\n", sample, samples);
  }
  print_pieces(store, part, sample * command.context, row, *tokenizer);
}

/// What a run takes as a draw, of whichever of its stores.
void show_of_run(const ShowCommand& command) {
  if (!command.draw) throw UsageError("data show: --run needs --draw G, a sample by its number in the run");
  const Config config = read_config(RunFolder(command.run).config());
  const std::vector<std::string>& paths = config.data.train;
  const auto tokenizer = make_tokenizer(config.data.tokenizer);
  require_data(paths, *tokenizer, "data.train");
  if (!are_stores(paths, "data.train"))
    throw UsageError(
        fmt::format("{}: has no token store in data.train, so that its samples are packed as they are read; "
                    "`train --replay STEP` names those of a step",
                    command.run));
  const std::int64_t context = config.model.context, sequences = config.train.sequences(context);
  const auto begin = begin_token(config.data.begin_of_text, *tokenizer);
  const auto stores = open_stores(paths, *tokenizer, "data.train");
  std::vector<const TokenStore*> pointers;
  for (const auto& store : stores) pointers.push_back(store.get());
  const StoreOrder order(pointers, config.data.weights, context, begin, static_cast<std::uint64_t>(config.run.seed));
  const auto [store, index, epoch] = order.at(*command.draw);
  fmt::print("draw {} of {} (slot {} of step {}, both from 0) is sample {} of {} of {}, in epoch {}\n", *command.draw,
             command.run, *command.draw % sequences, *command.draw / sequences, index, order.samples(store),
             paths[store], epoch);
  print_pieces(*stores[store], StorePart::kTrain, index * context, context + (begin ? 0 : 1), *tokenizer);
}

void show(const ShowCommand& command) {
  if (command.store.empty() == command.run.empty())
    throw UsageError("data show: give either a STORE, or --run RUN with --draw G");
  command.run.empty() ? show_of_store(command) : show_of_run(command);
}

std::string from_zero(const std::string& text) { return whole_number(text, 0, std::int64_t{1} << 62); }

void add_verify(CLI::App& data) {
  CLI::App* command = data.add_subcommand("verify", "Hold every byte of a token store against its manifest");
  auto options = std::make_shared<VerifyCommand>();
  command->add_option("STORE", options->store, "a folder that `prepare` made")->required();
  command->add_option("--threads", options->threads, "default: the machine's cores")->check(some_threads);
  command->footer(
      "Checked are files, counts, checksums, document starts, ends of text and ids. A line for each finding; exit code "
      "3\nif there is one.\n\n"
      "Example:\n  spikesink data verify stores/dclm");
  command->callback([options] { verify(*options); });
}

void add_show(CLI::App& data) {
  CLI::App* command = data.add_subcommand("show", "Print the text of a sample, and the documents that it is of");
  auto options = std::make_shared<ShowCommand>();
  command->add_option("STORE", options->store, "a folder that `prepare` made");
  const std::vector<CLI::Option*> of_store{
      command->add_option("--tokenizer", options->tokenizer, "that the store was made with: bytes, or its file"),
      command->add_option("--sample", options->sample, "the sample of this number in the store's own order, from 0")
          ->check(from_zero),
      command->add_option("--seed", options->seed, "of --draw: run.seed of that training; default: 1"),
      command->add_option("--context", options->context, "model.context of that training")
          ->check(at_least<1>)
          ->capture_default_str(),
      command->add_flag("--held-out", options->held_out, "of what is held out"),
      command->add_flag("--begin-of-text", options->begin_of_text, "as training with data.begin_of_text packs")};
  command->add_option("--draw", options->draw, "the sample that training takes as the draw of this number, from 0")
      ->check(from_zero);
  CLI::Option* run =
      command->add_option("--run", options->run, "instead of STORE: a run's folder, whose config says all else");
  for (CLI::Option* option : of_store) run->excludes(option);
  command->footer(
      "A sample has one token more than the context: the last is only predicted. Slot s of step b, both from 0, is "
      "draw\n"
      "b * S + s of a run with S samples a step that has this store alone. With --run it may have several.\n\n"
      "Examples:\n  spikesink data show stores/dclm --sample 17 --tokenizer tokenizer.model --context 4096\n"
      "  spikesink data show --run runs/mixture --draw 102400");
  command->callback([options] { show(*options); });
}

}  // namespace

void add_data_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("data", "Verify a token store; show what a sample holds");
  command->require_subcommand(1);
  command->footer(
      "Of a folder that `spikesink prepare` made. Examples\n"
      "  spikesink data verify stores/dclm\n"
      "  spikesink data show stores/dclm --sample 17 --tokenizer tokenizer.model");
  add_verify(*command);
  add_show(*command);
}

}  // namespace spikesink::cli
