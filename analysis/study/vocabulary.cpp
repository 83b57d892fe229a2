#include "analysis/study/vocabulary.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "analysis/spikes.h"
#include "analysis/study/distribution.h"
#include "analysis/study/passes.h"
#include "kernels/core/parallel.h"

namespace spikesink {
namespace {

/// The lower median, as kernels::magnitudes has it.
template <class T>
double lower_median_magnitude(const T* x, std::int64_t C) {
  std::vector<double> magnitudes(x, x + C);
  for (double& value : magnitudes) value = std::abs(value);
  const auto middle = magnitudes.begin() + (C - 1) / 2;
  std::ranges::nth_element(magnitudes, middle);
  return *middle;
}

/// Largest |h| of each item after each block. Most items need no median: those below spike.abs.
class ItemObserver final : public StudyObserver {
 public:
  explicit ItemObserver(const Study& study) : study_(study), cpu_(Stream::cpu()) {
    const auto V = static_cast<std::size_t>(study.model.config().vocab_size);
    for (const BlockPaths& block : study.model.blocks()) paths_[block.residual] = maxima.size(), maxima.emplace_back(V);
    is_spike.resize(V);
  }
  void begin_pass(std::int64_t first, std::int64_t) override { first_ = first; }
  void activation(std::string_view path, const Tensor& value) override {
    const auto at = paths_.find(path);
    if (at == paths_.end()) return;
    const Tensor host = study_.stream.on_host(value);
    const auto [N, C] = matrix_dims(host);
    auto& block = maxima[at->second];
    with_stored_dtype(host.dtype(), [&, N = N, C = C]<class T>() {
      kernels::cpu::parallel_ranges(cpu_, N, 16, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t n = begin; n < end; ++n) {
          const T* x = host.span<T>().data() + n * C;
          double largest = 0;
          for (std::int64_t c = 0; c < C; ++c)
            largest = std::max(largest, std::abs(static_cast<double>(x[c])), is_below);
          const auto item = static_cast<std::size_t>(first_ + n);
          block[item] = static_cast<float>(largest);
          if (largest > study_.spike.abs && largest > study_.spike.bound(lower_median_magnitude(x, C)))
            is_spike[item] = 1;
        }
      });
    });
  }

  std::vector<std::vector<float>> maxima;  // (2 L, V)
  std::vector<std::int64_t> is_spike;      // (V)

 private:
  const Study& study_;
  Stream cpu_;
  std::map<std::string, std::size_t, std::less<>> paths_;
  std::int64_t first_ = 0;
};

}  // namespace

void vocabulary(const Study& study, Results& results) {
  const std::int64_t V = study.model.config().vocab_size;
  std::vector<std::int32_t> items(static_cast<std::size_t>(V));
  std::iota(items.begin(), items.end(), 0);
  ItemObserver observer(study);
  run_passes(study, items, 1, observer);

  std::vector<double> largest(items.size()), by_block;
  std::vector<std::int64_t> block_of(items.size());
  constexpr const char* kFigures[] = {"mean", "min", "q1", "median", "q3", "max"};
  for (std::size_t b = 0; b < observer.maxima.size(); ++b) {
    const auto& maxima = observer.maxima[b];
    for (std::size_t v = 0; v < maxima.size(); ++v) {
      if (b > 0 && !is_below(largest[v], static_cast<double>(maxima[v]))) continue;
      largest[v] = static_cast<double>(maxima[v]);
      block_of[v] = static_cast<std::int64_t>(b) + 1;
    }
    const auto of_block = distribution({maxima.begin(), maxima.end()});
    for (const char* figure : kFigures) by_block.push_back(of_block.at(figure).get<double>());
  }
  const auto spikes = std::ranges::count(observer.is_spike, 1);
  const auto blocks = std::ssize(observer.maxima);
  const auto share = static_cast<double>(spikes) / static_cast<double>(V);
  results.summary = {{"items", V}, {"spike_tokens", spikes}, {"spike_share", share}, {"max", distribution(largest)}};
  results.array("max", largest, {V}, "activation", "(item): largest |h| after any block, the item alone at position 1");
  results.array("block", std::move(block_of), {V}, "1", "(item): 1-based block after which it is largest");
  results.array("is_spike", observer.is_spike, {V}, "1", "(item): 1 if it becomes a spike token, else 0");
  results.array("max_by_block", std::move(by_block), {blocks, std::ssize(kFigures)}, "activation",
                "(block, figure): mean, min, q1, median, q3, max over the items of the largest |h| after the block");
}

}  // namespace spikesink
