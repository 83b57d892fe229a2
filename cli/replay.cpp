#include "cli/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "cli/terminal_line.h"
#include "io/atomic_file.h"
#include "io/failure.h"
#include "trainer/dist/agree.h"
#include "trainer/replay.h"

namespace spikesink::cli {
namespace {
constexpr std::size_t kShown = 8;

/// The `kShown` items for which `size` is largest, NaN before all, by falling size.
template <class Item>
std::vector<Item> largest(std::vector<Item> items, auto size) {
  const auto key = [&](const Item& item) {
    const double value = size(item);
    return std::isnan(value) ? INFINITY : value;
  };
  std::ranges::stable_sort(items, [&](const Item& a, const Item& b) { return key(a) > key(b); });
  items.resize(std::min(items.size(), kShown));
  return items;
}

std::string note(const TensorFigures& figures) {
  return figures.not_finite > 0 ? fmt::format("  {} not finite", figures.not_finite) : "";
}

/// Where there is anything that is not finite, only that.
template <class Item>
std::vector<Item> worth_a_look(const std::vector<Item>& items, auto figures) {
  std::vector<Item> bad;
  for (const Item& item : items)
    if (figures(item).not_finite > 0) bad.push_back(item);
  if (bad.empty()) return largest(items, [&](const Item& item) { return figures(item).max; });
  bad.resize(std::min(bad.size(), kShown));  // the first: others follow from them
  return bad;
}

/// What metrics.jsonl says of a step, if it differs from what the step was now, or empty. Sums in another order, by
/// other ranks or threads, differ far less.
std::string difference(const RunFolder& folder, const StepReport& r) {
  constexpr double kRounding = 1e-4;
  std::string found;
  std::ifstream in(folder.metrics());
  for (std::string text; std::getline(in, text);) {
    const auto line = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!line.is_object() || line.contains("event") || line.value("step", nlohmann::json()) != r.step) continue;
    found.clear();
    for (const auto& [key, now] :
         {std::pair{"loss", r.loss}, std::pair{"lr", r.lr}, std::pair{"grad_norm", r.grad_norm}}) {
      const auto then = line.find(key);
      if (then == line.end() || !then->is_number()) continue;
      if (!(std::abs(then->get<double>() - now) <= kRounding * std::abs(now)))
        found += fmt::format("{}{} {:.6g}", found.empty() ? "" : ", ", key, then->get<double>());
    }
  }
  return found;
}

void print(const StepReport& r) {
  fmt::print("step {}: loss {:.6g}, gradient norm {:.6g}, learning rate {:.4g}; reached from {}\n", r.step, r.loss,
             r.grad_norm, r.lr,
             r.checkpoint > 0 ? fmt::format("the checkpoint of step {}", r.checkpoint) : "the start");
  if (!r.where.empty()) fmt::print("not finite first in {}\n", r.where);
  const auto on_rank = [&](int rank) { return r.ranks > 1 && rank >= 0 ? fmt::format("  on rank {}", rank) : ""; };
  fmt::print("\nsequences of the highest loss             draw         loss\n");
  for (const auto& [draw, loss, rank] : largest(r.sequences, [](const auto& s) { return s.loss; }))
    fmt::print("{:>46}{:>13.5f}{}\n", draw, loss, on_rank(rank));
  const auto of_module = [](const StepReport::Module& m) { return m.output; };
  fmt::print("\n{:<48}{:>12}{:>12}\n", "outputs", "max |x|", "rms");
  for (const auto& [path, output, rank] : worth_a_look(r.modules, of_module))
    fmt::print("  {:<46}{:>12.5g}{:>12.5g}{}{}\n", path, output.max, output.rms, note(output), on_rank(rank));
  const auto of_gradient = [](const StepReport::Parameter& p) { return p.gradient; };
  fmt::print("\n{:<48}{:>12}{:>12}{:>14}\n", "gradients", "max |g|", "rms", "weight's rms");
  for (const auto& [name, value, gradient] : worth_a_look(r.parameters, of_gradient))
    fmt::print("  {:<46}{:>12.5g}{:>12.5g}{:>14.5g}{}\n", name, gradient.max, gradient.rms, value.rms, note(gradient));
}

}  // namespace

void require_run(const RunFolder& folder) {
  std::error_code error;
  if (!std::filesystem::exists(folder.config(), error))
    throw UsageError(folder.path() + ": has no run to replay a step of; name its config, and run.name if that was set");
}

void print_replay(const TrainJob& job, std::int64_t step) {
  const bool tells = job.communicator.rank() == 0;
  if (tells && job.resume && job.resume->state.world != job.communicator.world())
    fmt::print("  ranks: {} -> {}; figures differ in their last bits from those of the run\n", job.resume->state.world,
               job.communicator.world());
  TerminalLine line;
  const StepReport report = replay(job, step, [&](std::int64_t at) {
    if (tells) line.show(fmt::format("step {} of {}", at, step));
  });
  line.close();
  rank_0_does(job.communicator, [&] {
    print(report);
    if (const std::string then = difference(job.folder, report); !then.empty())
      fmt::print("\nthis is not the step that the run logged, which had {}: config or data were others then\n", then);
    const std::string folder = job.folder.path() + "/replays";
    std::error_code error;
    std::filesystem::create_directories(folder, error);  // what fails here fails at the file
    const std::string file = fmt::format("{}/{}.json", folder, RunFolder::step_name(step));
    write_atomically(file, report.to_json().dump(1) + "\n");
    fmt::print("\nall of it: {}\n", file);
  });
}

}  // namespace spikesink::cli
