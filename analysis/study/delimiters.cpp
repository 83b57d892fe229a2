#include "analysis/study/delimiters.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "analysis/study/distribution.h"
#include "analysis/study/passes.h"

namespace spikesink {
namespace {

/// Cosine of each row of the embedding with the scale.
std::vector<double> embedding_cosines(const Study& study, const Tensor& embedding, const std::vector<double>& scale) {
  const Tensor host = study.stream.on_host(embedding);
  const auto [V, C] = matrix_dims(host);
  std::vector<double> cosines(static_cast<std::size_t>(V));
  with_stored_dtype(host.dtype(), [&, V = V, C = C]<class T>() {
    const T* table = host.span<T>().data();
    for (std::int64_t v = 0; v < V; ++v) {
      double dot = 0, row = 0, other = 0;
      for (std::int64_t c = 0; c < C; ++c) {
        const auto x = static_cast<double>(table[v * C + c]);
        const double w = scale[static_cast<std::size_t>(c)];
        dot += x * w, row += x * x, other += w * w;
      }
      cosines[static_cast<std::size_t>(v)] = dot / std::sqrt(row * other);  // of a row of zeros NaN
    }
  });
  return cosines;
}

/// Sums of A[t,t] of one head: of delimiters, of others.
struct SelfAttention {
  std::array<double, 2> sum{};
};

class SelfObserver final : public StudyObserver {
 public:
  SelfObserver(const Study& study, const std::vector<std::int64_t>& is_delimiter)
      : study_(study), is_delimiter_(is_delimiter) {}
  void begin_pass(std::int64_t first, std::int64_t) override { first_ = first; }
  void attention(std::string_view path, const AttentionTap& tap) override {
    const auto& d = tap.dims;
    const auto [at, is_new] = index_.try_emplace(std::string(path), layers.size());
    if (is_new) layers.emplace_back(static_cast<std::size_t>(d.n_heads));
    const std::size_t layer = at->second;
    const Tensor qkv = study_.stream.on_host(tap.qkv);
    const auto lse = host_values(study_.stream, tap.lse);
    const Tensor starts = tap.starts ? study_.stream.on_host(tap.starts) : Tensor{};
    const std::int64_t T = d.length, W = d.qkv_width(), D = d.d_head, B = tap.lse.shape()[0];
    with_stored_dtype(qkv.dtype(), [&]<class Scalar>() {
      for (std::int64_t n = 0; n < B * T; ++n) {
        const std::int64_t t = n % T;
        if (t == (starts ? starts.data<std::int32_t>()[n] : 0)) continue;  // it sees itself only
        const bool delimiter = delimiter_at(first_ * T + n);
        if (layer == 0) ++counts[delimiter ? 0 : 1];
        const Scalar* row = qkv.span<Scalar>().data() + n * W;
        for (std::int64_t h = 0; h < d.n_heads; ++h) {
          const Scalar *q = row + h * D, *k = row + (d.n_heads + h / (d.n_heads / d.n_kv_heads)) * D;
          double dot = 0;
          for (std::int64_t i = 0; i < D; ++i) dot += static_cast<double>(q[i]) * static_cast<double>(k[i]);
          const double a = std::exp(d.scale * dot - lse[static_cast<std::size_t>((n / T * d.n_heads + h) * T + t)]);
          layers[layer][static_cast<std::size_t>(h)].sum[delimiter ? 0 : 1] += a;
        }
      }
    });
  }

  std::vector<std::vector<SelfAttention>> layers;  // by head
  std::array<double, 2> counts{};                  // tokens: delimiters, others

 private:
  bool delimiter_at(std::int64_t position) const {
    return is_delimiter_[static_cast<std::size_t>(study_.tokens[static_cast<std::size_t>(position)])] != 0;
  }

  const Study& study_;
  const std::vector<std::int64_t>& is_delimiter_;  // (V)
  std::map<std::string, std::size_t, std::less<>> index_;
  std::int64_t first_ = 0;
};

void write_cosines(const Study& study, const std::vector<std::int64_t>& is_delimiter, Results& results) {
  const Decoder& model = study.model;
  const std::string& norm = model.blocks().front().input_norm;
  const Tensor scale = norm.empty() ? Tensor{} : parameter(model, norm + ".weight");
  if (!scale) {
    results.summary["cosine"] = "left out: there is no input norm";
    return;
  }
  const Tensor embedding = parameter(model, "model.embed_tokens.weight");
  auto cosines = embedding_cosines(study, embedding, host_values(study.stream, scale));
  std::array<std::vector<double>, 2> of;
  for (std::size_t v = 0; v < cosines.size(); ++v)
    if (!std::isnan(cosines[v])) of[is_delimiter[v] ? 0 : 1].push_back(cosines[v]);
  results.summary["cosine"] = {{"delimiters", distribution(of[0])}, {"others", distribution(of[1])}};
  const auto V = std::ssize(cosines);
  results.array("cosine", std::move(cosines), {V}, "1",
                "(item): cosine of its embedding with the scale of the first block's input norm");
}

}  // namespace

bool is_delimiter(std::string_view text) {
  constexpr std::string_view kPunctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\n", kPieceSpace = "\xe2\x96\x81";
  bool any = false;
  while (!text.empty()) {
    if (text.starts_with(kPieceSpace)) {
      text.remove_prefix(kPieceSpace.size());
      continue;
    }
    const char c = text.front();
    text.remove_prefix(1);
    if (c == ' ' || c == '\t' || c == '\r') continue;
    if (kPunctuation.find(c) == kPunctuation.npos) return false;
    any = true;
  }
  return any;
}

void delimiters(const Study& study, Results& results) {
  if (!study.tokenizer) {
    results.summary = {{"left_out", "the model's tokenizer is not known, so neither are texts of tokens"}};
    return;
  }
  const std::int64_t V = study.model.config().vocab_size;
  std::vector<std::int64_t> of_items(static_cast<std::size_t>(V));
  for (std::int32_t v = 0; v < V; ++v)
    of_items[static_cast<std::size_t>(v)] = is_delimiter(study.tokenizer->decode({&v, 1}));
  SelfObserver observer(study, of_items);
  run_passes(study, observer);

  std::vector<double> attention;  // (L, H, 2)
  std::array<double, 2> early{};  // means over early layers and heads
  const auto L = std::ssize(observer.layers), H = std::ssize(observer.layers.front());
  const auto num_early = std::min<std::int64_t>(kEarlyLayers, L);
  for (std::int64_t l = 0; l < L; ++l)
    for (const SelfAttention& head : observer.layers[static_cast<std::size_t>(l)])
      for (std::size_t kind = 0; kind < 2; ++kind) {
        attention.push_back(head.sum[kind] / observer.counts[kind]);
        if (l < num_early) early[kind] += attention.back() / static_cast<double>(num_early * H);
      }
  results.summary = {{"items", std::ranges::count(of_items, 1)},
                     {"share_of_text", observer.counts[0] / (observer.counts[0] + observer.counts[1])},
                     {"early_layers", num_early},
                     {"self_attention", {{"delimiters", early[0]}, {"others", early[1]}}}};
  write_cosines(study, of_items, results);
  results.array("is_delimiter", std::move(of_items), {V}, "1", "(item): 1 for delimiters, else 0");
  results.array("self_attention", std::move(attention), {L, H, 2}, "1",
                "(layer, head, kind): A[t,t] of delimiters (0) and others (1), mean over tokens that are not the first "
                "of their sequence or document");
}

}  // namespace spikesink
