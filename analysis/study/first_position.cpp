#include "analysis/study/first_position.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <span>

#include "analysis/study/amplifier.h"
#include "analysis/study/distribution.h"
#include "analysis/study/passes.h"
#include "analysis/study/products.h"
#include "analysis/study/quadratic.h"

namespace spikesink {
namespace {

using Row = std::span<const double>;

double length_of(Row x) { return std::sqrt(std::inner_product(x.begin(), x.end(), x.begin(), 0.0)); }
double cosine(Row x, Row y) {
  return std::abs(std::inner_product(x.begin(), x.end(), y.begin(), 0.0)) / (length_of(x) * length_of(y));
}

/// W_VO of one layer of attention, by products.
class ValueOutput {
 public:
  ValueOutput(const Study& study, const std::string& path)
      : stream_(study.stream),
        heads_(study.model.config().attention.n_heads),
        kv_heads_(study.model.config().attention.kv_heads()),
        d_head_(study.model.config().attention.d_head),
        value_(scaled_columns(stream_, parameter(study.model, path + ".v_proj.weight"), {})),
        output_(scaled_columns(stream_, parameter(study.model, path + ".o_proj.weight"), {})),
        value_t_(transposed(stream_, value_)),
        output_t_(transposed(stream_, output_)) {
    if (const Tensor bias = parameter(study.model, path + ".v_proj.bias")) bias_ = host_values(stream_, bias);
  }

  /// W_VO x of each row of x (n, C).
  std::vector<double> times(const std::vector<double>& x) const { return output(product(stream_, x, value_), {}); }
  /// What attention writes at position 1, where it reads x (n, C): with biases of the values, and a gate (n, H D) on
  /// the heads unless that is empty.
  std::vector<double> written(const std::vector<double>& x, const std::vector<double>& gate) const {
    auto values = product(stream_, x, value_);
    for (std::size_t i = 0; i < values.size() && !bias_.empty(); ++i) values[i] += bias_[i % bias_.size()];
    return output(values, gate);
  }
  /// W_VO^T x.
  std::vector<double> transposed_times(const std::vector<double>& x) const {
    const auto heads = product(stream_, x, output_t_);  // (n, H D)
    const std::int64_t n = std::ssize(heads) / (heads_ * d_head_);
    std::vector<double> values(static_cast<std::size_t>(n * kv_heads_ * d_head_));
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t h = 0; h < heads_; ++h)
        for (std::int64_t c = 0; c < d_head_; ++c)
          values[value_at(i, h, c)] += heads[static_cast<std::size_t>((i * heads_ + h) * d_head_ + c)];
    return product(stream_, values, value_t_);
  }

  struct Singular {
    std::vector<double> values;
    std::vector<std::vector<double>> left, right;
  };
  Singular leading() const {
    const std::int64_t C = matrix_dims(value_).cols;
    constexpr std::int64_t kProducts = 128;  // products at most
    const auto squares = [&](const std::vector<double>& x, std::vector<double>& y) { y = transposed_times(times(x)); };
    Eigenpairs pairs = leading_eigenpairs(squares, 1, C, std::min(kSingularValues, C), kProducts)[0];
    Singular out;
    for (std::size_t i = 0; i < pairs.values.size(); ++i) {
      out.values.push_back(std::sqrt(std::max(pairs.values[i], 0.0)));
      out.left.push_back(times(pairs.vectors[i]));
      for (double& x : out.left.back()) x = out.values.back() > 0 ? x / out.values.back() : 0;
      out.right.push_back(std::move(pairs.vectors[i]));
    }
    out.values.resize(static_cast<std::size_t>(std::min(kSingularValues, C)));  // of a low rank fewer are found
    out.left.resize(out.values.size(), std::vector<double>(static_cast<std::size_t>(C)));
    return out;
  }

 private:
  /// o_proj of the heads that values (n, K D) make.
  std::vector<double> output(const std::vector<double>& values, const std::vector<double>& gate) const {
    const std::int64_t n = std::ssize(values) / (kv_heads_ * d_head_);
    std::vector<double> heads;  // (n, H D)
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t h = 0; h < heads_; ++h)
        for (std::int64_t c = 0; c < d_head_; ++c) heads.push_back(values[value_at(i, h, c)]);
    for (std::size_t i = 0; i < gate.size(); ++i) heads[i] *= gate[i];
    return product(stream_, heads, output_);
  }
  /// Of query head h's value, channel c, row i.
  std::size_t value_at(std::int64_t i, std::int64_t h, std::int64_t c) const {
    return static_cast<std::size_t>((i * kv_heads_ + h / (heads_ / kv_heads_)) * d_head_ + c);
  }

