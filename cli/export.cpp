#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/imported.h"
#include "cli/new_folder.h"
#include "cli/options.h"
#include "cli/terminal_line.h"
#include "configs/reader.h"
#include "data/position.h"
#include "data/tokenizer.h"
#include "io/atomic_file.h"
#include "io/failure.h"
#include "io/json_text.h"
#include "io/readable.h"
#include "models/decoder.h"
#include "models/hf/hf_config.h"
#include "trainer/hf_weights.h"

namespace spikesink::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t kMostShardGb = 1'000'000;

struct ExportOptions {
  std::string checkpoint, out, dtype;
  std::int64_t shard_gb = 5;
};

/// Copies what an imported checkpoint kept; the ids of its config.json go into `hf`.
void copy_kept(const std::string& kept, const std::string& to, HfModel& hf) {
  for (const auto& entry : fs::directory_iterator(kept)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_symlink() || !entry.is_regular_file())
      throw DataError(entry.path().string() + ": is no file but a link or a folder; put the file itself there");
    if (name != "config.json") {
      copy_file(entry.path().string(), to + "/" + name);
      continue;
    }
    const HfModel before = read_hf_config(read_file(entry.path().string()), entry.path().string());
    hf.begin_of_text = before.begin_of_text;
    hf.end_of_text = before.end_of_text;
    hf.bytes = before.bytes;
  }
}

/// Copies a run's tokenizer under the name that Hugging Face has for it. DataError if that is not the one of `trained`
/// any more.
void copy_tokenizer(const std::string& spec, const std::optional<std::string>& trained, const std::string& to,
                    HfModel& hf) {
  const auto tokenizer = make_tokenizer(spec);
  if (trained && !names_same_tokenizer(*trained, tokenizer->name()))
    throw DataError(fmt::format("data.tokenizer: {} is {}, but the checkpoint was trained with {}; put that file there",
                                spec, tokenizer->name(), *trained));
  hf.begin_of_text = tokenizer->begin_of_text();
  hf.end_of_text = tokenizer->end_of_text();
  hf.bytes = spec == "bytes";
  if (hf.bytes) return;
  const std::string name = spec.ends_with(".model") ? "tokenizer.model" : fs::path(spec).filename().string();
  copy_file(spec, to + "/" + name);
  if (const std::string beside = spec + ".json"; fs::exists(beside)) copy_file(beside, to + "/" + name + ".json");
  if (name == "tokenizer.model")  // its class there; `legacy`: texts become the ids that sentencepiece gives
    write_atomically(to + "/tokenizer_config.json", nlohmann::ordered_json{{"tokenizer_class", "LlamaTokenizer"},
                                                                           {"legacy", true},
                                                                           {"add_bos_token", hf.begins.value_or(false)},
                                                                           {"add_eos_token", false},
                                                                           {"clean_up_tokenization_spaces", false}}
                                                            .dump(2) +
                                                        "\n");
}

/// The tokenizer's files and ids. Without the tokenizer the model is whole still, so that is only said.
void add_tokenizer(const std::string& checkpoint, const TrainingState& state, const Config& config,
                   const std::string& to, HfModel& hf) {
  const std::string kept = checkpoint + "/" + kHfFolder;
  if (fs::is_directory(kept)) return copy_kept(kept, to, hf);
  try {
    copy_tokenizer(config.data.tokenizer, tokenizer_of_position(state.position), to, hf);
  } catch (const Failure& failure) {
    fmt::print("the tokenizer does not go along, nor its ids in config.json: {}\n", failure.what());
  }
}

std::string_view torch_name(DType dtype) {
  return dtype == DType::kBF16 ? "bfloat16" : dtype == DType::kF64 ? "float64" : "float32";
}

void run(const ExportOptions& options) {
  const std::string checkpoint = find_checkpoint(options.checkpoint);
  const TrainingState state = read_state(checkpoint);
  const Config config = read_config_text(state.config, checkpoint + "/state.json");
  const Decoder model(config.model);
  require_weights(checkpoint, model.params());
  const std::optional<DType> dtype = options.dtype == "bf16"  ? std::optional(DType::kBF16)
                                     : options.dtype == "f32" ? std::optional(DType::kF32)
                                                              : std::nullopt;
  NewFolder out(options.out);
  HfModel hf{.architecture = std::string(hf_architecture(config.model)),
             .model = config.model,
             .begin_of_text = {},
             .end_of_text = {}};
  hf.begins = config.data.begin_of_text;
  hf.document_mask = config.data.document_mask;
  hf.loss_from_position = config.train.loss_from_position;
  add_tokenizer(checkpoint, state, config, out.path(), hf);
  TerminalLine line;
  const std::size_t files =
      export_weights(model.params(), checkpoint, out.path(), dtype, options.shard_gb * 1'000'000'000,
                     [&](double share) { line.show(fmt::format("exporting: {:.0f} %", 100 * share)); });
  line.close();
  const DType written = dtype.value_or(stored_dtype(checkpoint, model.params().all().front().name()));
  write_atomically(out.path() + "/config.json", write_hf_config(hf, torch_name(written)).dump(2) + "\n");
  const bool released = is_released(hf.architecture);
  if (!released)
    for (const HfPythonFile& file : {kHfModeling, kHfConfiguration})
      write_atomically(fmt::format("{}/{}", out.path(), file.name), file.text);
  out.commit();
  fmt::print("{}: {}, {} parameters of {} in {}\n", options.out, hf.architecture,
             count_text(static_cast<double>(model.params().num_elements())), torch_name(written),
             counted(static_cast<std::int64_t>(files), "file"));
  if (hf.document_mask)
    fmt::print("data.document_mask stays with `import` alone: in transformers tokens see all documents of a sample\n");
  fmt::print("in Python: transformers.AutoModelForCausalLM.from_pretrained({}{})\n",
             json_text(nlohmann::json(options.out)), released ? "" : ", trust_remote_code=True");
}

}  // namespace

void add_export_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("export", "Write a checkpoint as a model for Hugging Face's transformers");
  auto options = std::make_shared<ExportOptions>();
  command->add_option("CHECKPOINT", options->checkpoint, "a step_ folder, or a run's folder for its newest one")
      ->required();
  command->add_option("--out", options->out, "the model's folder, which must not exist yet")->required();
  command->add_option("--dtype", options->dtype, "bf16 or f32; default: each weight as the checkpoint has it")
      ->check(CLI::IsMember({"bf16", "f32"}));
  command->add_option("--shard-gb", options->shard_gb, "at most so many gigabytes a file; default: 5")
      ->check(CLI::Range(std::int64_t{1}, kMostShardGb));
  command->footer(
      "Writes safetensors, config.json and the tokenizer. A model that Llama's, Qwen 2's, Qwen 3's or OLMo 2's class\n"
      "computes is written for that class; any other (its norms, gates, FFN) with PyTorch files of its own beside it,\n"
      "for which transformers wants trust_remote_code=True. `import` gives the same checkpoint back.\n\n"
      "Example:\n"
      "  spikesink export runs/baseline --out exported/baseline --dtype bf16");
  command->callback([options] { run(*options); });
}

}  // namespace spikesink::cli
