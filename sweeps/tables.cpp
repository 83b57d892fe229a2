// Markdown and LaTeX, for people: the same cells and the same words below them.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <map>

#include "sweeps/collect.h"

namespace spikesink {
namespace {
using Cells = std::vector<std::string>;
constexpr std::string_view kPlusMinus = " \xC2\xB1 ";

struct Column {
  std::string group, heading;  ///< columns that have a group stand under it
  bool is_number = true;
};

/// Cells are UTF-8 and plain: each form escapes them.
struct Table {
  std::vector<Column> columns;
  std::vector<Cells> rows;
  std::vector<std::string> remarks;
};

double scale_of(std::string_view name) { return name.starts_with("sink") || name == "first_token_mass" ? 100 : 1; }

std::string number(double value) {
  return std::abs(value) < 1e7 ? fmt::format("{:.1f}", value) : fmt::format("{:.3g}", value);
}

std::string ours_of(const CollectedFigure& figure) {
  const OverSeeds& o = figure.ours;
  if (o.count == 0) return "-";
  const double scale = scale_of(figure.name);
  if (o.count == 1) return number(scale * o.mean);
  return fmt::format("{}{}{}", number(scale * o.mean), kPlusMinus, number(scale * o.deviation));
}
std::string paper_of(const CollectedFigure& figure) {
  if (!figure.paper) return "-";
  return figure.name == "spike_max" ? fmt::format("{:.0f}", *figure.paper)
                                    : fmt::format("{:.1f}", scale_of(figure.name) * *figure.paper);
}
std::string word_of(Direction direction) {
  return direction == Direction::kNone ? "-" : std::string(name_of(direction));
}

/// 1234567 as 1.23M.
std::string short_count(std::int64_t count) {
  double value = static_cast<double>(count);
  std::size_t unit = 0;
  while (value >= 999.5 && unit < 4) value /= 1000, ++unit;
  return fmt::format("{:.3g}{}", value, std::array{"", "k", "M", "B", "T"}[unit]);
}

bool has_paper(const CollectedSweep& sweep) {
  return std::ranges::any_of(sweep.rows, [](const CollectedRow& row) {
    return std::ranges::any_of(row.figures, [](const CollectedFigure& figure) { return figure.paper.has_value(); });
  });
}

std::vector<std::string> remarks_of(const CollectedSweep& sweep, bool paper) {
  std::vector<std::string> out;
  const CollectedScale& s = sweep.scale;
  std::string ours = "Ours: the last probe of each finished run";
  if (s.parameters > 0)
    ours += fmt::format("; the baseline has {} parameters and is trained on {} tokens at context {}",
                        short_count(s.parameters), short_count(s.tokens), s.context);
  std::size_t most = 0;
  for (const CollectedRow& row : sweep.rows) most = std::max(most, row.runs.size());
  ours += most > 1 ? fmt::format(". Mean{}sample deviation over seeds.", kPlusMinus)
                   : ". One seed a row: what it shows may be chance.";
  out.push_back(ours);
  if (!paper) return out;
  out.emplace_back(
      "Paper: arXiv:2603.05498, whose baseline has 7B parameters and is trained on 100B tokens at context 4096. "
      "Compare "
      "directions, not values.");
  out.emplace_back(
      "Direction: whether row - baseline has the paper's sign. unclear: our difference is within two standard errors "
      "(where both have two seeds or more) or within the last digit printed; -: the paper's is, or there is nothing to "
      "compare.");
  if (sweep.sink_judged_by == "sink_ratio") out.emplace_back("Sinks are judged by the sink ratio.");
  if (sweep.sink_judged_by == "sink_excess")
    out.emplace_back(
        "Sinks are judged by the first-token mass above u, that of uniform attention, (mass - u) / (1 - u), below 0 as "
        "0, since the "
        "baseline's sink ratio is below 10 %.");
  std::map<Direction, int> counts;
  for (const CollectedRow& row : sweep.rows)
    for (const CollectedFigure& figure : row.figures) ++counts[figure.direction];
  out.push_back(fmt::format("Of the paper's directions: agrees {}, differs {}, unclear {}.", counts[Direction::kAgrees],
                            counts[Direction::kDiffers], counts[Direction::kUnclear]));
  return out;
}

Table table_of(const CollectedSweep& sweep) {
  const bool paper = has_paper(sweep);
  Table table;
  table.columns = {{"", "Row", false}, {"", "Seeds"}};
  for (const char* group : {"Perplexity", "Sink ratio %", "Spike"}) {
    table.columns.push_back({group, paper ? "ours" : ""});
    if (!paper) continue;
    table.columns.push_back({group, "paper"});
    table.columns.push_back({group, "direction", false});
  }
  table.columns.push_back({"First-token", "mass %"});
  table.columns.push_back({"Spike", "over median"});
  for (const CollectedRow& row : sweep.rows) {
    Cells cells{row.label, row.runs.size() == row.seeds ? std::to_string(row.seeds)
                                                        : fmt::format("{} of {}", row.runs.size(), row.seeds)};
    if (row.name == sweep.baseline) cells[0] += " (baseline)";
    for (const char* name : {"perplexity", "sink_ratio", "spike_max"}) {
      const CollectedFigure& figure = row.figure(name);
      cells.push_back(ours_of(figure));
      if (!paper) continue;
      cells.push_back(paper_of(figure));
      cells.push_back(word_of(figure.direction));
    }
    cells.push_back(ours_of(row.figure("first_token_mass")));
    cells.push_back(ours_of(row.figure("spike_ratio")));
    table.rows.push_back(std::move(cells));
  }
  table.remarks = remarks_of(sweep, paper);
  return table;
}

/// Of a column, where there is one heading row.
std::string name_of(const Column& column) {
  if (column.heading.empty() || column.heading == "ours") return column.group;
  if (column.group.empty() || column.heading == "paper" || column.heading == "direction") return column.heading;
  return column.group + " " + column.heading;
}

std::size_t width_of(const std::string& text) {  // in characters
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || (c & 0x80) != 0; }

/// What Markdown takes for itself; an underscore within a word is one.
std::string markdown_text(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool within = i > 0 && i + 1 < text.size() && is_word(text[i - 1]) && is_word(text[i + 1]);
    if (std::string_view("\\|`*<[").find(c) != std::string_view::npos || (c == '_' && !within)) out += '\\';
    out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return out;
}

std::string latex_text(const std::string& text) {
  static const std::map<char, const char*> kSpecial{{'\\', "\\textbackslash{}"},
                                                    {'^', "\\textasciicircum{}"},
                                                    {'~', "\\textasciitilde{}"},
                                                    {'<', "\\textless{}"},
                                                    {'>', "\\textgreater{}"},
                                                    {'|', "\\textbar{}"},
                                                    {'{', "\\{"},
                                                    {'}', "\\}"},
                                                    {'$', "\\$"},
                                                    {'&', "\\&"},
                                                    {'#', "\\#"},
                                                    {'_', "\\_"},
                                                    {'%', "\\%"}};
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto special = kSpecial.find(text[i]);
    if (text.compare(i, kPlusMinus.size(), kPlusMinus) == 0) {
      out += "$\\pm$";
      i += kPlusMinus.size() - 1;
    } else if (special != kSpecial.end()) {
      out += special->second;
    } else {
      out += static_cast<unsigned char>(text[i]) < ' ' ? ' ' : text[i];
    }
  }
  return out;
}

/// Two heading rows: groups over their columns, then what each column is.
std::string latex_head(const std::vector<Column>& columns) {
  std::string groups, rules, headings;
  for (std::size_t i = 0, end; i < columns.size(); i = end) {
    for (end = i + 1; !columns[i].group.empty() && end < columns.size() && columns[end].group == columns[i].group;)
      ++end;
    const std::size_t span = end - i;
    if (i > 0) groups += " & ";
    const std::string group = latex_text(columns[i].group);
    groups += span > 1 ? fmt::format("\\multicolumn{{{}}}{{c}}{{{}}}", span, group) : group;
    if (span > 1) rules += fmt::format("\\cmidrule(lr){{{}-{}}}", i + 1, end);
    for (std::size_t k = i; k < end; ++k)
      headings += fmt::format("{}{}", k > 0 ? " & " : "", latex_text(columns[k].heading));
  }
  if (!rules.empty()) rules += '\n';
  return fmt::format("{} \\\\\n{}{} \\\\\n", groups, rules, headings);
}
}  // namespace

