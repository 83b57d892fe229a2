#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/plan.h"
#include "io/json_text.h"

namespace spikesink::cli {
namespace {

using Json = nlohmann::ordered_json;

Json memory_of(const Counted& way) {
  const DryRun& run = way.run;
  return {{"device", name_of(way.job.device)},
          {"precision", name_of(way.job.precision)},
          {"micro_batch", way.job.train.micro_batch},
          {"recompute", kind_name(way.job.recompute)},
          {"state_precision", kind_name(way.job.state_precision)},
          {"threads", run.threads},
          {"weights", run.weights},
          {"gradients", run.gradients},
          {"optimizer", run.optimizer},
          {"activations", run.activations},
          {"buffers", way.buffers},
          {"working", way.working()},
          {"other", run.other},
          {"pool_peak_bytes", run.memory.peak},
          {"pool_reserved_bytes", run.memory.reserved},
          {"checkpoint_copy", run.checkpoint_copy},
          {"needed", run.needed(way.job.device)}};
}

Json ranks_of(const Plan& plan, const Counted& way) {
  return {{"world", plan.world},
          {"idle", plan.idle_ranks()},
          {"shard", kind_name(way.job.shard)},
          {"reduce_precision", kind_name(way.job.reduce_precision)},
          {"sequences", way.share.count},
          {"passes", way.share.passes},
          {"sent_bytes", way.run.sent_bytes}};
}

Json time_of(const Plan& plan, const Counted& way) {
  const StepTime& t = *way.time;
  return {{"seconds", t.seconds() * static_cast<double>(plan.steps)},
          {"step_seconds", t.seconds()},
          {"mfu", plan.mfu(way)},
          {"tokens_per_second", static_cast<double>(plan.step_tokens()) / t.seconds()},
          {"products", t.products},
          {"attention", t.attention},
          {"memory", t.memory},
          {"optimizer", t.optimizer},
          {"sending", t.sending},
          {"latency", t.latency},
          {"hidden", t.hidden}};
}

Json fastest_of(const Plan& plan, const std::optional<Setting>& setting) {
  if (!setting) return {};
  const Counted way = plan.count(setting->job, setting->run);
  return {{"set", setting->changes},
          {"needed", setting->needed()},
          {"memory", memory_of(way)},
          {"ranks", ranks_of(plan, way)},
          {"time", time_of(plan, way)}};
}

}  // namespace

void print_json(const Plan& plan, bool fit) {
  Json parameters, flops;
  for (std::size_t i = 0; i < plan.cost.kPartNames.size(); ++i) {
    parameters[plan.cost.kPartNames[i]] = plan.cost.parts()[i].parameters;
    flops[plan.cost.kPartNames[i]] = plan.cost.parts()[i].flops;
  }
  parameters["total"] = plan.cost.parameters();
  flops["total"] = plan.cost.flops();
  Json out{{"parameters", parameters},
           {"flops_per_token", flops},
           {"computed_flops_per_token", plan.counted.computed_flops_per_token()},
           {"tokens", plan.tokens()},
           {"steps", plan.steps},
           {"sequences_per_step", plan.sequences},
           {"tokens_per_step", plan.step_tokens()},
           {"context", plan.context},
           {"flops", plan.flops()},
           {"memory", memory_of(plan.counted)},
           {"ranks", ranks_of(plan, plan.counted)}};
  if (plan.counted.time) out["time"] = time_of(plan, plan.counted);
  if (plan.room) {
    out["fit"] = {{"of", plan.room->of},
                  {"free", plan.room->bytes},
                  {"set_aside", plan.room->set_aside},
                  {"fits", plan.fits()},
                  {"largest_micro_batch", plan.largest_micro_batch()}};
    if (!plan.fits())
      if (const auto change = plan.shortage().change)
        out["fit"]["change"] = {{"set", change->changes}, {"needed", change->needed()}};
  }
  if (fit) {
    const auto fastest = plan.fastest();
    out["fastest"] = fastest_of(plan, fastest);
    if (!fastest) out["fastest_in_bf16"] = fastest_of(plan, plan.fastest_in_bf16());
  }
  fmt::print("{}\n", json_text(out));
}

}  // namespace spikesink::cli
