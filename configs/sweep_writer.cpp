#include "configs/sweep_writer.h"

#include <fmt/format.h>

#include <map>

#include "configs/sweep_rows.h"
#include "configs/texts.h"

namespace spikesink {
namespace {

std::string line_of(const std::string& text, std::string_view help) {
  constexpr std::size_t kHelpColumn = 36;
  return fmt::format("{:<{}} # {}\n", text, kHelpColumn - 1, help);
}

/// What stands for a key that has no default. Those that begin with "# " are not set.
const std::map<std::string, std::string> kExamples = {
    {"name", "# name: norms"},        {"dir", "dir: runs/sweeps"},
    {"title", "title: Norms"},        {"baseline", "# baseline: pre_norm"},
    {"configs", "# configs: ../cpu"}, {"base", "base: baseline.yaml"},
};

std::string lines_of_keys() {
  std::string out;
  SweepKeys keys;
  walk(keys, [&]<class T>(const std::string& path, const T& member, const char* help) {
    const std::string indent = parent_of(path).empty() ? "" : "  ", name(name_of(path));
    std::string text = indent;
    if (const auto example = kExamples.find(path); example != kExamples.end())
      text += example->second;
    else if constexpr (Section<T>)
      text += name + ":";
    else if constexpr (requires { member.has_value(); })
      text += "# " + name + ":";
    else
      text += name + ": " + text_of(member);
    out += line_of(text, help);
  });
  return out;
}

std::string lines_of_rows() {
  PaperFigures paper{10.1, 46.0, 3818};  // of the baseline
  std::string figures;
  paper.fields([&](const char* name, const auto& member, const char*) {
    figures += fmt::format("{}{}: {}", figures.empty() ? "" : ", ", name, text_of(*member));
  });
  std::string out = line_of("rows:", "a row is a map of");
  for (const RowKey& key : kRowKeys) out += line_of("", fmt::format("  {}: {}", key.name, key.help));
  return out + fmt::format("  - {{name: pre_norm, label: Pre-norm, config: baseline.yaml, paper: {{{}}}}}\n", figures) +
         "  - {name: sandwich, label: Sandwich norm, set: {model: {norm: {output: true}}}}\n";
}

}  // namespace

std::string describe_sweep() {
  return "# Every key of a sweep file, with its default or an example. A sweep needs rows or axes (grid, zip), and a "
         "config:\n"
         "# rows x zip x grid, each with every seed, are its runs. Of what is said twice the later counts: config, "
         "set, "
         "a row's\n"
         "# set, axes, --set, seeds. Paths are relative to the file that they stand in.\n" +
         line_of("# extends: norms.yaml",
                 "or a list: what this file does not say; set, local and slurm are merged, other keys replaced") +
         lines_of_keys() +
         line_of("set: {metrics: {probe_every_steps: 500}}", "keys of a config, as in a config, over every row") +
         lines_of_rows() + line_of("grid: {model.attention.d_head: [32, 64]}", "axes: all combinations; {} for none") +
         line_of("zip: {model.context: [128, 256], train.micro_batch: [16, 8]}",
                 "axes that go together: the first value of each, then the second; {} for none");
}

}  // namespace spikesink
