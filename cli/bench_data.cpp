#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <initializer_list>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>

#include "cli/bench.h"
#include "cli/options.h"
#include "data/bench.h"
#include "data/tokenizer.h"
#include "io/failure.h"
#include "io/readable.h"

namespace spikesink::cli {
namespace {

struct DataOptions {
  std::vector<std::string> shards, only;
  std::string tokenizer = "bytes", store;
  std::int64_t context = 2048, synthetic = 0;
  int threads = 0;
  double seconds = 1;
  bool json = false;
};

DataBench bench_named(const std::string& name) {
  for (int b = 0; b < kNumDataBenches; ++b)
    if (name_of(static_cast<DataBench>(b)) == name) return static_cast<DataBench>(b);
  throw UsageError(fmt::format("--only {}: expected read, tokenise, stream, store or files", name));
}

std::string rate_text(const DataFigure& f, double rate) {
  return f.of_text ? fmt::format("{:.1f} MB/s", rate / 1e6) : fmt::format("{} tokens/s", count_text(rate));
}

void print(const DataFigure& f) {
  fmt::print("{:<22}{:>18} a core, {:>18} on {};", f.what, rate_text(f, f.rate_a_core()), rate_text(f, f.rate()),
             counted(f.threads, "thread"));
  if (f.limit_a_core > 0)
    fmt::print(" {}: {}, so {:.0f} %;", f.limit_of, rate_text(f, f.limit_a_core), 100 * f.share());
  if (f.aim_a_core > 0) fmt::print(" aim: {};", rate_text(f, f.aim_a_core));
  fmt::print(" memory grows by {:.1f} MiB\n", static_cast<double>(f.memory_growth) / 1048576);
}

void print_json(const DataFigure& f, const DataOptions& options) {
  nlohmann::ordered_json all{{"bench", name_of(f.bench)},
                             {"tokenizer", options.tokenizer},
                             {"unit", f.of_text ? "bytes of text" : "tokens"},
                             {"amount", f.amount},
                             {"seconds", f.seconds},
                             {"cpu_seconds", f.cpu_seconds},
                             {"threads", f.threads},
                             {"rate", f.rate()},
                             {"rate_a_core", f.rate_a_core()},
                             {"memory_growth_bytes", f.memory_growth}};
  if (!f.of_text) all["context"] = options.context;
  if (f.aim_a_core > 0) all["aim_a_core"] = f.aim_a_core;
  if (f.limit_a_core > 0) {
    all["limit_of"] = f.limit_of;
    all["limit_a_core"] = f.limit_a_core;
    all["share"] = f.share();
  }
  fmt::print("{}\n", all.dump());
}

void run(const DataOptions& options) {
  if (options.synthetic > 0 && !options.store.empty())
    throw UsageError("bench data: --synthetic makes a store of its own; leave out --store");
  const auto tokenizer = make_tokenizer(options.tokenizer, "--tokenizer");
  std::vector<DataBench> only;
  for (const std::string& name : options.only) only.push_back(bench_named(name));
  const auto require_used = [&](std::string_view option, bool given, std::initializer_list<DataBench> by) {
    if (!given || only.empty() || std::ranges::find_first_of(only, by) != only.end()) return;
    throw UsageError(fmt::format("bench data: {} has no effect on what --only names; leave one of them out", option));
  };
  require_used("--data", !options.shards.empty(), {DataBench::kRead, DataBench::kTokenise, DataBench::kStream});
  require_used("--store", !options.store.empty(), {DataBench::kStore});
  require_used("--synthetic", options.synthetic > 0, {DataBench::kStore});
  bench_data({.tokenizer = *tokenizer,
              .shards = options.shards,
              .store = options.store,
              .synthetic = options.synthetic,
              .only = only,
              .context = options.context,
              .threads = threads_or_cores(options.threads),
              .seconds = options.seconds},
             [&](const DataFigure& figure) {
               options.json ? print_json(figure, options) : print(figure);
               std::fflush(stdout);
             });
}

std::string positive(const std::string& text) {
  char* rest = nullptr;
  const double value = std::strtod(text.c_str(), &rest);
  return *rest == '\0' && !text.empty() && value > 0 && value < 1e6 ? "" : text + ", must be a number above 0";
}

}  // namespace

void add_bench_data_command(CLI::App& bench) {
  CLI::App* command = bench.add_subcommand("data", "From shards to samples: each stage beside what limits it");
  auto options = std::make_shared<DataOptions>();
  command->add_option("--data", options->shards, "shards or globs; default: some are made, of made words");
  command->add_option("--tokenizer", options->tokenizer, "as data.tokenizer")->capture_default_str();
  command->add_option("--store", options->store, "a folder that `prepare` made; default: one is made, of made tokens");
  command
      ->add_option("--synthetic", options->synthetic,
                   "instead a store of so many tokens in a file that is all hole: what size alone does")
      ->check(at_least<1>);
  command->add_option("--only", options->only, "read | tokenise | stream | store | files; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--context", options->context, "tokens of a sample")->check(at_least<1>)->capture_default_str();
  command->add_option("--threads", options->threads, "of `stream`, `store` and `files`; default: the machine's cores")
      ->check(some_threads);
  command->add_option("--seconds", options->seconds, "time that each takes")->check(positive)->capture_default_str();
  command->add_flag("--json", options->json, "print one JSON object a line");
  command->footer(
      "read: unpack shards and parse their lines. tokenise: text in memory. stream: samples from shards, as training\n"
      "takes them. store: samples from a token store in shuffled order; a store that the page cache does not hold is\n"
      "timed with its disk. files: the same of a made store of 28,000 files, most of them opened for the first time.\n"
      "Rates a core are by CPU time, which other work on the machine disturbs little.\n\n"
      "Examples\n"
      "  spikesink bench data\n"
      "  spikesink bench data --data 'dclm/*.jsonl.zst' --tokenizer tokenizer.model --store stores/dclm --context "
      "4096");
  command->callback([options] { run(*options); });
}

}  // namespace spikesink::cli
