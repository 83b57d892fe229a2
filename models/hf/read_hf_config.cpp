#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/failure.h"
#include "models/hf/hf_config.h"
#include "models/hf/model_json.h"

namespace spikesink {
namespace {

/// What the classes assume where config.json says nothing: transformers 4.51.
struct Released {
  std::string_view architecture;
  double eps;
  std::optional<std::int64_t> d_head;  ///< absent: hidden_size / heads
};
constexpr std::array kReleased = {
    Released{"LlamaForCausalLM", 1e-6, {}},
    Released{"Qwen2ForCausalLM", 1e-6, {}},
    Released{"Qwen3ForCausalLM", 1e-6, 128},
    Released{"Olmo2ForCausalLM", 1e-5, {}},
};

/// The keys of a config.json, read by type; what is null counts as absent, as it does there.
class Keys {
 public:
  Keys(const nlohmann::json& object, std::string path, std::string before = "")
      : object_(object), path_(std::move(path)), before_(std::move(before)) {}

  [[noreturn]] void fail(const std::string& key, const std::string& what) const {
    throw DataError(fmt::format("{}: {}{}: {}", path_, before_, key, what));
  }
  const nlohmann::json* find(const std::string& key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }
  /// Also where it is null, which find() takes for absent.
  bool names(const std::string& key) const { return object_.contains(key); }
  std::optional<std::int64_t> whole(const std::string& key) const {
    const nlohmann::json* value = find(key);
    if (value && !value->is_number_integer()) fail(key, shown(*value) + " is no whole number");
    return value ? std::optional(value->get<std::int64_t>()) : std::nullopt;
  }
  std::int64_t needed(const std::string& key) const {
    const auto value = whole(key);
    if (!value) fail(key, "missing; bring the config.json that belongs to the weights");
    return *value;
  }
  std::optional<double> real(const std::string& key) const {
    const nlohmann::json* value = find(key);
    if (value && !value->is_number()) fail(key, shown(*value) + " is no number");
    return value ? std::optional(value->get<double>()) : std::nullopt;
  }
  bool flag(const std::string& key) const {
    const nlohmann::json* value = find(key);
    if (value && !value->is_boolean()) fail(key, shown(*value) + " is neither true nor false");
    return value && value->get<bool>();
  }
  std::optional<std::string> text(const std::string& key) const {
    const nlohmann::json* value = find(key);
    if (value && !value->is_string()) fail(key, shown(*value) + " is no text");
    return value ? std::optional(value->get<std::string>()) : std::nullopt;
  }
  /// The keys of an object in this one, or nothing.
  std::optional<Keys> inner(const std::string& key) const {
    const nlohmann::json* value = find(key);
    if (value && !value->is_object()) fail(key, shown(*value) + " is no object");
    return value ? std::optional(Keys(*value, path_, before_ + key + ".")) : std::nullopt;
  }
  const nlohmann::json& object() const { return object_; }

  static std::string shown(const nlohmann::json& value) {
    const std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::json::error_handler_t::replace);
    return text.size() > 60 ? text.substr(0, 60) + "..." : text;
  }

