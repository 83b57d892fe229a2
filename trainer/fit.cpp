#include "trainer/fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "models/step_share.h"

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
  Changed& shard(ShardKind kind) { return change(setting_.job.shard, kind, "system.shard", name_of(kind)); }
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

/// Of a step, on the rank.
std::int64_t sequences_of(const DryRunJob& job) {
  return StepShare::of(job.train.sequences(job.model.context), job.train.micro_batch, job.rank, job.world).count;
}
std::int64_t pass_of(const DryRunJob& job) {
  return std::max<std::int64_t>(std::min(job.train.micro_batch, sequences_of(job)), 1);
}
bool may_narrow_state(const DryRunJob& job) {
  return job.precision == DType::kBF16 && job.state_precision == StatePrecision::kF32;
}

}  // namespace

std::optional<Setting> one_change(const DryRunJob& job, std::int64_t bytes) {
  std::vector<Changed> changes;
  if (job.world > 1 && job.shard == ShardKind::kNone) changes.push_back(Changed(job).shard(ShardKind::kOptimizer));
  if (job.recompute == Recompute::kNone) changes.push_back(Changed(job).recompute(Recompute::kCheap));
  for (std::int64_t m = pass_of(job) / 2; m >= 1; m /= 2) changes.push_back(Changed(job).micro_batch(m));
  if (job.recompute != Recompute::kLayer) changes.push_back(Changed(job).recompute(Recompute::kLayer));
  for (const ShardKind kind : {ShardKind::kGradients, ShardKind::kParameters})
    if (job.world > 1 && job.shard < kind) changes.push_back(Changed(job).shard(kind));
  if (may_narrow_state(job)) changes.push_back(Changed(job).state_precision(StatePrecision::kBF16));
  for (Changed& change : changes)
    if (Setting setting = change.run(); setting.needed() <= bytes) return setting;
  return std::nullopt;
}

StepTime step_time(const DryRunJob& job, const DryRun& run, const KnownGpu& gpu, const Cluster& cluster) {
  if (job.recompute == Recompute::kNone) return step_time(job, run, run.activations, gpu, cluster);
  const Setting whole = Changed(job).recompute(Recompute::kNone).run_without_probe();
  return step_time(job, run, whole.run.activations, gpu, cluster);
}

namespace {

/// The fastest with passes of any size and any recomputation, if it is faster than `best`.
void search(Changed changed, const std::set<std::int64_t>& sizes, std::int64_t bytes, const KnownGpu& gpu,
            const Cluster& cluster, std::optional<Setting>& best) {
  for (const std::int64_t m : sizes) {
    std::int64_t activations = 0;
    bool any = false, leaves_rest = false;
    for (const Recompute kind : {Recompute::kNone, Recompute::kCheap, Recompute::kLayer}) {
      Changed change = Changed(changed).micro_batch(m).recompute(kind);
      Setting setting = change.run_without_probe();  // quick, and no more than with it
      if (kind == Recompute::kNone) activations = setting.run.activations;
      leaves_rest = sequences_of(setting.job) % m != 0;
      if (setting.needed() > bytes) continue;
      any = true;
      const StepTime time = step_time(setting.job, setting.run, activations, gpu, cluster);
      if (best && time.seconds() >= best->time.seconds()) continue;
      if (setting = change.run(); setting.needed() > bytes) continue;
      setting.time = time;
      best = setting;
    }
    if (!any && !leaves_rest) return;  // nor will larger passes fit; one that leaves a rest may take more
  }
}

}  // namespace

std::optional<Setting> fastest_fit(const DryRunJob& job, std::int64_t bytes, const KnownGpu& gpu,
                                   const Cluster& cluster) {
  constexpr std::int64_t kMostTokens = 1 << 17;  // larger passes are no faster
  const std::int64_t most = std::min(sequences_of(job), std::max<std::int64_t>(kMostTokens / job.model.context, 1));
  std::set<std::int64_t> sizes{pass_of(job)};
  for (std::int64_t m = 1; m <= most; m *= 2) sizes.insert(m);
  std::vector<StatePrecision> states{job.state_precision};
  if (may_narrow_state(job)) states.push_back(StatePrecision::kBF16);
  std::vector<ShardKind> shards{job.shard};
  for (std::size_t i = 0; job.world > 1 && i < names_of(ShardKind{}).size(); ++i)
    if (static_cast<ShardKind>(i) != job.shard) shards.push_back(static_cast<ShardKind>(i));
  for (const StatePrecision state : states) {
    std::optional<Setting> best;
    for (const ShardKind shard : shards)
      search(Changed(job).shard(shard).state_precision(state), sizes, bytes, gpu, cluster, best);
    if (best) return best;
  }
  return std::nullopt;
}

std::optional<Setting> fastest_fit_in_bf16(const DryRunJob& job, std::int64_t bytes, const KnownGpu& gpu,
                                           const Cluster& cluster) {
  if (job.precision == DType::kBF16) return std::nullopt;
  DryRunJob narrow = job;
  narrow.precision = DType::kBF16;
  auto fit = fastest_fit(narrow, bytes, gpu, cluster);
  if (fit) fit->changes.insert(fit->changes.begin(), "system.precision=bf16");
  return fit;
}

std::int64_t largest_micro_batch(const DryRunJob& job, std::int64_t bytes) {
  const auto fits = [&](std::int64_t m) {
    Changed change = Changed(job).micro_batch(m);
    return change.run_without_probe().needed() <= bytes && change.run().needed() <= bytes;
  };
  const std::int64_t most = std::max<std::int64_t>(sequences_of(job), 1);
  std::int64_t good = 0, bad = most + 1;
  for (std::int64_t m = 1; bad - good > 1; m = bad > most ? std::min(2 * good, most) : (good + bad) / 2)
    (fits(m) ? good : bad) = m;
  for (std::int64_t m = most; m > good && good > 0; --m)
    if (most % m == 0 && fits(m)) return m;
  return good;
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