  const Stream& stream_;
  std::int64_t heads_, kv_heads_, d_head_;
  std::vector<double> bias_;                    // (K D), or none
  Tensor value_, output_, value_t_, output_t_;  // (K D, C), (C, H D) and their transposes
};

/// A mean at position 1 and one at the others.
struct Alignment {
  std::array<double, 2> sum{}, count{};
  void add(bool first, double value) { sum[first ? 0 : 1] += value, ++count[first ? 0 : 1]; }
  double mean(std::size_t kind) const { return sum[kind] / count[kind]; }
};

struct AlignedLayer {
  std::string input, branch, added, residual;  // paths
  ValueOutput map;
  ValueOutput::Singular singular;
  std::vector<double> gate;  // (B, H D) at position 1, of the running pass
  std::vector<double> read, out;
  double error = 0;
  Alignment outputs;
};

class FirstObserver final : public StudyObserver {
 public:
  FirstObserver(const Study& study, std::vector<AlignedLayer>& layers, const std::vector<double>& s)
      : streams(study.model.blocks().size()), study_(study), s_(s) {
    for (AlignedLayer& layer : layers) layers_[layer.branch] = &layer;
    for (std::size_t b = 0; b < streams.size(); ++b) residuals_[study.model.blocks()[b].residual] = b;
  }
  void begin_pass(std::int64_t, std::int64_t count) override { count_ = count; }
  void gate(std::string_view path, const GateTap& tap) override {
    const auto at = layers_.find(path.substr(0, path.rfind('.')));
    const auto values = host_values(study_.stream, tap.logits);
    const std::int64_t D = study_.model.config().attention.d_head, H = tap.n_heads, G = matrix_dims(tap.logits).cols;
    at->second->gate.clear();
    for (std::int64_t b = 0; b < count_; ++b)
      for (std::int64_t c = 0; c < H * D; ++c) {
        const std::int64_t row = tap.rows == kernels::GateRows::kToken ? b * tap.length : 0;
        const std::int64_t column = G == H * D ? c : G == H ? c / D : 0;
        at->second->gate.push_back(1 / (1 + std::exp(-values[static_cast<std::size_t>(row * G + column)])));
      }
  }
  void activation(std::string_view path, const Tensor& value) override {
    for (const auto& [branch, layer] : layers_) {
      if (path == layer->input) layer->read = firsts(value);
      if (path == branch) {
        layer->out = firsts(value);
        align(layer->outputs, value);
      }
      // Without input norm the block reads the residual stream, from which `added` is taken again.
      if (layer->input.empty() && path == layer->added) added_ = firsts(value);
      if (path == layer->residual) {
        if (layer->input.empty()) {
          layer->read = firsts(value);
          for (std::size_t i = 0; i < added_.size(); ++i) layer->read[i] -= added_[i];
        }
        compare(*layer);
      }
    }
    if (const auto at = residuals_.find(path); at != residuals_.end()) align(streams[at->second], value);
  }

  std::vector<Alignment> streams;  // (2 L)

 private:
  /// The rows of position 1.
  std::vector<double> firsts(const Tensor& value) const {
    std::vector<double> rows;
    for (std::int64_t b = 0; b < count_; ++b)
      for (const double x : host_row(study_.stream, value, b * study_.length)) rows.push_back(x);
    return rows;
  }
  void align(Alignment& alignment, const Tensor& value) const {
    if (s_.empty()) return;
    const auto values = host_values(study_.stream, value);
    for (std::size_t n = 0; n < values.size() / s_.size(); ++n) {
      const Row x(values.data() + n * s_.size(), s_.size());
      if (length_of(x) > 0) alignment.add(n % static_cast<std::size_t>(study_.length) == 0, cosine(x, s_));
    }
  }
  void compare(AlignedLayer& layer) const {
    auto expected = layer.map.written(layer.read, layer.gate);
    const std::size_t C = expected.size() / static_cast<std::size_t>(count_);
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] -= layer.out[i];
    for (std::size_t b = 0; b < static_cast<std::size_t>(count_); ++b) {
      const double size = length_of({layer.out.data() + b * C, C});
      if (size > 0) layer.error = std::max(layer.error, length_of({expected.data() + b * C, C}) / size);
    }
  }

  const Study& study_;
  const std::vector<double>& s_;
  std::map<std::string, AlignedLayer*, std::less<>> layers_;  // by path of the branch
  std::map<std::string, std::size_t, std::less<>> residuals_;
  std::vector<double> added_;
  std::int64_t count_ = 0;
};