 private:
  const nlohmann::json& object_;
  std::string path_, before_;
};

constexpr std::int64_t kDefaultWindow = 4096;  // of Qwen2Config and Qwen3Config

/// Refuses what changes the computation and has no place in our models.
void refuse_what_we_lack(const Keys& keys, const std::string& architecture, const ModelConfig& model) {
  const auto lacks = [&](const std::string& key, const std::string& what) {
    keys.fail(key, what + ", which models here do not have; import another model");
  };
  if (keys.find("quantization_config"))
    keys.fail("quantization_config", "the weights are quantised; bring the model with bf16, f16 or f32 weights");
  if (const auto act = keys.text("hidden_act").value_or("silu"); act != "silu" && act != "swish")
    lacks("hidden_act", "the activation " + Keys::shown(act));
  if (keys.flag("mlp_bias")) lacks("mlp_bias", "biases in the FFN");
  if (architecture != "Qwen2ForCausalLM" && keys.flag("attention_bias"))
    lacks("attention_bias", "a bias of o_proj beside those of q, k and v");
  if (const nlohmann::json* clip = keys.find("clip_qkv"); clip && *clip != 0)
    lacks("clip_qkv", "clipped queries and keys");
  if (const auto share = keys.real("partial_rotary_factor").value_or(1); share != 1)
    lacks("partial_rotary_factor", "heads that turn in part");
  for (const char* key : {"num_experts", "num_local_experts", "n_routed_experts"})
    if (keys.whole(key).value_or(0) > 1) lacks(key, "a mixture of experts");
  if (const nlohmann::json* types = keys.find("layer_types")) {
    if (!types->is_array()) keys.fail("layer_types", "is no list");
    for (const nlohmann::json& type : *types)
      if (type != "full_attention") lacks("layer_types", "layers of " + Keys::shown(type));
  }
  // Without the key transformers' window is 4096; null is none.
  const std::int64_t window =
      keys.names("sliding_window") ? keys.whole("sliding_window").value_or(model.context) : kDefaultWindow;
  if (keys.flag("use_sliding_window") && window < model.context &&
      keys.whole("max_window_layers").value_or(0) < model.n_layers)
    lacks("use_sliding_window", "attention in a sliding window");
}

RopeScalingConfig read_scaling(const Keys& keys, const std::string& key) {
  const std::string kind = keys.text("rope_type").value_or(keys.text("type").value_or("default"));
  RopeScalingConfig out;
  if (const auto share = keys.real("partial_rotary_factor").value_or(1); share != 1)
    keys.fail("partial_rotary_factor", "heads that turn in part, which models here do not have; import another model");
  for (const auto& [inner, value] : keys.object().items())
    if (value.is_object()) keys.fail(inner, "rotary positions that differ by layer, which models here do not have");
  if (kind == "default") return out;
  const auto needed = [&](const std::string& name) {
    const auto value = keys.real(name);
    if (!value) keys.fail(name, fmt::format("missing in {} of type {}", key, Keys::shown(kind)));
    return *value;
  };
  if (kind == "linear") {
    out.kind = RopeScalingKind::kLinear;
    out.factor = needed("factor");
  } else if (kind == "llama3") {
    out.kind = RopeScalingKind::kLlama3;
    out.factor = needed("factor");
    out.low_freq_factor = needed("low_freq_factor");
    out.high_freq_factor = needed("high_freq_factor");
    out.original_context = keys.needed("original_max_position_embeddings");
  } else {
    keys.fail("rope_type", Keys::shown(kind) + " is none of default, linear, llama3; import another model");
  }
  return out;
}

void read_rope(const Keys& keys, AttentionConfig& attention) {
  attention.rope_theta = keys.real("rope_theta").value_or(10000);
  // Newer transformers keep both in one map, older ones the scaling alone.
  for (const char* key : {"rope_scaling", "rope_parameters"})
    if (const auto inner = keys.inner(key)) {
      attention.rope_scaling = read_scaling(*inner, key);
      attention.rope_theta = inner->real("rope_theta").value_or(attention.rope_theta);
    }
}

ModelConfig read_released(const Keys& keys, const Released& defaults) {
  const std::string architecture(defaults.architecture);
  ModelConfig m;
  m.d_model = keys.needed("hidden_size");
  m.n_layers = keys.needed("num_hidden_layers");
  m.context = keys.needed("max_position_embeddings");
  m.vocab_size = keys.needed("vocab_size");
  m.tie_embeddings = keys.flag("tie_word_embeddings");
  if (const auto std = keys.real("initializer_range"); std && *std > 0) m.init_std = *std;
  m.norm.eps = keys.real("rms_norm_eps").value_or(defaults.eps);
  AttentionConfig& a = m.attention;
  a.n_heads = keys.needed("num_attention_heads");
  if (const auto kv = keys.whole("num_key_value_heads"); kv && *kv != a.n_heads) a.n_kv_heads = *kv;
  const auto d_head = keys.whole("head_dim");
  if (!d_head && !defaults.d_head && (a.n_heads < 1 || m.d_model % a.n_heads != 0))
    keys.fail("num_attention_heads", fmt::format("{} heads do not divide hidden_size {}", a.n_heads, m.d_model));
  a.d_head = d_head ? *d_head : defaults.d_head.value_or(m.d_model / std::max<std::int64_t>(a.n_heads, 1));
  m.ffn.d_hidden = keys.needed("intermediate_size");
  read_rope(keys, a);
  if (architecture == "Qwen2ForCausalLM") a.qkv_bias = true;
  if (architecture == "Qwen3ForCausalLM") m.norm.qk = QkNorm::kHead;
  if (architecture == "Olmo2ForCausalLM") {
    m.norm.input = false;
    m.norm.output = true;
    m.norm.qk = QkNorm::kFull;
  }
  refuse_what_we_lack(keys, architecture, m);
  return m;
}

/// The first id of a key that has one or a list of them.
std::optional<std::int64_t> id_of(const Keys& keys, const std::string& key) {
  const nlohmann::json* value = keys.find(key);
  if (value && value->is_array() && !value->empty()) value = &value->front();
  return value && value->is_number_integer() ? std::optional(value->get<std::int64_t>()) : std::nullopt;
}

}  // namespace

HfModel read_hf_config(std::string_view text, const std::string& path) {
  const nlohmann::json object = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object())
    throw DataError(path + ": is no JSON object; bring the config.json that belongs to the weights");
  const Keys keys(object, path);
  HfModel out{.architecture = "",
              .model = {},
              .begin_of_text = id_of(keys, "bos_token_id"),
              .end_of_text = id_of(keys, "eos_token_id")};
  if (keys.find("spikesink_begin_of_text")) out.begins = keys.flag("spikesink_begin_of_text");
  out.bytes = keys.text("spikesink_tokenizer") == "bytes";
  out.document_mask = keys.flag("spikesink_document_mask");
  out.loss_from_position = keys.whole("spikesink_loss_from_position").value_or(1);
  const nlohmann::json* names = keys.find("architectures");
  if (!names || !names->is_array() || names->size() != 1 || !names->front().is_string())
    keys.fail("architectures", "names no single class of models");
  out.architecture = names->front().get<std::string>();
  if (out.architecture == "SpikesinkForCausalLM") {
    if (!keys.find("model")) keys.fail("model", "missing; export the model anew");
    out.model = model_of_json(*keys.find("model"), path + ": model");
    return out;
  }
  const auto released = std::ranges::find(kReleased, out.architecture, &Released::architecture);
  if (released == kReleased.end()) {
    std::string known;
    for (const Released& each : kReleased) known += fmt::format("{}, ", each.architecture);
    keys.fail("architectures", fmt::format("{} is none of {}SpikesinkForCausalLM; import a model of one of these",
                                           Keys::shown(names->front()), known));
  }
  out.model = read_released(keys, *released);
  if (const std::string problem = problem_of(out.model); !problem.empty())
    throw DataError(fmt::format("{}: as a model here, {}", path, problem));
  return out;
}

}  // namespace spikesink
