#include "trainer/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <span>

#include "io/atomic_file.h"
#include "io/failure.h"
#include "io/json_lines.h"
#include "io/readable.h"
#include "models/cost.h"
#include "trainer/about_run.h"
#include "trainer/checkpoint_writer.h"
#include "trainer/cut_back.h"
#include "trainer/dist/agree.h"
#include "trainer/divergence.h"
#include "trainer/matrix_rate.h"
#include "trainer/metrics_follower.h"
#include "trainer/metrics_log.h"
#include "trainer/rates.h"
#include "trainer/run_log.h"
#include "trainer/sample_identity.h"
#include "trainer/schedule.h"
#include "trainer/step_news.h"
#include "trainer/stop_signals.h"
#include "trainer/training_step.h"

namespace spikesink {
namespace {
using Clock = std::chrono::steady_clock;
constexpr double kFollowerPatience = 10;  // seconds, at the run's end

class Loop {
 public:
  explicit Loop(const TrainJob& job)
      : job_(job),
        ranks_(job.communicator),
        log_(ranks_.rank() == 0 ? RunLog(job.folder.log()) : RunLog()),
        steps_(step_setup(job)),
        writer_(
            job.folder.checkpoints(), job.checkpoint, job.communicator, [&job] { job.folder.sync_logs(); },
            [&job](std::int64_t step) { job.folder.note_checkpoint(step); }),
        context_(job.model.config().context),
        sequences_(job.train.sequences(context_)),
        total_(job.train.total_steps(context_)),
        cost_(cost_of(job.model.config(), job.train.loss_from_position)),
        losses_(job.logging.loss_spike_deviations),
        rates_({ranks_.world(), sequences_ * context_, total_, cost_.flops()}) {}

  TrainResult run() {
    start();
    const StopSignals signals;
    if (probe_owed_ || (step_ == 0 && !job_.resume)) probe();
    stop_ = !all_true(ranks_, !StopSignals::requested());
    while (step_ < total_ && !stop_) {
      if (!one_step()) continue;
      probe_owed_ = probe_is_due();
      if (probe_owed_ && (!stop_ || step_ == total_)) probe();  // who asks for a stop is in a hurry: after the resume
      if (is_regular_save()) save_owed_ = true;
      if (save_is_due()) checkpoint();
    }
    save_all();
    log_.close_progress();
    const MemoryUse steps = steps_.memory();
    memory_ = memory_.or_more(steps);
    report_memory();
    const bool finished = step_ >= total_;
    if (finished && metrics_) metrics_->done();
    log_.line(finished ? fmt::format("done: {}, {} tokens, in {}", counted(step_, "step"),
                                     count_text(static_cast<double>(tokens_)), duration_text(seconds_since(begin_)))
                       : fmt::format("stopped by a signal at step {}; go on with --resume", step_));
    if (follower_) say(follower_->end(kFollowerPatience, !probe_owed_));
    return {finished, memory_, steps};
  }

 private:
  bool is_regular_save() const { return step_ == total_ || step_ % job_.checkpoint.every_steps == 0; }
  /// A state behind which no step has been finite yet is not saved as a rule, and pushes out no other: maybe only those
  /// can be gone on from. The first is saved all the same, since without one the run could not be resumed.
  bool save_is_due() const {
    return (save_owed_ && (!in_doubt_ || saved_step_ < 0)) || writer_failed_ || stop_ || step_ == total_;
  }
  bool probe_is_due() const {
    const std::int64_t every = job_.logging.probe_every_steps;
    return is_regular_save() || (every > 0 && step_ % every == 0);
  }

  /// Takes the weights, moments and counts of a checkpoint; the data stays where it is.
  void go_to(const std::string& checkpoint, const TrainingState& state) {
    steps_.load(checkpoint);
    step_ = saved_step_ = went_to_ = state.step;
    tokens_ = state.tokens;
    probe_owed_ = state.probe_owed;
  }

