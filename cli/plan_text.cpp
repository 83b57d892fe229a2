#include <fmt/format.h>

#include "cli/plan.h"
#include "io/readable.h"

namespace spikesink::cli {
namespace {

std::string as_arguments(const Setting& setting) {
  std::string text;
  for (const std::string& change : setting.changes) text += (text.empty() ? "--set " : " --set ") + change;
  return text.empty() ? "the config as it is" : text;
}

/// 1234567 -> "1,234,567".
std::string grouped(std::int64_t count) {
  std::string text = std::to_string(count);
  for (std::ptrdiff_t at = std::ssize(text) - 3; at > 0; at -= 3) text.insert(static_cast<std::size_t>(at), 1, ',');
  return text;
}

/// 1 step, 1,234 steps
std::string grouped(std::int64_t count, const std::string& name) {
  return grouped(count) + " " + name + (count == 1 ? "" : "s");
}

std::string settings(const Counted& way) {
  const std::string text =
      fmt::format("{}, {}, passes of {}, recompute {}, ", name_of(way.job.device), name_of(way.job.precision),
                  way.job.train.micro_batch, kind_name(way.job.recompute));
  return text + (way.job.device == Device::kCpu ? counted(way.run.threads, "thread")
                                                : "state " + kind_name(way.job.state_precision));
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
  fmt::print("{:.4g} FLOPs a token are computed, with what is recomputed and the head at every position\n",
             plan.counted.computed_flops_per_token());
}

void print_memory(const Plan& plan, const Counted& way) {
  const DryRun& run = way.run;
  const auto row = [](const char* name, std::int64_t bytes, const std::string& note) {
    fmt::print("{:<18}{:>12}   {}\n", name, bytes_text(bytes), note);
  };
  fmt::print("\nmemory{}: {}\n", plan.world == 1 ? "" : " of a rank", settings(way));
  row("weights", run.weights, "");
  row("gradients", run.gradients, "");
  row("optimizer state", run.optimizer,
      way.job.precision == DType::kBF16 && way.job.state_precision == StatePrecision::kF32
          ? "moments, and masters of the weights"
          : "moments");
  row("activations", run.activations, "kept for the way back of a pass");
  if (plan.world > 1) row("buffers", way.buffers, "of layers that are gathered, and gradients on their way");
  row("working memory", way.working(), "beside them at a pass's peak: gradients of activations, logits, scratch");
  row("other", run.other, "beyond that: of the probe, or of measuring the matrix rate");
  row("peak", run.memory.peak, fmt::format("{} bytes of tensors", grouped(run.memory.peak)));
  row("reserved", run.memory.reserved, "with what is kept for reuse");
  row("checkpoint's copy", run.checkpoint_copy, "of host memory, while one is written");
}

void print_ranks(const Plan& plan, const Counted& way) {
  if (plan.world == 1) return;
  fmt::print("\n{} of up to {} in {} of up to {}, shard {}, gradients sent in {}; each sends {} a step\n",
             grouped(plan.world, "rank"), grouped(way.share.count, "sequence"),
             way.share.passes == 1 ? "1 pass" : grouped(way.share.passes) + " passes", way.job.train.micro_batch,
             kind_name(way.job.shard), kind_name(way.job.reduce_precision),
             bytes_text(static_cast<std::int64_t>(way.run.sent_bytes)));
  if (plan.idle_ranks() > 0)
    fmt::print("{} idle: a step has {}; raise train.batch_tokens, or take fewer ranks\n",
               grouped(plan.idle_ranks(), "rank"), grouped(plan.sequences, "sequence"));
}

void print_time(const Plan& plan, const Counted& way) {
  if (!way.time) return;
  const StepTime& t = *way.time;
  const auto row = [&](const char* name, double seconds, const std::string& note) {
    fmt::print("{:<18}{:>10.4g} s   {}\n", name, seconds, note);
  };
  fmt::print("\ntime of a step, predicted (docs/scaling.md)\n");
  row("matrix products", t.products, fmt::format("at {:.0f} % of the stated rate", 100 * kProductShare));
  row("attention", t.attention,
      fmt::format("at {:.1f} % of it", 100 * attention_share(way.job.model.attention.d_head)));
  row("memory", t.memory, "activations, weights and gradients, read and written");
  row("optimizer", t.optimizer, "");
  if (plan.world > 1)
    row("communication", t.exposed(),
        fmt::format("and {:.4g} s behind computation; {:.4g} s of bytes, {:.4g} s of latency", t.hidden, t.sending,
                    t.latency));
  row("in all", t.seconds(),
      fmt::format("{:.4g} tokens/s, MFU {:.1f} %", static_cast<double>(plan.step_tokens()) / t.seconds(),
                  100 * plan.mfu(way)));
  const std::string gpus = plan.world == 1 ? "one" : grouped(plan.world);
  fmt::print("{} on {} {}\n", duration_text(t.seconds() * static_cast<double>(plan.steps)), gpus, plan.room->of);
}

void print_fit(const Plan& plan, const PlanOptions& options) {
  if (!plan.room) return;
  const Room& room = *plan.room;
  if (plan.fits()) {
    fmt::print("\nfits: {} needed of {} free, {}\n", bytes_text(plan.needed()), bytes_text(room.bytes), room.text());
  } else {
    const Shortage shortage = plan.shortage();
    const std::string mend = shortage.change || options.fit ? ""
                             : !options.gpu.empty()         ? "; try --fit"
                             : plan.gpu                     ? fmt::format("; try --gpu {} --fit", plan.gpu->key)
                                                            : "; a smaller model is needed";
    fmt::print("\ndoes not fit, {}: {}{}\n", room.text(), shortage.text(), mend);
  }
  if (const std::int64_t most = plan.largest_micro_batch(); most > 0)
    fmt::print("largest train.micro_batch that fits, all else equal: {}{}\n", most,
               most == plan.counted.share.count ? ", a step's sequences of a rank" : "");
}

}  // namespace

void print_text(const Plan& plan, const PlanOptions& options) {
  const auto print_way = [&](const Counted& way) {
    print_memory(plan, way);
    print_ranks(plan, way);
    print_time(plan, way);
  };
  print_cost(plan);
  print_way(plan.counted);
  print_fit(plan, options);
  if (!options.fit) return;
  auto found = plan.fastest();
  if (found) {
    fmt::print("fastest that fits: {}; {} needed\n", as_arguments(*found), bytes_text(found->needed()));
  } else {
    found = plan.fastest_in_bf16();
    if (!found) {
      fmt::print("nothing fits: a smaller model, a larger GPU{} is needed\n",
                 plan.world == 1 ? " or --world" : " or more ranks");
      return;
    }
    fmt::print("nothing fits in {}; fastest in bf16: {}; {} needed\n", name_of(plan.counted.job.precision),
               as_arguments(*found), bytes_text(found->needed()));
  }
  if (!found->changes.empty()) print_way(plan.count(found->job, found->run));
}

}  // namespace spikesink::cli
