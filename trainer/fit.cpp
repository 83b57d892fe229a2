#include "trainer/fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace spikesink {
namespace {

/// `job` with one more change.
class Changed {
 public:
  explicit Changed(const DryRunJob& job) : setting_{.changes = {}, .job = job, .run = {}} {}
  Changed& micro_batch(std::int64_t sequences) {
    return change(setting_.job.train.micro_batch, sequences, "train.micro_batch", std::to_string(sequences));
  }
  Changed& recompute(Recompute kind) { return change(setting_.job.recompute, kind, "system.recompute", name_of(kind)); }
  Changed& state_precision(StatePrecision kind) {
    return change(setting_.job.state_precision, kind, "system.state_precision", name_of(kind));
  }
  Setting run_without_probe() const {
    Setting setting = setting_;
    setting.job.probe = {};
    setting.run = dry_run(setting.job);
    return setting;
  }
  Setting run() {
    setting_.run = dry_run(setting_.job);
    return setting_;
  }

 private:
  template <class Enum>
  static std::string name_of(Enum kind) {
    return std::string(names_of(kind)[static_cast<std::size_t>(kind)]);
  }
  template <class T>
  Changed& change(T& to, T value, const char* key, const std::string& text) {
    if (to != value) setting_.changes.push_back(std::string(key) + "=" + text);
    to = value;
    return *this;
  }
  Setting setting_;
};

std::int64_t sequences_of(const DryRunJob& job) { return job.train.sequences(job.model.context); }
bool may_narrow_state(const DryRunJob& job) {
  return job.precision == DType::kBF16 && job.state_precision == StatePrecision::kF32;
}

}  // namespace

std::optional<Setting> one_change(const DryRunJob& job, std::int64_t bytes) {
  std::vector<Changed> changes;
  if (job.recompute == Recompute::kNone) changes.push_back(Changed(job).recompute(Recompute::kCheap));
  const std::int64_t pass = std::min(job.train.micro_batch, sequences_of(job));
  for (std::int64_t m = pass / 2; m >= 1; m /= 2) changes.push_back(Changed(job).micro_batch(m));
  if (job.recompute != Recompute::kLayer) changes.push_back(Changed(job).recompute(Recompute::kLayer));
  if (may_narrow_state(job)) changes.push_back(Changed(job).state_precision(StatePrecision::kBF16));
  for (Changed& change : changes)
    if (Setting setting = change.run(); setting.needed() <= bytes) return setting;
  return std::nullopt;
}

double step_seconds(const Setting& s, std::int64_t activations, const KnownGpu& gpu) {
  const std::int64_t sequences = sequences_of(s.job), pass = std::min(s.job.train.micro_batch, sequences);
  const auto passes = static_cast<double>((sequences + pass - 1) / pass);
  const double moved = static_cast<double>(2 * s.run.weights + 2 * s.run.gradients) +
                       3 * static_cast<double>(activations - s.run.activations);
  return s.run.flops / (0.6 * gpu.bf16_flops) + passes * moved / (0.8 * gpu.memory_rate);
}

std::optional<Setting> fastest_fit(const DryRunJob& job, std::int64_t bytes, const KnownGpu& gpu) {
  constexpr std::int64_t kMostTokens = 1 << 17;  // larger passes are no faster
  const std::int64_t most = std::min(sequences_of(job), std::max<std::int64_t>(kMostTokens / job.model.context, 1));
  std::set<std::int64_t> sizes{std::min(job.train.micro_batch, sequences_of(job))};
  for (std::int64_t m = 1; m <= most; m *= 2) sizes.insert(m);
  std::vector<StatePrecision> states{job.state_precision};
  if (may_narrow_state(job)) states.push_back(StatePrecision::kBF16);
  for (const StatePrecision state : states) {
    std::optional<Setting> best;
    double best_seconds = 0;
    for (const std::int64_t m : sizes) {
      std::int64_t activations = 0;
      bool any = false;
      for (const Recompute kind : {Recompute::kNone, Recompute::kCheap, Recompute::kLayer}) {
        Changed change = Changed(job).micro_batch(m).recompute(kind).state_precision(state);
        Setting setting = change.run_without_probe();  // quick, and no more than with it
        if (kind == Recompute::kNone) activations = setting.run.activations;
        if (setting.needed() > bytes) continue;
        any = true;
        const double seconds = step_seconds(setting, activations, gpu);
        if (best && seconds >= best_seconds) continue;
        if (setting = change.run(); setting.needed() > bytes) continue;
        best = setting;
        best_seconds = seconds;
      }
      if (!any) break;  // nor will larger passes fit
    }
    if (best) return best;
  }
  return std::nullopt;
}

std::optional<Setting> fastest_fit_in_bf16(const DryRunJob& job, std::int64_t bytes, const KnownGpu& gpu) {
  if (job.precision == DType::kBF16) return std::nullopt;
  DryRunJob narrow = job;
  narrow.precision = DType::kBF16;
  auto fit = fastest_fit(narrow, bytes, gpu);
  if (fit) fit->changes.insert(fit->changes.begin(), "system.precision=bf16");
  return fit;
}

std::string bytes_text(std::int64_t bytes) {
  const auto mib = static_cast<double>(bytes) / 1048576;
  return mib < 1000 ? fmt::format("{:.1f} MiB", mib) : fmt::format("{:.1f} GiB", mib / 1024);
}

Shortage::Shortage(const DryRunJob& job, const DryRun& run, std::int64_t free)
    : needed(run.needed(job.device)), bytes(free), change(one_change(job, free)) {}

std::string Shortage::text() const {
  const std::string text = fmt::format("{} needed, {} free; ", bytes_text(needed), bytes_text(bytes));
  if (!change) return text + "no single change is enough";
  return text +
         fmt::format("with --set {} it needs {}", fmt::join(change->changes, " --set "), bytes_text(change->needed()));
}

}  // namespace spikesink
