#include "trainer/replay.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "io/bf16.h"
#include "trainer/schedule.h"
#include "trainer/training_step.h"

namespace spikesink {
namespace {

/// Adds up tensors.
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
  std::vector<StepReport::Module> modules() const {
    std::vector<StepReport::Module> all;
    for (const auto& [path, sums] : modules_) all.push_back({path, sums.figures()});
    return all;
  }

 private:
  const Stream& stream_;
  std::map<std::string, std::size_t> index_;
  std::vector<std::pair<std::string, Sums>> modules_;
};

TensorFigures figures_of(const Stream& stream, const Tensor& t) {
  Sums sums;
  sums.add(stream, t);
  return sums.figures();
}

nlohmann::ordered_json json_of(const TensorFigures& f) {
  return {{"max", f.max}, {"rms", f.rms}, {"not_finite", f.not_finite}};
}

}  // namespace

nlohmann::ordered_json StepReport::to_json() const {
  nlohmann::ordered_json out{{"step", step}, {"checkpoint", checkpoint}, {"data_step", data_step},
                             {"loss", loss}, {"grad_norm", grad_norm},   {"lr", lr}};
  for (const auto& [draw, each] : sequences) out["sequences"].push_back({{"draw", draw}, {"loss", each}});
  for (const auto& [path, output] : modules) out["modules"].push_back({{"path", path}, {"output", json_of(output)}});
  for (const auto& [name, value, gradient] : parameters)
    out["parameters"].push_back({{"name", name}, {"value", json_of(value)}, {"gradient", json_of(gradient)}});
  return out;
}

StepReport replay(const TrainJob& job, std::int64_t step, const std::function<void(std::int64_t)>& progress) {
  require(job.communicator.world() == 1, "replay: on ", job.communicator.world(), " ranks, expected 1");
  TrainingStep steps(step_setup(job));
  std::int64_t done = 0, skipped = 0;
  if (job.resume) {
    const Position position = data_position(*job.resume);
    load_slices(job.stream, job.resume->checkpoint, steps.optimizer().updated_slices());
    steps.optimizer().slices_written();
    job.loader.seek(position);
    done = job.resume->state.step;
    skipped = job.resume->state.skipped;
  } else {
    steps.optimizer().init();
  }
  require(done < step, "replay: step ", step, " from a checkpoint of step ", done);
  const std::int64_t count = steps.share().count, total = job.train.total_steps(job.model.config().context);
  const auto lr = [&](std::int64_t of) { return learning_rate(job.train.optimizer, job.train.schedule, of, total); };
  for (std::int64_t at = done + 1; at < step; ++at) {
    progress(at);
    steps.run(job.loader.next(at - 1 + skipped, 0, count), lr(at), at);
    static_cast<void>(steps.loss());  // waits, so that progress is true
  }
  progress(step);
  StepReport report{.step = step, .checkpoint = done, .data_step = step - 1 + skipped, .lr = lr(step)};
  const std::vector<std::int32_t> samples = job.loader.next(report.data_step, 0, count);
  const auto row = static_cast<std::size_t>(job.model.config().context + 1);
  for (std::int64_t s = 0; s < count; ++s)
    report.sequences.push_back(
        {report.data_step * count + s,
         mean_loss(job.stream, job.model, std::span(samples).subspan(static_cast<std::size_t>(s) * row, row),
                   steps.shape())});
  Outputs outputs(job.stream);
  mean_loss(job.stream, job.model, samples, steps.shape(), &outputs);
  report.modules = outputs.modules();
  for (const Param& param : job.model.params().all())
    for (const auto& [part, tensor] : split_parts(param, param.value))
      report.parameters.push_back({part->name, figures_of(job.stream, tensor), {}});
  steps.run(samples, report.lr, step);
  report.loss = steps.loss();
  report.grad_norm = steps.grad_norm();
  std::size_t at = 0;
  for (const Param& param : job.model.params().all())
    for (const auto& [part, tensor] : split_parts(param, param.grad))
      report.parameters[at++].gradient = figures_of(job.stream, tensor);
  return report;
}

}  // namespace spikesink