  void start() {
    for (const std::string& note : job_.notes) log_.line(note);
    if (job_.resume) {
      job_.loader.seek(data_position(*job_.resume));
      go_to(job_.resume->checkpoint, job_.resume->state);
      skipped_ = job_.resume->state.skipped;
    } else {
      if (job_.resuming) log_.line(job_.folder.path() + ": no checkpoint to resume from: starting at step 0");
      steps_.optimizer().init();
    }
    take_back(job_.resume, job_.resume ? read_cut(step_, probe_owed_, job_.resume->logged_every) : read_cut(-1));
    if (job_.resume)
      for (const std::string& line : about(*job_.resume, ranks_.world(), job_.stream.num_threads)) log_.line(line);
    rank_0_does(ranks_, [&] {
      write_atomically(job_.folder.config(), job_.config);  // not before: see require_never_saved()
      note_resumed(job_.folder.divergences(), step_, step_ + skipped_, sequences_);
    });
    if (metrics_ && !job_.data.empty()) metrics_->data(step_, job_.data);
    if (metrics_ && !job_.follower.empty()) follower_.emplace(job_.follower, job_.folder.follower_log());
    double peak = 0;  // of all ranks
    for (const double rate : gather(ranks_, training_peak(job_.stream, job_.precision))) peak += rate;
    rates_.set_peak(peak);
    memory_ = MemoryUse::of(*job_.stream.pool);
    job_.stream.pool->release_cached();
    job_.stream.pool->reset_peak();
    for (const std::string& line : about_run(job_, cost_, steps_.share(), peak)) log_.line(line);
    begin_ = Clock::now();
    rates_.begin(step_);
  }

  /// How metrics, probes and TensorBoard are cut back, of rank 0. All ranks have loaded what they go on from.
  std::optional<CutBack> read_cut(std::int64_t step, bool probe_too = false, std::int64_t logged_every = 0) {
    ranks_.barrier();
    std::optional<CutBack> cut;
    rank_0_does(ranks_, [&] { cut.emplace(job_.folder, step, probe_too, logged_every); });
    return cut;
  }
  /// What came after the point that the run goes on from, a checkpoint or none, goes away. What is logged from here on
  /// stands behind the rest.
  void take_back(const std::optional<ResumePoint>& point, const std::optional<CutBack>& cut) {
    metrics_.reset();
    rank_0_does(ranks_, [&] {
      if (point) clear_the_way(job_.folder, *point, [&](const std::string& line) { log_.line(line); });
      for (const std::string& note : cut->make()) log_.line(note);
    });
    if (ranks_.rank() == 0) metrics_.emplace(job_.folder, job_.logging, job_.hyperparameters);
  }

  /// All ranks have theirs, or the run ends with all that it has, and the failure of one that has none.
  std::vector<std::int32_t> next_samples(std::int64_t first, std::int64_t count) {
    const Position before = job_.loader.position();
    std::vector<std::int32_t> samples;
    std::exception_ptr failure;
    try {
      samples = job_.loader.next(step_ + skipped_, first, count);
    } catch (const Failure&) {
      failure = std::current_exception();
    }
    if (all_true(ranks_, !failure)) return samples;
    job_.loader.seek(before);
    save_what_there_is();
    throw_first(ranks_, failure);
  }

  /// False if it led back to a step that was saved and measured before.
  bool one_step() {
    const auto begin = Clock::now();
    const double waited = ranks_.waited_seconds(), data_waited = job_.loader.waited_seconds();
    const auto& [total, first, count, passes] = steps_.share();
    const std::vector<std::int32_t> samples = next_samples(first, count);
    const double lr = learning_rate(job_.train.optimizer, job_.train.schedule, step_ + 1, total_);
    steps_.run(samples, lr, step_ + 1);
    const double loss = steps_.loss(), norm = steps_.grad_norm();  // waits for all of the step
    ++step_;
    tokens_ += sequences_ * context_;
    const double seconds = seconds_since(begin);
    const std::vector<StepNews> news =
        gather(ranks_, StepNews{.seconds = seconds,
                                .busy_seconds = seconds - (ranks_.waited_seconds() - waited),
                                .data_seconds = job_.loader.waited_seconds() - data_waited,
                                .samples = identity_of(samples, first, count),
                                .stop = StopSignals::requested()});
    samples_ = 0;
    for (const StepNews& of_rank : news) {
      samples_ += of_rank.samples;
      stop_ = stop_ || of_rank.stop;
    }
    if (!std::isfinite(loss) || !std::isfinite(norm)) return diverged(samples, loss, norm);
    in_doubt_ = false;
    rates_.add(news);
    if (const auto spike = losses_.look(loss)) note_loss_spike(loss, norm, *spike);
    report(loss, lr, norm);
    writer_.advance();
    report_writer();
    return true;
  }

