#include "models/hf/hf_config.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "io/failure.h"
#include "models/hf/model_json.h"

namespace spikesink {
namespace {
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

/// Every key with another value than its default.
ModelConfig unusual() {
  ModelConfig m;
  m.d_model = 96, m.n_layers = 3, m.context = 77, m.vocab_size = 501, m.tie_embeddings = true, m.init_std = 0.1;
  m.embedding_scale = EmbeddingScale::kLearned;
  m.norm = {.kind = NormKind::kDynamicTanh,
            .input = false,
            .output = true,
            .final = false,
            .qk = QkNorm::kFull,
            .eps = 1e-3,
            .output_eps = 1e-2,
            .alpha = {0.1, 0.3, 0.7},
            .beta = true};
  m.attention.n_heads = 6, m.attention.n_kv_heads = 2, m.attention.d_head = 10, m.attention.rope_theta = 1234.5;
  m.attention.qkv_bias = true;
  m.attention.rope_scaling = {RopeScalingKind::kLlama3, 4, 2, 3, 33};
  m.attention.gate = {GateSource::kToken, GateGranularity::kChannel};
  m.ffn = {.kind = FfnKind::kGelu, .d_hidden = 55, .gelu = GeluKind::kTanh};
  return m;
}

std::string refusal(const auto& f) {
  try {
    f();
  } catch (const DataError& error) {
    CHECK(std::string_view(error.what()).find('\n') == std::string_view::npos);
    return error.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("a model's JSON gives back each key, and loses none that differs from its default", "[models][hf]") {
  const nlohmann::ordered_json json = model_json(unusual());
  const nlohmann::json parsed = nlohmann::json::parse(json.dump()),
                       usual = nlohmann::json::parse(model_json({}).dump());
  CHECK(model_json(model_of_json(parsed, "here")).dump() == json.dump());
  const nlohmann::json all = parsed.flatten(), defaults = usual.flatten();
  for (const auto& [key, value] : all.items()) {
    CAPTURE(key);
    CHECK((!defaults.contains(key) || defaults[key] != value));
  }
  CHECK_THAT(refusal([&] { model_of_json({{"d_modell", 3}}, "here"); }), StartsWith("here.d_modell: unknown key"));
  CHECK_THAT(refusal([&] {
               model_of_json({{"d_model", "3"}}, "here");
             }),
             StartsWith("here.d_model: \"3\", which is no"));
  CHECK_THAT(refusal([&] {
               model_of_json({{"norm", {{"kind", "batch"}}}}, "here");
             }),
             StartsWith("here.norm.kind: \"batch\""));
  CHECK_THAT(refusal([&] { model_of_json({{"norm", 3}}, "here"); }), StartsWith("here.norm: is no map"));
  CHECK_THAT(refusal([&] { model_of_json({{"n_layers", 0}}, "here"); }), StartsWith("here: model.n_layers: 0"));
}

TEST_CASE("a config.json of each class gives back the model, and any other model is a class of its own",
          "[models][hf]") {
  ModelConfig m;
  m.d_model = 96, m.n_layers = 3, m.context = 77, m.vocab_size = 501, m.init_std = 0.1, m.ffn.d_hidden = 128;
  m.attention.n_heads = 6, m.attention.d_head = 10, m.attention.rope_theta = 1234.5, m.norm.eps = 3e-6;
  m.tie_embeddings = GENERATE(false, true);
  if (GENERATE(false, true)) m.attention.n_kv_heads = 2;
  const auto scaling = GENERATE(RopeScalingKind::kNone, RopeScalingKind::kLinear, RopeScalingKind::kLlama3);
  if (scaling == RopeScalingKind::kLinear) m.attention.rope_scaling = {scaling, 4};
  if (scaling == RopeScalingKind::kLlama3) m.attention.rope_scaling = {scaling, 4, 2, 3, 33};
  const auto back = [](const ModelConfig& model) {
    const HfModel hf{
        .architecture = std::string(hf_architecture(model)), .model = model, .begin_of_text = 7, .end_of_text = {}};
    const HfModel again = read_hf_config(write_hf_config(hf, "float32").dump(), "config.json");
    CHECK(again.begin_of_text == 7);
    CHECK_FALSE(again.end_of_text);
    CHECK(model_json(again.model).dump() == model_json(model).dump());
    return again.architecture;
  };
  CHECK(back(m) == "LlamaForCausalLM");
  ModelConfig qwen2 = m, qwen3 = m, olmo2 = m;
  qwen2.attention.qkv_bias = true;
  CHECK(back(qwen2) == "Qwen2ForCausalLM");
  qwen3.norm.qk = QkNorm::kHead;
  CHECK(back(qwen3) == "Qwen3ForCausalLM");
  olmo2.norm.input = false, olmo2.norm.output = true, olmo2.norm.qk = QkNorm::kFull;
  CHECK(back(olmo2) == "Olmo2ForCausalLM");
  ModelConfig output_eps = olmo2;
  output_eps.norm.output_eps = 10 * olmo2.norm.eps;  // transformers' class has one eps
  CHECK(back(output_eps) == "SpikesinkForCausalLM");
  for (const auto change : std::initializer_list<void (*)(ModelConfig&)>{
           [](ModelConfig& c) { c.norm.kind = NormKind::kLayerNorm; },
           [](ModelConfig& c) { c.norm.kind = NormKind::kDynamicTanh; },
           [](ModelConfig& c) { c.norm.input = !c.norm.input; }, [](ModelConfig& c) { c.norm.output = !c.norm.output; },
           [](ModelConfig& c) { c.norm.final = false; }, [](ModelConfig& c) { c.ffn.kind = FfnKind::kGelu; },
           [](ModelConfig& c) { c.embedding_scale = EmbeddingScale::kLearned; },
           [](ModelConfig& c) { c.attention.gate.source = GateSource::kToken; }})
    for (ModelConfig changed : {m, qwen2, qwen3, olmo2}) {
      change(changed);
      CHECK(back(changed) == "SpikesinkForCausalLM");
    }
  qwen3.attention.qkv_bias = olmo2.attention.qkv_bias = true;
  CHECK(back(qwen3) == "SpikesinkForCausalLM");
  CHECK(back(olmo2) == "SpikesinkForCausalLM");
}

TEST_CASE("a config.json that says less than a class needs, or more than models here have, is refused by its key",
          "[models][hf]") {
  const nlohmann::json good = nlohmann::json::parse(R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 64,
    "intermediate_size": 100, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 128, "vocab_size": 99,
    "eos_token_id": [5, 6], "bos_token_id": null})");
  const HfModel read = read_hf_config(good.dump(), "c.json");
  CHECK(read.model.attention.d_head == 16);
  CHECK(read.model.norm.eps == 1e-6);
  CHECK(read.end_of_text == 5);
  CHECK_FALSE(read.begin_of_text);
  const auto with = [&](const nlohmann::json& changes) {
    nlohmann::json json = good;
    json.update(changes);
    return refusal([&] { read_hf_config(json.dump(), "c.json"); });
  };
  CHECK(with({{"rope_parameters", {{"rope_theta", 500.0}, {"rope_type", "default"}}}}) == "accepted");
  CHECK(with({{"architectures", {"Qwen2ForCausalLM"}}, {"use_sliding_window", true}, {"sliding_window", 128}}) ==
        "accepted");
  CHECK_THAT(with({{"architectures", {"Qwen2ForCausalLM"}}, {"use_sliding_window", true}, {"sliding_window", 127}}),
             StartsWith("c.json: use_sliding_window: attention in a sliding window"));
  nlohmann::json longer{{"architectures", {"Qwen2ForCausalLM"}}, {"use_sliding_window", true}};
  longer["max_position_embeddings"] = 4096;
  CHECK(with(longer) == "accepted");  // transformers' window, where none is named
  longer["max_position_embeddings"] = 4097;
  CHECK_THAT(with(longer), StartsWith("c.json: use_sliding_window: attention in a sliding window"));
  longer["sliding_window"] = nullptr;
  CHECK(with(longer) == "accepted");
  CHECK_THAT(with({{"layer_types", {{"a", "full_attention"}}}}), StartsWith("c.json: layer_types: is no list"));
  CHECK_THAT(with({{"rope_parameters", {{"full_attention", {{"rope_theta", 500.0}}}}}}),
             StartsWith("c.json: rope_parameters.full_attention: rotary positions that differ by layer"));
  CHECK_THAT(with({{"rope_scaling", {{"type", "dynamic"}, {"factor", 2.0}}}}),
             Contains("rope_scaling.rope_type: \"dynamic\" is none"));
  CHECK_THAT(with({{"rope_scaling", 3}}), Contains("rope_scaling: 3 is no object"));
  CHECK_THAT(with({{"num_experts", 8}}), Contains("num_experts: a mixture of experts"));
  CHECK_THAT(with({{"vocab_size", 1e9}}), Contains("vocab_size: 1000000000.0 is no whole number"));
  CHECK_THAT(with({{"vocab_size", std::int64_t{1} << 40}}),
             Contains("model.vocab_size: 1099511627776, must be at most"));
  CHECK_THAT(with({{"tie_word_embeddings", "yes"}}),
             Contains("tie_word_embeddings: \"yes\" is neither true nor false"));
  CHECK_THAT(with({{"architectures", {"GPT2LMHeadModel"}}}),
             Contains("\"GPT2LMHeadModel\" is none of LlamaForCausalLM"));
  CHECK_THAT(refusal([] { read_hf_config("[1]", "c.json"); }), StartsWith("c.json: is no JSON object"));
  CHECK_THAT(refusal([] { read_hf_config("{\"a\":", "c.json"); }), StartsWith("c.json: is no JSON object"));
}

}  // namespace spikesink
