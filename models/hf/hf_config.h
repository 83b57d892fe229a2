#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "models/config.h"

// The map between a ModelConfig and the config.json of Hugging Face's transformers (4.51). Parameters need no map: ours
// have the names of its classes.
namespace spikesink {

/// The class of transformers that a config.json names, and what it says of text.
struct HfModel {
  std::string architecture;  ///< LlamaForCausalLM, ...
  ModelConfig model;
  std::optional<std::int64_t> begin_of_text, end_of_text;  ///< ids; of several the first
  std::optional<bool> begins = {};      ///< whether a begin-of-text token stands before each sample; absent: not said
  bool bytes = false;                   ///< the tokenizer is the built-in one, of which there is no file
  bool document_mask = false;           ///< tokens see those of their own document only: not known to transformers
  std::int64_t loss_from_position = 1;  ///< of perplexity; 1-based
};

/// Reads the text of a config.json: of LlamaForCausalLM (RoPE scaling of Llama 3.1, and linear), Qwen2ForCausalLM,
/// Qwen3ForCausalLM, Olmo2ForCausalLM, and of SpikesinkForCausalLM, which export writes. DataError, one line that
/// begins with `path`, for other classes, for what these classes can do and our models cannot (windows, other
/// activations, biases, quantised weights, ...), and for keys that are missing or of another type.
HfModel read_hf_config(std::string_view text, const std::string& path);

/// The released class that computes what a model of this config computes, or SpikesinkForCausalLM.
std::string_view hf_architecture(const ModelConfig& model);
/// Its class of this name needs no file beside the weights.
bool is_released(std::string_view architecture);

/// The config.json of a model. `torch_dtype`: float32, bfloat16, float64.
nlohmann::ordered_json write_hf_config(const HfModel& model, std::string_view torch_dtype);

/// The Python files of SpikesinkForCausalLM, which go beside its weights.
struct HfPythonFile {
  std::string_view name, text;
};
extern const HfPythonFile kHfModeling, kHfConfiguration;

}  // namespace spikesink
