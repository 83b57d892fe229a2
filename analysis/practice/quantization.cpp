#include "analysis/practice/quantization.h"

#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "analysis/practice/quantizer.h"
#include "analysis/practice/text.h"
#include "analysis/study/passes.h"
#include "analysis/study/spike_places.h"

namespace spikesink {
namespace {

/// Keeps the residual stream after every block of one pass.
class Residuals : public Observer {
 public:
  explicit Residuals(const Study& study) : study_(study), blocks_(study.model.blocks().size()) {
    for (std::size_t b = 0; b < blocks_.size(); ++b) index_[study.model.blocks()[b].residual] = b;
  }
  void activation(std::string_view path, const Tensor& value) override {
    if (const auto at = index_.find(path); at != index_.end()) take(at->second, host_values(study_.stream, value));
  }
  const std::vector<double>& block(std::size_t b) const { return blocks_[b]; }

 protected:
  virtual void take(std::size_t block, std::vector<double> values) { blocks_[block] = std::move(values); }
  const Study& study_;

 private:
  std::map<std::string, std::size_t, std::less<>> index_;
  std::vector<std::vector<double>> blocks_;
};

/// Compares them with those of another pass over the same sequences.
class Errors final : public Residuals {
 public:
  Errors(const Study& study, const Residuals& exact, const SpikePlaces& places)
      : Residuals(study), sums_(study.model.blocks().size()), exact_(exact), places_(places) {}
  void begin_pass(std::int64_t first) { first_ = first; }

  struct Sums {
    double spikes = 0, others = 0;
  };
  const std::vector<Sums>& sums() const { return sums_; }

 private:
  void take(std::size_t block, std::vector<double> values) override {
    const std::vector<double>& exact = exact_.block(block);
    const auto C = static_cast<std::size_t>(study_.model.config().d_model);
    for (std::size_t n = 0; n < values.size() / C; ++n) {
      double apart = 0, length = 0;
      for (std::size_t i = n * C; i < (n + 1) * C; ++i) {
        apart += (values[i] - exact[i]) * (values[i] - exact[i]);
        length += exact[i] * exact[i];
      }
      const bool is_spike = places_.is_spike[static_cast<std::size_t>(first_ * study_.length) + n] != 0;
      (is_spike ? sums_[block].spikes : sums_[block].others) += apart > 0 ? std::sqrt(apart / length) : 0;
    }
  }

  std::vector<Sums> sums_;
  const Residuals& exact_;
  const SpikePlaces& places_;
  std::int64_t first_ = 0;
};

}  // namespace

void quantization(const Study& study, Results& results) {
  const SpikePlaces& places = spike_places(study);
  const auto schemes = static_cast<std::int64_t>(kSchemes.size()), blocks = std::ssize(study.model.blocks());
  const StudyText text(study, 1 + schemes);
  Residuals exact(study);
  std::vector<Quantizer> quantizers;
  std::vector<Errors> errors;
  for (const QuantizationScheme& scheme : kSchemes) {
    quantizers.emplace_back(study.stream, scheme, study.length);
    errors.emplace_back(study, exact, places);
  }
  text.foretell("quantization", {.intervention = &quantizers.front()});

  const auto predicted = static_cast<double>(study.sequences() * (study.length - 1));
  std::vector<double> loss(1 + kSchemes.size());
  for (std::int64_t p = 0; p < text.num_passes(); ++p) {
    const auto add = [&](double& to, const StudyText::Changes& changes) {
      const auto losses = text.pass(p, changes);
      to += std::accumulate(losses.begin(), losses.end(), 0.0) / predicted;
    };
    add(loss[0], {.observer = &exact});
    for (std::size_t i = 0; i < kSchemes.size(); ++i) {
      errors[i].begin_pass(p * study.micro_batch);
      add(loss[i + 1], {.intervention = &quantizers[i], .observer = &errors[i]});
    }
  }

  const auto tokens = static_cast<double>(study.tokens.size()), spikes = static_cast<double>(places.num_spikes());
  std::vector<double> of_all, of_spikes, of_others, perplexity;
  for (const double value : loss) perplexity.push_back(std::exp(value));
  for (const Errors& error : errors)
    for (const auto& sums : error.sums()) {
      of_all.push_back((sums.spikes + sums.others) / tokens);
      of_spikes.push_back(sums.spikes / spikes);
      of_others.push_back(sums.others / (tokens - spikes));
    }
  std::string names = "as it is";
  for (const auto& scheme : kSchemes) names += ", " + std::string(scheme.name);
  results.array("loss", loss, {1 + schemes}, "nats", "(scheme): mean loss a token; schemes: " + names);
  results.array("perplexity", perplexity, {1 + schemes}, "1", "(scheme): exp of the loss");
  const auto by_block = [&](const char* name, std::vector<double> values, const std::string& of) {
    results.array(name, std::move(values), {schemes, blocks}, "1",
                  "(scheme, block): |h' - h| / |h| of the residual stream after a block, h without quantisation; mean "
                  "over " +
                      of + "; the schemes of `loss` but the first");
  };
  by_block("error", of_all, "tokens");
  if (spikes > 0) by_block("error_spike_tokens", of_spikes, "spike tokens");
  if (spikes > 0 && spikes < tokens) by_block("error_other_tokens", of_others, "the other tokens");

  results.summary["loss"] = loss[0];
  results.summary["perplexity"] = perplexity[0];
  results.summary["spike_tokens"] = places.num_spikes();
  for (std::size_t i = 0; i < kSchemes.size(); ++i) {
    const auto last = static_cast<std::size_t>(blocks) * (i + 1) - 1;
    auto& row = results.summary[std::string(kSchemes[i].name)];
    row = {
        {"perplexity", perplexity[i + 1]}, {"added_loss", loss[i + 1] - loss[0]}, {"last_block_error", of_all[last]}};
    if (spikes > 0) row["last_block_error_spike_tokens"] = of_spikes[last];
  }
  // What one scale a tensor costs over a scale a token: 0 where no token needs a larger one than the others.
  results.summary["shared_scale_cost"] = loss[1] - loss[2];
}

}  // namespace spikesink
