#include "trainer/replay.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <sstream>
#include <utility>

#include "io/bf16.h"
#include "trainer/dist/agree.h"
#include "trainer/divergence.h"
#include "trainer/sample_identity.h"
#include "trainer/schedule.h"
#include "trainer/training_step.h"

namespace spikesink {
namespace {

/// Adds up tensors, and what other ranks have added up.
class Sums {
 public:
  void add(const Stream& stream, const Tensor& t) {
    const Tensor host = stream.on_host(t);
    switch (t.dtype()) {
      case DType::kF64:
        return add(host.span<double>());
      case DType::kF32:
        return add(host.span<float>());
      case DType::kBF16:
        return add(host.span<bf16>());
      default:
        require(false, "replay: a tensor of ", name_of(t.dtype()));
    }
  }
  void add(const Sums& more) {
    max_ = std::max(max_, more.max_);
    squares_ += more.squares_;
    counted_ += more.counted_;
    not_finite_ += more.not_finite_;
  }
  bool is_finite() const { return not_finite_ == 0; }
  TensorFigures figures() const {
    return {max_, counted_ > 0 ? std::sqrt(squares_ / static_cast<double>(counted_)) : 0, not_finite_};
  }

 private:
  template <class T>
  void add(std::span<T> values) {
    for (const T each : values) {
      const auto value = static_cast<double>(each);
      if (!std::isfinite(value)) {
        ++not_finite_;
        continue;
      }
      max_ = std::max(max_, std::abs(value));
      squares_ += value * value;
      ++counted_;
    }
  }
  double max_ = 0, squares_ = 0;
  std::int64_t counted_ = 0, not_finite_ = 0;
};

/// Every module's output, of all passes that it sees.
class Outputs final : public Observer {
 public:
  explicit Outputs(const Stream& stream) : stream_(stream) {}
  void activation(std::string_view path, const Tensor& value) override {
    const auto [at, is_new] = index_.try_emplace(std::string(path), modules_.size());
    if (is_new) modules_.emplace_back(path, Sums{});
    modules_[at->second].second.add(stream_, value);
  }
  const std::vector<std::pair<std::string, Sums>>& modules() const { return modules_; }

 private:
  const Stream& stream_;
  std::map<std::string, std::size_t> index_;
  std::vector<std::pair<std::string, Sums>> modules_;
};

/// The loss of each of the step's sequences, which go one by one.
std::vector<StepReport::Sequence> sequences_of(const TrainingStep& steps, std::span<const std::int32_t> samples,
                                               std::int64_t data_step) {
  const Stream& stream = steps.setup().stream;
  Decoder& model = steps.setup().model;
  Communicator& ranks = steps.setup().communicator;
  const auto& [total, first, count, passes] = steps.share();
  const auto row = static_cast<std::size_t>(model.config().context + 1);
  std::vector<StepReport::Sequence> mine;
  for (std::int64_t s = 0; s < (total + ranks.world() - 1) / ranks.world(); ++s) {
    StepReport::Sequence sequence{.draw = -1, .loss = 0, .rank = ranks.rank()};
    if (s < count)
      sequence = {data_step * total + first + s,
                  mean_loss(stream, model, samples.subspan(static_cast<std::size_t>(s) * row, row), steps.shape()),
                  ranks.rank()};
    else
      model.empty_pass(Pass::Mode::kForwardOnly);
    mine.push_back(sequence);
  }
  std::vector<StepReport::Sequence> all;
  for (const auto& theirs : gather_lists(ranks, mine))
    std::ranges::copy_if(theirs, std::back_inserter(all), [](const auto& s) { return s.draw >= 0; });
  return all;
}

std::vector<StepReport::Module> modules_of(const TrainingStep& steps, std::span<const std::int32_t> samples) {
  const Stream& stream = steps.setup().stream;
  Communicator& ranks = steps.setup().communicator;
  Outputs outputs(stream);
  if (steps.share().count > 0) mean_loss(stream, steps.setup().model, samples, steps.shape(), &outputs);
  for (std::int64_t p = 0; p < steps.share().passes; ++p)
    if (steps.share().in_pass(p, steps.shape().micro_batch) == 0)
      steps.setup().model.empty_pass(Pass::Mode::kForwardOnly);
  // A rank without sequences has seen none.
  std::string names;
  std::vector<Sums> mine;
  for (const auto& [path, sums] : outputs.modules()) {
    names += path + '\n';
    mine.push_back(sums);
  }
  mine.resize(maximum(ranks, mine.size()));
  std::istringstream paths(std::ranges::max(gather_texts(ranks, names), {}, &std::string::size));
  const std::vector<std::vector<Sums>> all = gather_lists(ranks, mine);
  std::vector<StepReport::Module> modules;
  std::string path;
  for (std::size_t m = 0; std::getline(paths, path); ++m) {
    StepReport::Module module{.path = path, .output = {}};
    Sums sums;
    for (int rank = 0; rank < ranks.world(); ++rank) {
      const Sums& theirs = all[static_cast<std::size_t>(rank)][m];
      if (module.rank < 0 && !theirs.is_finite()) module.rank = rank;
      sums.add(theirs);
    }
    module.output = sums.figures();
    modules.push_back(module);
  }
  return modules;
}

/// Figures of what the ranks' parts of `tensor` make up, by the parameters' parts in their order.
std::vector<TensorFigures> figures_of(TrainingStep& steps, Tensor Shards::Piece::*tensor) {
  std::map<const ParamPart*, std::size_t> numbers;
  for (const Param& param : steps.shards().params().all())
    for (const ParamPart& part : param.parts) numbers.emplace(&part, numbers.size());
  std::vector<Sums> mine(numbers.size());
  steps.shards().settle();
  for (const Shards::Piece& piece : steps.shards().own())
    for_parts(piece, [&](const ParamPart& part, std::int64_t, std::int64_t count, std::int64_t at) {
      mine[numbers.at(&part)].add(steps.setup().stream, (piece.*tensor).slice(at, {count}));
    });
  std::vector<Sums> sums(mine.size());
  for (const auto& theirs : gather_lists(steps.setup().communicator, mine))
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i].add(theirs[i]);
  std::vector<TensorFigures> figures;
  for (const Sums& each : sums) figures.push_back(each.figures());
  return figures;
}

nlohmann::ordered_json json_of(const TensorFigures& f) {
  return {{"max", f.max}, {"rms", f.rms}, {"not_finite", f.not_finite}};
}

}  // namespace

