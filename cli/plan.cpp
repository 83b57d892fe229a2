#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/memory.h"
#include "cli/session.h"
#include "configs/reader.h"
#include "io/failure.h"
#include "models/cost.h"
#include "trainer/fit.h"
#include "trainer/gpus.h"
#include "trainer/run_log.h"

namespace spikesink::cli {
namespace {

struct PlanOptions {
  std::string config, gpu;
  std::vector<std::string> overrides;
  bool fit = false, json = false;
};

/// A share of the stated rate that good trainers reach on an H100, for the time of a run.
constexpr double kAssumedMfu = 0.5;

std::string gpu_keys() {
  std::vector<std::string_view> keys;
  for (const KnownGpu& gpu : kKnownGpus) keys.push_back(gpu.key);
  std::ranges::sort(keys);
  return fmt::format("{}", fmt::join(keys, ", "));
}

Config config_of(const PlanOptions& options) {
  std::vector<std::string> overrides = options.overrides;
  const Config config = read_config(options.config, overrides);
  if (options.gpu.empty()) {
    const std::string problem = precision_problem(config.system);
    if (!problem.empty() && config.system.resolved_device() == Device::kCpu)
      throw UsageError(problem + ", or name a GPU with --gpu");
    return config;
  }
  if (config.system.device == DeviceChoice::kCpu)
    throw UsageError("--gpu " + options.gpu + ": system.device is cpu; leave --gpu out, or set system.device=cuda");
  overrides.push_back("system.device=cuda");
  return read_config(options.config, overrides);
}

/// What is planned: the run of a config, on the machine at hand or on a GPU that need not be here.
struct Plan {
  Config config;
  ModelCost cost;
  std::int64_t context, sequences, steps;
  std::optional<KnownGpu> gpu;
  std::optional<Room> room;
  DryRunJob job;
  DryRun run;

  explicit Plan(const PlanOptions& options)
      : config(config_of(options)),
        cost(cost_of(config.model, config.train.loss_from_position)),
        context(config.model.context),
        sequences(config.train.sequences(context)),
        steps(config.train.total_steps(context)),
        gpu(gpu_of_key(options.gpu)),
        room(gpu ? room_on(*gpu) : room_here(config)) {
    if (!gpu && config.system.resolved_device() == Device::kCuda && room) gpu = known_gpu(room->of);
    job = dry_run_job(config, config.metrics.probe.sequences, gpu ? std::string(gpu->part) : "");
    run = dry_run(job);
  }

  std::int64_t step_tokens() const { return sequences * context; }
  std::int64_t tokens() const { return steps * step_tokens(); }
  double flops() const { return static_cast<double>(tokens()) * cost.flops(); }
  double computed_flops_per_token() const { return run.flops / static_cast<double>(step_tokens()); }
  bool fits() const { return run.needed(job.device) <= room->bytes; }
  Shortage shortage() const { return {job, run, room->bytes}; }
  /// Of the whole run at kAssumedMfu, where the maker states a rate for its dtype.
  std::optional<double> seconds() const {
    if (!gpu || job.precision != DType::kBF16) return std::nullopt;
    return flops() / (kAssumedMfu * gpu->bf16_flops);
  }
  std::optional<Setting> fastest() const { return fastest_fit(job, room->bytes, *gpu); }
  std::optional<Setting> fastest_in_bf16() const { return fastest_fit_in_bf16(job, room->bytes, *gpu); }
  std::string recompute() const { return name(job.recompute); }
  std::string state_precision() const { return name(job.state_precision); }
  std::string settings() const {
    const std::string text = fmt::format("{}, {}, passes of {}, recompute {}, ", name_of(job.device),
                                         name_of(job.precision), job.train.micro_batch, recompute());
    return text + (job.device == Device::kCpu ? counted(run.threads, "thread") : "state " + state_precision());
  }

