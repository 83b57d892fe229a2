#include "analysis/study/silu.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>

#include "analysis/study/distribution.h"
#include "analysis/study/passes.h"
#include "analysis/study/spike_places.h"

namespace spikesink {
namespace {

/// Mean and deviation of a number over tokens.
struct Moments {
  double sum = 0, squares = 0, count = 0;
  void add(double value) {
    sum += value;
    squares += value * value;
    ++count;
  }
  double mean() const { return count > 0 ? sum / count : std::numeric_limits<double>::quiet_NaN(); }
  double deviation() const { return std::sqrt(std::max(squares / count - mean() * mean(), 0.0)); }
};

struct GatedBlock {
  std::int64_t number = 0;  // 1-based
  std::array<Moments, kClasses> cosine, ratio;
};

class SiluObserver final : public StudyObserver {
 public:
  SiluObserver(const Study& study, const SpikePlaces& places) : study_(study), places_(places) {
    for (std::int64_t b = 0; const BlockPaths& block : study.model.blocks()) index_[block.branch] = ++b;
  }
  void begin_pass(std::int64_t first, std::int64_t) override { first_ = first; }
  void swiglu(std::string_view path, const SwiGluTap& tap) override {
    const auto [N, F2] = matrix_dims(tap.gate_up);
    GatedBlock& block = blocks[index_.find(path)->second];
    const Tensor host = study_.stream.on_host(tap.gate_up);
    with_stored_dtype(host.dtype(), [&, N = N, F2 = F2]<class T>() {
      for (std::int64_t n = 0; n < N; ++n) {
        const T* gate = host.data<T>() + n * F2;
        double gg = 0, gs = 0, ss = 0;
        for (std::int64_t f = 0; f < F2 / 2; ++f) {
          const auto g = static_cast<double>(gate[f]), s = g / (1 + std::exp(-g));
          gg += g * g;
          gs += g * s;
          ss += s * s;
        }
        if (!(gg > 0) || !(ss > 0)) continue;  // no direction
        const bool spike = places_.is_spike[static_cast<std::size_t>(first_ * study_.length + n)] != 0;
        block.cosine[spike ? kSpike : kOther].add(gs / std::sqrt(gg * ss));
        block.ratio[spike ? kSpike : kOther].add(std::sqrt(ss / gg));
      }
    });
  }

  std::map<std::int64_t, GatedBlock> blocks;  // by number

 private:
  const Study& study_;
  const SpikePlaces& places_;
  std::map<std::string, std::int64_t, std::less<>> index_;  // path -> number
  std::int64_t first_ = 0;
};

}  // namespace

std::string silu_not_for(const ModelConfig& config) {
  if (config.ffn.kind == FfnKind::kSwiGlu) return "";
  return "the model's FFN is " + std::string(names_of(config.ffn.kind)[static_cast<std::size_t>(config.ffn.kind)]) +
         ", which has no SiLU";
}

void silu_identity(const Study& study, Results& results) {
  const SpikePlaces& places = spike_places(study);
  SiluObserver observer(study, places);
  run_passes(study, observer);

  std::vector<std::int64_t> numbers;
  const auto rows = std::ssize(observer.blocks);
  const auto array = [&](const char* name, auto value, const char* meaning) {
    std::vector<double> values;
    for (const auto& [number, block] : observer.blocks)
      for (std::size_t c = 0; c < kClasses; ++c) values.push_back(value(block, c));
    results.array(name, std::move(values), {rows, kClasses}, "1",
                  std::string("(FFN block, class): ") + meaning + "; class 0: spike tokens, 1: others");
  };
  for (const auto& [number, block] : observer.blocks) numbers.push_back(number);
  results.array("block", numbers, {rows}, "1", "(FFN block): its number among the 2 L blocks, 1-based");
  array(
      "cosine", [](const GatedBlock& b, std::size_t c) { return b.cosine[c].mean(); },
      "cosine of silu(gate) and gate, mean over tokens");
  array(
      "cosine_deviation", [](const GatedBlock& b, std::size_t c) { return b.cosine[c].deviation(); },
      "standard deviation of that cosine");
  array(
      "norm_ratio", [](const GatedBlock& b, std::size_t c) { return b.ratio[c].mean(); },
      "|silu(gate)| / |gate|, mean over tokens");
  array(
      "norm_ratio_deviation", [](const GatedBlock& b, std::size_t c) { return b.ratio[c].deviation(); },
      "standard deviation of that ratio");

  const std::int64_t spikes = places.num_spikes();
  results.summary = {{"spike_tokens", spikes}, {"other_tokens", std::ssize(places.is_spike) - spikes}};
  const auto summary = [&](const char* name, auto in) {
    std::array<std::vector<double>, kClasses> cosines, ratios;
    std::vector<std::int64_t> taken;
    for (const auto& [number, block] : observer.blocks) {
      if (!in(number)) continue;
      taken.push_back(number);
      for (std::size_t c = 0; c < kClasses; ++c) {
        cosines[c].push_back(block.cosine[c].mean());
        ratios[c].push_back(block.ratio[c].mean());
      }
    }
    results.summary[name] = {{"ffn_blocks", taken},
                             {"cosine_spike", mean_of(cosines[kSpike])},
                             {"cosine_other", mean_of(cosines[kOther])},
                             {"norm_ratio_spike", mean_of(ratios[kSpike])},
                             {"norm_ratio_other", mean_of(ratios[kOther])}};
  };
  const auto among = [](const std::vector<std::int64_t>& blocks) {
    return [&blocks](std::int64_t number) { return std::ranges::find(blocks, number) != blocks.end(); };
  };
  summary("step_up", among(places.step_up));
  summary("step_down", among(places.step_down));
  summary("all_blocks", [](std::int64_t) { return true; });
}

}  // namespace spikesink
