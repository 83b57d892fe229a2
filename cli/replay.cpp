#include "cli/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/terminal_line.h"
#include "io/atomic_file.h"
#include "io/file_descriptor.h"
#include "io/json_integer.h"
#include "io/json_lines.h"
#include "io/listing.h"
#include "io/readable.h"
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

/// The first step that metrics.jsonl has otherwise than it was now: "step 12, which had loss 3.2"; or empty. Sums in
/// another order, by other ranks or threads, differ far less. Nothing: it has none of the steps.
std::optional<std::string> difference(const RunFolder& folder, const StepReport& r) {
  constexpr double kRounding = 1e-4;
  std::map<std::int64_t, std::string> found;
  for_each_json_line(folder.metrics(), [&](const nlohmann::json& line) {
    const auto step = integer_of<std::int64_t>(line.at("step"));
    if (line.contains("event") || step <= r.checkpoint || step > std::min(r.step, r.logged)) return;
    const StepFigures* now = step == r.step ? &r : &r.way.at(static_cast<std::size_t>(step - r.checkpoint - 1));
    std::string others;
    const auto note = [&](const char* key, double value, double most) {
      const auto then = line.find(key);
      if (then == line.end() || !then->is_number()) return;
      found[now->step];  // something to compare
      if (!(std::abs(then->get<double>() - value) <= most))
        others += fmt::format("{}{} {:.6g}", others.empty() ? "" : ", ", key, then->get<double>());
    };
    note("loss", now->loss, kRounding * std::abs(now->loss));
    note("lr", now->lr, kRounding * std::abs(now->lr));
    note("grad_norm", now->grad_norm, kRounding * std::abs(now->grad_norm));
    if (line.value("samples", nlohmann::json()).is_number_integer() && line["samples"] != now->samples)
      others += others.empty() ? "other samples" : ", and other samples";
    if (const auto at = found.find(now->step); at != found.end()) at->second = others;
  });
  for (const auto& [step, others] : found)
    if (!others.empty()) return fmt::format("step {}, which had {}", step, others);
  return found.empty() ? std::nullopt : std::optional("");
}

/// What is to be known before the step is taken for the one that the run had, or empty.
std::string doubt(const RunFolder& folder, const StepReport& r) {
  if (r.diverged && r.where.empty())
    return fmt::format("when the run came to this step it was not finite, first in {}: config or data were others then",
                       *r.diverged);
  const auto then = difference(folder, r);
  if (!then && r.diverged == r.where) return "";  // as divergences.jsonl has it
  if (!then)
    return fmt::format("{} has no line of steps {} to {} to hold this against", folder.metrics(), r.checkpoint + 1,
                       r.step);
  return then->empty() ? "" : "the run logged another " + *then + ": config or data were others then";
}

void print(const StepReport& r) {
  fmt::print("step {}: loss {:.6g}, gradient norm {:.6g}, learning rate {:.4g}; reached from {}\n", r.step,
             readable(r.loss), readable(r.grad_norm), r.lr,
             r.checkpoint > 0 ? fmt::format("the checkpoint of step {}", r.checkpoint) : "the start");
  if (!r.where.empty()) fmt::print("not finite first in {}\n", r.where);
  const auto on_rank = [&](int rank) { return r.ranks > 1 && rank >= 0 ? fmt::format("  on rank {}", rank) : ""; };
  fmt::print("\nsequences of the highest loss             draw         loss\n");
  for (const auto& [draw, loss, rank] : largest(r.sequences, [](const auto& s) { return s.loss; }))
    fmt::print("{:>46}{:>13.5f}{}\n", draw, readable(loss), on_rank(rank));
  const auto of_module = [](const StepReport::Module& m) { return m.output; };
  fmt::print("\n{:<48}{:>12}{:>12}\n", "outputs", "max |x|", "rms");
  for (const auto& [path, output, rank] : worth_a_look(r.modules, of_module))
    fmt::print("  {:<46}{:>12.5g}{:>12.5g}{}{}\n", path, readable(output.max), readable(output.rms), note(output),
               on_rank(rank));
  const auto of_gradient = [](const StepReport::Parameter& p) { return p.gradient; };
  fmt::print("\n{:<48}{:>12}{:>12}{:>14}\n", "gradients", "max |g|", "rms", "weight's rms");
  for (const auto& [name, value, gradient] : worth_a_look(r.parameters, of_gradient))
    fmt::print("  {:<46}{:>12.5g}{:>12.5g}{:>14.5g}{}\n", name, readable(gradient.max), readable(gradient.rms),
               readable(value.rms), note(gradient));
}

}  // namespace

void require_run(const RunFolder& folder) {
  if (!is_there(folder.config()))
    throw UsageError(folder.path() + ": has no run to replay a step of; name its config, and run.name if that was set");
}

void print_replay(const TrainJob& job, std::int64_t step) {
  const bool tells = job.communicator.rank() == 0;
  if (tells && job.resume && job.resume->state.world != job.communicator.world())
    fmt::print("  ranks: {} -> {}; figures differ in their last bits from those of the run\n", job.resume->state.world,
               job.communicator.world());
  if (tells && job.resume && job.resume->state.threads != job.stream.num_threads)
    fmt::print("  threads: {} -> {}; figures differ in their last bits from those of the run\n",
               job.resume->state.threads, job.stream.num_threads);
  TerminalLine line;
  const StepReport report = replay(job, step, [&](std::int64_t at) {
    if (tells) line.show(fmt::format("step {} of {}", at, step));
  });
  line.close();
  rank_0_does(job.communicator, [&] {
    print(report);
    if (const std::string text = doubt(job.folder, report); !text.empty()) fmt::print("\n{}\n", text);
    const std::string folder = job.folder.path() + "/replays";
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) throw file_error(folder, "made", error.value());
    const std::string file = fmt::format("{}/{}.json", folder, RunFolder::step_name(step));
    write_atomically(file, report.to_json().dump(1) + "\n");
    fmt::print("\nall of it: {}\n", file);
  });
}

}  // namespace spikesink::cli