std::string markdown_of(const CollectedSweep& sweep) {
  const Table table = table_of(sweep);
  std::vector<Cells> lines(1);
  for (const Column& column : table.columns) lines[0].push_back(name_of(column));
  for (const Cells& row : table.rows) {
    lines.emplace_back();
    for (const std::string& cell : row) lines.back().push_back(markdown_text(cell));
  }
  std::vector<std::size_t> widths(table.columns.size(), 3);
  for (const Cells& line : lines)
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], width_of(line[i]));

  std::string out = fmt::format("## {}\n\n", markdown_text(sweep.title));
  for (std::size_t k = 0; k < lines.size(); ++k) {
    for (std::size_t i = 0; i < widths.size(); ++i) {
      const std::string space(widths[i] - width_of(lines[k][i]), ' ');
      out += fmt::format("| {} ", table.columns[i].is_number ? space + lines[k][i] : lines[k][i] + space);
    }
    out += "|\n";
    for (std::size_t i = 0; k == 0 && i < widths.size(); ++i)
      out += fmt::format("|{:->{}}{}", "", widths[i] + 1, table.columns[i].is_number ? ':' : '-');
    if (k == 0) out += "|\n";
  }
  out += "\n";
  for (const std::string& remark : table.remarks) out += fmt::format("- {}\n", markdown_text(remark));
  if (!sweep.notes.empty()) out += "\nOf the runs:\n\n";
  for (const std::string& note : sweep.notes) out += fmt::format("- {}\n", markdown_text(note));
  return out;
}

std::string latex_of(const CollectedSweep& sweep) {
  const Table table = table_of(sweep);
  std::string out = "% Made by `spikesink sweep collect`. Needs \\usepackage{booktabs}.\n\\begin{table}\n\\centering\n";
  out += fmt::format("\\caption{{{}}}\n", latex_text(sweep.title));
  out += "\\footnotesize\n\\setlength{\\tabcolsep}{2pt}\n\\begin{tabular}{@{}";
  for (const Column& column : table.columns) out += column.is_number ? 'r' : 'l';
  out += fmt::format("@{{}}}}\n\\toprule\n{}\\midrule\n", latex_head(table.columns));
  for (const Cells& row : table.rows) {
    for (std::size_t i = 0; i < row.size(); ++i)
      out += fmt::format("{}{}", i > 0 ? " & " : "", row[i] == "-" ? "--" : latex_text(row[i]));
    out += " \\\\\n";
  }
  out += "\\bottomrule\n\\end{tabular}\n\n\\smallskip\n\\raggedright\n";
  for (const std::string& remark : table.remarks) out += fmt::format("{}\n", latex_text(remark));
  for (const std::string& note : sweep.notes) out += fmt::format("% {}\n", latex_text(note));
  return out + "\\end{table}\n";
}

}  // namespace spikesink