nlohmann::ordered_json StepReport::to_json() const {
  nlohmann::ordered_json out{{"step", step},
                             {"checkpoint", checkpoint},
                             {"data_step", data_step},
                             {"ranks", ranks},
                             {"loss", loss},
                             {"grad_norm", grad_norm},
                             {"lr", lr}};
  if (!where.empty()) out["where"] = where;
  for (const auto& [draw, each, rank] : sequences)
    out["sequences"].push_back({{"draw", draw}, {"loss", each}, {"rank", rank}});
  for (const auto& [path, output, rank] : modules) {
    out["modules"].push_back({{"path", path}, {"output", json_of(output)}});
    if (rank >= 0) out["modules"].back()["rank"] = rank;
  }
  for (const auto& [name, value, gradient] : parameters)
    out["parameters"].push_back({{"name", name}, {"value", json_of(value)}, {"gradient", json_of(gradient)}});
  return out;
}

StepReport replay(const TrainJob& job, std::int64_t step, const std::function<void(std::int64_t)>& progress) {
  TrainingStep steps(step_setup(job));
  const Abandoning guard(job.communicator);
  std::int64_t done = 0, skipped = 0;
  if (job.resume) {
    steps.load(job.resume->checkpoint);
    job.loader.seek(data_position(*job.resume));
    done = job.resume->state.step;
    skipped = job.resume->state.skipped;
  } else {
    steps.optimizer().init();
  }
  require(done < step, "replay: step ", step, " from a checkpoint of step ", done);
  const std::int64_t total = job.train.total_steps(job.model.config().context);
  WayToStep way{.ahead = {{done, skipped}}, .diverged = {}};  // as rank 0 reads it, which tells the others
  rank_0_does(job.communicator, [&] {
    const std::int64_t most = std::max(total, job.folder.last_step());  // train.steps may have been lowered
    way = way_to(step, job.folder.divergences(), done, skipped, most);
  });
  const auto data_step = [&](std::int64_t of) { return gather(job.communicator, way.data_step(of)).front(); };
  const StepShare& mine = steps.share();
  const auto lr = [&](std::int64_t of) { return learning_rate(job.train.optimizer, job.train.schedule, of, total); };
  const auto identity = [&](const std::vector<std::int32_t>& samples) {
    std::uint32_t sum = 0;
    for (const std::uint32_t theirs : gather(job.communicator, identity_of(samples, mine.first, mine.count)))
      sum += theirs;
    return sum;
  };
  StepReport report;
  for (std::int64_t at = done + 1; at < step; ++at) {
    progress(at);
    const std::vector<std::int32_t> samples = job.loader.next(data_step(at), mine.first, mine.count);
    steps.run(samples, lr(at), at);
    report.way.push_back({at, steps.loss(), steps.grad_norm(), lr(at), identity(samples)});
  }
  progress(step);
  report.ranks = job.communicator.world();
  report.step = step;
  report.checkpoint = done;
  report.data_step = data_step(step);
  report.lr = lr(step);
  report.diverged = way.diverged;
  report.logged = way.logged;
  const std::vector<std::int32_t> samples = job.loader.next(report.data_step, mine.first, mine.count);
  report.samples = identity(samples);
  report.sequences = sequences_of(steps, samples, report.data_step);
  report.modules = modules_of(steps, samples);
  const std::vector<TensorFigures> values = figures_of(steps, &Shards::Piece::value);
  steps.run(samples, report.lr, step);
  report.loss = steps.loss();
  report.grad_norm = steps.grad_norm();
  const std::vector<TensorFigures> gradients = figures_of(steps, &Shards::Piece::grad);
  for (const Param& param : job.model.params().all())
    for (const ParamPart& part : param.parts) {
      const std::size_t at = report.parameters.size();
      report.parameters.push_back({part.name, values[at], gradients[at]});
    }
  if (!std::isfinite(report.loss))
    report.where = steps.first_not_finite_activation(samples);
  else if (!std::isfinite(report.grad_norm))
    report.where = steps.first_not_finite_gradient(samples);
  return report;
}

}  // namespace spikesink
