#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "configs/reader.h"
#include "models/cost.h"

namespace spikesink::cli {
namespace {

struct PlanOptions {
  std::string config;
  std::vector<std::string> overrides;
  bool json = false;
};

struct Plan {
  ModelCost cost;
  std::int64_t context, sequences, steps;

  explicit Plan(const Config& c)
      : cost(cost_of(c.model, c.train.loss_from_position)),
        context(c.model.context),
        sequences(c.train.sequences(context)),
        steps(c.train.total_steps(context)) {}

  std::int64_t step_tokens() const { return sequences * context; }
  std::int64_t tokens() const { return steps * step_tokens(); }
  double flops() const { return static_cast<double>(tokens()) * cost.flops(); }
};

/// 1234567 -> "1,234,567".
std::string grouped(std::int64_t count) {
  std::string text = std::to_string(count);
  for (std::ptrdiff_t at = std::ssize(text) - 3; at > 0; at -= 3) text.insert(static_cast<std::size_t>(at), ",");
  return text;
}

void print(const Plan& plan) {
  const ModelCost& cost = plan.cost;
  const auto row = [&](const std::string& name, const PartCost& part) {
    const double parameter_share = 100 * static_cast<double>(part.parameters) / static_cast<double>(cost.parameters());
    fmt::print("{:<12}{:>18}{:>8.1f} %{:>16.4g}{:>8.1f} %\n", name, grouped(part.parameters), parameter_share,
               part.flops, 100 * part.flops / cost.flops());
  };
  fmt::print("{:<12}{:>18}{:>10}{:>16}{:>10}\n", "part", "parameters", "share", "FLOPs a token", "share");
  for (std::size_t i = 0; i < cost.kPartNames.size(); ++i) row(cost.kPartNames[i], cost.parts()[i]);
  row("total", {.parameters = cost.parameters(), .flops = cost.flops()});
  fmt::print("\n{} tokens in {} steps of {} sequences of {} tokens; {:.4g} FLOPs of training in all\n",
             grouped(plan.tokens()), grouped(plan.steps), grouped(plan.sequences), grouped(plan.context), plan.flops());
}

void print_json(const Plan& plan) {
  nlohmann::ordered_json parameters, flops;
  for (std::size_t i = 0; i < plan.cost.kPartNames.size(); ++i) {
    parameters[plan.cost.kPartNames[i]] = plan.cost.parts()[i].parameters;
    flops[plan.cost.kPartNames[i]] = plan.cost.parts()[i].flops;
  }
  parameters["total"] = plan.cost.parameters();
  flops["total"] = plan.cost.flops();
  fmt::print("{}\n", nlohmann::ordered_json{{"parameters", parameters},
                                            {"flops_per_token", flops},
                                            {"tokens", plan.tokens()},
                                            {"steps", plan.steps},
                                            {"sequences_per_step", plan.sequences},
                                            {"tokens_per_step", plan.step_tokens()},
                                            {"context", plan.context},
                                            {"flops", plan.flops()}}
                         .dump());
}

}  // namespace

void add_plan_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("plan", "Print what a run costs before it starts: parameters, FLOPs, steps");
  auto options = std::make_shared<PlanOptions>();
  command->add_option("CONFIG", options->config, "YAML file")->required();
  command->add_option("--set", options->overrides, "key=value over the config; may be repeated")
      ->allow_extra_args(false);
  command->add_flag("--json", options->json, "print one JSON object");
  command->footer(
      "Reads the config only, neither data nor tokenizer. FLOPs are those of matrix products in training, forward and\n"
      "backward: 6 a parameter of a matrix, and causal attention counted once. With train.loss_from_position the head\n"
      "is computed for the counted positions only.\n\n"
      "Example: what a gate by channel adds to the baseline\n"
      "  spikesink plan configs/paper/baseline.yaml\n"
      "  spikesink plan configs/paper/table7_conditional_channel.yaml");
  command->callback([options] {
    const Plan plan(read_config(options->config, options->overrides));
    options->json ? print_json(plan) : print(plan);
  });
}

}  // namespace spikesink::cli