  Divergence divergence_of(const std::string& kind, double loss, double norm) const {
    return {.step = step_,
            .kind = kind,
            .loss = loss,
            .grad_norm = norm,
            .data_step = step_ - 1 + skipped_,
            .sequences = sequences_,
            .action = "none"};
  }
  void record(const Divergence& divergence) {
    if (ranks_.rank() == 0) JsonLines(job_.folder.divergences()).append(divergence.to_json());
  }

  void note_loss_spike(double loss, double norm, const LossSpike& spike) {
    Divergence found = divergence_of("loss_spike", loss, norm);
    found.deviations = spike.deviations;
    record(found);
    log_.line(
        fmt::format("step {}: the loss is {:.4f}, {:.1f} standard deviations above the mean of the {} steps before",
                    step_, loss, spike.deviations, spike.losses));
  }

  /// After a step whose loss or gradient norm is not finite. It has changed nothing, so its forward can be seen again.
  /// As one_step().
  bool diverged(std::span<const std::int32_t> samples, double loss, double norm) {
    const bool bad_loss = !std::isfinite(loss);
    Divergence found = divergence_of("not_finite", loss, norm);
    found.where = bad_loss ? steps_.first_not_finite_activation(samples) : steps_.first_not_finite_gradient(samples);
    const double bad = bad_loss ? loss : norm;
    const std::string what = fmt::format("step {}: the {} is {}, first in {}", step_,
                                         bad_loss ? "loss" : "gradient norm", readable(bad), found.where);
    const OnDivergence policy = job_.train.on_divergence;
    const bool stops = policy == OnDivergence::kStop || ++divergences_ > job_.train.max_divergences;
    const std::int64_t failed = step_;
    std::optional<CutBack> cut;
    std::optional<ResumePoint> point;
    try {
      writer_.finish();  // the last checkpoint is what the run goes on from
      report_writer();
      if (!stops && policy == OnDivergence::kRollback) {
        point = in_doubt_ && failed == saved_step_ + 1 ? checkpoint_before_the_last() : last_checkpoint();
        if (point) go_to(point->checkpoint, point->state);
        cut = read_cut(point ? point->state.step : 0);
      }
    } catch (const Failure& failure) {
      log_.line(stops ? fmt::format("a checkpoint was not written: {}", failure.what()) : what);
      if (!stops) {
        found.action = "stop";
        record(found);
        throw;
      }
    }
    if (stops) {
      found.action = "stop";
      record(found);
      throw DivergenceError(
          what +
          (divergences_ > 1 ? fmt::format(", after {} that were passed over (train.max_divergences)", divergences_ - 1)
                            : "") +
          (failed == 1 ? "; no update came before it: look at model.init_std, and begin anew"
                       : "; lower train.optimizer.lr or lengthen the warm-up, and go on with --resume"));
    }
    if (policy == OnDivergence::kSkip) {
      found.action = "skip";
      record(found);
      log_.line(what + "; it is skipped");
      in_doubt_ = true;
      return true;
    }
    const std::int64_t back = point ? point->state.step : 0;
    found.action = rollback_to(back);
    record(found);
    log_.line(fmt::format("{}; back to step {}, and on without the samples of {}", what, back,
                          counted(failed - back, "step")));
    if (!point) {
      steps_.optimizer().init();
      step_ = tokens_ = 0;
      saved_step_ = -1;
    }
    skipped_ += failed - step_;
    in_doubt_ = true;
    take_back(point, cut);
    losses_.clear();
    rates_.begin(step_);
    return false;
  }

