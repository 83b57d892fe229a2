#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/terminal_line.h"
#include "data/sources.h"
#include "data/store/prepare.h"
#include "io/failure.h"
#include "io/readable.h"

namespace spikesink::cli {
namespace {
using Clock = std::chrono::steady_clock;

struct PrepareOptions {
  std::vector<std::string> inputs;
  std::string tokenizer, out;
  int threads = 0;
  double holdout = 0.005, max_bad_share = 0.001;
  std::optional<std::int64_t> min_bytes, max_bytes, pad;
  bool deduplicate = false;
};

class ProgressLine {
 public:
  void show(const PrepareProgress& p) {
    if (p.phase != phase_) {
      phase_ = p.phase;
      begin_ = Clock::now();
      done_before_ = p.source_bytes_done;
      text_before_ = p.text_bytes;
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
    std::string text =
        fmt::format("{}: {} of {} {}", p.phase, p.shards_done, p.shards, p.phase == "comparing" ? "parts" : "shards");
    if (p.documents > 0) text += fmt::format(", {} documents", count_text(static_cast<double>(p.documents)));
    const bool has_rates = seconds >= kRateSeconds;
    if (has_rates && p.text_bytes > text_before_)
      text += fmt::format(", {:.1f} MB/s of text", static_cast<double>(p.text_bytes - text_before_) / 1e6 / seconds);
    if (p.tokens > 0) text += fmt::format(", {} tokens", count_text(static_cast<double>(p.tokens)));
    const auto done = static_cast<double>(p.source_bytes_done - std::min(done_before_, p.source_bytes_done));
    if (p.waits)
      text += ", what is left is in the hands of other processes";
    else if (has_rates && done > 0 && p.source_bytes > p.source_bytes_done)
      text += fmt::format(", left {}",
                          duration_text(static_cast<double>(p.source_bytes - p.source_bytes_done) / done * seconds));
    line_.show(text);
  }
  void close() const { line_.close(); }

 private:
  TerminalLine line_;
  std::string phase_;
  static constexpr double kRateSeconds = 2;  // before that one says little

  std::uint64_t done_before_ = 0;
  std::int64_t text_before_ = 0;
  Clock::time_point begin_ = Clock::now();
};

void print_summary(const Manifest& m, const std::string& out) {
  std::int64_t tokens = 0, documents = 0, held_out = 0;
  for (const StoreFile& file : m.files) {
    tokens += file.train.tokens + file.held_out.tokens;
    documents += file.train.documents + file.held_out.documents;
    held_out += file.held_out.tokens;
  }
  fmt::print("{}: {} of {} in {}, {} bytes a token; held out: {}\n", out, counted(tokens, "token"),
             counted(documents, "document"), counted(std::ssize(m.files), "file"), m.token_bytes,
             counted(held_out, "token"));
  if (m.text_bytes > 0)
    fmt::print("  text: {:.1f} MB, {:.2f} bytes of it a token\n", static_cast<double>(m.text_bytes) / 1e6,
               static_cast<double>(m.text_bytes) / static_cast<double>(tokens - documents));
  fmt::print("  left out: of {} lines or documents {} are broken: {}", m.lines.lines(), m.lines.num_broken(),
             m.lines.broken_text());
  if (m.min_bytes) fmt::print("; {} documents too short", m.too_short);
  if (m.max_bytes) fmt::print("; {} too long", m.too_long);
  if (m.deduplicated) fmt::print("; {} repeated", m.duplicates);
  fmt::print("\n");
  if (const auto note = note_on_ends(out, m)) fmt::print("  warning: {}\n", *note);
}

void run(const PrepareOptions& options) {
  const auto tokenizer = make_tokenizer(options.tokenizer, "--tokenizer");
  const bool was_there = is_store(options.out);
  ProgressLine line;
  const Manifest manifest = prepare_store({.inputs = options.inputs,
                                           .tokenizer = *tokenizer,
                                           .out = options.out,
                                           .threads = threads_or_cores(options.threads),
                                           .holdout = options.holdout,
                                           .min_bytes = options.min_bytes,
                                           .max_bytes = options.max_bytes,
                                           .deduplicate = options.deduplicate,
                                           .max_bad_share = options.max_bad_share,
                                           .pad = options.pad,
                                           .report = [&](const PrepareProgress& p) { line.show(p); }});
  line.close();
  if (was_there) fmt::print("{}: was a whole store before, and is left as it was\n", options.out);
  print_summary(manifest, options.out);
}

}  // namespace

void add_prepare_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("prepare", "Tokenise shards into a token store, once");
  auto options = std::make_shared<PrepareOptions>();
  command
      ->add_option(
          "INPUT", options->inputs,
          "shards or globs: .jsonl, .jsonl.zst, .jsonl.gz; or token files of others: .tar (DCLM's tokshuf), .bin "
          "with .idx (Megatron-LM), .bin (llm.c); @FILE: one a line in FILE")
      ->required();
  command->add_option("--tokenizer", options->tokenizer, "bytes, or a tokenizer's file, as data.tokenizer")->required();
  command->add_option("--out", options->out, "folder of the store; data.train: [FOLDER] trains on it")->required();
  command->add_option("--threads", options->threads, "default: the machine's cores")->check(some_threads);
  command
      ->add_option("--holdout", options->holdout, "share of documents to validate on, chosen by the hash of their text")
      ->capture_default_str()
      ->check(share_below_one);
  command->add_option("--min-bytes", options->min_bytes, "leave out documents of shorter text")->check(at_least<1>);
  command->add_option("--max-bytes", options->max_bytes, "leave out documents of longer text")->check(at_least<1>);
  command->add_flag("--dedup", options->deduplicate, "of documents with equal text keep the first; reads all twice");
  command->add_option("--max-bad-share", options->max_bad_share, "share of broken lines above which no store is made")
      ->capture_default_str()
      ->check(share_below_one);
  command->add_option("--pad", options->pad,
                      "id that fills up contexts in .tar files of tokens, left out there; tokshuf's: 50256 with "
                      "GPT-NeoX, 128258 with Llama 3");
  command->footer(
      "Killed, it goes on where it was when it is run again. Run on several machines at once, with --out on a file\n"
      "system that they share, each takes shards that no other has in hand. The store's bytes do not depend on it.\n\n"
      "Token files must have been made with the tokenizer that is named: ids are only checked to lie in its "
      "vocabulary.\n"
      "What lies between two ends of text is a document, as is a piece of one that a context or file cuts off.\n\n"
      "Example:\n"
      "  spikesink prepare 'dclm/*.jsonl.zst' --tokenizer tokenizer.model --out stores/dclm\n"
      "  spikesink train configs/llama/125m.yaml --set 'data.train=[stores/dclm]' --set "
      "data.tokenizer=tokenizer.model");
  command->callback([options] { run(*options); });
}

}  // namespace spikesink::cli
