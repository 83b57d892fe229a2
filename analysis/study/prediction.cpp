#include "analysis/study/prediction.h"

#include <cmath>
#include <limits>
#include <map>

#include "analysis/study/amplifier.h"
#include "analysis/study/products.h"

namespace spikesink {
namespace {

class FfnObserver final : public StudyObserver {
 public:
  FfnObserver(const Study& study, const std::vector<char>& is_spike, std::vector<Predictor>& predictors)
      : length_(study.length), is_spike_(is_spike) {
    const auto& blocks = study.model.blocks();
    for (Predictor& predictor : predictors) {
      const BlockPaths& block = blocks[predictor.block()];
      Ffn& ffn = ffns_[block.branch];
      ffn.predictor = &predictor;
      inputs_[block.input_norm.empty() ? blocks[predictor.block() - 1].residual : block.input_norm] = &ffn;
    }
  }
  void begin_pass(std::int64_t first, std::int64_t) override { first_ = first * length_; }
  void swiglu(std::string_view path, const SwiGluTap& tap) override { ffns_.find(path)->second.gate_up = tap.gate_up; }
  void activation(std::string_view path, const Tensor& value) override {
    if (const auto at = inputs_.find(path); at != inputs_.end()) at->second->input = value;
    const auto at = ffns_.find(path);
    if (at == ffns_.end()) return;
    Ffn& ffn = at->second;
    ffn.predictor->add(ffn.input, ffn.gate_up, value, is_spike_.data() + first_);
    ffn.input = ffn.gate_up = Tensor{};
  }

 private:
  struct Ffn {
    Predictor* predictor = nullptr;
    Tensor input, gate_up;
  };
  std::int64_t length_, first_ = 0;
  const std::vector<char>& is_spike_;
  std::map<std::string, Ffn, std::less<>> ffns_;     // by path of the FFN
  std::map<std::string, Ffn*, std::less<>> inputs_;  // by path of what it reads
};

}  // namespace

Predictor::Predictor(const Study& study, std::size_t block, const std::vector<std::int64_t>& channels,
                     const std::vector<Eigenpairs>& pairs)
    : stream_(study.stream), block_(block), channels_(channels), sums_(channels.size()) {
  const Amplifier amplifier(study, block);
  const DType dtype =
      acc_dtype(parameter(study.model, study.model.blocks()[block].branch + ".down_proj.weight").dtype());
  const auto n = std::ssize(channels), C = std::ssize(amplifier.scale());
  std::vector<double> down, directions;
  for (std::size_t i = 0; i < channels.size(); ++i) {
    const auto row = amplifier.down(channels[i]);
    down.insert(down.end(), row.begin(), row.end());
    // Where the scale is 0, so is s*.
    for (std::size_t c = 0; c < static_cast<std::size_t>(C); ++c)
      directions.push_back(amplifier.scale()[c] == 0 ? 0 : pairs[i].vectors[0][c] / amplifier.scale()[c]);
    eigenvalues_.push_back(pairs[i].values[0]);
  }
  down_ = to_device(stream_, down, {n, std::ssize(down) / n}, dtype);
  directions_ = to_device(stream_, directions, {n, C}, dtype);
}

void Predictor::Sums::add(const Sums& o) {
  count += o.count;
  p += o.p, t += o.t, pp += o.pp, tt += o.tt, pt += o.pt;
}

void Predictor::add(const Tensor& input, const Tensor& gate_up, const Tensor& output, const char* is_spike) {
  const auto [N, C] = matrix_dims(output);
  const std::int64_t F = matrix_dims(gate_up).cols / 2;
  const auto values = host_values(stream_, gate_up), outputs = host_values(stream_, output);
  std::vector<double> hidden;
  hidden.reserve(static_cast<std::size_t>(N * F));
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t i = 0; i < F; ++i)
      hidden.push_back(values[static_cast<std::size_t>(2 * n * F + i)] *
                       values[static_cast<std::size_t>((2 * n + 1) * F + i)]);
  const auto forms = product(stream_, hidden, down_),  // (N, n)
      along = product(stream_, host_values(stream_, input), directions_);
  for (std::size_t n = 0; n < static_cast<std::size_t>(N); ++n)
    for (std::size_t i = 0; i < channels_.size(); ++i) {
      const std::size_t at = n * channels_.size() + i;
      const double t = outputs[n * static_cast<std::size_t>(C) + static_cast<std::size_t>(channels_[i])];
      const double predictions[] = {forms[at], eigenvalues_[i] * along[at] * along[at]};
      for (std::size_t kind = 0; kind < 2; ++kind) {
        const double p = predictions[kind];
        sums_[i][kind][is_spike[n] ? kSpike : kOther].add(
            {.count = 1, .p = p, .t = t, .pp = p * p, .tt = t * t, .pt = p * t});
      }
    }
}

Predictor::Fit Predictor::fit(std::size_t channel, Kind kind, Class of) const {
  const auto& both = sums_[channel][kind];
  Sums s;
  if (of != kOther) s.add(both[kSpike]);
  if (of != kSpike) s.add(both[kOther]);
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  const double spread = (s.count * s.pp - s.p * s.p) * (s.count * s.tt - s.t * s.t);
  return {.correlation = spread > 0 ? (s.count * s.pt - s.p * s.t) / std::sqrt(spread) : kNone,
          .error = s.tt > 0 ? std::sqrt(std::max(s.pp - 2 * s.pt + s.tt, 0.0) / s.tt) : kNone};
}

nlohmann::ordered_json Predictor::summary(std::size_t channel, Kind kind) const {
  return {{"correlation", fit(channel, kind, kAll).correlation},
          {"error_of_spike_tokens", fit(channel, kind, kSpike).error},
          {"error_of_others", fit(channel, kind, kOther).error}};
}

void predict(const Study& study, const std::vector<char>& is_spike, std::vector<Predictor>& predictors, double from,
             double to) {
  FfnObserver observer(study, is_spike, predictors);
  run_passes(study, observer, from, to);
}

void write_predictions(const std::vector<Predictor>& predictors, Results& results) {
  std::vector<double> correlation, error;
  for (const Predictor& predictor : predictors)
    for (std::size_t i = 0; i < predictor.num_channels(); ++i)
      for (const auto kind : {Predictor::kForm, Predictor::kLeading})
        for (const auto of : {Predictor::kSpike, Predictor::kOther, Predictor::kAll}) {
          const Predictor::Fit fit = predictor.fit(i, kind, of);
          correlation.push_back(fit.correlation);
          error.push_back(fit.error);
        }
  const std::vector<std::int64_t> dims{std::ssize(predictors), static_cast<std::int64_t>(predictors[0].num_channels()),
                                       2, 3};
  const std::string of =
      "of x^T S_k x (0) and lambda* (s*.x)^2 (1) with the FFN's output in the channel, over spike "
      "tokens (0), others (1) and all (2)";
  results.array("correlation", std::move(correlation), dims, "1", "(FFN, looked at, kind, class): correlation " + of);
  results.array("error", std::move(error), dims, "1",
                "(FFN, looked at, kind, class): relative error sqrt(sum (p - t)^2 / sum t^2) " + of);
}

}  // namespace spikesink