  /// Of this run; nothing: there never was one.
  std::optional<ResumePoint> last_checkpoint() {
    auto point = newest_resume_point(job_.folder, ranks_);
    if (!point) rank_0_does(ranks_, [&] { require_never_saved(job_.folder, job_.checkpoint.every_steps); });
    return point;
  }

  /// Where the first step behind the last has diverged a second time, on other samples: the one before it, or the last
  /// again where there is none that can be used.
  std::optional<ResumePoint> checkpoint_before_the_last() {
    auto last = last_checkpoint();
    if (!last || last->state.step != saved_step_) return last;  // that of the step is damaged by now
    std::optional<ResumePoint> point;
    try {
      point = newest_resume_point(job_.folder, ranks_, last->state.step);
    } catch (const DataError&) {  // the same on all ranks
    }
    if (!point) return last;
    last->passed_over.push_back(
        {last->checkpoint, last->checkpoint + ": the step behind it diverged twice, on other samples"});
    point->passed_over.insert(point->passed_over.begin(), last->passed_over.begin(), last->passed_over.end());
    return point;
  }

  /// A checkpoint that was not written is tried again after this step, while its state is there.
  void report_writer() {
    const auto problem = writer_.problem();
    if (!problem) return;
    writer_failed_ = true;
    log_.line("a checkpoint was not written: " + *problem);
  }
  void say(const std::optional<std::string>& news) {
    if (news) log_.line(*news);
  }

  void report(double loss, double lr, double norm) {
    const bool log = step_ % job_.logging.every_steps == 0 || step_ == total_;
    if (!log) return log_.progress(rates_.progress(step_, loss));
    const auto [text, rates, identities] = rates_.end_interval(step_, loss);
    Scalars scalars{{"tokens", static_cast<double>(tokens_)}, {"loss", loss}, {"lr", lr}, {"grad_norm", norm}};
    scalars.insert(scalars.end(), rates.begin(), rates.end());
    std::vector<std::pair<std::string, std::int64_t>> all{{"samples", samples_}};
    all.insert(all.end(), identities.begin(), identities.end());
    if (metrics_) metrics_->step(step_, scalars, all);
    log_.step(text);
    if (follower_) say(follower_->news());
  }

  void probe() {
    const auto begin = Clock::now();
    const Scalars scalars = job_.probe.measure(step_, ranks_.rank() == 0 ? job_.folder.probe(step_) : "");
    if (metrics_) metrics_->probe(step_, scalars);
    probe_owed_ = false;
    std::string text = fmt::format("probe at step {}:", step_);
    for (const auto& [name, value] : scalars)
      if (!name.ends_with("_context")) text += fmt::format("  {} {:.4g}", name, readable(value));
    log_.line(text + fmt::format("  ({:.2f} s)", seconds_since(begin)));
    rates_.leave_out(Clock::now() - begin);
  }

  /// Says what was left out of the data, when that has grown.
  void report_broken_lines() {
    const DocumentCounts counts = job_.loader.counts();
    std::int64_t broken = 0, lines = 0;
    for (const auto& [b, l] : gather(ranks_, std::array{counts.num_broken(), counts.lines()})) {
      broken += b;
      lines += l;
    }
    if (broken == broken_lines_) return;
    broken_lines_ = broken;
    log_.line(fmt::format("data: {} of {} lines left out: {}{}", broken, lines, counts.broken_text(),
                          ranks_.world() > 1 ? " by rank 0" : ""));
  }

  void report_memory() {
    const std::vector<MemoryUse> all = gather(ranks_, memory_);
    const auto most = std::ranges::max_element(all, {}, &MemoryUse::peak);
    log_.line(fmt::format(
        "memory: tensors took {:.1f} MiB at most ({} bytes), {:.1f} MiB with what was kept for reuse{}",
        static_cast<double>(most->peak) / 1048576, most->peak, static_cast<double>(most->reserved) / 1048576,
        ranks_.world() > 1 ? fmt::format(" (rank {})", most - all.begin()) : ""));
  }

