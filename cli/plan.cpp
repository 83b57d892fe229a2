#include "cli/plan.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/session.h"
#include "configs/reader.h"
#include "io/failure.h"

namespace spikesink::cli {
namespace {

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

/// The rank's part of a step, for one rank that is alone.
std::int64_t bytes_of_passes_alone(const DryRunJob& job, const StepShare& share) {
  DryRunJob alone = job;
  alone.rank = 0;
  alone.world = 1;
  alone.train.batch_tokens = share.count * job.model.context;
  alone.probe = {};
  const DryRun run = dry_run(alone);
  return run.activations + run.working;
}

}  // namespace

Plan::Plan(const PlanOptions& options)
    : config(config_of(options)),
      cost(cost_of(config.model, config.train.loss_from_position)),
      context(config.model.context),
      sequences(config.train.sequences(context)),
      steps(config.train.total_steps(context)),
      world(options.world),
      cluster{.gpus_per_node = options.node, .nic_rate = options.nic_gbits * 1e9 / 8},
      gpu(gpu_of_key(options.gpu)),
      room(gpu ? room_on(*gpu, world) : room_here(config)) {
  if (world > 1 && room && config.system.resolved_device() == Device::kCpu) {
    room->bytes /= world;
    room->of += fmt::format(", for each of its {} ranks", world);
  }
  if (!gpu && config.system.resolved_device() == Device::kCuda && room) gpu = known_gpu(room->of);
  DryRunJob job = dry_run_job(config, config.metrics.probe.sequences, gpu ? std::string(gpu->part) : "");
  job.rank = world - 1;  // no rank has more sequences
  job.world = world;
  counted = count(job, dry_run(job));
}

Counted Plan::count(const DryRunJob& job, const DryRun& run) const {
  Counted way{.job = job, .run = run, .share = StepShare::of(sequences, job.train.micro_batch, job.rank, job.world)};
  if (world > 1)
    way.buffers = std::max<std::int64_t>(run.activations + run.working - bytes_of_passes_alone(job, way.share), 0);
  if (gpu && job.precision == DType::kBF16) way.time = step_time(job, run, *gpu, cluster);
  return way;
}

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
      ->add_option("--world", options->world,
                   "plan for this many ranks, a GPU or a process each: what the one takes that does most of a step")
      ->check([](const std::string& text) { return whole_number(text, 1, 1 << 20); });
  CLI::Option* const node = command->add_option("--node", options->node, "GPUs of a node, joined by NVLink (8)");
  node->check([](const std::string& text) { return whole_number(text, 1, 1 << 20); })->needs(gpu);
  command->add_option("--nic", options->nic_gbits, "Gbit/s of network of each GPU, each way, between nodes (400)")
      ->check(above_zero)
      ->needs(gpu);
  command
      ->add_flag(
          "--fit", options->fit,
          "search train.micro_batch, system.recompute, with --world system.shard and, where nothing fits with an "
          "f32 one, system.state_precision for the fastest setting that fits")
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
      "Step times are predicted from stated rates by the model of docs/scaling.md.\n"
      "A run that does not fit is no error of plan: the exit code is 0, and the JSON has \"fits\": false. Its keys "
      "stand\n"
      "in docs/file-formats.md.\n\n"
      "Example: what a gate by channel adds to the baseline, and how it fits on one GPU\n"
      "  spikesink plan configs/paper/baseline.yaml\n"
      "  spikesink plan configs/paper/table7_conditional_channel.yaml --gpu h100 --fit\n"
      "Example: how the baseline is best run on 64 GPUs\n"
      "  spikesink plan configs/paper/baseline.yaml --world 64 --gpu h100 --fit");
  command->callback([options] {
    const Plan plan(*options);
    options->json ? print_json(plan, options->fit) : print_text(plan, *options);
  });
}

}  // namespace spikesink::cli
