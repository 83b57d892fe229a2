#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>

#include "cli/commands.h"
#include "cli/import_tokenizer.h"
#include "cli/imported.h"
#include "cli/new_folder.h"
#include "cli/terminal_line.h"
#include "configs/writer.h"
#include "io/atomic_file.h"
#include "io/failure.h"
#include "io/readable.h"
#include "models/decoder.h"
#include "models/hf/hf_config.h"
#include "trainer/hf_weights.h"

namespace spikesink::cli {
namespace fs = std::filesystem;
namespace {

struct ImportOptions {
  std::string model, out;
};

constexpr std::uintmax_t kMostConfigBytes = 10'000'000;

HfModel read_model(const std::string& folder) {
  const std::string path = folder + "/config.json";
  std::error_code error;
  if (!fs::is_directory(folder, error))
    throw UsageError(folder + ": no such folder; name the folder of a model from Hugging Face, which has config.json");
  if (!fs::is_regular_file(path, error))
    throw DataError(path + ": missing; name the folder of a model from Hugging Face");
  if (fs::file_size(path, error) > kMostConfigBytes) throw DataError(path + ": is too large for a config.json");
  return read_hf_config(read_file(path), path);
}

/// A whole config of the model: what an imported checkpoint has no use for is the default.
Config config_of(const HfModel& hf, const std::string& name, const ImportedTokenizer& tokenizer) {
  Config config;
  config.run.name = name;
  config.model = hf.model;
  config.data.train = {kNoText};
  config.data.tokenizer = tokenizer.spec;
  config.data.begin_of_text = tokenizer.begins;
  config.data.document_mask = hf.document_mask;
  config.train.loss_from_position = hf.loss_from_position;
  config.train.steps = 0;
  config.train.batch_tokens = std::max(config.train.batch_tokens, hf.model.context);
  if (const std::string problem = problem_of(config); !problem.empty()) throw DataError(problem);
  return config;
}

void run(const ImportOptions& options) {
  const HfModel hf = read_model(options.model);
  const Decoder model(hf.model);
  const Safetensors weights = Safetensors::open(options.model);
  require_same_parameters(model.params(), hf.model.tie_embeddings, weights);

  NewFolder out(options.out);
  const ImportedTokenizer tokenizer = import_tokenizer(options.model, out.path(), hf);
  TerminalLine line;
  const std::uint32_t sum = import_weights(model.params(), weights, out.path() + "/" + rank_file(0), [&](double share) {
    line.show(fmt::format("importing: {:.0f} %", 100 * share));
  });
  line.close();
  const Config config = config_of(hf, out.name(), tokenizer);
  TrainingState state;
  state.config = write_config(config);
  state.position = "{}";
  write_state(out.path(), state, std::span(&sum, 1));
  out.commit();
  fmt::print("{}: {}, {} parameters\n", options.out, hf.architecture,
             count_text(static_cast<double>(model.params().num_elements())));
  if (tokenizer.spec == kNoTokenizer)
    fmt::print("no tokenizer came along that can be read here: commands that need text want --tokenizer FILE\n");
  else
    fmt::print("tokenizer: {}{}\n", tokenizer.spec,
               tokenizer.begins ? ", with its begin-of-text token before each sample" : "");
}

}  // namespace

void add_import_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("import", "Make a checkpoint of a model from Hugging Face");
  auto options = std::make_shared<ImportOptions>();
  command->add_option("HF_DIR", options->model, "a model's folder: config.json and safetensors, also in shards")
      ->required();
  command->add_option("--out", options->out, "the checkpoint's folder, which must not exist yet")->required();
  command->footer(
      "Reads Llama 2 and 3 (with the RoPE scaling of 3.1), Qwen 2.5, Qwen 3, OLMo 2, and what `export` wrote. Weights\n"
      "keep their precision, and are read piece by piece: a large model needs no more memory than a small one. The\n"
      "tokenizer comes along. `eval` and `analyze` read the checkpoint; it has no optimizer state to train on from.\n\n"
      "Example:\n"
      "  spikesink import models/Llama-3.2-1B --out checkpoints/llama-3.2-1b\n"
      "  spikesink eval checkpoints/llama-3.2-1b --data dclm/*.jsonl.zst --context 4096");
  command->callback([options] { run(*options); });
}

}  // namespace spikesink::cli