 private:
  template <class Enum>
  static std::string name(Enum kind) {
    return std::string(names_of(kind)[static_cast<std::size_t>(kind)]);
  }
};

std::string as_arguments(const Setting& setting) {
  std::string text;
  for (const std::string& change : setting.changes) text += (text.empty() ? "--set " : " --set ") + change;
  return text.empty() ? "the config as it is" : text;
}

/// 1234567 -> "1,234,567".
std::string grouped(std::int64_t count) {
  std::string text = std::to_string(count);
  for (std::ptrdiff_t at = std::ssize(text) - 3; at > 0; at -= 3) text.insert(static_cast<std::size_t>(at), ",");
  return text;
}

/// 1 step, 1,234 steps
std::string grouped(std::int64_t count, const std::string& name) {
  return grouped(count) + " " + name + (count == 1 ? "" : "s");
}

void print_cost(const Plan& plan) {
  const ModelCost& cost = plan.cost;
  const auto row = [&](const std::string& name, const PartCost& part) {
    const double parameter_share = 100 * static_cast<double>(part.parameters) / static_cast<double>(cost.parameters());
    fmt::print("{:<12}{:>18}{:>8.1f} %{:>16.4g}{:>8.1f} %\n", name, grouped(part.parameters), parameter_share,
               part.flops, 100 * part.flops / cost.flops());
  };
  fmt::print("{:<12}{:>18}{:>10}{:>16}{:>10}\n", "part", "parameters", "share", "FLOPs a token", "share");
  for (std::size_t i = 0; i < cost.kPartNames.size(); ++i) row(cost.kPartNames[i], cost.parts()[i]);
  row("total", {.parameters = cost.parameters(), .flops = cost.flops()});
  fmt::print("\n{} in {} of {} of {}; {:.4g} FLOPs of training in all\n", grouped(plan.tokens(), "token"),
             grouped(plan.steps, "step"), grouped(plan.sequences, "sequence"), grouped(plan.context, "token"),
             plan.flops());
}

void print_memory(const Plan& plan, const PlanOptions& options) {
  const DryRun& run = plan.run;
  const auto row = [](const char* name, std::int64_t bytes, const std::string& note) {
    fmt::print("{:<18}{:>12}   {}\n", name, bytes_text(bytes), note);
  };
  fmt::print("\nmemory: {}\n", plan.settings());
  row("weights", run.weights, "");
  row("gradients", run.gradients, "");
  row("optimizer state", run.optimizer,
      plan.job.precision == DType::kBF16 && plan.job.state_precision == StatePrecision::kF32
          ? "moments, and masters of the weights"
          : "moments");
  row("activations", run.activations, "kept for the way back of a pass");
  row("working memory", run.working, "beside them at a pass's peak: gradients of activations, logits, scratch");
  row("other", run.other, "beyond that: of the probe, or of measuring the matrix rate");
  row("peak", run.memory.peak, fmt::format("{} bytes of tensors", grouped(run.memory.peak)));
  row("reserved", run.memory.reserved, "with what is kept for reuse");
  row("checkpoint's copy", run.checkpoint_copy, "of host memory, while one is written");
  if (!plan.room) return;
  const Room& room = *plan.room;
  if (plan.fits()) {
    fmt::print("fits: {} needed of {} free, {}\n", bytes_text(run.needed(plan.job.device)), bytes_text(room.bytes),
               room.text());
    return;
  }
  const Shortage shortage = plan.shortage();
  const std::string mend = shortage.change || options.fit ? ""
                           : !options.gpu.empty()         ? "; try --fit"
                           : plan.gpu                     ? fmt::format("; try --gpu {} --fit", plan.gpu->key)
                                                          : "; a smaller model is needed";
  fmt::print("does not fit, {}: {}{}\n", room.text(), shortage.text(), mend);
}

void print(const Plan& plan, const PlanOptions& options) {
  print_cost(plan);
  fmt::print("{:.4g} FLOPs a token are computed, with what is recomputed and the head at every position\n",
             plan.computed_flops_per_token());
  if (const auto seconds = plan.seconds())
    fmt::print("{} on one {} at an assumed MFU of {:.0f} %\n", duration_text(*seconds), plan.room->of,
               100 * kAssumedMfu);
  print_memory(plan, options);
  if (!options.fit) return;
  if (const auto fastest = plan.fastest())
    fmt::print("fastest that fits: {}; {} needed\n", as_arguments(*fastest), bytes_text(fastest->needed()));
  else if (const auto narrow = plan.fastest_in_bf16())
    fmt::print("nothing fits in {}; fastest in bf16: {}; {} needed\n", name_of(plan.job.precision),
               as_arguments(*narrow), bytes_text(narrow->needed()));
  else
    fmt::print("nothing fits: a smaller model or a larger GPU is needed\n");
}

void print_json(const Plan& plan, bool fit) {
  nlohmann::ordered_json parameters, flops;
  for (std::size_t i = 0; i < plan.cost.kPartNames.size(); ++i) {
    parameters[plan.cost.kPartNames[i]] = plan.cost.parts()[i].parameters;
    flops[plan.cost.kPartNames[i]] = plan.cost.parts()[i].flops;
  }
  parameters["total"] = plan.cost.parameters();
  flops["total"] = plan.cost.flops();
  const DryRun& run = plan.run;
  nlohmann::ordered_json memory{{"device", name_of(plan.job.device)},
                                {"precision", name_of(plan.job.precision)},
                                {"micro_batch", plan.job.train.micro_batch},
                                {"recompute", plan.recompute()},
                                {"state_precision", plan.state_precision()},
                                {"threads", run.threads},
                                {"weights", run.weights},
                                {"gradients", run.gradients},
                                {"optimizer", run.optimizer},
                                {"activations", run.activations},
                                {"working", run.working},
                                {"other", run.other},
                                {"pool_peak_bytes", run.memory.peak},
                                {"pool_reserved_bytes", run.memory.reserved},
                                {"checkpoint_copy", run.checkpoint_copy},
                                {"needed", run.needed(plan.job.device)}};
  nlohmann::ordered_json out{{"parameters", parameters},
                             {"flops_per_token", flops},
                             {"computed_flops_per_token", plan.computed_flops_per_token()},
                             {"tokens", plan.tokens()},
                             {"steps", plan.steps},
                             {"sequences_per_step", plan.sequences},
                             {"tokens_per_step", plan.step_tokens()},
                             {"context", plan.context},
                             {"flops", plan.flops()},
                             {"memory", memory}};
  if (const auto seconds = plan.seconds()) out["time"] = {{"seconds", *seconds}, {"assumed_mfu", kAssumedMfu}};
  if (plan.room) {
    out["fit"] = {
        {"of", plan.room->of}, {"free", plan.room->bytes}, {"set_aside", plan.room->set_aside}, {"fits", plan.fits()}};
    if (!plan.fits())
      if (const auto change = plan.shortage().change)
        out["fit"]["change"] = {{"set", change->changes}, {"needed", change->needed()}};
  }
  if (fit) {
    const auto setting = [](const std::optional<Setting>& s) {
      return s ? nlohmann::ordered_json{{"set", s->changes}, {"needed", s->needed()}} : nlohmann::ordered_json();
    };
    const auto fastest = plan.fastest();
    out["fastest"] = setting(fastest);
    if (!fastest) out["fastest_in_bf16"] = setting(plan.fastest_in_bf16());
  }
  fmt::print("{}\n", out.dump());
}

}  // namespace

void add_plan_command(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("plan", "Print what a run takes before it starts: parameters, FLOPs, steps, memory, time");
  auto options = std::make_shared<PlanOptions>();
  command->add_option("CONFIG", options->config, "YAML file")->required();
  command->add_option("--set", options->overrides, "key=value over the config; may be repeated")
      ->allow_extra_args(false);
  CLI::Option* const gpu =
      command->add_option("--gpu", options->gpu, "plan for this GPU, which need not be here: " + gpu_keys())
          ->check([](const std::string& key) { return gpu_of_key(key) ? "" : key + ", must be one of " + gpu_keys(); });
  command
      ->add_flag("--fit", options->fit,
                 "search train.micro_batch, system.recompute and, where nothing fits with an f32 one, "
                 "system.state_precision for the fastest setting that fits")
      ->needs(gpu);
  command->add_flag("--json", options->json, "print one JSON object");
  command->footer(
      "Reads the config only, neither data nor tokenizer. A step, a probe and what a run does before them go over a "
      "stream\n"
      "whose kernels do nothing and whose allocator counts, so the bytes of tensors are those of a run with as many\n"
      "threads (OMP_NUM_THREADS). FLOPs are those of matrix products in training, forward and backward: 6 a parameter "
      "of\n"
      "a matrix, and causal attention counted once. With train.loss_from_position the head counts for those "
      "positions.\n"
      "A run that does not fit is no error of plan: the exit code is 0, and the JSON has \"fits\": false. Its keys "
      "stand\n"
      "in docs/file-formats.md.\n\n"
      "Example: what a gate by channel adds to the baseline, and how it fits on one GPU\n"
      "  spikesink plan configs/paper/baseline.yaml\n"
      "  spikesink plan configs/paper/table7_conditional_channel.yaml --gpu h100 --fit");
  command->callback([options] {
    const Plan plan(*options);
    options->json ? print_json(plan, options->fit) : print(plan, *options);
  });
}

}  // namespace spikesink::cli