  /// Where the data stands after what all ranks have taken.
  Position position() const {
    std::vector<Position> all;
    for (const std::string& text : gather_texts(ranks_, job_.loader.position().to_json()))
      all.push_back(Position::from_json(text));
    return furthest(all);
  }

  /// Before the run ends: all that it has is on the disk.
  void save_all() {
    if ((step_ < total_ || total_ == 0) && saved_step_ != step_) checkpoint();
    writer_.finish();
    report_writer();
    if (writer_failed_ && step_ != went_to_) checkpoint();  // once more
    writer_.wait();
  }

  /// Before a failure that has left the model and its optimizer as they were ends the run.
  void save_what_there_is() {
    try {
      if (!in_doubt_ && step_ > 0)
        save_all();
      else
        writer_.finish();
    } catch (const Failure& failure) {
      log_.line(fmt::format("a checkpoint was not written: {}", failure.what()));
    }
  }

  void checkpoint() {
    const auto begin = Clock::now();
    report_broken_lines();
    const double pause =
        writer_.save(job_.stream, steps_.optimizer().slices(),
                     {.step = step_,
                      .tokens = tokens_,
                      .threads = job_.stream.num_threads,
                      .skipped = skipped_,
                      .probe_owed = probe_owed_,
                      .config = job_.config,
                      .position = position().to_json()},
                     in_doubt_ ? CheckpointWriter::KeepOlder::kAll : CheckpointWriter::KeepOlder::kAsConfigured);
    if (writer_failed_) writer_.wait();  // a second failure ends the run
    writer_failed_ = save_owed_ = false;
    saved_step_ = step_;
    if (job_.checkpoint.async || !writer_.has_problem())  // else the next step says what went wrong
      log_.line(fmt::format("checkpoint of step {} ({}; training stood still for {:.2f} s)", step_,
                            job_.checkpoint.async ? "being written" : "written", pause));
    rates_.leave_out(Clock::now() - begin);
  }

  const TrainJob& job_;
  Communicator& ranks_;
  RunLog log_;  // of rank 0
  TrainingStep steps_;
  CheckpointWriter writer_;
  std::optional<MetricsLog> metrics_;        // of rank 0, after the cut back
  std::optional<MetricsFollower> follower_;  // of rank 0
  const std::int64_t context_, sequences_, total_;
  const ModelCost cost_;
  std::int64_t step_ = 0, tokens_ = 0, broken_lines_ = 0, saved_step_ = -1;
  std::int64_t went_to_ = -1;     // step of the checkpoint that is gone on from
  std::int64_t skipped_ = 0;      // steps of the data that rollbacks left out
  std::int64_t divergences_ = 0;  // that were passed over
  LossWatch losses_;
  bool writer_failed_ = false, save_owed_ = false, stop_ = false;
  bool in_doubt_ = false;    // no step was finite since one diverged
  bool probe_owed_ = false;  // of step_: due, and not measured yet
  Rates rates_;
  std::uint32_t samples_ = 0;
  MemoryUse memory_;
  Clock::time_point begin_;
};

}  // namespace

StepSetup step_setup(const TrainJob& job) {
  return {.stream = job.stream,
          .model = job.model,
          .precision = job.precision,
          .train = job.train,
          .state_precision = job.state_precision,
          .shards = job.shards,
          .communicator = job.communicator,
          .seed = job.seed,
          .end_of_text = job.end_of_text};
}

TrainResult train(const TrainJob& job) {
  const auto run = [&] {
    Loop loop(job);
    const Abandoning guard(job.communicator);
    return loop.run();
  };
  if (job.communicator.rank() != 0) return run();  // rank 0 hears of its failure
  return noting_failure(job.folder.log(), run);
}

}  // namespace spikesink
