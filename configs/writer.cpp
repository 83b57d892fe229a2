#include "configs/writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "configs/rules.h"
#include "configs/schema.h"
#include "configs/texts.h"

namespace spikesink {
namespace {

struct Line {
  std::string path;
  std::string help;
  bool is_section;
  std::optional<std::string> value;  ///< absent: an optional key that is not set
  bool has_effect;
};

std::vector<Line> lines_of(Config config) {
  std::vector<Line> lines;
  const auto add = [&]<class T>(const std::string& path, const T& member, const char* help) {
    Line line{path, help, false, {}, has_effect(config, path)};
    if constexpr (Section<T>)
      line.is_section = true;
    else if constexpr (requires { member.has_value(); })
      line.value = member ? std::optional(text_of(*member)) : std::nullopt;
    else
      line.value = text_of(member);
    lines.push_back(std::move(line));
  };
  walk(config, [&](const std::string& path, auto& member, const char* help) { add(path, member, help); });
  return lines;
}

bool is_written(const Line& key) { return key.value && key.has_effect; }

/// Of a key or a section: a section is written if one of its keys is.
bool is_written(const Line& line, const std::vector<Line>& lines) {
  if (!line.is_section) return is_written(line);
  return std::any_of(lines.begin(), lines.end(),
                     [&](const Line& key) { return is_written(key) && key.path.starts_with(line.path + "."); });
}

std::string indent_of(const std::string& path) {
  return std::string(2 * static_cast<std::size_t>(std::count(path.begin(), path.end(), '.')), ' ');
}

}  // namespace

std::string write_config(const Config& config) {
  const std::vector<Line> lines = lines_of(config);
  std::string out;
  for (const Line& line : lines) {
    if (!is_written(line, lines)) continue;
    out += fmt::format("{}{}:{}\n", indent_of(line.path), name_of(line.path), line.value ? " " + *line.value : "");
  }
  return out;
}

std::string describe_schema() {
  constexpr std::size_t kHelpColumn = 36;
  std::string out =
      "# Every key of a config with its default. A config needs only the keys that differ, and one of train.tokens "
      "and\n"
      "# train.steps. `extends: base.yaml` at its top takes over the keys of another file, a list those of several.\n";
  const std::vector<Line> lines = lines_of(Config{});
  for (const Line& line : lines) {
    const std::string mark = is_written(line, lines) ? "" : "# ";
    const std::string text =
        fmt::format("{}{}{}:{}", indent_of(line.path), mark, name_of(line.path), line.value ? " " + *line.value : "");
    out += fmt::format("{:<{}}# {}\n", text, kHelpColumn, line.help);
  }
  return out;
}

std::vector<std::string> config_difference(const Config& before, const Config& after) {
  const std::vector<Line> a = lines_of(before), b = lines_of(after);
  const auto text = [](const Line& line) { return is_written(line) ? *line.value : "absent"; };
  std::vector<std::string> changes;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (text(a[i]) != text(b[i])) changes.push_back(fmt::format("{}: {} -> {}", a[i].path, text(a[i]), text(b[i])));
  return changes;
}

}  // namespace spikesink
