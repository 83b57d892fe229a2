#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <filesystem>
#include <map>
#include <string_view>

#include "configs/schema.h"
#include "io/atomic_file.h"
#include "io/failure.h"
#include "sweeps/command.h"
#include "sweeps/slurm.h"
#include "sweeps/slurm_template.h"

namespace spikesink {
namespace {

using Values = std::vector<std::string>;
using Places = std::map<std::string, Values, std::less<>>;

bool is_control(char c) { return std::iscntrl(static_cast<unsigned char>(c)) != 0; }

/// For a message of one line.
std::string shown(std::string text) {
  std::ranges::replace_if(text, is_control, '?');
  return shell_word(text);
}

/// A value behind #SBATCH --option=. Slurm has its own reader of these lines, which takes quotes, backslashes and #
/// in its own way.
std::string slurm_value(const std::string& what, const std::string& value) {
  const auto is_bad = [](char c) { return is_control(c) || std::strchr("\"'\\#", c); };
  if (value.empty()) throw UsageError(what + ": is empty; leave the key out, or give it a value");
  if (const auto bad = std::ranges::find_if(value, is_bad); bad != value.end())
    throw UsageError(fmt::format("{}: {} has a character that Slurm would misread in a script ({}); take another", what,
                                 shown(value), is_control(*bad) ? "a control character" : std::string(1, *bad)));
  return value.find(' ') == std::string::npos ? value : '"' + value + '"';
}

std::string extra_option(const std::string& option) {
  if (!option.starts_with('-') || std::ranges::any_of(option, is_control))
    throw UsageError(fmt::format("slurm.extra: {} is not an option of sbatch; it begins with -, as --exclude=n13 does",
                                 shown(option)));
  return option;
}

Places places_of(const Sweep& sweep, const SweepFolder& folder, const SweepPlan& plan, const std::string& program) {
  const SlurmConfig& slurm = sweep.slurm;
  const auto given = [](const char* key, const auto& value) -> Values {
    if (!value) return {};
    return {slurm_value(std::string("slurm.") + key, fmt::format("{}", *value))};
  };
  const auto each = [](const auto& list, auto&& f) {
    Values values;
    for (const auto& item : list) values.push_back(f(item));
    return values;
  };
  const auto verbatim = [](const std::string& text) { return text; };
  if (folder.path().find('%') != std::string::npos)
    throw UsageError(
        fmt::format("{}: Slurm would misread the % in this path of the sweep's folder; take another `dir` or `name`",
                    folder.path()));
  return {
      {"name", {slurm_value("name", sweep.name)}},
      {"array",
       {fmt::format("0-{}{}", plan.start.size() - 1, slurm.throttle > 0 ? fmt::format("%{}", slurm.throttle) : "")}},
      {"log", {slurm_value("dir", folder.slurm_output("%A_%a"))}},
      {"partition", given("partition", slurm.partition)},
      {"account", given("account", slurm.account)},
      {"qos", given("qos", slurm.qos)},
      {"constraint", given("constraint", slurm.constraint)},
      {"memory", given("memory", slurm.memory)},
      {"time", {slurm_value("slurm.time", slurm.time)}},
      {"nodes", {std::to_string(slurm.nodes)}},
      {"tasks_per_node", {std::to_string(slurm.tasks_per_node)}},
      {"gpus_per_node", given("gpus_per_node", slurm.gpus_per_node)},
      {"cpus_per_task", given("cpus_per_task", slurm.cpus_per_task)},
      {"stop_seconds", {std::to_string(slurm.stop_seconds)}},
      {"extra", each(slurm.extra, extra_option)},
      {"run", each(plan.start, [](const SweepRun* run) { return shell_word(run->name); })},
      {"folder", {shell_word(folder.path())}},
      {"program", {shell_word(slurm.program.value_or(program))}},
      {"launcher", {std::string(names_of(slurm.launcher)[static_cast<std::size_t>(slurm.launcher)])}},
      {"launcher_option", each(slurm.launcher_options, shell_word)},
      {"ranks", {std::to_string(slurm.nodes * slurm.tasks_per_node)}},
      {"setup", each(slurm.setup, verbatim)},
      {"container", slurm.container ? Values{*slurm.container} : Values{}},
  };
}

/// A line of the template with its places filled: once for each value of its place, not at all where there is none.
std::string filled(std::string_view line, const Places& places, const std::string& at) {
  std::vector<std::pair<std::string_view, const Values*>> parts;  // text, then the values of the place behind it
  std::size_t times = 1;
  for (;;) {
    const std::size_t begin = line.find("{{"), end = line.find("}}", begin);
    if (begin == std::string_view::npos) break;
    const std::string_view name =
        end == std::string_view::npos ? line.substr(begin + 2) : line.substr(begin + 2, end - begin - 2);
    const auto place = places.find(name);
    if (place == places.end() || end == std::string_view::npos) {
      std::vector<std::string_view> names;
      for (const auto& [known, values] : places) names.push_back(known);
      const std::string_view near = nearest(name, names);
      throw UsageError(fmt::format("{}: {{{{{}}}}}: no such place; {}", at, name,
                                   near.empty() ? fmt::format("there are {}", fmt::join(names, ", "))
                                                : fmt::format("did you mean {{{{{}}}}}?", near)));
    }
    parts.emplace_back(line.substr(0, begin), &place->second);
    if (place->second.empty()) return {};
    times = std::max(times, place->second.size());
    line.remove_prefix(end + 2);
  }
  std::string text;
  for (std::size_t i = 0; i < times; ++i) {
    for (const auto& [before, values] : parts) text.append(before) += (*values)[std::min(i, values->size() - 1)];
    text.append(line) += '\n';
  }
  return text;
}

}  // namespace

std::string sbatch_script(const Sweep& sweep, const SweepFolder& folder, const SweepPlan& plan,
                          const std::string& program) {
  const Places places = places_of(sweep, folder, plan, program);
  std::string file = "configs/slurm/array.sbatch", text(kSlurmTemplate);
  if (sweep.slurm.script_template) {
    file = *sweep.slurm.script_template;
    if (!std::filesystem::is_regular_file(file))
      throw UsageError(
          fmt::format("slurm.template: {}: no such file; leave the key out for the template that is built in", file));
    text = read_file(file);
  }
  std::string script;
  int number = 0;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    script += filled(rest.substr(0, end), places, fmt::format("{}:{}", file, ++number));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return script;
}

}  // namespace spikesink