void write_alignments(const std::vector<AlignedLayer>& layers, const std::vector<Alignment>& streams,
                      const LeadingDirection& lead, Results& results) {
  std::vector<double> vectors, outputs, residual;
  std::array<std::vector<double>, 2> before;  // outputs of layers before the block of s*
  for (std::size_t l = 0; l < layers.size(); ++l) {
    for (const auto& left : layers[l].singular.left) vectors.push_back(cosine(left, lead.s));
    for (std::size_t kind = 0; kind < 2; ++kind) {
      outputs.push_back(layers[l].outputs.mean(kind));
      if (static_cast<std::int64_t>(2 * l) < lead.block) before[kind].push_back(outputs.back());
    }
  }
  for (const Alignment& of : streams)
    for (std::size_t kind = 0; kind < 2; ++kind) residual.push_back(of.mean(kind));
  const auto A = std::ssize(layers), blocks = std::ssize(streams);
  results.summary["block"] = lead.block;
  results.summary["channel"] = lead.channel;
  results.summary["alignment_of_outputs"] = {{"first", mean_of(before[0])}, {"others", mean_of(before[1])}};
  const auto& read = streams[static_cast<std::size_t>(lead.block - 2)];
  results.summary["alignment_of_stream"] = {{"first", read.mean(0)}, {"others", read.mean(1)}};
  results.array("left_alignment", vectors, {A, std::ssize(vectors) / A}, "1",
                "(attention, rank): |cosine| of s* with the left singular vectors");
  results.array("output_alignment", outputs, {A, 2}, "1",
                "(attention, place): |cosine| of s* with the layer's output, mean over tokens at position 1 (0) and at "
                "others (1)");
  results.array("stream_alignment", residual, {blocks, 2}, "1",
                "(block, place): the same of the residual stream after the block");
}

}  // namespace

void first_position(const Study& study, Results& results) {
  const ModelConfig& config = study.model.config();
  const std::string without = amplifier_not_for(config);
  LeadingDirection lead;
  if (without.empty()) lead = leading_direction(study);

  const auto is_attention = [&](const BlockPaths& block) {
    return static_cast<bool>(parameter(study.model, block.branch + ".o_proj.weight"));
  };
  const auto num_attentions = std::ranges::count_if(study.model.blocks(), is_attention);
  std::vector<AlignedLayer> layers;
  for (const BlockPaths& block : study.model.blocks()) {
    if (!is_attention(block)) continue;
    ValueOutput map(study, block.branch);
    auto singular = map.leading();
    layers.push_back({.input = block.input_norm,
                      .branch = block.branch,
                      .added = block.added,
                      .residual = block.residual,
                      .map = std::move(map),
                      .singular = std::move(singular),
                      .gate = {},
                      .read = {},
                      .out = {},
                      .outputs = {}});
    study.progress(0.6 * static_cast<double>(std::ssize(layers)) / static_cast<double>(num_attentions));
  }
  FirstObserver observer(study, layers, lead.s);
  run_passes(study, observer, 0.6, 1);

  std::vector<double> singular, left, right, error;
  for (const AlignedLayer& layer : layers) {
    const auto& found = layer.singular;
    singular.insert(singular.end(), found.values.begin(), found.values.end());
    left.insert(left.end(), found.left[0].begin(), found.left[0].end());
    right.insert(right.end(), found.right[0].begin(), found.right[0].end());
    error.push_back(layer.error);
  }
  const auto A = std::ssize(layers);
  results.summary = {{"error", *std::ranges::max_element(error)}};
  results.array("singular_values", std::move(singular), {A, std::min(kSingularValues, config.d_model)}, "1",
                "(attention, rank): of W_VO, falling");
  results.array("left", std::move(left), {A, config.d_model}, "1",
                "(attention, channel): left singular vector of the largest: what W_VO writes most of");
  results.array("right", std::move(right), {A, config.d_model}, "1",
                "(attention, channel): right singular vector of the largest: what it reads, after the norm and its "
                "scale");
  results.array("error", std::move(error), {A}, "1",
                "(attention): |output - W_VO y| / |output| at position 1, largest of the sequences: a check");
  if (without.empty())
    write_alignments(layers, observer.streams, lead, results);
  else
    results.summary["alignment"] = "left out: " + without;
}

}  // namespace spikesink
