#include <nlohmann/json.hpp>

#include "models/hf/hf_config.h"
#include "models/hf/model_json.h"

namespace spikesink {
namespace {
using Json = nlohmann::ordered_json;

Json id_of(const std::optional<std::int64_t>& id) { return id ? Json(*id) : Json(nullptr); }

Json scaling_of(const RopeScalingConfig& scaling) {
  switch (scaling.kind) {
    case RopeScalingKind::kLinear:
      return {{"rope_type", "linear"}, {"factor", scaling.factor}};
    case RopeScalingKind::kLlama3:
      return {{"rope_type", "llama3"},
              {"factor", scaling.factor},
              {"low_freq_factor", scaling.low_freq_factor},
              {"high_freq_factor", scaling.high_freq_factor},
              {"original_max_position_embeddings", scaling.original_context}};
    case RopeScalingKind::kNone:
      break;
  }
  return nullptr;
}

void write_released(const HfModel& hf, Json& out) {
  const ModelConfig& m = hf.model;
  const AttentionConfig& a = m.attention;
  out["model_type"] = hf.architecture == "LlamaForCausalLM"   ? "llama"
                      : hf.architecture == "Qwen2ForCausalLM" ? "qwen2"
                      : hf.architecture == "Qwen3ForCausalLM" ? "qwen3"
                                                              : "olmo2";
  if (hf.architecture != "Qwen2ForCausalLM") out["attention_bias"] = false;  // Qwen 2 has them always
  if (hf.architecture == "LlamaForCausalLM") out["mlp_bias"] = false;
  if (hf.architecture.starts_with("Qwen")) out["use_sliding_window"] = false;
  out["attention_dropout"] = 0.0;
  out["hidden_act"] = "silu";
  out["hidden_size"] = m.d_model;
  out["intermediate_size"] = m.ffn.hidden(m.d_model);
  out["num_hidden_layers"] = m.n_layers;
  out["num_attention_heads"] = a.n_heads;
  out["num_key_value_heads"] = a.kv_heads();
  out["head_dim"] = a.d_head;
  out["max_position_embeddings"] = m.context;
  out["vocab_size"] = m.vocab_size;
  out["rms_norm_eps"] = m.norm.eps;
  out["initializer_range"] = m.init_std;
  out["rope_theta"] = a.rope_theta;
  out["rope_scaling"] = scaling_of(a.rope_scaling);
  out["tie_word_embeddings"] = m.tie_embeddings;
  out["use_cache"] = true;
}

}  // namespace

std::string_view hf_architecture(const ModelConfig& m) {
  const NormConfig& norm = m.norm;
  const bool plain = norm.kind == NormKind::kRmsNorm && norm.final && m.ffn.kind == FfnKind::kSwiGlu &&
                     m.attention.gate.source == GateSource::kNone && m.embedding_scale == EmbeddingScale::kNone;
  if (plain && norm.input && !norm.output) {
    if (norm.qk == QkNorm::kNone) return m.attention.qkv_bias ? "Qwen2ForCausalLM" : "LlamaForCausalLM";
    if (norm.qk == QkNorm::kHead && !m.attention.qkv_bias) return "Qwen3ForCausalLM";
  }
  if (plain && !norm.input && norm.output && norm.qk == QkNorm::kFull && !m.attention.qkv_bias &&
      norm.eps_of_output() == norm.eps)
    return "Olmo2ForCausalLM";
  return "SpikesinkForCausalLM";
}

bool is_released(std::string_view architecture) { return architecture != "SpikesinkForCausalLM"; }

Json write_hf_config(const HfModel& hf, std::string_view torch_dtype) {
  Json out;
  out["architectures"] = {hf.architecture};
  if (is_released(hf.architecture)) {
    write_released(hf, out);
  } else {
    out["model_type"] = "spikesink";
    out["auto_map"] = {{"AutoConfig", "configuration_spikesink.SpikesinkConfig"},
                       {"AutoModelForCausalLM", "modeling_spikesink.SpikesinkForCausalLM"}};
    out["model"] = model_json(hf.model);
  }
  out["bos_token_id"] = id_of(hf.begin_of_text);
  out["eos_token_id"] = id_of(hf.end_of_text);
  out["pad_token_id"] = nullptr;
  if (hf.begins) out["spikesink_begin_of_text"] = *hf.begins;
  if (hf.bytes) out["spikesink_tokenizer"] = "bytes";
  if (hf.document_mask) out["spikesink_document_mask"] = true;
  if (hf.loss_from_position > 1) out["spikesink_loss_from_position"] = hf.loss_from_position;
  out["torch_dtype"] = torch_dtype;
  return out;
}

}  // namespace spikesink
